"""Installing small payloads into a root directory, and everything that is visible afterwards."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from kata_bundle.core.errors import ArchiveError, HostError, IntegrityError, UsageError
from kata_bundle.core.fsops import FileOps
from kata_bundle.core.relpath import RelPath
from kata_bundle.node.install import install, plan_install
from kata_bundle.node.overlay import Overlay, OverlayFile, OverlayLink
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.faults import overlay
from tests.fixtures.node import CONFIG, SHIMS, World, kernel, snapshot, tarball, write_payload


def test_an_installed_tree_is_reached_through_links_and_verifies(world, v1, put):
    done = put(v1, "qemu")
    assert done.receipt.generation == 1
    assert (world.folder / "bin/containerd-shim-kata-v2").read_bytes() == b"go shim 1"
    assert os.readlink(world.folder / "bin") == ".kata-bundle/current/bin"
    assert os.readlink(world.folder / ".kata-bundle/current") == "generations/1"
    assert verify(world.machine(), done.receipt).is_clean
    assert load_state(world.site).active == 1


def test_the_installed_set_is_exactly_the_components_of_the_selected_shims(world, v1, put):
    done = put(v1, "dragonball")
    assert sorted(done.receipt.layers) == ["kernel", "shim-v2-rust"]
    assert not (world.folder / "bin").exists()
    assert done.receipt.shims == {"dragonball": ("shim-v2-rust", "kernel")}


def test_programs_are_executable_and_set_id_bits_are_gone(world, v1, put):
    put(v1, "qemu")
    assert stat.S_IMODE((world.folder / "bin/kata-runtime").stat().st_mode) == 0o755
    assert stat.S_IMODE((world.folder / "libexec/qemu-bridge-helper").stat().st_mode) == 0o755


def test_a_program_behind_a_link_is_executable_too_but_not_one_in_a_folder_below(world, tmp_path, put):
    entries = {
        "bin/tool": "-> ../libexec/tool",
        "libexec/tool": b"x",
        "bin/lib/data": b"y",
        "bin/abs": "-> /opt/kata/libexec/other",
        "libexec/other": b"z",
    }
    put(write_payload(tmp_path / "p", {"s": ["c"]}, {"c": entries}), "s")
    modes = {
        name: stat.S_IMODE((world.folder / name).lstat().st_mode) for name in ("libexec/tool", "libexec/other", "bin/lib/data")
    }
    assert modes == {"libexec/tool": 0o755, "libexec/other": 0o755, "bin/lib/data": 0o644}


def test_absolute_links_below_the_prefix_follow_the_install_directory(tmp_path, v1):
    (tmp_path / "root").mkdir()
    world = World(tmp_path / "root", "/srv/opt/kata-dev")
    install(world.machine(), world.desired(v1, "qemu"))
    assert os.readlink(world.folder / "share/kata-qemu/default") == "/srv/opt/kata-dev/share/kata-qemu/qemu"


def test_uninstalling_leaves_the_root_as_it_was(world, v1, v2, put):
    (world.root / "etc").mkdir()
    before = snapshot(world.root)
    put(v1, "qemu")
    put(v2, "qemu", "dragonball", overlay=overlay)
    uninstall(world.machine())
    assert snapshot(world.root) == before


def test_an_install_directory_that_was_there_before_stays(world, v1, put):
    world.folder.mkdir(parents=True)
    (world.folder / "mine").write_text("x")
    put(v1, "qemu")
    uninstall(world.machine())
    assert snapshot(world.folder) == {"mine": (("file", "0o644", b"x"),)}


def test_uninstalling_nothing_is_no_error(world):
    uninstall(world.machine())
    assert snapshot(world.root) == {}


@pytest.mark.parametrize("generated", [False, True])
def test_a_reinstall_with_nothing_changed_touches_nothing(world, v1, put, generated):
    parts = {"overlay": overlay} if generated else {}
    put(v1, "qemu", **parts)
    before = snapshot(world.root, inodes=True)
    done = put(v1, "qemu", **parts)
    assert done.plan.changes_nothing
    assert not any(layer["unpack"] for layer in done.plan.layers)
    assert snapshot(world.root, inodes=True) == before


def test_equal_layers_packed_anew_change_nothing_but_the_receipt(world, v1, put):
    put(v1, "clh")
    before = snapshot(world.root / "opt/kata/.kata-bundle/generations", inodes=True)
    data = tarball({**kernel("1")}, prefix="opt/kata/")
    (v1 / "kata-static-kernel.tar.zst").write_bytes(data)
    done = put(v1, "clh")
    assert done.receipt.generation == 1
    assert done.receipt.layers["kernel"].packed_size_bytes == len(data)
    assert snapshot(world.root / "opt/kata/.kata-bundle/generations", inodes=True) == before


def test_an_upgrade_links_what_is_equal_and_modifies_no_linked_file(world, v1, v2, put):
    put(v1, "qemu")
    place = world.folder / "share/kata-qemu/qemu/bios.bin"
    old = place.stat()
    before = {p: p.stat().st_mtime_ns for p in (world.folder / ".kata-bundle/generations/1").rglob("*") if p.is_file()}
    done = put(v2, "qemu")
    assert done.receipt.generation == 2
    assert place.stat().st_ino == old.st_ino
    assert place.stat().st_ino == (world.folder / "share/kata-qemu/qemu/bios-copy.bin").stat().st_ino
    assert (world.folder / "bin/containerd-shim-kata-v2").read_bytes() == b"go shim 2"
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert verify(world.machine(), done.receipt).is_clean


@pytest.mark.parametrize("code", [errno.EMLINK, errno.EXDEV, errno.EPERM])
def test_where_linking_is_impossible_files_are_copied(world, v1, v2, put, code):
    put(v1, "qemu")
    place = world.folder / "share/kata-qemu/qemu/bios.bin"
    old = place.stat().st_ino

    def refuse(verb, path):
        if verb == "link" and "generations/2" in path:
            raise OSError(code, os.strerror(code), path)

    done = put(v2, "qemu", machine=world.machine(FileOps(refuse)))
    assert place.stat().st_ino != old
    assert verify(world.machine(), done.receipt).is_clean


def test_a_damaged_file_is_put_right_by_a_reinstall_and_not_linked(world, v1, put):
    put(v1, "qemu")
    (world.folder / "share/kata-qemu/qemu/bios.bin").write_bytes(b"bad")
    done = put(v1, "qemu")
    assert done.receipt.generation == 2
    assert (world.folder / "share/kata-qemu/qemu/bios.bin").read_bytes() == b"bios" * 50
    assert verify(world.machine(), done.receipt).is_clean


def test_a_lost_link_is_put_right_without_a_new_generation(world, v1, put):
    put(v1, "qemu")
    (world.folder / "bin").unlink()
    done = put(v1, "qemu")
    assert done.receipt.generation == 1
    assert verify(world.machine(), done.receipt).is_clean


def test_two_generations_are_kept(world, v1, v2, put):
    put(v1, "qemu")
    put(v2, "qemu")
    done = put(v1, "clh")
    assert done.pruned == (1,)
    assert sorted(load_state(world.site).receipts) == [2, 3]
    assert sorted(os.listdir(world.folder / ".kata-bundle/generations")) == ["2", "3"]


def test_a_dry_run_makes_the_plan_that_the_install_carries_out(world, v1, v2, put):
    for source, shims in ((v1, ["qemu"]), (v2, ["clh", "dragonball"])):
        before = snapshot(world.root)
        wanted = world.desired(source, *shims, overlay=overlay)
        planned = plan_install(world.machine(), wanted)
        assert snapshot(world.root) == before
        assert install(world.machine(), wanted, approved=planned.digest).plan.to_dict() == planned.to_dict()
    assert plan_install(world.machine(), wanted).changes_nothing


def test_only_the_approved_plan_is_carried_out(world, v1, v2, put):
    planned = plan_install(world.machine(), world.desired(v1, "qemu"))
    with pytest.raises(UsageError, match="approved"):
        install(world.machine(), world.desired(v2, "qemu"), approved=planned.digest)
    assert snapshot(world.root) == {}


def test_generated_files_lie_on_top_of_the_payload_and_the_originals_stay_known(world, v1, v2, put):
    put(v1, "qemu", overlay=overlay)
    config = world.folder / CONFIG / "configuration-qemu.toml"
    assert os.readlink(config) == "runtimes/qemu/configuration-qemu.toml"
    assert config.read_bytes() == b"# managed\n# qemu 1\n"
    put(v2, "qemu", overlay=overlay)
    assert config.read_bytes() == b"# managed\n# qemu 2\n"
    done = put(v2, "qemu")
    assert config.read_bytes() == b"# qemu 2\n"
    assert not any(layer["unpack"] for layer in done.plan.layers)


def test_an_overlay_can_leave_payload_out_and_add_directories(world, v1, put):
    top = Overlay(
        files={RelPath("versions.yaml"): OverlayFile(data=b"v"), RelPath("share/l"): OverlayLink(target="kata-qemu")},
        removals=frozenset({RelPath("libexec"), RelPath("share/kata-qemu/qemu/bios.bin")}),
        directories=frozenset({RelPath("share/new/empty")}),
    )
    done = put(v1, "qemu", overlay=lambda payload: top)
    assert not os.path.lexists(world.folder / "libexec")
    assert (world.folder / "share/kata-qemu/qemu/bios-copy.bin").read_bytes() == b"bios" * 50
    assert (world.folder / "share/new/empty").is_dir()
    assert (world.folder / "versions.yaml").read_bytes() == b"v"
    assert verify(world.machine(), done.receipt).is_clean


def test_generated_files_are_never_shared_between_generations(world, v1, v2, put):
    put(v1, "qemu", overlay=overlay)
    name = f"{CONFIG}/runtimes/qemu/config.d/10-installation-prefix.toml"
    first = (world.folder / name).stat().st_ino
    put(v2, "qemu", overlay=overlay)
    assert (world.folder / name).stat().st_ino != first


def test_the_binary_of_a_deselected_shim_is_retained_until_nothing_can_need_it(world, v1, put):
    put(v1, "qemu", "dragonball")
    done = put(v1, "qemu")
    assert done.receipt.retained == ("runtime-rs/bin/containerd-shim-kata-v2",)
    assert (world.folder / "runtime-rs/bin/containerd-shim-kata-v2").read_bytes() == b"rust shim 1"
    assert not (world.folder / f"{CONFIG}/runtime-rs").exists()
    assert put(v1, "qemu").plan.changes_nothing
    assert put(v1, "clh").receipt.retained == ("runtime-rs/bin/containerd-shim-kata-v2",)


def test_a_later_component_wins_and_the_conflict_is_told(world, tmp_path, put):
    shims, parts = {"s": ["a", "b"]}, {"a": {"share/x": b"1", "share/d/f": b"1"}, "b": {"share/x": b"2", "share/d": b"file"}}
    done = put(write_payload(tmp_path / "p", shims, parts), "s")
    assert (world.folder / "share/x").read_bytes() == b"2"
    assert (world.folder / "share/d").read_bytes() == b"file"
    assert sum('"share/' in note for note in done.plan.notes) == 2
    assert verify(world.machine(), done.receipt).is_clean


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"../../evil": b"x"}, r"\.\."),
        ({"share/up": "-> ../../../../etc"}, "leaves the tree"),
        ({"share/d": "-> /etc", "share/d/passwd": b"x"}, "below"),
        ({"containerd/config.d/x.toml": b"x"}, "reserved"),
        ({".kata-bundle/current": b"x"}, "reserved"),
    ],
)
def test_a_hostile_archive_is_refused_and_leaves_nothing(world, tmp_path, put, entries, message):
    source = write_payload(tmp_path / "p", {"s": ["good", "zevil"]}, {"good": {"bin/x": b"1"}, "zevil": entries})
    with pytest.raises(IntegrityError, match=message):
        put(source, "s")
    assert snapshot(world.root) == {}


def test_a_broken_archive_leaves_the_active_generation_alone(world, v1, v2, put):
    put(v1, "qemu")
    before = snapshot(world.root)
    archive = v2 / "kata-static-kernel.tar.zst"
    archive.write_bytes(archive.read_bytes()[:-8])
    with pytest.raises(ArchiveError):
        put(v2, "qemu")
    assert snapshot(world.root) == before


def test_a_missing_archive_is_named_with_its_component(world, v1, put):
    (v1 / "kata-static-kernel.tar.zst").unlink()
    with pytest.raises(HostError, match=r"kata-static-kernel\.tar\.zst.*\"kernel\""):
        put(v1, "qemu")
    assert snapshot(world.root) == {}


def test_a_shim_without_components_here_changes_nothing(world, tmp_path, v1, put):
    source = write_payload(tmp_path / "p", SHIMS, {})
    text = (source / "shim-components.json").read_text().replace("x86_64", "s390x", 1)
    (source / "shim-components.json").write_text(text)
    done = put(source, "qemu")
    assert done.plan.changes_nothing
    assert snapshot(world.root) == {}


def test_a_shim_nobody_knows_is_an_error_with_a_suggestion(world, v1):
    with pytest.raises(UsageError, match='unknown shim "qemuu"') as caught:
        world.desired(v1, "qemuu")
    assert '"qemu"' in (caught.value.hint or "")


def test_something_in_the_way_is_refused(world, v1, put):
    (world.folder / "share").mkdir(parents=True)
    before = snapshot(world.root)
    with pytest.raises(HostError, match='"/opt/kata/share" is in the way'):
        put(v1, "qemu")
    assert snapshot(world.root) == before


def test_an_install_directory_that_is_a_file_is_refused(world, v1, put):
    world.folder.parent.mkdir()
    world.folder.write_text("x")
    with pytest.raises(HostError, match="not a directory"):
        put(v1, "qemu")


def test_an_install_directory_behind_a_link_is_used(world, v1, put):
    (world.root / "data").mkdir()
    (world.root / "opt").symlink_to("/data")
    put(v1, "qemu")
    assert (world.root / "data/kata/bin/kata-runtime").read_bytes() == b"runtime 1"
    uninstall(world.machine())
    assert os.listdir(world.root / "data") == []


def test_the_umask_does_not_matter(world, v1, put):
    old = os.umask(0o077)
    try:
        done = put(v1, "qemu", overlay=overlay)
    finally:
        os.umask(old)
    assert verify(world.machine(), done.receipt).is_clean
    assert stat.S_IMODE((world.folder / ".kata-bundle/generations/1/bin").stat().st_mode) == 0o755
    assert stat.S_IMODE((world.folder / ".kata-bundle").stat().st_mode) == 0o755
