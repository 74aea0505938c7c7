"""A bundle as a user makes it, inspected by skopeo, copied to a real registry and back, and installed from every copy."""

from __future__ import annotations

import json

import pytest

from kata_bundle.core.digest import digest_bytes
from tests.fixtures.cli import run_cli

pytestmark = [pytest.mark.interop, pytest.mark.net]
PLAIN = ("--src-tls-verify=false", "--dest-tls-verify=false")
GO = {"x86_64": "amd64", "aarch64": "arm64"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("copies")


@pytest.fixture(scope="module")
def cli(shared_store, place):
    def call(*argv):
        return run_cli(*argv, store=shared_store, cwd=place)

    return call


@pytest.fixture(scope="module")
def made(cli):
    """The bundle ``out``, its tarballs, and what the command said of them."""
    return json.loads(cli("bundle", "--shim", "qemu", "--arch", ",".join(GO), "-o", "out", "--tarballs", "tar", "--json").ok())


@pytest.fixture(scope="module")
def trees(cli, made):
    """The digest of the tree that the original installs, by architecture."""
    return {arch: installed_tree(cli, "out", arch) for arch in GO}


def installed_tree(cli, source, arch, *more):
    root = f"root-{source.replace('/', '-')}-{arch}"
    cli("install", source, "--root", root, "--arch", arch, *more).ok()
    cli("verify", "--root", root).ok()
    return json.loads(cli("status", "--root", root, "--json").ok())["receipt"]["tree"]


@pytest.mark.parametrize("arch", GO)
def test_skopeo_inspects_it(skopeo, made, place, arch):
    assert digest_bytes(skopeo("inspect", "--raw", f"oci:{place / 'out'}")) == made["digest"]
    found = json.loads(skopeo("--override-arch", GO[arch], "inspect", f"oci:{place / 'out'}"))
    assert (found["Architecture"], found["Os"]) == (GO[arch], "linux")
    expected = [layer for layer in made["layers"] if layer["arch"] == arch]
    assert found["Layers"] == [layer["packed"] for layer in expected]
    sizes = [layer["Size"] for layer in found.get("LayersData", ())]
    assert sizes in ([], [layer["packed_size_bytes"] for layer in expected])


def test_a_copy_by_way_of_a_registry_installs_the_same_trees(skopeo, registry, cli, made, trees, place):
    skopeo("copy", *PLAIN, "--all", f"oci:{place / 'out'}", f"docker://{registry}/kata/qemu:v1")
    skopeo("copy", *PLAIN, "--all", f"docker://{registry}/kata/qemu:v1", f"oci:{place / 'back'}")
    assert json.loads(cli("show", "./back", "--json").ok())["bundle"]["digest"] == made["digest"]
    assert {arch: installed_tree(cli, "back", arch) for arch in GO} == trees


def test_a_copy_of_one_architecture_installs_the_same_tree_there_and_nothing_elsewhere(skopeo, registry, cli, made, trees, place):
    skopeo("copy", *PLAIN, "--all", f"oci:{place / 'out'}", f"docker://{registry}/kata/one:v1")
    skopeo("--override-arch", "arm64", "copy", *PLAIN, f"docker://{registry}/kata/one:v1", f"oci:{place / 'arm'}")
    assert list(json.loads(cli("show", "./arm", "--json").ok())["bundle"]["arches"]) == ["aarch64"]
    assert installed_tree(cli, "arm", "aarch64") == trees["aarch64"]
    refused = cli("install", "arm", "--root", "root-none", "--arch", "x86_64")
    assert refused.code == 9
    assert "there is nothing for x86_64 in it, only for aarch64" in refused.stderr


@pytest.mark.parametrize("arch", GO)
def test_the_tarballs_install_the_same_tree(cli, made, trees, arch):
    assert installed_tree(cli, f"tar/{arch}", arch, "--shim", "qemu") == trees[arch]
