"""What the catalog says beyond single facts."""

from pathlib import Path

from kata_bundle.core.arch import Arch
from kata_bundle.manifest import load_catalog
from kata_bundle.manifest.catalog import PREFIX, ComponentKind, RuntimeFamily


def catalog():
    loaded, report = load_catalog()
    assert loaded is not None
    assert list(report) == []
    return loaded


def test_a_component_provides_its_files_and_what_lies_in_its_folders():
    qemu = catalog().components["qemu"]
    assert qemu.provides("bin/qemu-system-ppc64", Arch.PPC64LE)
    assert not qemu.provides("bin/qemu-system-ppc64", Arch.X86_64)
    assert qemu.provides("share/kata-qemu/qemu/bios-256k.bin", Arch.X86_64)
    assert qemu.provides("share/kata-qemu/qemu", Arch.X86_64)
    assert not qemu.provides("share/kata-qemu/qemu-evil/x", Arch.X86_64)
    assert not catalog().components["agent"].provides("usr/bin/kata-agent", Arch.X86_64)


def test_shipped_components_are_those_that_cells_list_and_the_flag_activated_one():
    cat = catalog()
    listed = {name for shim, arch in cat.component_map.cells() for name in cat.component_map.components(shim, arch)}
    assert listed == {c.name for c in cat.components.values() if c.kind is ComponentKind.SHIPPED}
    assert [c.name for c in cat.components.values() if c.kind is ComponentKind.FLAG] == ["rootfs-image-devkit-extension"]


def test_every_cell_has_exactly_the_shim_component_of_its_family():
    cat = catalog()
    shims = {family.component for family in cat.families.values()}
    for shim, arch in cat.component_map.cells():
        assert [c for c in cat.component_map.components(shim, arch) if c in shims] == [cat.shims[shim].shim_component]


def test_configured_paths_are_absolute_or_placeholders():
    for shim in catalog().shims.values():
        for config in shim.configs.values():
            for path in (config.hypervisor_path, config.kernel, config.image, config.firmware, config.virtio_fs_daemon):
                assert path is None or path.startswith("/")
    gpu = catalog().shims["qemu-nvidia-gpu-runtime-rs"].configs[Arch.X86_64]
    assert gpu.firmware_volume == "@FIRMWAREVOLUMEPATH_NV@"
    azure = catalog().shims["clh-azure"].configs[Arch.X86_64]
    assert azure.kernel is not None
    assert not azure.kernel.startswith(PREFIX)


def test_active_shims_are_those_with_cells():
    cat = catalog()
    assert {shim.name for shim in cat.active_shims()} == set(cat.component_map.shims)
    assert sum(shim.family is RuntimeFamily.RUST for shim in cat.active_shims()) == 13


def test_everything_has_a_json_form():
    cat = catalog()
    shim = cat.shims["qemu-se"].to_dict()
    assert shim["tee"] == "se"
    assert shim["configs"]["s390x"]["kernel"] == f"{PREFIX}/share/kata-containers/kata-containers-se.img"
    assert cat.components["ovmf"].to_dict()["releases"] == {"go": ["x86_64", "aarch64"], "rust": ["x86_64", "aarch64"]}
    assert cat.runtime_classes["fc"].to_dict()["source"]["date"] == "2026-08-22"


def test_a_folder_that_is_not_there_gives_one_finding_a_document(tmp_path):
    loaded, report = load_catalog(tmp_path / "none")
    assert loaded is None
    assert [(f.code, Path(f.span.path).name) for f in report] == [
        ("KB101", "components.toml"),
        ("KB101", "runtimeclasses.toml"),
        ("KB101", "shim-components.json"),
        ("KB101", "shims.toml"),
        ("KB101", "upstream.toml"),
    ]


def test_documents_are_named_as_seen_from_the_working_directory(folder, monkeypatch):
    folder.edit("shims.toml", "gpu = true", "gpu = 1")
    monkeypatch.chdir(folder.path.parent)
    assert [f.span.path for f in folder.load().report] == ["manifests/shims.toml"]
    monkeypatch.chdir("/")
    [finding] = folder.load().report
    assert Path("/") / finding.span.path == folder.path / "shims.toml"
