"""Whatever a server does wrong at whichever call, a build ends with what an undisturbed one makes, and remembers nothing wrong.

The server is a fake that says so.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace

import pytest
from grpclib.const import Status

from kata_bundle.build.action import encode_action
from kata_bundle.build.reapi import remote_execution_pb2 as api
from kata_bundle.build.remote import Guarded
from kata_bundle.build.remote.reapi import ReapiCache
from kata_bundle.build.remote.settings import parse_server
from kata_bundle.build.workshop import Workshop
from kata_bundle.core.digest import hex_part
from kata_bundle.core.errors import BundleError, RemoteError
from kata_bundle.core.relpath import RelPath
from kata_bundle.store.audit import audit
from tests.support.reapi_server import FakeServer
from tests.unit.build_remote.conftest import QUICK
from tests.unit.store.test_crashes import in_child

pytestmark = pytest.mark.usefixtures("sandbox")

MAKE = "mkdir -p out/sub; seq 1 30000 > out/large; echo said; echo hello > out/sub/file; ln -s sub out/link; : > out/empty"
"""One file that goes as a stream, small ones that go in a batch."""
SENDING = ("GetCapabilities", "GetActionResult", "FindMissingBlobs", "BatchUpdateBlobs", "Write", "UpdateActionResult")
FETCHING = ("GetCapabilities", "GetActionResult", "BatchReadBlobs", "Read")
EXECUTING = ("GetCapabilities", "FindMissingBlobs", "BatchUpdateBlobs", "Execute", "BatchReadBlobs", "Read")
FAULTS = ("silence", "quota", "loss")
HASTY = replace(QUICK, call_s=0.3, queue_s=0.1, slowest_bytes_per_s=1 << 30, tries=2)


def in_turn(methods, first):
    """Pair every method with one fault, so that few tests see all faults at all kinds of calls."""
    return [(method, FAULTS[(first + number) % len(FAULTS)]) for number, method in enumerate(methods)]


@pytest.fixture(autouse=True)
def small_batches(server):
    server.capabilities.cache_capabilities.max_batch_total_size_bytes = 64 << 10


@pytest.fixture
def action(shell):
    return shell(MAKE)


@pytest.fixture
def undisturbed(store, action):
    return Workshop().run(store, action, memory_mib=None, is_cancelled=lambda: False).outputs.digest


@pytest.fixture
def machine(store, other, action, undisturbed):
    """A second machine's store that has the tools."""
    for entry in action.inputs[RelPath("")].entries.values():
        if hasattr(entry, "digest"):
            other.put_bytes(store.read(entry.digest))
    return other


def disturb(server, fault, method):
    match fault:
        case "silence":
            server.hangs = {method}
        case "quota":
            server.refusals = {method: [Status.RESOURCE_EXHAUSTED] * 100}
        case "loss":
            server.refusals = {method: [Status.DATA_LOSS] * 100}


def check(store, action, done, undisturbed):
    assert done.outputs.digest == undisturbed
    assert not store.missing_files(done.outputs)
    assert not audit(store)
    assert not list((store.root / "tmp").iterdir())
    assert not list((store.root / "quarantine").iterdir())
    assert store.get_result(encode_action(action).digest).tree == undisturbed


def referred(server, result):
    """Return the names of all blobs that a result needs."""
    for folder in result.output_directories:
        yield folder.tree_digest.hash
        tree = api.Tree.FromString(server.blobs[folder.tree_digest.hash])
        yield from (file.digest.hash for one in (tree.root, *tree.children) for file in one.files)


@pytest.mark.parametrize(("method", "fault"), in_turn(SENDING, 0))
def test_a_cache_that_takes_nothing(server, cache, machine, action, undisturbed, notes, method, fault):
    disturb(server, fault, method)
    done = Workshop(caches=(Guarded(cache(HASTY)),), progress=notes).run(
        machine, action, memory_mib=None, is_cancelled=lambda: False
    )
    check(machine, action, done, undisturbed)
    assert any("going on without the cache" in line for line in notes.lines), notes.lines
    # What it does have is a whole result.
    for digest in (digest for result in server.results.values() for digest in referred(server, result)):
        assert digest in server.blobs


@pytest.mark.parametrize(("method", "fault"), in_turn(FETCHING, 1))
def test_a_cache_that_gives_nothing(server, cache, store, machine, action, undisturbed, notes, method, fault):
    encoded = encode_action(action)
    cache().share(store, action, encoded, Workshop().run(store, action, memory_mib=None, is_cancelled=lambda: False))
    disturb(server, fault, method)
    one = Guarded(cache(HASTY), upload=False)
    done = Workshop(caches=(one,), progress=notes).run(machine, action, memory_mib=None, is_cancelled=lambda: False)
    check(machine, action, done, undisturbed)
    assert any("going on without the cache" in line for line in notes.lines), notes.lines


@pytest.mark.parametrize(("method", "fault"), in_turn(EXECUTING, 2))
def test_an_executor_that_fails_at_any_call(server, executor, cache, store, machine, action, undisturbed, notes, method, fault):
    encoded = encode_action(action)
    cache().share(store, action, encoded, Workshop().run(store, action, memory_mib=None, is_cancelled=lambda: False))
    server.made = server.results[hex_part(encoded.digest)]
    for digest in (encoded.digest, *encoded.files):
        server.blobs.pop(hex_part(digest), None)
    disturb(server, fault, method)
    quick = replace(action, timeout_s=0.2)
    with pytest.raises(BundleError):
        Workshop(executor=executor(HASTY), is_remote_only=True).run(machine, quick, memory_mib=None, is_cancelled=lambda: False)
    assert not audit(machine)
    assert machine.get_result(encoded.digest) is None
    done = (
        Workshop(executor=executor(HASTY), progress=notes).run(
            machine, replace(action, timeout_s=60), memory_mib=None, is_cancelled=lambda: False
        )
        if fault != "silence"
        else Workshop().run(machine, action, memory_mib=None, is_cancelled=lambda: False)
    )
    check(machine, action, done, undisturbed)


def test_a_server_that_dies_while_it_is_sent_something(machine, action, undisturbed, notes):
    reader, writer = os.pipe()

    def serve():
        with FakeServer() as one:
            one.capabilities.cache_capabilities.max_batch_total_size_bytes = 64 << 10
            one.hangs = {"Write"}
            os.write(writer, f"{one.url}\n".encode())
            while not one.calls["Write"]:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    child = in_child(serve)
    url = os.read(reader, 100).decode().strip()
    one = Guarded(ReapiCache(parse_server(url, limits=QUICK)))
    done = Workshop(caches=(one,), progress=notes).run(machine, action, memory_mib=None, is_cancelled=lambda: False)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    check(machine, action, done, undisturbed)
    assert any("going on without the cache" in line for line in notes.lines), notes.lines


@pytest.mark.parametrize("zstd", [False, True])
def test_wrong_bytes_and_wrong_digests_reach_no_store(server, cache, store, machine, action, undisturbed, notes, zstd):
    if zstd:
        server.allow_zstd()
    encoded = encode_action(action)
    made = Workshop().run(store, action, memory_mib=None, is_cancelled=lambda: False)
    cache().share(store, action, encoded, made)
    right = dict(server.blobs)
    known = set(machine.digests())
    for name, data in right.items():
        # One blob at a time: other bytes of the same length, under the digest that was asked for.
        server.blobs = {**right, name: bytes([data[0] ^ 1]) + data[1:] if data else b"x"}
        found = None
        with contextlib.suppress(BundleError):
            found = cache(HASTY).find(machine, action, encoded)
        assert found is None or found.outputs.digest == undisturbed
        assert not audit(machine)
    assert machine.get_result(encoded.digest) is None
    assert {one for one in machine.digests() if one not in known} <= set(store.digests()) | {done_log(machine)}
    server.blobs = right
    done = Workshop(caches=(Guarded(cache()),), is_remote_only=True).run(
        machine, action, memory_mib=None, is_cancelled=lambda: False
    )
    check(machine, action, done, undisturbed)


def done_log(store):
    """Return the digest of an empty log, which stands for one that could not be fetched."""
    return store.put_bytes(b"")


def test_a_failure_that_a_server_remembers_is_not_taken_for_a_result(server, cache, store, machine, action, undisturbed):
    encoded = encode_action(action)
    cache().share(store, action, encoded, Workshop().run(store, action, memory_mib=None, is_cancelled=lambda: False))
    server.results[hex_part(encoded.digest)].exit_code = 1
    with pytest.raises(RemoteError):
        Workshop(caches=(Guarded(cache()),), is_remote_only=True).run(
            machine, action, memory_mib=None, is_cancelled=lambda: False
        )
    assert machine.get_result(encoded.digest) is None
    done = Workshop(caches=(Guarded(cache()),)).run(machine, action, memory_mib=None, is_cancelled=lambda: False)
    check(machine, action, done, undisturbed)
    assert server.results[hex_part(encoded.digest)].exit_code == 0, "and what was made here takes its place"
