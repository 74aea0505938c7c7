"""A server as executor: followed to the end, believed only as far as digests go. The server is a fake that says so."""

from __future__ import annotations

import pytest
from grpclib.const import Status

from kata_bundle.build.remote.errors import ServerError
from kata_bundle.build.remote.results import encode_result
from kata_bundle.build.workshop import Workshop
from kata_bundle.core.digest import hex_part
from kata_bundle.core.errors import BuildError, IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File
from tests.unit.build_remote.conftest import QUICK


def run(store, action, executor, **more):
    workshop = Workshop(executor=executor, **more)
    return workshop.run(store, action, memory_mib=None, is_cancelled=lambda: False)


@pytest.fixture
def makes(server, store, action, done):
    """Have the server "make" ``done``."""
    result = encode_result(action, done.outputs, (done.log, 5))
    server.made = result.message
    for digest, data in result.documents.items():
        server.blobs[hex_part(digest)] = data
    for digest in result.files:
        server.blobs[hex_part(digest)] = store.read(digest)
    return done


def test_the_server_gets_all_inputs_and_gives_all_outputs(server, executor, store, action, encoded, makes):
    found = run(store, action, executor(), is_remote_only=True)
    assert found.outputs == makes.outputs
    assert {hex_part(digest) for digest in (*encoded.messages, *encoded.files)} <= set(server.blobs)
    assert store.get_result(encoded.digest).hermetic
    run(store, action, executor(), is_remote_only=True)
    assert server.calls["Execute"] == 1


def test_a_broken_stream_is_taken_up_again(server, executor, store, action, makes):
    server.operation_breaks = 1
    assert run(store, action, executor(), is_remote_only=True).outputs == makes.outputs
    assert (server.calls["Execute"], server.calls["WaitExecution"]) == (1, 1)


def test_an_operation_that_was_forgotten_is_asked_for_again(server, executor, store, action, makes):
    server.operation_breaks, server.forgets = 1, True
    assert run(store, action, executor(), is_remote_only=True).outputs == makes.outputs
    assert server.calls["Execute"] == 2


def test_inputs_that_the_server_dropped_are_sent_again(server, executor, store, action, makes):
    server.refusals = {"Execute": [Status.FAILED_PRECONDITION]}
    assert run(store, action, executor(), is_remote_only=True).outputs == makes.outputs
    assert server.calls["FindMissingBlobs"] == 2


@pytest.mark.parametrize("fault", ["says that it fails", "corrupt", "refuses", "no execution", "nonsense"])
def test_whatever_the_server_says_this_machine_can_still_make_it(
    server, executor, store, other, action, encoded, makes, sandbox, notes, fault
):
    match fault:
        case "says that it fails":
            server.made.exit_code = 1
        case "corrupt":
            server.corrupt = True
        case "refuses":
            server.refusals = {"Execute": [Status.RESOURCE_EXHAUSTED] * 100}
        case "no execution":
            server.capabilities.execution_capabilities.exec_enabled = False
        case "nonsense":
            server.made.output_files.add(path="elsewhere")
    for digest in encoded.files:
        other.put_bytes(store.read(digest))
    found = run(other, action, executor(), progress=notes)
    assert isinstance(found.outputs.entries[RelPath("out/sub/file")], File)
    assert any("made here, since" in line for line in notes.lines)


def test_without_this_machine_failures_are_errors(server, executor, store, action, encoded, makes):
    server.made.exit_code = 3
    server.made.stderr_raw = b"no such thing\x1b[31m"
    with pytest.raises(BuildError, match="failed with exit code 3") as caught:
        run(store, action, executor(), is_remote_only=True)
    assert "no such thing" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    server.made.exit_code = 0
    server.made.output_files.add(path="elsewhere", digest=server.made.stdout_digest)
    with pytest.raises(IntegrityError, match="does not declare"):
        run(store, action, executor(), is_remote_only=True)
    assert store.get_result(encoded.digest) is None


def test_an_executor_of_an_older_api(server, executor, store, action, encoded):
    server.capabilities.high_api_version.minor = 1
    with pytest.raises(ServerError, match=r"executes by version 2\.1 .* 2\.2 is needed"):
        executor(QUICK).execute(store, action, encoded)


def test_a_cancelled_build_does_not_wait(server, executor, store, action, encoded, makes):
    server.hangs = {"Execute"}
    with pytest.raises(BuildError, match="cancelled"):
        executor().execute(store, action, encoded, is_cancelled=lambda: server.calls["Execute"] > 0)
