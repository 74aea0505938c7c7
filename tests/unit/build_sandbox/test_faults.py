"""A full disk, a clock that jumps, a killed program, two at once: nothing wrong is remembered, and the next build is right."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from kata_bundle.build.action import encode_action
from kata_bundle.build.sandbox import Backend, execute
from kata_bundle.build.sandbox.execute import SANDBOXES
from kata_bundle.build.workshop import Workshop
from kata_bundle.core import clock
from kata_bundle.core.errors import BuildError
from kata_bundle.store import Store
from kata_bundle.store.audit import audit
from kata_bundle.store.collect import collect
from tests.unit.store.test_crashes import in_child

pytestmark = pytest.mark.usefixtures("sandbox")

MAKE = "mkdir out; seq 1 60000 > out/a; seq 2 60000 > out/b; cat out/a out/b > out/c"
"""1.4 MB in three files."""
ROOM_KIB = 16 << 10
YEAR = 365 * 86400.0


def run(store, action, **more):
    return Workshop(**more).run(store, action, memory_mib=None, is_cancelled=lambda: False)


def left_over(store):
    """Everything that work leaves in a store when it is not tidied up."""
    places = ("tmp", "checkouts/tmp", SANDBOXES)
    found = [path for place in places if (store.root / place).is_dir() for path in (store.root / place).iterdir()]
    return [*found, *store.root.glob("actions/*.tmp-*"), *store.root.glob("quarantine/*")]


@pytest.fixture
def undisturbed(store, shell):
    return run(store, shell(MAKE)).outputs.digest


# A full disk


@contextmanager
def small_disk(place):
    """Mount a file system of ``ROOM_KIB`` and take it away again."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM_KIB}k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def leave(place, kib):
    """Fill the disk so that ``kib`` are left."""
    room = os.statvfs(place)
    with open(place / "ballast", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, room.f_bavail * room.f_frsize - (kib << 10)))


def attempt(store, action):
    """Return the digest of what is made, and what was raised."""
    try:
        return run(store, action).outputs.digest, None
    except (OSError, BuildError) as error:
        return None, error


def test_a_full_disk_at_any_moment_is_said_and_leaves_nothing_half_done(tmp_path, shell, busybox, undisturbed):
    action = shell(MAKE)
    stages = set()
    with small_disk(tmp_path / "disk") as disk:
        # From no room for the tools' checkout to enough for everything: wherever it ends in between, it ends well.
        for kib in (0, 16, 600, 2000, 2300, 3000, 3400, 3800, 4300, 4800, 5200, 6000):
            store = Store(disk / "store", durable=False)
            store.put_file(busybox)
            leave(disk, kib)
            found, problem = attempt(store, action)
            if isinstance(problem, OSError):
                assert problem.errno == errno.ENOSPC, problem
                assert problem.filename, f"with {kib} KiB nothing says which disk is full"
                stages.add(str(problem.filename).removeprefix(f"{store.root}/").partition("/")[0])
            elif problem is not None:
                assert "No space left on device" in str(problem) or "is full" in str(problem), problem
                stages.add("command")
            else:
                assert found == undisturbed
                stages.add("done")
            kept = list((store.root / SANDBOXES).glob("*"))
            assert [path for path in left_over(store) if path not in kept] == [], kib
            assert not audit(store), kib
            (disk / "ballast").unlink()
            assert run(store, action).outputs.digest == undisturbed, kib
            assert not audit(store)
            subprocess.run(["rm", "-rf", store.root], check=True)
    assert {"checkouts", "command", "tmp", "done"} <= stages, stages


# Two at once


def test_two_programs_that_make_one_thing_end_with_the_same(tmp_path, store, shell):
    action = shell(f"{MAKE}; cat /proc/sys/kernel/random/uuid > out/id")
    start, go = os.pipe()

    def work():
        os.close(go)
        os.read(start, 1)
        done = run(Store(store.root, durable=False), action)
        # Each is right by itself, whoever came first.
        assert not store.missing_files(done.outputs)

    children = [in_child(work) for _ in range(2)]
    os.close(start)
    os.close(go)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert not audit(store)
    assert left_over(store) == []
    known = store.get_result(encode_action(action).digest)
    assert run(store, action).outputs.digest == known.tree


# Killed


def killed_while_building(store, action):
    """Begin to build in another process and kill that with SIGKILL when the command runs."""
    pid = in_child(lambda: run(Store(store.root, durable=False), action))
    end = time.monotonic() + 60
    while not any((path / "build" / "out").exists() for path in (store.root / SANDBOXES).glob("*")):
        assert time.monotonic() < end, "the command never began"
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_what_a_killed_program_left_goes_and_the_folders_of_failures_stay(store, shell):
    (store.root / SANDBOXES).mkdir()
    killed_while_building(store, shell("mkdir out; sleep 1000"))
    (left,) = left_over(store)
    with pytest.raises(BuildError):
        execute(store, shell("false"))
    (failed,) = set(left_over(store)) - {left}
    assert left.exists(), "its maker might just be about to lock it"
    for path in (left, failed):
        os.utime(path, (1, 1))
    execute(store, shell("mkdir out"))
    assert left_over(store) == [failed]


def test_what_runs_is_killed_with_the_program_and_removed_by_nobody_before(store, shell):
    (store.root / SANDBOXES).mkdir()
    killed_while_building(store, shell("mkdir out; echo $$ > out/id; while :; do echo . >> out/busy; sleep 0.01; done"))
    (left,) = left_over(store)
    busy = left / "build" / "out" / "busy"
    end = time.monotonic() + 60
    size = -1
    while size != (size := busy.stat().st_size if busy.exists() else 0):
        assert time.monotonic() < end, "the command goes on"
        time.sleep(0.3)


def test_a_folder_in_use_stays_however_old(store, shell):
    (store.root / SANDBOXES).mkdir()
    stop = threading.Event()

    def work():
        with pytest.raises(BuildError, match="cancelled"):
            execute(store, shell("mkdir out; sleep 1000"), is_cancelled=stop.is_set)

    thread = threading.Thread(target=work)
    thread.start()
    while not (found := list((store.root / SANDBOXES).glob("*/build/out"))):
        time.sleep(0.01)
    os.utime(found[0].parents[1], (1, 1))
    execute(store, shell("mkdir out; echo > out/other"))
    assert found[0].exists()
    stop.set()
    thread.join()


# Clocks


@pytest.mark.parametrize("jump_s", [-YEAR, YEAR, -40 * YEAR])
def test_a_clock_that_jumps_changes_no_result(monkeypatch, store, shell, undisturbed, jump_s):
    real = clock.now
    between = shell(f"{MAKE} # again")
    monkeypatch.setattr(clock, "now", lambda: real() + jump_s)
    done = run(store, between)
    assert done.outputs.digest == undisturbed
    assert run(store, shell(MAKE)).outputs.digest == undisturbed
    monkeypatch.setattr(clock, "now", real)
    assert run(store, between).duration_s == 0, "what was made before the jump is found after it"
    assert not audit(store)
    assert left_over(store) == []


def test_a_clock_that_jumps_while_a_command_runs_ends_nothing(monkeypatch, store, shell):
    real = clock.now
    began = time.monotonic()

    def jumping():
        return real() + (10 * YEAR if time.monotonic() - began > 0.2 else 0)

    monkeypatch.setattr(clock, "now", jumping)
    assert execute(store, shell("mkdir out; sleep 0.5; echo > out/x", timeout_s=60)).outputs.entries


def test_dates_to_come_neither_keep_nor_lose_anything(monkeypatch, store, shell, undisturbed):
    """A store that was used while the clock was a year ahead, and a collector after the clock was put right."""
    key = encode_action(shell(MAKE)).digest
    ahead = time.time() + YEAR
    for path in (*store.root.glob("actions/*"), *store.root.glob("blobs/sha256/*")):
        os.utime(path, (ahead, ahead))
    collect(store, keep_s=30 * 86400)
    assert store.get_result(key) is not None, "it counts as new"
    assert run(store, shell(MAKE)).duration_s == 0
    later = time.time() + 31 * 86400
    monkeypatch.setattr(clock, "now", lambda: later)
    assert collect(store, keep_s=30 * 86400).records, "and ages from then on"
    assert list(store.digests()) == []


def test_what_was_left_in_the_future_is_swept(store):
    ahead = time.time() + YEAR
    for name in ("tmp/1-left", "actions/" + "0" * 64 + ".tmp-999999999-1a2b3c4d"):
        (store.root / name).write_text("half")
        os.utime(store.root / name, (ahead, ahead))
    (store.root / "tmp" / "folder").mkdir()
    (store.root / "tmp" / "folder" / "file").write_text("half")
    os.utime(store.root / "tmp" / "folder", (1, 1))
    assert store.sweep() == 12
    assert left_over(store) == []


def test_what_is_being_written_is_not_swept(store):
    mine = store.root / "actions" / f"{'0' * 64}.tmp-{os.getpid()}-1a2b3c4d"
    mine.write_text("half")
    os.utime(mine, (1, 1))
    with store.scratch() as folder:
        (folder / "file").write_text("half")
        os.utime(folder, (1, 1))
        assert store.sweep() == 0
        assert (folder / "file").exists()
    assert left_over(store) == [mine]


# What is no result


def test_unhermetic_and_failed_results_are_remembered_by_nobody(store, shell):
    asked = []

    class Cache:
        name = "cache"

        def find(self, *_, **__):
            return None

        def share(self, *_, **__):
            asked.append("share")

    bare = shell("mkdir out; echo > out/x", env={"PATH": "/bin:/usr/bin"})
    assert not run(store, bare, backend=Backend.NONE, caches=(Cache(),)).is_hermetic
    failing = shell("mkdir out; false")
    with pytest.raises(BuildError):
        run(store, failing, caches=(Cache(),))
    assert asked == []
    assert list(store.results()) == []
    run(store, bare, caches=(Cache(),))
    assert asked == ["share"]
    ((name, kept),) = store.results()
    assert kept.hermetic
    assert name == encode_action(bare).digest.partition(":")[2]
