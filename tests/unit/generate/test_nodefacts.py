"""The installer's facts are those of the catalog: the committed file is what the catalog gives."""

import json

from kata_bundle.generate.nodefacts import facts_path, is_current, node_facts, render_node_facts
from kata_bundle.manifest import load_catalog


def catalog():
    loaded, _ = load_catalog()
    assert loaded is not None
    return loaded


def test_the_committed_facts_are_what_the_catalog_gives():
    assert is_current(catalog()), "run: kata-bundle generate all"
    assert json.loads(facts_path().read_text()) == node_facts(catalog())


def test_facts_name_every_shim_that_the_installer_accepts():
    facts = node_facts(catalog())
    assert len(facts["shims"]) == 27
    assert "stratovirt" not in facts["shims"]
    assert facts["shims"]["firecracker"] == {
        "section": "firecracker",
        "family": "go",
        "qemu_artifact": None,
        "hypervisor_binary": "firecracker",
        "tee": None,
        "overhead": None,
        "config_directory": "share/defaults/kata-containers",
        "shim_binary": "bin/containerd-shim-kata-v2",
        "status": "alias",
        "arches": [],
    }
    assert facts["shims"]["qemu-nvidia-gpu-tdx-runtime-rs"] == {
        "section": "qemu",
        "family": "rust",
        "qemu_artifact": "qemu-tdx-experimental",
        "hypervisor_binary": None,
        "tee": "tdx",
        "overhead": {"memory": "10240Mi", "cpu": "1.0"},
        "config_directory": "share/defaults/kata-containers/runtime-rs",
        "shim_binary": "runtime-rs/bin/containerd-shim-kata-v2",
        "status": "active",
        "arches": ["x86_64"],
    }


def test_every_default_shim_has_facts():
    facts = node_facts(catalog())
    for entry in facts["arches"].values():
        assert {entry["default_shim"], *entry["default_shims"]} <= set(facts["shims"])


def test_a_stale_or_missing_file_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "facts.json"
    monkeypatch.setattr("kata_bundle.generate.nodefacts.facts_path", lambda: path)
    assert not is_current(catalog())
    path.write_text("{}")
    assert not is_current(catalog())
    path.write_text(render_node_facts(catalog()))
    assert is_current(catalog())
