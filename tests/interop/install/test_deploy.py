"""``kata-deploy`` with a bundle in a real registry as its payload, as an image made with ``--pull`` uses it."""

from __future__ import annotations

import json

import pytest

from tests.unit.node_deploy.conftest import World, image, world  # noqa: F401 - fixtures

pytestmark = [pytest.mark.interop, pytest.mark.net]


@pytest.fixture
def pulling(world: World, server, pushed):  # noqa: F811
    if server.process is None:
        server.start()
    world.variables |= {
        "KATA_BUNDLE_PAYLOAD": f"{server.address}/kata/bundle@{pushed['v1']}",
        "SHIMS_X86_64": "qemu",
        "NO_PROXY": "127.0.0.1",
    }
    return world


def receipt(world: World, number: int) -> dict:  # noqa: F811
    return json.loads((world.root / f"opt/kata/.kata-bundle/receipts/{number}.json").read_bytes())


def test_a_node_installs_what_the_digest_names_upgrades_and_cleans_up(pulling: World, server, pushed):
    before = pulling.files()
    pulling.add_daemonset()
    process = pulling.install()
    assert receipt(pulling, 1)["source"] == {"kind": "bundle", "digest": pushed["v1"]}
    assert (pulling.root / "opt/kata/bin/kata-runtime").read_bytes()
    assert not (pulling.root / "opt/kata/bin/cloud-hypervisor").exists(), "only what the shims need"
    assert "skip" in pulling.end(process)
    pulling.variables["KATA_BUNDLE_PAYLOAD"] = f"{server.address}/kata/bundle@{pushed['v2']}"
    process = pulling.install()
    assert receipt(pulling, 2)["source"]["digest"] == pushed["v2"]
    assert not (pulling.root / "tmp/kata-bundle-fetched").exists(), "nothing is kept of what was fetched"
    pulling.remove_daemonset()
    pulling.end(process)
    assert {p: w for p, w in pulling.files().items() if p != "tmp"} == before


def test_a_name_without_a_digest_is_refused_before_anything_is_changed(pulling: World, server):
    before = pulling.files()
    pulling.variables["KATA_BUNDLE_PAYLOAD"] = f"{server.address}/kata/bundle:v1"
    code, output = pulling.run("install")
    assert (code, "names no digest" in output) == (2, True), output
    assert pulling.files() == before


def test_a_registry_that_does_not_have_it_is_an_error_that_names_it(pulling: World, server):
    before = pulling.files()
    pulling.variables["KATA_BUNDLE_PAYLOAD"] = f"{server.address}/kata/bundle@sha256:{'0' * 64}"
    code, output = pulling.run("install")
    assert (code, "kata/bundle" in output) == (8, True), output
    assert pulling.files() == before
