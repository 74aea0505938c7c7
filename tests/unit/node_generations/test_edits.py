"""Host edits: made once, taken back three-way, by what the receipt says."""

from __future__ import annotations

import os

import pytest

from kata_bundle.core.errors import BundleError, HostError, InstallError, InstallRestoredError
from kata_bundle.core.fsops import FileOps
from kata_bundle.node.edits import PristineHost
from kata_bundle.node.hostedit import HostEdit
from kata_bundle.node.install import plan_install
from kata_bundle.node.machine import RecordingServices
from kata_bundle.node.rollback import rollback
from kata_bundle.node.state import load_state
from kata_bundle.node.uninstall import plan_uninstall, uninstall
from kata_bundle.node.verify import verify
from tests.fixtures.faults import MAIN, edits, host_files
from tests.fixtures.node import snapshot

DROP_IN = "/opt/kata/containerd/config.d/kata-deploy.toml"
CRIO = "/etc/crio/crio.conf.d/99-kata-deploy"


def whole(path, text, **more):
    return HostEdit(path=path, after=None if text is None else text.encode(), reason="test", **more)


@pytest.fixture
def host(world):
    host_files(world.root)
    return world.root


def at(host, path):
    return host / path.lstrip("/")


def calls(machine):
    return [dict(what) for what in machine.services.calls]


def test_edits_are_applied_and_taken_back_to_the_byte(world, host, v1, put):
    before = snapshot(host)
    times = at(host, MAIN).stat().st_mtime_ns
    done = put(v1, "qemu", edits=edits("1"))
    assert DROP_IN.encode() in at(host, MAIN).read_bytes()
    assert at(host, DROP_IN).read_bytes() == b"version = 1\n"
    assert verify(world.machine(), done.receipt).is_clean
    uninstall(world.machine())
    assert snapshot(host) == before
    assert at(host, MAIN).stat().st_mtime_ns == times


def test_mode_and_owner_of_an_administrators_file_are_kept(world, host, v1, put):
    at(host, MAIN).chmod(0o640)
    if os.geteuid() == 0:
        os.chown(at(host, MAIN), 7, 8)
    put(v1, "qemu", edits=edits("1"))
    found = at(host, MAIN).stat()
    assert found.st_mode & 0o777 == 0o640
    if os.geteuid() == 0:
        assert (found.st_uid, found.st_gid) == (7, 8)


def test_a_reinstall_writes_no_file_and_calls_no_service(world, host, v1, put):
    put(v1, "qemu", edits=edits("1"), services=({"call": "enable", "unit": "x.service"},))
    before = snapshot(host, inodes=True)
    machine = world.machine()
    done = put(v1, "qemu", machine=machine, edits=edits("1"), services=({"call": "enable", "unit": "x.service"},))
    assert done.plan.changes_nothing
    assert calls(machine) == []
    assert snapshot(host, inodes=True) == before


def test_only_a_change_of_what_a_program_loads_restarts_it(world, host, v1, v2, put):
    machine = world.machine()
    put(v1, "qemu", machine=machine, edits=edits("1"), restarts={"containerd": {"call": "restart", "unit": "containerd.service"}})
    assert calls(machine) == [{"call": "restart", "unit": "containerd.service"}]
    machine = world.machine()
    put(v2, "qemu", machine=machine, edits=edits("1"))
    assert calls(machine) == []
    put(v2, "qemu", machine=machine, edits=edits("2"))
    assert calls(machine) == [{"call": "restart", "program": "containerd"}]


def test_what_the_administrator_edits_in_between_survives(world, host, v1, put):
    main = at(host, MAIN)
    put(v1, "qemu", edits=edits("1"))
    main.write_text(main.read_text().replace('"x"', '"y"') + "# later\n")
    edited = main.read_text()
    assert verify(world.machine(), load_state(world.site).receipt).is_clean
    put(v1, "qemu", edits=edits("2"))
    assert main.read_text() == edited
    main.write_text(main.read_text() + "# last\n")
    plan = plan_uninstall(world.machine())
    assert any(MAIN in note for note in plan.notes)
    uninstall(world.machine())
    assert (
        main.read_text() == 'version = 2\n\n# mine\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "y"\n# later\n# last\n'
    )


def test_our_keys_taken_out_by_somebody_are_drift_and_come_back(world, host, v1, put):
    original = at(host, MAIN).read_text()
    put(v1, "qemu", edits=edits("1"))
    at(host, MAIN).write_text(original)
    assert MAIN in verify(world.machine(), load_state(world.site).receipt).changed
    put(v1, "qemu", edits=edits("1"))
    assert DROP_IN in at(host, MAIN).read_text()
    uninstall(world.machine())
    assert at(host, MAIN).read_text() == original


def test_a_file_that_the_install_created_goes_unless_somebody_used_it(world, host, v1, put):
    at(host, MAIN).unlink()
    put(v1, "qemu", edits=edits("1"))
    assert at(host, MAIN).exists()
    uninstall(world.machine())
    assert not at(host, MAIN).exists()
    put(v1, "qemu", edits=edits("1"))
    with at(host, MAIN).open("a") as stream:
        stream.write('[debug]\nlevel = "info"\n')
    uninstall(world.machine())
    assert at(host, MAIN).read_text() == 'version = 2\n[debug]\nlevel = "info"\n'


def test_a_file_of_ours_that_somebody_edited_goes_and_their_version_is_kept_where_nothing_loads_it(world, host, v1, put):
    put(v1, "qemu", edits=lambda view: [whole(CRIO, "ours")])
    at(host, CRIO).write_text("theirs")
    uninstall(world.machine())
    assert not at(host, CRIO).parent.exists()
    assert at(host, "/etc/crio/99-kata-deploy.edited").read_text() == "theirs"


def test_a_whole_file_puts_back_what_was_there(world, host, v1, put):
    at(host, CRIO).parent.mkdir(parents=True)
    at(host, CRIO).write_text("before")
    at(host, CRIO).chmod(0o600)
    for text in ("one", "two"):
        put(v1, "qemu", edits=lambda view, text=text: [whole(CRIO, text)])
    uninstall(world.machine())
    assert at(host, CRIO).read_text() == "before"
    assert at(host, CRIO).stat().st_mode & 0o777 == 0o600


def test_a_file_that_another_installer_of_this_tree_made_is_not_put_back(world, host, v1, put):
    at(host, CRIO).parent.mkdir(parents=True)
    at(host, CRIO).write_text("from the reference installer")
    put(v1, "qemu", edits=lambda view: [whole(CRIO, "ours")], ours=frozenset({CRIO}))
    uninstall(world.machine())
    assert not at(host, CRIO).exists()


def test_an_edit_no_longer_wanted_is_taken_back_at_the_next_install(world, host, v1, put):
    before = snapshot(host)
    put(v1, "qemu", edits=edits("1"))
    done = put(v1, "qemu", edits=lambda view: [edits("1")(view)[0]])
    assert not at(host, DROP_IN).exists()
    assert "imports" not in at(host, MAIN).read_text()
    assert [edit.path for edit in done.receipt.edits] == [CRIO]
    uninstall(world.machine())
    assert snapshot(host) == before


def test_two_edits_of_one_file_are_refused(world, host, v1, put):
    with pytest.raises(HostError, match=f"two edits of {CRIO}"):
        put(v1, "qemu", edits=lambda view: [whole(CRIO, "1"), whole(CRIO, "2")])


def test_a_file_that_must_not_exist_goes_and_comes_back(world, host, v1, put):
    stale = "/etc/old.conf"
    at(host, stale).write_text("x")
    put(v1, "qemu", edits=lambda view: [whole(stale, None)])
    assert not at(host, stale).exists()
    assert put(v1, "qemu", edits=lambda view: [whole(stale, None)]).plan.changes_nothing
    uninstall(world.machine())
    assert at(host, stale).read_text() == "x"


def test_planning_sees_the_host_as_if_nothing_was_ever_edited(world, host, v1, put):
    original = at(host, MAIN).read_bytes()
    done = put(v1, "qemu", edits=edits("1"))
    view = PristineHost(world.machine(), done.receipt.edits)
    assert view.read(MAIN) == original
    assert view.read(DROP_IN) is None
    assert view.read("/etc/nothing") is None
    assert view.names("/etc/crio/crio.conf.d") == ()
    assert view.names("/etc/containerd") == ("config.toml",)
    assert view.is_directory("/etc/containerd")


def test_a_rollback_brings_the_older_edits_back_and_keeps_the_administrators(world, host, v1, v2, put):
    put(v1, "qemu", edits=edits("1"))
    put(v2, "qemu", edits=edits("2"))
    assert at(host, DROP_IN).read_bytes() == b"version = 2\n"
    with at(host, MAIN).open("a") as stream:
        stream.write("# later\n")
    machine = world.machine()
    done = rollback(machine)
    assert at(host, DROP_IN).read_bytes() == b"version = 1\n"
    assert at(host, MAIN).read_text().endswith("# later\n")
    assert DROP_IN in at(host, MAIN).read_text()
    assert calls(machine) == [{"call": "restart", "program": "containerd"}]
    assert verify(world.machine(), done.receipt).is_clean
    uninstall(world.machine())
    assert at(host, MAIN).read_text().count("# later") == 1
    assert "imports" not in at(host, MAIN).read_text()


def test_an_uninstall_that_cannot_finish_keeps_the_tree_and_is_planned_anew(world, host, v1, put):
    before = snapshot(host)
    put(v1, "qemu", edits=edits("1"))

    def refuse(verb, path):
        if verb == "rename" and path.endswith(MAIN):
            raise OSError(30, "Read-only file system", path)

    with pytest.raises(InstallError, match=r"config\.toml"):
        uninstall(world.machine(FileOps(refuse)))
    assert (world.folder / "bin/kata-runtime").exists()
    assert not at(host, CRIO).exists()
    with at(host, MAIN).open("a") as stream:
        stream.write("# meanwhile\n")
    uninstall(world.machine())
    after = snapshot(host)
    assert after.pop(MAIN[1:])[0][2] == before.pop(MAIN[1:])[0][2] + b"# meanwhile\n"
    assert after == before


def test_a_unit_that_cannot_be_stopped_does_not_keep_the_rest_from_going(world, host, v1, put):
    before = snapshot(host)
    put(v1, "qemu", edits=edits("1"), stopping=({"verb": "stop", "unit": "n.service"},))
    machine = world.machine()
    machine.services = Stubborn()
    with pytest.raises(InstallError, match=r"stop n\.service"):
        uninstall(machine)
    assert snapshot(host) == before


def test_a_runtime_that_loads_nothing_new_is_not_asked(world, host, v1, v2, put):
    put(v1, "qemu", edits=edits("1"))
    machine = world.machine()
    machine.services = Refusing()
    assert put(v2, "qemu", machine=machine, edits=edits("1")).receipt.generation == 2


class Stubborn(RecordingServices):
    def call(self, what):
        if what.get("verb") == "stop":
            message = "it does not stop"
            raise HostError(message)


class Refusing(RecordingServices):
    def confirm(self):
        message = "the runtime does not serve kata-qemu"
        raise HostError(message, hint="look at its log")


def test_a_failing_gate_has_everything_taken_back_and_the_services_called_again(world, host, v1, v2, put):
    put(v1, "qemu", edits=edits("1"))
    before = snapshot(host)
    machine = world.machine()
    machine.services = Refusing()
    with pytest.raises(InstallRestoredError, match="does not serve kata-qemu") as caught:
        put(v2, "qemu", machine=machine, edits=edits("2"))
    assert caught.value.hint == "look at its log"
    assert snapshot(host) == before
    assert calls(machine) == [{"call": "restart", "program": "containerd"}] * 2


def test_a_failure_before_any_service_was_called_calls_none(world, host, v1, put):
    machine = world.machine(FileOps(_refuse_main))
    with pytest.raises(InstallRestoredError):
        put(v1, "qemu", machine=machine, edits=edits("1"))
    assert calls(machine) == []


def _refuse_main(verb, path):
    if verb == "rename" and path.endswith(MAIN):
        raise OSError(28, "No space left on device", path)


def test_a_change_between_planning_and_applying_is_refused_and_kept(world, host, v1, put):
    def meddle(verb, path):
        if verb == "write" and path.endswith("journal.json.new"):
            at(host, MAIN).write_text("# meanwhile\n")

    with pytest.raises(InstallRestoredError, match="changed while"):
        put(v1, "qemu", machine=world.machine(FileOps(meddle)), edits=edits("1"))
    assert at(host, MAIN).read_text() == "# meanwhile\n"
    assert not world.folder.exists()


def test_a_file_that_is_no_toml_any_more_stops_before_anything_is_changed(world, host, v1, put):
    put(v1, "qemu", edits=edits("1"))
    at(host, MAIN).write_text("not = = toml\n")
    before = snapshot(host)
    for action in (uninstall, lambda machine: put(v1, "qemu", machine=machine, edits=edits("1"))):
        with pytest.raises(BundleError, match=r"config\.toml"):
            action(world.machine())
        assert snapshot(host) == before


def test_a_linked_configuration_is_edited_where_it_is(world, host, v1, put):
    real = at(host, "/var/managed.toml")
    at(host, MAIN).rename(real)
    at(host, MAIN).symlink_to("/var/managed.toml")
    before = snapshot(host)
    put(v1, "qemu", edits=edits("1"))
    assert at(host, MAIN).is_symlink()
    assert DROP_IN in real.read_text()
    uninstall(world.machine())
    assert snapshot(host) == before


def test_temporary_files_lie_outside_directories_that_programs_load_whole(world, host, v1, put):
    seen = []
    put(v1, "qemu", machine=world.machine(FileOps(lambda verb, path: seen.append(path))), edits=edits("1"))
    assert not [path for path in seen if ".d/" in path and "kata-bundle-new" in path]


def test_a_plan_tells_every_edit_with_its_reason(world, host, v1):
    plan = plan_install(world.machine(), world.desired(v1, "qemu", edits=edits("1")))
    lines = {operation.subject: operation.reason for operation in plan.operations}
    assert lines[MAIN] == "loads the drop-in"
    assert "restart containerd" in lines
    assert plan.to_dict()["operations"]


def test_two_installs_share_a_file_and_go_in_any_order(tmp_path, v1):
    from itertools import permutations

    from kata_bundle.node.install import install
    from tests.fixtures.node import World

    for i, order in enumerate(permutations(["", "-a", "-b"])):
        root = tmp_path / f"root{i}"
        root.mkdir()
        host_files(root)
        before = snapshot(root)
        worlds = {suffix: World(root, f"/opt/kata{suffix}") for suffix in ("", "-a", "-b")}
        for suffix, world in worlds.items():
            install(world.machine(), world.desired(v1, "qemu", edits=edits("1", suffix)))
        for suffix in order:
            uninstall(worlds[suffix].machine())
            for other, world in worlds.items():
                if load_state(world.site).receipt is not None:
                    assert verify(world.machine(), load_state(world.site).receipt).is_clean, (order, suffix, other)
        assert snapshot(root) == before, order
