"""Every shim on every architecture it has components for, each alone, at every kind of install directory: all paths resolve."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import HostError
from kata_bundle.node.config.custom import variants
from kata_bundle.node.config.model import NodeConfig, ShimMapping
from kata_bundle.node.kata import kata_configuration, runtime_handlers
from kata_bundle.node.kata.devkit import COMPONENT as DEVKIT
from kata_bundle.node.shimfacts import load_facts
from tests.fixtures.components import catalog, cells, payload, row
from tests.fixtures.payload import apply_overlay

FACTS = load_facts()
DESTS = {
    "default": {},
    "prefix": {"installation_prefix": "/custom"},
    "suffix": {"suffix": "dev"},
    "both": {"installation_prefix": "/custom/deep er", "suffix": "v2"},
}

# What upstream's own files say cannot work, with the reason.
KNOWN_GAPS = {
    ("dragonball", Arch.AARCH64, "hypervisor.dragonball.firmware"): "names firmware of ovmf, which is not in the shim's row; "
    "the runtime refuses any firmware for this hypervisor",
}
WITHOUT_CONFIGURATION = {
    ("clh-runtime-rs", Arch.AARCH64): "shim-v2-rust brings no configuration for cloud-hypervisor on this architecture",
}
EXPECTED_REASONS = {'not used with shared_fs = "none"', "a path of the host"}
HOST_PATHS = {"/usr/share/cloud-hypervisor/vmlinux.bin"}

CELLS = [cell for cell in cells() if cell not in WITHOUT_CONFIGURATION]


def config_for(shim, arch, dest, *, debug=False):
    found = NodeConfig(machine=arch.value, shims=(shim,), debug=debug, devkit=debug, **DESTS[dest])
    if not debug:
        return found
    empty = ShimMapping()
    extra = variants((shim,), found.suffix, snapshotters=empty, pull_types=empty, debug=True, devkit=True, taken=())
    return NodeConfig(machine=arch.value, shims=(shim,), debug=True, devkit=True, custom_runtimes=extra, **DESTS[dest])


def made(shim, arch, dest, *, debug=False):
    config = config_for(shim, arch, dest, debug=debug)
    extra = (DEVKIT,) if debug and arch in catalog().components[DEVKIT].outputs else ()
    brought = payload((*row(shim, arch), *extra), arch, config.dest)
    return config, brought, kata_configuration(brought, config, FACTS, runtime="containerd")


def effective(root, dest, config_path):
    """Read a configuration from disk as a runtime does: links resolved, then ``config.d`` beside the real file."""
    real = (root / config_path.removeprefix(dest + "/")).resolve()
    data = tomllib.loads(real.read_text())
    for drop_in in sorted((real.parent / "config.d").iterdir()):
        overlaid(data, tomllib.loads(drop_in.read_text()))
    return data


def overlaid(target, source):
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            overlaid(target[key], value)
        else:
            target[key] = value


def paths_in(value, key=()):
    if isinstance(value, dict):
        for name, item in value.items():
            yield from paths_in(item, (*key, name))
    elif isinstance(value, list):
        for item in value:
            yield from paths_in(item, key)
    elif isinstance(value, str) and value.startswith("/"):
        yield ".".join(key), value


def test_the_26_shims_of_the_component_map_are_covered():
    assert len({shim for shim, _ in cells()}) == 26
    assert len(CELLS) == len(cells()) - len(WITHOUT_CONFIGURATION)


@pytest.mark.parametrize("dest", DESTS)
@pytest.mark.parametrize(("shim", "arch"), CELLS, ids=str)
def test_every_path_that_a_runtime_reads_exists_on_disk(shim, arch, dest, tmp_path):
    config, brought, result = made(shim, arch, dest)
    apply_overlay(tmp_path, brought, result.overlay)
    for handler in runtime_handlers(config, FACTS):
        assert (tmp_path / handler.runtime_path.removeprefix(config.dest + "/")).is_file()
        data = effective(tmp_path, config.dest, handler.config_path)
        reported = {(absent.key, absent.path) for absent in result.absent}
        for key, path in paths_in(data):
            if path.startswith(config.dest + "/") and (tmp_path / path.removeprefix(config.dest + "/")).exists():
                continue
            assert (key, path) in reported, f"{key} = {path} does not exist and was not reported"
        section = data["hypervisor"][FACTS.shim(shim).section]
        assert not (section.get("image") and section.get("initrd"))


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
@pytest.mark.parametrize("dest", DESTS)
@pytest.mark.parametrize(("shim", "arch"), CELLS, ids=str)
def test_every_absent_path_is_expected_for_a_reason(shim, arch, dest, debug):
    config, _, result = made(shim, arch, dest, debug=debug)
    for absent in result.absent:
        if absent.reason is None:
            gap = (shim, arch, absent.key)
            is_missing_devkit = debug and absent.path.endswith("kata-containers-devkit-extension.img")
            assert gap in KNOWN_GAPS or is_missing_devkit, absent.note
            assert absent.note in result.notes
        else:
            assert absent.reason in EXPECTED_REASONS
            assert absent.path.startswith(config.dest) or absent.path in HOST_PATHS


@pytest.mark.parametrize("dest", ["prefix", "suffix", "both"])
@pytest.mark.parametrize(("shim", "arch"), CELLS, ids=str)
def test_a_moved_install_names_opt_kata_nowhere_and_sets_no_new_key(shim, arch, dest, tmp_path):
    config, brought, result = made(shim, arch, dest, debug=True)
    apply_overlay(tmp_path, brought, result.overlay)
    base = tomllib.loads(brought.read(FACTS.shim(shim).original_config).decode())
    for handler in runtime_handlers(config, FACTS):
        data = effective(tmp_path, config.dest, handler.config_path)
        assert not [path for _, path in paths_in(data) if path == "/opt/kata" or path.startswith("/opt/kata/")]
        folder = (tmp_path / handler.config_path.removeprefix(config.dest + "/")).resolve().parent
        prefix = tomllib.loads((folder / "config.d/10-installation-prefix.toml").read_text())
        assert keys(prefix) <= keys(base)


def keys(table, path=()):
    return {
        found
        for name, value in table.items()
        for found in (keys(value, (*path, name)) if isinstance(value, dict) else {(*path, name)})
    }


@pytest.mark.parametrize(("shim", "arch"), [c for c in CELLS if FACTS.shim(c[0]).qemu_artifact], ids=str)
def test_a_moved_qemu_is_started_through_its_wrapper_with_its_own_firmware(shim, arch):
    config, brought, result = made(shim, arch, "both")
    (wrapper,) = [path for path in result.overlay.files if path.endswith("-installation-prefix")]
    script = result.overlay.files[wrapper]
    assert script.mode == 0o755
    program = wrapper.removesuffix("-installation-prefix")
    assert program in brought.tree.entries
    words = script.data.decode().splitlines()[-1]
    folder = words.rpartition("-L ")[2].strip("'").removeprefix(config.dest + "/").rstrip("/")
    assert folder in brought.tree.entries, f"{folder} holds no firmware"
    assert config.dest in words


@pytest.mark.parametrize(("shim", "arch"), WITHOUT_CONFIGURATION, ids=str)
def test_a_shim_whose_configuration_the_payload_lacks_is_refused_by_name(shim, arch):
    with pytest.raises(HostError, match=shim) as refused:
        made(shim, arch, "default")
    assert f"configuration-{shim}.toml" in str(refused.value)


@pytest.mark.parametrize("arch", Arch)
def test_all_shims_of_an_architecture_fit_into_one_tree(arch, tmp_path):
    shims = tuple(shim for shim, other in CELLS if other is arch)
    config = NodeConfig(machine=arch.value, shims=shims, suffix="all")
    brought = payload([component for shim in shims for component in row(shim, arch)], arch, config.dest)
    result = kata_configuration(brought, config, FACTS, runtime="k0s-worker")
    apply_overlay(tmp_path, brought, result.overlay)
    for handler in runtime_handlers(config, FACTS):
        folder = (tmp_path / handler.config_path.removeprefix(config.dest + "/")).resolve().parent
        assert (folder / "config.d/22-k0s-kubelet-root.toml").exists() is not handler.is_rust
        assert Path(folder).name == handler.shim
