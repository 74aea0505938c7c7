"""Many writers at once, and writers killed with SIGKILL at every step: no half blob or record is ever published."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import traceback

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.tree import File, Tree
from kata_bundle.store import ActionResult, Store
from kata_bundle.store.blobs import _HashingFile

SIZES = (0, 1, 1000, 70_000, 300_000, 1_500_000)


def in_child(work):
    """Fork, run ``work`` in the child and return its process id; the child exits with 0 unless ``work`` raises."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def content(seed):
    source = random.Random(seed)
    return source.randbytes(source.choice(SIZES))


def action(store, data):
    tree = Tree.of({"f": File(mode=0o644, size_bytes=len(data), digest=digest_bytes(data))})
    with store.batch() as batch:
        batch.put_bytes(data)
        batch.put_bytes(tree.to_json())
    store.put_result(
        digest_bytes(data + b"key"), ActionResult(tree=tree.digest, origin="o", version="v", hermetic=True, ingredients={})
    )


def check(store):
    """Every blob has its digest, every record reads, and every record's blobs are there."""
    for digest in store.digests():
        store.verified_path(digest)
        assert store.path(digest).stat().st_mode & 0o777 == 0o444
    for name in os.listdir(store.root / "actions"):
        if ".tmp-" not in name:
            assert store.get_result(f"sha256:{name}") is not None
    assert os.listdir(store.root / "quarantine") == []


def test_many_processes_may_make_and_fill_one_store(tmp_path):
    start, go = os.pipe()
    shared, own, writers = range(30), range(10), 6

    def work(number):
        os.close(go)
        os.read(start, 1)  # all begin when the parent closes the other end
        store = Store(tmp_path / "store", durable=False)
        order = [*shared, *(1000 * (number + 1) + i for i in own)]
        random.Random(number).shuffle(order)
        for seed in order:
            action(store, content(seed))

    children = [in_child(lambda number=number: work(number)) for number in range(writers)]
    os.close(start)
    os.close(go)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * writers
    store = Store(tmp_path / "store")
    check(store)
    expected = {content(seed) for seed in [*shared, *(1000 * (n + 1) + i for n in range(writers) for i in own)]}
    assert {digest_bytes(data) for data in expected} <= set(store.digests())
    assert len(os.listdir(store.root / "actions")) == len(expected)
    assert os.listdir(store.root / "tmp") == []


def kill_at(step):
    """Replace what changes the disk by functions that die with SIGKILL instead of the call number ``step``."""
    left = [step]

    def dying(real):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return call

    for name in ("open", "fchmod", "fsync", "rename", "unlink", "close"):
        setattr(os, name, dying(getattr(os, name)))
    _HashingFile.write = dying(_HashingFile.write)


def test_a_writer_killed_before_any_step_publishes_nothing_half(tmp_path):
    data = random.Random(1).randbytes(1_000_000)
    survived = step = 0
    while not survived:
        assert step < 100, "the work never got to its end"
        store = Store(tmp_path / str(step))

        def work(store=store, step=step):
            kill_at(step)
            action(store, data)

        _, status = os.waitpid(in_child(work), 0)
        survived = os.WIFEXITED(status)
        assert survived or os.WTERMSIG(status) == signal.SIGKILL
        check(store)
        action(store, data)  # and the next writer is not hindered
        check(store)
        assert store.read(digest_bytes(data)) == data
        for name in os.listdir(store.root / "tmp"):
            os.utime(store.root / "tmp" / name, (1, 1))
        store.sweep()
        assert os.listdir(store.root / "tmp") == []
        step += 1
    assert step > 10


@pytest.mark.parametrize("after", [1, 7, 20])
def test_writers_killed_in_the_middle_of_work_publish_nothing_half(tmp_path, after):
    store = Store(tmp_path / "store", durable=False)
    reader, writer = os.pipe()

    def work(number):
        os.close(reader)
        for seed in range(10_000):
            # Half of the blobs are the same ones for all writers.
            action(store, content(seed if seed % 2 else seed + 100_000 * number))
            os.write(writer, b".")

    children = [in_child(lambda number=number: work(number)) for number in range(4)]
    os.close(writer)
    seen = 0
    while seen < after:
        seen += len(os.read(reader, after))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        os.close(reader)
    assert seen >= after
    assert list(store.digests())
    check(store)
