"""Garbage collection and the check of a whole store: what is wanted stays, what is damaged is found."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import HostError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.store import ActionResult, Store
from kata_bundle.store.audit import audit, repair
from kata_bundle.store.collect import collect

DAY = 86400.0


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", durable=False)


def result(store, text, *, days=0.0, size=1000, ingredients=None):
    """Put a result with one file; return its key, everything in it ``days`` old."""
    data = text.encode() * size
    tree = Tree.of({RelPath("f"): File(mode=0o644, size_bytes=len(data), digest=store.put_bytes(data))})
    store.put_tree(tree)
    key = digest_bytes(text.encode())
    store.put_result(key, ActionResult(tree=tree.digest, origin="x", version="1", hermetic=True, ingredients=ingredients or {}))
    then = time.time() - days * DAY
    for path in (store.root / "actions" / key.partition(":")[2], store.path(tree.digest), store.path(digest_bytes(data))):
        os.utime(path, (then, then))
    return key


def has(store, key):
    return any(name == key.partition(":")[2] for name, _ in store.results())


def test_what_was_not_used_lately_goes_with_its_blobs(store):
    old, new = result(store, "old", days=40), result(store, "new", days=2)
    before = collect(store, keep_s=30 * DAY, dry_run=True)
    assert has(store, old)
    done = collect(store, keep_s=30 * DAY)
    assert done == before
    assert (has(store, old), has(store, new)) == (False, True)
    assert done.blobs == 2
    assert store.get_result(new) is not None
    assert not audit(store)


def test_using_a_result_keeps_it(store):
    key = result(store, "used", days=40)
    assert store.get_result(key) is not None
    collect(store, keep_s=30 * DAY)
    assert store.get_result(key) is not None


def test_the_newest_that_fit_stay(store):
    keys = [result(store, name, days=age) for name, age in (("a", 3), ("b", 2), ("c", 1))]
    collect(store, keep_s=30 * DAY, max_bytes=2500)
    assert [has(store, key) for key in keys] == [False, True, True]


def test_blobs_that_two_results_share_stay_with_the_newer(store):
    data = b"shared" * 100
    tree = Tree.of({RelPath("f"): File(mode=0o644, size_bytes=len(data), digest=store.put_bytes(data))})
    store.put_tree(tree)
    for name, age in (("old", 40), ("new", 1)):
        key = digest_bytes(name.encode())
        store.put_result(key, ActionResult(tree=tree.digest, origin="x", version="1", hermetic=True, ingredients={}))
        then = time.time() - age * DAY
        os.utime(store.root / "actions" / key.partition(":")[2], (then, then))
    for path in (store.path(tree.digest), store.path(digest_bytes(data))):
        os.utime(path, (0, 0))
    collect(store, keep_s=30 * DAY)
    assert store.get_result(digest_bytes(b"new")) is not None


def test_sources_that_an_ingredient_states_stay(store):
    source = store.put_bytes(b"package")
    os.utime(store.path(source), (0, 0))
    result(store, "made", days=1, ingredients={"pins": f'[{{"digest":"{source}"}}]'})
    lonely = store.put_bytes(b"lonely")
    os.utime(store.path(lonely), (0, 0))
    collect(store, keep_s=30 * DAY)
    assert (store.has(source), store.has(lonely)) == (True, False)


def test_roots_and_fresh_blobs_stay_whatever_names_them(store):
    rooted, fresh = store.put_bytes(b"rooted"), store.put_bytes(b"fresh")
    os.utime(store.path(rooted), (0, 0))
    store.set_root("imported", [rooted])
    collect(store, keep_s=0)
    assert store.has(rooted)
    assert store.has(fresh)


def test_a_collector_does_not_run_beside_a_build(store, tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from kata_bundle.store import Store
store = Store(Path({str(store.root)!r}))
assert store.hold()
print("held", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HostError, match="another command works with the store"), store.alone(wait=False):
            pass
        other.kill()
        other.wait()
        with store.alone():
            descriptor = os.open(store.root / "locks" / "gc", os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            os.close(descriptor)


def test_damage_is_found_set_aside_and_repaired(store):
    good, bad = result(store, "good"), result(store, "bad")
    path = store.path(digest_bytes(b"bad" * 1000))
    path.chmod(0o644)
    path.write_bytes(b"wrong" + path.read_bytes()[5:])
    record = store.root / "actions" / digest_bytes(b"third").partition(":")[2]
    result(store, "third")
    record.write_bytes(b"{}")
    found = audit(store)
    assert found.damaged == (digest_bytes(b"bad" * 1000),)
    assert found.incomplete == (f"actions/{bad.partition(':')[2]}",)
    assert len(found.problems) == 1
    assert repair(store, found) == 1
    assert not audit(store)
    assert store.get_result(good) is not None
    assert store.get_result(bad) is None
