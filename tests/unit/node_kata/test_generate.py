"""What an install generates for its handlers, case by case."""

from __future__ import annotations

import tomllib

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.core.process import run
from kata_bundle.core.tree import Symlink
from kata_bundle.node.config.model import AnnotationRule, CustomRuntime, NodeConfig, ProxySetting
from kata_bundle.node.kata import kata_configuration, runtime_handlers
from kata_bundle.node.kata.devkit import IMAGE, ROOT_HASH
from kata_bundle.node.kata.dropins import DropIn
from kata_bundle.node.kata.header import MARKER, with_header
from kata_bundle.node.kata.prefix import Wrapper
from kata_bundle.node.kata.reconcile import is_still_wanted
from kata_bundle.node.overlay import OverlayLink
from kata_bundle.node.selection import extra_components, installable
from kata_bundle.node.shimfacts import UnknownShimError, load_facts
from kata_bundle.node.userfiles import MANAGED_NAMES
from tests.fixtures.payload import MemoryPayload, apply_overlay

FACTS = load_facts()
ROOT = "share/defaults/kata-containers"
QEMU = f"{ROOT}/configuration-qemu.toml"
OWN = f"{ROOT}/runtimes/qemu"
MINE = f"{ROOT}/custom-runtimes/mine"
BASE = """\
# upstream's own words
[hypervisor.qemu]
path = "/opt/kata/bin/qemu-system-x86_64" # the emulator
kernel = "/opt/kata/share/k"
image = "/opt/kata/share/i"
valid_hypervisor_paths = ["/opt/kata/bin/qemu-system-x86_64", "/usr/bin/qemu*"]
enable_annotations = ["kernel_params"]
kernel_params = "quiet"
shared_fs = "none"

[[hypervisor.qemu.guest_extension_images]]
name = "coco"
path = "/opt/kata/share/coco.img"
verity_params = "root_hash=1"

[[hypervisor.qemu.guest_extension_images]]
name = "devkit"
path = "/old"

[runtime]
enable_debug = false
"""
PAYLOAD = {
    QEMU: BASE.encode(),
    "bin/qemu-system-x86_64": b"",
    "share/k-1": b"",
    "share/k": Symlink(target="k-1"),
    "share/i": b"",
    "share/coco.img": b"",
    "share/kata-qemu/qemu/bios": b"",
}


def made(config=None, payload=None, **more):
    settings = {"machine": "x86_64", "shims": ("qemu",), **(config or {}), **more}
    runtime = settings.pop("runtime", "containerd")
    extra = {key: settings.pop(key) for key in ("versions", "user_files") if key in settings}
    return kata_configuration(MemoryPayload(payload or PAYLOAD), NodeConfig(**settings), FACTS, runtime=runtime, **extra)


def toml(result, path):
    return tomllib.loads(result.overlay.files[path].data.decode())


def names(result, folder):
    return sorted(path.rpartition("/")[2] for path in result.overlay.files if path.startswith(f"{folder}/config.d/"))


# -- per-shim directory (installer specification §6)


def test_the_original_becomes_a_relative_link_to_a_copy_with_a_header():
    result = made()
    assert result.overlay.files[QEMU] == OverlayLink(target="runtimes/qemu/configuration-qemu.toml")
    copy = result.overlay.files[f"{OWN}/configuration-qemu.toml"].data.decode()
    assert copy.startswith(f"# {MARKER}")
    assert copy.endswith("\n\n" + BASE)
    assert f"{OWN}/config.d" in result.overlay.directories
    assert names(result, OWN) == []
    assert result.notes == ()


def test_a_tree_that_was_configured_in_place_keeps_its_configuration():
    copy = with_header(BASE.encode())
    linked = {**PAYLOAD, QEMU: Symlink(target="runtimes/qemu/configuration-qemu.toml"), f"{OWN}/configuration-qemu.toml": copy}
    assert made(payload=linked).overlay.files[f"{OWN}/configuration-qemu.toml"].data == copy
    only_copy = {path: data for path, data in linked.items() if path != QEMU}
    assert made(payload=only_copy).overlay.files[f"{OWN}/configuration-qemu.toml"].data == copy


@pytest.mark.parametrize("data", [b"a = ", b"\xff"])
def test_a_malformed_configuration_is_refused_by_name(data):
    with pytest.raises(HostError, match=r"configuration-qemu\.toml is not valid TOML"):
        made(payload={QEMU: data})


def test_kernel_parameters_that_are_no_text_are_refused():
    with pytest.raises(HostError, match=r"hypervisor\.qemu\.kernel_params"):
        made(payload={QEMU: b"[hypervisor.qemu]\nkernel_params = 1\n"}, https_proxy=ProxySetting(everywhere="http://p"))


def test_a_shim_nobody_knows_is_refused():
    with pytest.raises(UnknownShimError, match="test1"):
        made(shims=("test1",))


# -- drop-ins (§7)


def test_the_names_of_drop_ins_are_those_that_users_cannot_have():
    assert {str(name) for name in DropIn} == MANAGED_NAMES


@pytest.mark.parametrize(("runtime", "expected"), [("k0s-worker", True), ("k0s-controller", True), ("k3s", False)])
def test_only_k0s_moves_the_kubelet_root(runtime, expected):
    assert (DropIn.K0S in names(made(runtime=runtime), OWN)) is expected


def test_debug_never_reaches_the_plain_handler():
    assert names(made(debug=True), OWN) == []


def test_a_users_drop_in_is_copied_byte_for_byte():
    result = made(shim_drop_ins={"qemu": b"# mine\r\n"})
    assert result.overlay.files[f"{OWN}/config.d/50-user-overrides.toml"].data == b"# mine\r\n"


def test_every_drop_in_begins_with_two_comment_lines_and_no_blank_line():
    result = made(runtime="k0s-worker", suffix="dev", https_proxy=ProxySetting(everywhere="http://p"))
    files = [item.data.decode() for path, item in result.overlay.files.items() if "/config.d/" in path]
    assert len(files) == 3
    for text in files:
        first, second, third = text.splitlines()[:3]
        assert first.startswith("# ")
        assert second.startswith("# ")
        assert not third.startswith("#")


def test_a_moved_install_rewrites_only_what_names_the_payloads_directory():
    prefix = toml(made(suffix="dev"), f"{OWN}/config.d/{DropIn.PREFIX}")
    assert prefix == {
        "hypervisor": {
            "qemu": {
                "path": "/opt/kata-dev/bin/qemu-system-x86_64-installation-prefix",
                "kernel": "/opt/kata-dev/share/k",
                "image": "/opt/kata-dev/share/i",
                "valid_hypervisor_paths": ["/opt/kata-dev/bin/qemu-system-x86_64", "/usr/bin/qemu*"],
                "guest_extension_images": [
                    {"name": "coco", "path": "/opt/kata-dev/share/coco.img", "verity_params": "root_hash=1"},
                    {"name": "devkit", "path": "/old"},
                ],
            }
        }
    }


def test_names_that_only_begin_like_the_payloads_directory_stay():
    payload = {QEMU: b'[hypervisor.qemu]\nkernel = "/opt/katana/k"\nimage = "/opt/kata"\n'}
    prefix = toml(made(payload=payload, suffix="dev"), f"{OWN}/config.d/{DropIn.PREFIX}")
    assert prefix == {"hypervisor": {"qemu": {"image": "/opt/kata-dev"}}}


def test_an_emulator_of_the_host_needs_no_wrapper():
    payload = {QEMU: b'[hypervisor.qemu]\npath = "/usr/bin/qemu"\n'}
    result = made(payload=payload, suffix="dev")
    assert not [path for path in result.overlay.files if path.endswith("-installation-prefix")]
    assert toml(result, f"{OWN}/config.d/{DropIn.PREFIX}") == {}


def test_an_unexpected_emulator_of_the_payload_keeps_its_own_firmware():
    payload = {QEMU: b'[hypervisor.qemu]\npath = "/opt/kata/bin/qemu-system-x86_64-snp-experimental"\n'}
    script = made(payload=payload, suffix="dev").overlay.files["bin/qemu-system-x86_64-snp-experimental-installation-prefix"]
    assert b"/opt/kata-dev/share/kata-qemu-snp-experimental/qemu/" in script.data


@pytest.mark.parametrize("dest", ["/opt/kata-x", "/a b/opt/kata", "/a'b\"$(x)`y`/opt/kata", "/ü/opt/kata"])
def test_the_wrapper_runs_the_emulator_with_all_arguments_then_the_firmware_folder(tmp_path, dest):
    where = f"{tmp_path}{dest}"
    program = tmp_path / dest[1:] / "bin/emulator"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nfor word in "$0" "$@"; do printf "%s\\n" "$word"; done\n')
    program.chmod(0o755)
    script = tmp_path / "wrapper"
    script.write_bytes(Wrapper(path="x", program="bin/emulator", firmware_folder="share/fw/").script(where))
    script.chmod(0o755)
    out = run([str(script), "a b", "", "$HOME"]).stdout.decode()
    assert out.splitlines() == [str(program), "a b", "", "$HOME", "-L", f"{where}/share/fw/"]


# -- kernel parameters (§8)


def test_kernel_parameters_come_after_the_shims_own():
    both = {"https_proxy": ProxySetting(everywhere="http://p"), "no_proxy": ProxySetting(per_shim=(("qemu", "x"),))}
    values = toml(made(**both), f"{OWN}/config.d/{DropIn.KERNEL_PARAMETERS}")
    assert values == {"hypervisor": {"qemu": {"kernel_params": "quiet agent.https_proxy=http://p agent.no_proxy=x"}}}


def test_a_file_with_a_password_is_for_its_owner_only():
    path = f"{OWN}/config.d/{DropIn.KERNEL_PARAMETERS}"
    assert made(https_proxy=ProxySetting(everywhere="http://p")).overlay.files[path].mode == 0o644
    assert made(https_proxy=ProxySetting(everywhere="http://u:w@p")).overlay.files[path].mode == 0o600


def test_a_later_drop_in_that_discards_our_kernel_parameters_is_pointed_out():
    mine = b'[hypervisor.qemu]\nkernel_params = "mine"\n'
    proxy = ProxySetting(everywhere="http://p")
    assert any("discards" in note for note in made(shim_drop_ins={"qemu": mine}, https_proxy=proxy).notes)
    carried = {f"{OWN}/config.d/60-mine.toml": mine}
    assert any("60-mine.toml sets" in note for note in made(user_files=carried, https_proxy=proxy).notes)
    before = {f"{OWN}/config.d/05-mine.toml": mine, f"{MINE}/config.d/60-mine.toml": mine}
    assert made(user_files=before, https_proxy=proxy).notes == ()
    assert made(user_files=carried).notes == ()


def test_a_carried_drop_in_that_is_no_toml_is_pointed_out():
    assert any("60-x.toml" in note for note in made(user_files={f"{OWN}/config.d/60-x.toml": b"="}).notes)


# -- annotations and guest pull (§9, §10)


def test_annotations_are_merged_into_the_copy_and_nothing_else_changes():
    rules = (AnnotationRule(shim="qemu", annotations=("b", "a")), AnnotationRule(shim="fc", annotations=("z",)))
    result = made(annotation_rules=(*rules, AnnotationRule(shim=None, annotations=("kernel_params",))))
    copy = result.overlay.files[f"{OWN}/configuration-qemu.toml"].data.decode()
    assert copy.endswith(BASE.replace('["kernel_params"]', '["a", "b", "kernel_params"]'))


def test_an_annotation_list_that_is_none_is_refused():
    with pytest.raises(HostError, match="enable_annotations"):
        made(
            payload={QEMU: b"[hypervisor.qemu]\nenable_annotations = 1\n"},
            annotation_rules=(AnnotationRule(shim=None, annotations=("a",)),),
        )


def test_guest_pull_is_forced_once():
    copy = f"{OWN}/configuration-qemu.toml"
    result = made(forced_guest_pull=("qemu",))
    assert toml(result, copy)["runtime"]["experimental_force_guest_pull"] is True
    again = made(forced_guest_pull=("qemu",), payload={QEMU: result.overlay.files[copy].data})
    assert again.overlay.files[copy] == result.overlay.files[copy]


# -- custom runtimes and variants (§11, §12)


def mine(**more):
    return CustomRuntime(handler="mine", base="qemu", **more)


def test_a_custom_runtime_inherits_its_shims_edits_but_not_its_drop_ins():
    result = made(
        custom_runtimes=(mine(drop_in=b"[runtime]\n"),),
        annotation_rules=(AnnotationRule(shim="qemu", annotations=("a",)),),
        forced_guest_pull=("qemu",),
        shim_drop_ins={"qemu": b"# the shim's\n"},
    )
    assert result.overlay.files[f"{MINE}/configuration-qemu.toml"] == result.overlay.files[f"{OWN}/configuration-qemu.toml"]
    assert names(result, MINE) == ["50-overrides.toml"]


def test_a_custom_runtime_on_a_shim_that_is_not_enabled_gets_the_plain_configuration():
    result = made(shims=(), custom_runtimes=(mine(),), annotation_rules=(AnnotationRule(shim=None, annotations=("a",)),))
    assert result.overlay.files[f"{MINE}/configuration-qemu.toml"].data == with_header(BASE.encode())
    assert QEMU not in result.overlay.files


def test_a_custom_runtime_without_its_base_configuration_is_refused():
    with pytest.raises(HostError, match='"mine" is based on "clh"'):
        made(custom_runtimes=(CustomRuntime(handler="mine", base="clh"),))


def test_custom_runtimes_of_rust_shims_lie_in_the_same_directory():
    base = f"{ROOT}/runtime-rs/configuration-qemu-runtime-rs.toml"
    runtime = CustomRuntime(handler="mine", base="qemu-runtime-rs")
    result = made(shims=(), payload={base: BASE.encode()}, custom_runtimes=(runtime,), runtime="k0s-worker")
    assert f"{MINE}/configuration-qemu-runtime-rs.toml" in result.overlay.files
    assert names(result, MINE) == []


def test_a_debug_variant_has_debug_content_and_parameters():
    result = made(debug=True, custom_runtimes=(mine(is_debug=True),))
    assert names(result, MINE) == [DropIn.DEBUG, DropIn.KERNEL_PARAMETERS]
    params = toml(result, f"{MINE}/config.d/{DropIn.KERNEL_PARAMETERS}")["hypervisor"]["qemu"]["kernel_params"]
    assert params == "quiet agent.log=debug initcall_debug"


def devkit(payload, **more):
    runtime = mine(is_debug=True, is_devkit=True)
    result = made(debug=True, devkit=True, custom_runtimes=(runtime,), payload={**PAYLOAD, **payload}, **more)
    return result, toml(result, f"{MINE}/config.d/{DropIn.DEVKIT}")["hypervisor"]["qemu"]["guest_extension_images"]


def test_the_devkit_comes_last_with_its_root_hash_and_every_path_follows_the_install():
    result, extensions = devkit({IMAGE: b"", ROOT_HASH: b"\n root_hash=2 \nmore\n"}, suffix="dev")
    assert extensions == [
        {"name": "coco", "path": "/opt/kata-dev/share/coco.img", "verity_params": "root_hash=1"},
        {"name": "devkit", "path": f"/opt/kata-dev/{IMAGE}", "verity_params": "root_hash=2"},
    ]
    assert [note for note in result.notes if "devkit" in note] == []


@pytest.mark.parametrize("files", [{IMAGE: b""}, {IMAGE: b"", ROOT_HASH: b" \n"}, {IMAGE: b"", ROOT_HASH: b"\xff"}])
def test_a_devkit_without_root_hash_is_pointed_out(files):
    result, extensions = devkit(files)
    assert "verity_params" not in extensions[-1]
    assert any("no root hash" in note for note in result.notes)


def test_extensions_that_are_malformed_are_left_out():
    entries = '[1, {name = "a"}, {path = "/b"}, {name = "", path = "/c"}, {name = 1, path = "/d"}]'
    text = f"[hypervisor.qemu]\nguest_extension_images = {entries}\n"
    _, extensions = devkit({QEMU: text.encode(), IMAGE: b""})
    assert [entry["name"] for entry in extensions] == ["devkit"]


def test_a_devkit_image_that_is_missing_is_pointed_out():
    result, _ = devkit({})
    assert any(str(IMAGE) in note and "no selected component" in note for note in result.notes)


# -- what is left out and kept (§12.4, §13)


def test_debug_tools_and_devkit_files_are_left_out_when_they_are_not_wanted():
    payload = {**PAYLOAD, "bin/kata-ctl": b"", IMAGE: b"", ROOT_HASH: b""}
    assert made(payload=payload).overlay.removals == {"bin/kata-ctl", IMAGE, ROOT_HASH}
    assert made(payload=payload, debug=True).overlay.removals == {IMAGE, ROOT_HASH}
    assert made(payload=payload, debug=True, devkit=True).overlay.removals == frozenset()
    assert made().overlay.removals == frozenset()


def test_the_version_record_is_copied_when_there_is_one():
    assert made(versions=b"a: 1\n").overlay.files["versions.yaml"].data == b"a: 1\n"
    assert "versions.yaml" not in made().overlay.files


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (f"{OWN}/config.d/60-x.toml", True),
        (f"{ROOT}/runtimes/clh/config.d/60-x.toml", True),
        (f"{ROOT}/custom-runtimes/kata-qemu-debug/config.d/60-x.toml", False),
        (f"{ROOT}/custom-runtimes/kata-clh-devkit/config.d/60-x.toml", False),
        (f"{ROOT}/custom-runtimes/my-debug/config.d/60-x.toml", True),
        (f"{ROOT}/custom-runtimes/kata-fc-debug/config.d/60-x.toml", True),
    ],
)
def test_users_files_stay_except_in_directories_of_former_variants(path, wanted):
    current = CustomRuntime(handler="kata-fc-debug", base="fc", is_debug=True)
    assert is_still_wanted(path, NodeConfig(machine="x86_64", custom_runtimes=(current,)), FACTS) is wanted


def test_variants_bring_further_components():
    assert extra_components(NodeConfig(machine="x86_64"), {"kata-ctl"}) == ()
    assert extra_components(NodeConfig(machine="x86_64", debug=True), ()) == ()
    assert extra_components(NodeConfig(machine="x86_64", debug=True), {"kata-ctl"}) == ("kata-ctl",)
    both = NodeConfig(machine="x86_64", debug=True, devkit=True)
    assert extra_components(both, {"kata-ctl"}) == ("rootfs-image-devkit-extension", "kata-ctl")


def test_shims_without_components_are_left_out_with_their_variants():
    variant = CustomRuntime(handler="kata-fc-debug", base="fc", is_debug=True)
    config = NodeConfig(
        machine="s390x", shims=("fc", "qemu"), default_shim="fc", forced_guest_pull=("fc", "qemu"), custom_runtimes=(variant,)
    )
    kept, notes = installable(config, ("fc",))
    assert (kept.shims, kept.default_shim, kept.forced_guest_pull, kept.custom_runtimes) == (("qemu",), "qemu", ("qemu",), ())
    assert len(notes) == 1
    assert installable(config, ()) == (config, ())
    assert installable(config, ("fc", "qemu"))[0].default_shim is None


def test_a_custom_runtime_on_a_shim_without_components_is_refused():
    config = NodeConfig(machine="s390x", shims=("qemu",), custom_runtimes=(CustomRuntime(handler="mine", base="fc"),))
    with pytest.raises(HostError, match='"mine" is based on "fc"'):
        installable(config, ("fc",))


# -- paths


def test_paths_that_no_component_brings_are_reported_with_their_key():
    result = made(payload={QEMU: BASE.encode()}, suffix="dev")
    (first, *_) = [absent for absent in result.absent if absent.key.endswith("kernel")]
    assert (first.handler, first.key, first.path, first.reason) == (
        "kata-qemu-dev",
        "hypervisor.qemu.kernel",
        "/opt/kata-dev/share/k",
        None,
    )
    assert first.note in result.notes


def test_a_link_to_nowhere_counts_as_absent():
    payload = {**PAYLOAD, "share/k": Symlink(target="gone")}
    assert any(absent.key.endswith("kernel") for absent in made(payload=payload).absent)


def test_patterns_count_as_there_when_something_matches():
    payload = {**PAYLOAD, QEMU: b'[hypervisor.qemu]\nvalid_hypervisor_paths = ["/opt/kata/bin/qemu*", "/opt/kata/bin/x?"]\n'}
    assert [absent.path for absent in made(payload=payload).absent] == ["/opt/kata/bin/x?"]


@pytest.mark.parametrize(("shared_fs", "reason"), [("none", True), ("virtio-fs", False), ("", False), (None, False)])
def test_a_daemon_that_is_not_started_may_be_missing(shared_fs, reason):
    line = "" if shared_fs is None else f'shared_fs = "{shared_fs}"\n'
    payload = {QEMU: f'[hypervisor.qemu]\nvirtio_fs_daemon = "/opt/kata/libexec/virtiofsd"\n{line}'.encode()}
    (absent,) = made(payload=payload).absent
    assert (absent.reason is not None) is reason


def test_a_users_drop_in_that_still_names_opt_kata_in_a_moved_install_is_pointed_out():
    mine = b'[hypervisor.qemu]\nfirmware = "/opt/kata/share/k"\n'
    assert any("firmware names /opt/kata/share/k" in note for note in made(suffix="dev", shim_drop_ins={"qemu": mine}).notes)


def test_image_and_initrd_together_are_pointed_out():
    mine = b'[hypervisor.qemu]\ninitrd = "/opt/kata/share/i"\n'
    assert any("both image and initrd" in note for note in made(shim_drop_ins={"qemu": mine}).notes)


# -- determinism


def test_the_same_input_gives_the_same_overlay_and_lies_on_disk_as_said(tmp_path):
    settings = {"suffix": "dev", "debug": True, "custom_runtimes": (mine(is_debug=True),), "runtime": "k0s-worker"}
    assert made(**settings) == made(**settings)
    result = made(**settings)
    apply_overlay(tmp_path, MemoryPayload(PAYLOAD), result.overlay)
    assert (tmp_path / QEMU).read_bytes() == result.overlay.files[f"{OWN}/configuration-qemu.toml"].data


def test_handlers_come_in_order_with_the_word_mapped_to_them():
    from kata_bundle.node.config.model import ShimMapping

    config = NodeConfig(
        machine="x86_64",
        shims=("qemu", "clh-runtime-rs"),
        suffix="dev",
        snapshotters=ShimMapping((("qemu", "nydus"),)),
        pull_types=ShimMapping((("qemu", "guest-pull"),)),
        custom_runtimes=(CustomRuntime(handler="mine", base="clh-runtime-rs", snapshotter="erofs"),),
    )
    found = runtime_handlers(config, FACTS)
    assert [(h.name, h.shim, h.is_rust, h.snapshotter, h.pull_type) for h in found] == [
        ("kata-qemu-dev", "qemu", False, "nydus", "guest-pull"),
        ("kata-clh-runtime-rs-dev", "clh-runtime-rs", True, None, None),
        ("mine", "clh-runtime-rs", True, "erofs", None),
    ]
    assert found[2].config_path == f"/opt/kata-dev/{MINE}/configuration-clh-runtime-rs.toml"
