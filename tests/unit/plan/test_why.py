"""Why a component is needed and where a file comes from, on the shipped catalog."""

from __future__ import annotations

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import UsageError
from kata_bundle.core.relpath import parse_relpath
from kata_bundle.core.tree import File, Tree
from kata_bundle.manifest import load_catalog
from kata_bundle.plan.why import config_paths, is_component, settings_of_component, why_component, why_file

X, A, S, P = Arch.X86_64, Arch.AARCH64, Arch.S390X, Arch.PPC64LE


@pytest.fixture(scope="module")
def catalog():
    found, report = load_catalog()
    assert found is not None, list(report)
    return found


def one(reasons):
    (reason,) = reasons
    return reason


def test_listed_and_not_listed_are_told_apart_and_the_others_named(catalog):
    listed, not_listed = why_component(catalog, "qemu", "ovmf", (A, X))
    assert listed.listed
    assert "qemu-runtime-rs" in listed.also_needed_by
    assert [(s.key, s.below_prefix) for s in listed.settings] == [
        ("firmware", "share/aavmf/AAVMF_CODE.fd"),
        ("firmware_volume", "share/aavmf/AAVMF_VARS.fd"),
    ]
    assert not not_listed.listed
    assert "kernel" in not_listed.siblings


def test_the_shim_component_is_needed_for_the_program_itself(catalog):
    reason = one(why_component(catalog, "qemu", "shim-v2-go", (X,)))
    assert reason.is_runtime
    assert reason.settings == ()
    assert not one(why_component(catalog, "qemu", "kernel", (X,))).is_runtime


def test_an_initrd_that_takes_the_image_s_place_counts_as_named(catalog):
    reason = one(why_component(catalog, "qemu", "rootfs-initrd", (P,)))
    assert [s.key for s in reason.settings] == ["installed_initrd"]
    assert one(why_component(catalog, "qemu", "rootfs-initrd", (X,))).settings == ()


def test_a_component_that_nothing_names_is_optional_and_says_why(catalog):
    reason = one(why_component(catalog, "qemu", "nydus", (X,)))
    assert reason.settings == ()
    assert reason.optional == catalog.components["nydus"].optional
    assert one(why_component(catalog, "qemu", "kernel", (X,))).optional is None


def test_a_cell_without_a_configuration_says_so(catalog):
    assert not one(why_component(catalog, "clh-runtime-rs", "kernel", (A,))).has_config
    assert one(why_component(catalog, "clh-runtime-rs", "kernel", (X,))).has_config


@pytest.mark.parametrize(
    ("target", "component", "key"),
    [
        ("/opt/kata/share/kata-containers/vmlinux.container", "kernel", "kernel"),
        ("share/kata-containers/vmlinux.container", "kernel", "kernel"),
        ("vmlinux.container", "kernel", "kernel"),
        ("bin/qemu-system-x86_64", "qemu", "hypervisor_path"),
        ("./libexec/virtiofsd", "virtiofsd", "virtio_fs_daemon"),
        ("kata-containers.img", "rootfs-image", "image"),
    ],
)
def test_a_file_is_found_by_path_by_path_below_the_prefix_and_by_name(catalog, target, component, key):
    reason = one(why_file(catalog, "qemu", target, (X,)))
    assert [(p.component, p.evidence, p.in_cell) for p in reason.providers if p.in_cell] == [(component, "declared", True)]
    assert [s.key for s in reason.settings] == [key]
    assert reason.is_installed


def test_an_emulator_is_named_by_its_architecture(catalog):
    reason = one(why_file(catalog, "qemu", "bin/qemu-system-ppc64", (P,)))
    assert reason.settings[0].path == "/opt/kata/bin/qemu-system-ppc64"
    with pytest.raises(UsageError, match="no component or configuration has a file of that name"):
        why_file(catalog, "qemu", "bin/qemu-system-ppc64", (X,))


def test_a_file_of_a_component_that_the_shim_does_not_need_is_not_installed(catalog):
    reason = one(why_file(catalog, "qemu", "kata-containers-confidential.img", (X,)))
    assert [(p.component, p.in_cell) for p in reason.providers] == [("rootfs-image-confidential", False)]
    assert not reason.is_installed
    assert reason.settings == ()


def test_a_path_that_the_configuration_names_though_nothing_of_the_cell_has_it_is_shown(catalog):
    reason = one(why_file(catalog, "qemu-snp", "/opt/kata/libexec/virtiofsd", (X,)))
    # Not in the cell (the shim shares no file system), named all the same.
    assert not reason.is_installed
    assert [s.key for s in reason.settings] == ["virtio_fs_daemon"]


def test_a_path_of_the_host_is_named_and_provided_by_nobody(catalog):
    reason = one(why_file(catalog, "clh-azure", "/usr/share/cloud-hypervisor/vmlinux.bin", (X,)))
    assert reason.providers == ()
    assert reason.settings[0].below_prefix is None


def test_a_file_in_an_output_folder_and_one_that_only_a_pattern_describes_are_found(catalog):
    inside = one(why_file(catalog, "qemu", "share/kata-qemu/qemu/bios-256k.bin", (X,)))
    assert [(p.component, p.evidence) for p in inside.providers] == [("qemu", "declared")]
    described = one(why_file(catalog, "qemu", "share/kata-containers/config-6.18.5-173", (X,)))
    assert ("kernel", "described") in [(p.component, p.evidence) for p in described.providers if p.in_cell]


def test_what_was_made_counts_beside_what_is_declared(catalog):
    path = parse_relpath("share/kata-containers/vmlinux-6.12.9")
    tree = Tree.of({path: File(mode=0o644, size_bytes=1, digest=digest_bytes(b"k"))})
    reason = one(why_file(catalog, "qemu", "vmlinux-6.12.9", (X,), {(X, "kernel"): tree}))
    assert [(p.component, p.path, p.evidence) for p in reason.providers] == [("kernel", str(path), "made")]
    with pytest.raises(UsageError):
        why_file(catalog, "qemu", "vmlinux-6.12.9", (X,))


@pytest.mark.parametrize(
    ("shim", "target", "arches", "words", "hint"),
    [
        ("qeum", "kernel", (X,), 'unknown shim "qeum"', 'did you mean "qemu"?'),
        ("qemu-se", "kernel", (X,), 'shim "qemu-se" has no components on x86_64', '"qemu-se" exists on s390x'),
        ("qemu", "vmlinx.container", (X,), '"vmlinx.container" is no component', 'did you mean "vmlinux.container"?'),
        ("qemu", "kernle", (X,), '"kernle" is no component', 'did you mean "kernel"?'),
        ("qemu", "../../etc/shadow", (X,), "is no component and no path", None),
        ("qemu", "/etc/shadow", (X,), "no component or configuration has a file", "give a component, a path"),
        ("qemu", "", (X,), "is no component and no path", None),
        ("qemu", "a\0b", (X,), "is no component and no path", None),
    ],
)
def test_what_does_not_exist_is_refused_with_a_hint(catalog, shim, target, arches, words, hint):
    with pytest.raises(UsageError) as caught:
        why_file(catalog, shim, target, arches)
    assert words in str(caught.value)
    assert hint is None or hint in (caught.value.hint or "")


def test_an_unknown_component_is_refused(catalog):
    with pytest.raises(UsageError, match='unknown component "kernle"'):
        why_component(catalog, "qemu", "kernle", (X,))
    assert is_component(catalog, "kernel")
    assert not is_component(catalog, "kernle")


def test_the_lines_that_name_paths_are_found_in_the_order_of_the_file(catalog):
    config = catalog.shims["qemu-nvidia-gpu-tdx-runtime-rs"].configs[X]
    assert [setting.key for setting in config_paths(config)] == [
        "hypervisor_path",
        "kernel",
        "image",
        "firmware",
        "virtio_fs_daemon",
        "guest_extension_images",
        "guest_extension_images",
    ]
    shim, component = catalog.shims["qemu-nvidia-gpu-tdx-runtime-rs"], catalog.components["rootfs-image-coco-extension"]
    assert [s.path for s in settings_of_component(shim, component, X)] == [
        "/opt/kata/share/kata-containers/kata-containers-coco-extension.img"
    ]
    assert settings_of_component(shim, component, A) == ()
