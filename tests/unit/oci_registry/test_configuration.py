"""Where registries are asked, through what, and as whom: hosts.toml, proxies, config.json, credential helpers."""

from __future__ import annotations

import base64
import json
import os

import pytest

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.oci.registry import RegistrySettings
from kata_bundle.oci.registry.credentials import Credentials, Login, config_files
from kata_bundle.oci.registry.hosts import Origin, Tls, endpoints
from kata_bundle.oci.registry.proxies import proxy_for

HOST = "registry.example:5000"


def origin(host="registry.example", scheme="https", port=443):
    return Origin(scheme=scheme, host=host, port=port)


# Hosts


def places(tmp_path, text=None, name=HOST, **files):
    folder = tmp_path / "certs.d" / name
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "hosts.toml").write_text(text)
    for file, content in files.items():
        (folder / file.replace("_", ".")).write_text(content)
    return RegistrySettings(environment={}, hosts_folders=(tmp_path / "certs.d",))


@pytest.mark.parametrize(
    ("host", "settings", "expected"),
    [
        ("registry.example", {}, "https://registry.example"),
        (HOST, {}, "https://registry.example:5000"),
        (HOST, {"plain_http": True}, "http://registry.example:5000"),
        ("localhost:5000", {}, "http://localhost:5000"),
        ("127.0.0.1", {}, "http://127.0.0.1"),
        ("[::1]:80", {}, "http://[::1]"),
        ("localhost:5000", {"ca_file": "ca.pem"}, "https://localhost:5000"),
    ],
)
def test_without_configuration_only_this_machine_is_spoken_to_without_tls(host, settings, expected):
    (only,) = endpoints(host, RegistrySettings(environment={}, hosts_folders=(), **settings))
    assert str(only.origin) == expected
    assert (only.path, only.name, only.is_mirror) == ("/v2", host, False)


def test_mirrors_come_in_the_files_order_and_the_registry_last(tmp_path):
    settings = places(
        tmp_path,
        """
        server = "https://real.example"
        ca = "real.pem"
        [host."https://mirror.example:8443"]
          capabilities = ["pull", "resolve"]
          ca = ["a.pem", "/b.pem"]
          client = [["c.cert", "c.key"]]
          [host."https://mirror.example:8443".header]
            x-secret = ["abc"]
        [host."http://cache.example/v2/proxy"]
          capabilities = ["pull"]
          override_path = true
          skip_verify = true
        """,
    )
    folder = tmp_path / "certs.d" / HOST
    first, second, last = endpoints(HOST, settings)
    assert (str(first.origin), first.path, first.is_mirror) == ("https://mirror.example:8443", "/v2", True)
    assert first.tls.roots == (folder / "a.pem", first.tls.roots[1].parent / "b.pem")
    assert (first.tls.certificate, first.tls.key) == (folder / "c.cert", folder / "c.key")
    assert first.headers == {"x-secret": "abc"}
    assert "abc" not in repr(first)
    assert (str(second.origin), second.path, second.capabilities) == ("http://cache.example", "/v2/proxy", {"pull"})
    assert second.repository("kata/x") == "proxy/kata/x"
    assert not second.tls.verify
    assert (str(last.origin), last.name, last.tls.roots) == ("https://real.example", HOST, (folder / "real.pem",))


@pytest.mark.parametrize("name", [HOST, "registry.example_5000_", "_default"])
def test_the_folder_of_a_host_is_found_by_all_names_that_containerd_knows(tmp_path, name):
    settings = places(tmp_path, 'server = "http://other.example"', name)
    assert str(endpoints(HOST, settings)[0].origin) == "http://other.example"


def test_dockers_certificate_files_are_read(tmp_path):
    settings = places(tmp_path, None, a_crt="", b_crt="", me_cert="", me_key="")
    folder = tmp_path / "certs.d" / HOST
    assert endpoints(HOST, settings)[0].tls == Tls(
        roots=(folder / "a.crt", folder / "b.crt"), certificate=folder / "me.cert", key=folder / "me.key"
    )
    (folder / "me.key").unlink()
    with pytest.raises(UsageError, match="no key"):
        endpoints(HOST, settings)


@pytest.mark.parametrize(
    "text",
    [
        "x = [",
        "unknown = 1",
        "server = 1",
        'server = "ftp://x"',
        'server = "https://user:pw@x"',
        "host = 1",
        "[host]\na = 1",
        '[host."https://m"]\nunknown = 1',
        '[host."https://m"]\ncapabilities = ["fly"]',
        '[host."https://m"]\nskip_verify = "yes"',
        '[host."https://m"]\nca = 1',
        '[host."https://m"]\nclient = [["a", "b", "c"]]',
        '[host."https://m".header]\nx = "a\\nb"',
    ],
)
def test_a_hosts_file_that_cannot_be_understood_is_an_error_that_names_it(tmp_path, text):
    with pytest.raises(UsageError) as caught:
        endpoints(HOST, places(tmp_path, text))
    assert "hosts.toml" in str(caught.value)
    assert "pw" not in str(caught.value)


def test_the_usual_folders_and_the_variable_that_replaces_them(tmp_path):
    places(tmp_path, 'server = "http://other.example"')
    named = RegistrySettings(environment={"KATA_BUNDLE_REGISTRY_HOSTS": f"/nowhere:{tmp_path / 'certs.d'}"})
    assert str(endpoints(HOST, named)[0].origin) == "http://other.example"
    (tmp_path / "kata-bundle").mkdir()
    (tmp_path / "certs.d").rename(tmp_path / "kata-bundle" / "certs.d")
    usual = RegistrySettings(environment={"XDG_CONFIG_HOME": str(tmp_path)})
    assert str(endpoints(HOST, usual)[0].origin) == "http://other.example"


# Proxies


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, "http://proxy.example:3128"),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "http://proxy.example:3128"),
        ({"https_proxy": "https://a.example", "HTTPS_PROXY": "http://b.example"}, "https://a.example:443"),
        ({"HTTP_PROXY": "http://proxy.example"}, None),
        ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": "example"}, None),
        ({"HTTPS_PROXY": "http://p.example", "NO_PROXY": " .registry.example , x"}, None),
        ({"HTTPS_PROXY": "http://p.example", "no_proxy": "registry.example:443"}, None),
        ({"HTTPS_PROXY": "http://p.example", "no_proxy": "registry.example:444,10.0.0.0/8"}, "http://p.example:80"),
        ({"HTTPS_PROXY": "http://p.example", "no_proxy": "gistry.example"}, "http://p.example:80"),
    ],
)
def test_proxies_are_chosen_as_other_tools_do(environment, expected):
    found = proxy_for(origin(), environment)
    assert (found.url if found else None) == expected


def test_addresses_are_exempt_by_network_and_this_machine_always():
    environment = {"HTTP_PROXY": "http://p.example", "NO_PROXY": "10.0.0.0/8,fd00::/8,192.0.2.7"}
    for host, direct in [("10.2.3.4", True), ("11.2.3.4", False), ("[fd00::1]", True), ("192.0.2.7", True), ("localhost", True)]:
        assert (proxy_for(origin(host, "http", 80), environment) is None) is direct, host


def test_a_proxys_password_is_decoded_and_not_shown():
    found = proxy_for(origin(), {"HTTPS_PROXY": "http://me:p%40ss@proxy.example:1"})
    assert (found.url, found.login) == ("http://proxy.example:1", "me:p@ss")
    assert "p@ss" not in repr(found)
    with pytest.raises(UsageError) as caught:
        proxy_for(origin(), {"HTTPS_PROXY": "socks5://me:secret@proxy"})
    assert "secret" not in str(caught.value)
    assert "HTTPS_PROXY" in str(caught.value)


# Logins


def basic(user, password):
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def credentials(tmp_path, document, **environment):
    (tmp_path / "config.json").write_text(document if isinstance(document, str) else json.dumps(document))
    return Credentials(RegistrySettings(environment={"DOCKER_CONFIG": str(tmp_path), **environment}))


@pytest.mark.parametrize(
    ("host", "repository", "user"),
    [
        (HOST, "", "host"), (HOST, "other/x", "host"), (HOST, "team", "team"), (HOST, "team/a", "team-a"),
        (HOST, "team/a/b", "team-a"),
        (HOST, "team/ab", "team"), ("old.example", "x", "old"), ("plain.example", "x", "plain"), ("none.example", "x", None),
    ],
)  # fmt: skip
def test_the_longest_name_that_fits_decides(tmp_path, host, repository, user):
    auths = {
        HOST: basic("host", "p"), f"{HOST}/team": basic("team", "p"), f"{HOST}/team/a": basic("team-a", "p:q"),
        "https://old.example/v1/": basic("old", "p"), "http://plain.example": {"username": "plain", "password": "p"},
        "none.example": {},
    }  # fmt: skip
    found = credentials(tmp_path, {"auths": auths}).find(host, repository)
    assert (found.username if found else None) == user
    if user == "team-a":
        assert found.password == "p:q"


def test_identity_and_registry_tokens_are_told_apart(tmp_path):
    auths = {
        "a.example": {**basic("<token>", "id"), "identitytoken": ""}, "b.example": {"identitytoken": "id"},
        "c.example": {"registrytoken": "reg"},
    }  # fmt: skip
    found = credentials(tmp_path, {"auths": auths})
    assert found.find("a.example") == Login(identity_token="id")
    assert found.find("b.example") == Login(identity_token="id")
    assert found.find("c.example") == Login(registry_token="reg")


def test_secrets_are_not_shown():
    login = Login(username="u", password="one", identity_token="two", registry_token="three")
    assert not any(secret in f"{login!r} {login}" for secret in ("one", "two", "three"))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/h"}, ["/h/.docker/config.json", "/h/.config/containers/auth.json"]),
        (
            {"HOME": "/h", "DOCKER_CONFIG": "/d", "XDG_RUNTIME_DIR": "/r", "XDG_CONFIG_HOME": "/c"},
            ["/d/config.json", "/r/containers/auth.json", "/c/containers/auth.json"],
        ),
        ({"HOME": "/h", "REGISTRY_AUTH_FILE": "/f"}, ["/f"]),
        ({}, []),
    ],
)
def test_logins_are_looked_for_where_other_tools_put_them(environment, expected):
    assert [str(path) for path in config_files(RegistrySettings(environment=environment))] == expected


def test_the_first_file_that_has_one_decides(tmp_path):
    for folder, user in (("d", None), ("r/containers", "r"), ("c/containers", "c")):
        (tmp_path / folder).mkdir(parents=True)
        name = "config.json" if folder == "d" else "auth.json"
        auths = {HOST: basic(user, "p")} if user else {}
        (tmp_path / folder / name).write_text(json.dumps({"auths": auths}))
    environment = {"DOCKER_CONFIG": f"{tmp_path}/d", "XDG_RUNTIME_DIR": f"{tmp_path}/r", "XDG_CONFIG_HOME": f"{tmp_path}/c"}
    assert Credentials(RegistrySettings(environment=environment)).find(HOST).username == "r"


@pytest.mark.parametrize(
    "document",
    ["[1]", '{"auths": {"registry.example:5000": {"auth": "hunter22"',
     '{"auths": [1]}', '{"auths": {"registry.example:5000": 1}}',
     '{"auths": {"registry.example:5000": {"auth": "aHVudGVyMjI="}}}', '{"auths": {"registry.example:5000": {"password": 1}}}'],
)  # fmt: skip
def test_a_file_that_cannot_be_understood_is_an_error_without_its_content(tmp_path, document):
    with pytest.raises(UsageError) as caught:
        credentials(tmp_path, document).find(HOST)
    assert "config.json" in str(caught.value)
    assert "hunter22" not in str(caught.value)
    assert "aHVudGVy" not in str(caught.value)


def helper(tmp_path, name, script):
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_helpers_are_asked_on_standard_input_and_once(tmp_path):
    path = helper(tmp_path, "test", f'[ "$1" = get ] || exit 9; read -r s; echo "$s $*" >> {tmp_path}/log; '
                  'printf \'{"ServerURL":"%s","Username":"helped","Secret":"hunter22"}\' "$s"')  # fmt: skip
    found = credentials(tmp_path, {"credHelpers": {HOST: "test"}, "auths": {HOST: basic("file", "p")}}, **path)
    assert [found.find(HOST, name).username for name in ("", "a", "a/b")] == ["helped"] * 3
    assert (tmp_path / "log").read_text() == f"{HOST} get\n"


def test_the_store_is_asked_when_nothing_else_is_there_and_may_know_nothing(tmp_path):
    path = helper(tmp_path, "store", 'read -r s; case $s in registry*) echo \'{"Username":"<token>","Secret":"id"}\';; '
                  "*) echo credentials not found in native keychain; exit 1;; esac")  # fmt: skip
    found = credentials(tmp_path, {"credsStore": "store", "auths": {"file.example": basic("file", "p"), HOST: {}}}, **path)
    assert found.find(HOST) == Login(identity_token="id")
    assert found.find("file.example").username == "file"
    assert found.find("none.example") is None


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo hunter22; echo hunter22 >&2; exit 3", "status 3"), ("echo hunter22", "did not answer with"),
     ("echo '{\"Username\": 1, \"Secret\": \"hunter22\"}'", "did not answer with")],
)  # fmt: skip
def test_a_helper_that_fails_is_named_and_what_it_said_is_not_shown(tmp_path, script, words):
    found = credentials(tmp_path, {"credHelpers": {HOST: "bad"}}, **helper(tmp_path, "bad", script))
    with pytest.raises(HostError, match=words) as caught:
        found.find(HOST)
    assert "hunter22" not in f"{caught.value} {caught.value.hint} {caught.value.__context__}"


def test_a_helper_that_is_not_there_or_could_not_be_one_is_an_error(tmp_path):
    with pytest.raises(HostError, match="not installed"):
        credentials(tmp_path, {"credsStore": "absent"}, PATH="/usr/bin").find(HOST)
    with pytest.raises(UsageError, match="cannot be the name"):
        credentials(tmp_path, {"credsStore": "../../evil"}, PATH="/usr/bin").find(HOST)


def test_a_helper_that_waits_for_ever_is_ended(tmp_path, monkeypatch):
    from kata_bundle.oci.registry import credentials as module

    monkeypatch.setattr(module, "_HELPER_S", 0.2)
    found = credentials(tmp_path, {"credsStore": "slow"}, **helper(tmp_path, "slow", "exec sleep 60"))
    with pytest.raises(HostError, match="did not answer"):
        found.find(HOST)


def test_a_file_that_may_not_be_read_is_an_error_of_the_host(tmp_path):
    if not os.geteuid():
        pytest.skip("root may read everything")
    found = credentials(tmp_path, {})
    (tmp_path / "config.json").chmod(0)
    with pytest.raises(HostError):
        found.find(HOST)
