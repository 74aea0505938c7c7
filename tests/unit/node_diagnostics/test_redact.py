"""No planted secret survives, whatever it is written in; what is none stays."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.node.diagnostics.redact import MARK, redact, secret_values

PLANTED = "Xq7-planted.9Z"

WRITTEN = [
    'password = "{s}"',
    "password = '{s}'",
    'password = """\n{s}\n"""',
    "passwd={s}",
    '"password": "{s}"',
    '{{"auths": {{"registry.test": {{"auth": "{s}"}}}}}}',
    json.dumps({"inner": json.dumps({"token": "{s}"})}).replace("{", "{{").replace("}", "}}").replace("{{s}}", "{s}"),
    'identitytoken = "{s}"',
    'tokens = ["{s}", "{s}"]',
    'auth_keys = [\n  "{s}",\n]',
    "https_proxy = http://user:{s}@proxy.test:3128/",
    'agent_https_proxy = "http://{s}@proxy.test"',
    "http://user:pa@ss{s}@proxy.test",
    "http://user:a/b{s}@proxy.test",
    'kernel_params = "agent.https_proxy=http://u:{s}@p.test agent.log=debug"',
    'kernel_params = "quiet agent.kbs_token={s} agent.log=debug"',
    "Authorization: Bearer {s}",
    "authorization = 'Basic {s}'",
    "X-Api-Key: {s}",
    "aws_secret_access_key = {s}",
    "client_secret={s}&grant=x",
    "[a.auth]\nusername = 'me'\npassword='{s}'",
    "SECRET_KEY={s}",
    "--registry-password {s}",
    "<api-token>{s}</api-token>",
    "-----BEGIN RSA PRIVATE KEY-----\n{s}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n{s}\ncut off",
    'key = "-----BEGIN EC PRIVATE KEY-----\\n{s}\\n-----END EC PRIVATE KEY-----"',
]  # fmt: skip


@pytest.mark.parametrize("form", WRITTEN)
def test_a_planted_secret_is_taken_out(form):
    text, count = redact(form.replace("{{", "{").replace("}}", "}").replace("{s}", PLANTED))
    assert PLANTED not in text
    assert MARK in text
    assert count >= 1


def test_a_signed_token_is_taken_out_wherever_it_stands():
    token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrOHMifQ.c2lnbmF0dXJl"
    text, _ = redact(f"the server said {token}, then hung up")
    assert text == f"the server said {MARK}, then hung up"


HARMLESS = """\
version = 3
imports = ["/etc/containerd/conf.d/*.toml"]
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.kata-qemu]
runtime_type = "io.containerd.kata-qemu.v2"
pod_annotations = ["io.katacontainers.*"]
author = "somebody"
disable_token = false
image = "registry.test/kata@sha256:0000000000000000000000000000000000000000000000000000000000000000"
oci = "oci://registry.test:5000/kata@sha256:00"
url = "https://registry.test:5000/v2/"
mail = "somebody@example.test"
"""


def test_what_is_no_secret_stays():
    assert redact(HARMLESS) == (HARMLESS, 0)


def test_a_secret_of_a_toml_file_is_taken_out_everywhere():
    document = (
        'x = 1\n[plugins."a".registry.configs."r".auth]\nusername = "deploy-user"\npassword = "hunter\\"22"\nshort = "abc"\n'
    )
    known = secret_values(document)
    assert known == {"deploy-user", 'hunter"22', "abc"}
    text, count = redact('deploy-user logged in with hunter"22; abc', known)
    assert (text, count) == (f"{MARK} logged in with {MARK}; abc", 2)
    assert secret_values("no TOML = = ") == frozenset()


def test_taking_out_twice_changes_nothing():
    for form in WRITTEN:
        once, _ = redact(form.replace("{s}", PLANTED))
        assert redact(once) == (once, 0)


@given(st.text(max_size=300))
def test_any_text_is_taken_without_an_error(text):
    redact(text)
    secret_values(text)


def test_hostile_text_takes_no_time_to_speak_of():
    """Sixty thousand characters of what makes careless patterns slow: minutes for those, a moment here."""
    source = random.Random(1)
    pieces = [
        'password = "', "token=[", "x://", "-----BEGIN PRIVATE KEY-----", "eyJ" + "a" * 20 + ".", 'auth\\"', "'''", "secret-" * 3,
        "Authorization: basic ", "<token>", "http://a:", '"""password="""',
    ]  # fmt: skip
    for piece in pieces:
        redact((piece * (60_000 // len(piece)))[: 60_000 - source.randint(0, 9)])
