"""A server as cache of actions: what travels, what is checked, what a server can do wrong. The server is a fake that says so."""

from __future__ import annotations

import pytest
import zstandard
from grpclib.const import Status

from kata_bundle.build.reapi import remote_execution_pb2 as api
from kata_bundle.build.remote import Guarded
from kata_bundle.build.remote.errors import ServerError
from kata_bundle.build.workshop import Workshop
from kata_bundle.core.digest import hex_part
from kata_bundle.core.errors import ArchiveError, IntegrityError, RemoteError
from kata_bundle.core.record import replace
from kata_bundle.core.relpath import RelPath
from tests.unit.build_remote.conftest import LARGE, QUICK

LARGE_PATH = RelPath("out/large")


def run(store, action, *caches, **more):
    return Workshop(caches=caches, **more).run(store, action, memory_mib=None, is_cancelled=lambda: False)


@pytest.mark.parametrize("batch", [0, 4096, 1 << 20])
@pytest.mark.parametrize("zstd", [False, True])
def test_what_one_machine_shares_another_finds(server, cache, store, other, action, encoded, done, batch, zstd):
    server.capabilities.cache_capabilities.max_batch_total_size_bytes = batch
    if zstd:
        server.allow_zstd()
    cache(instance="kata/main").share(store, action, encoded, done)
    found = cache(instance="kata/main").find(other, action, encoded)
    assert found.outputs == done.outputs
    assert not other.missing_files(found.outputs)
    assert other.read(found.outputs.entries[LARGE_PATH].digest) == LARGE
    assert other.read(found.log) == b"said\n"
    assert server.instances == {"kata/main"}
    assert 0 < server.largest_batch <= (batch or 4 << 20)


def test_what_a_server_has_is_not_sent_again(server, cache, store, action, encoded, done):
    cache().share(store, action, encoded, done)
    sent, batches = server.written, server.calls["BatchUpdateBlobs"]
    cache().share(store, action, encoded, done)
    assert (server.written, server.calls["BatchUpdateBlobs"]) == (sent, batches)
    assert server.calls["FindMissingBlobs"] == 2


def test_a_server_gets_only_what_it_was_asked_about(server, cache, store, action, encoded, done):
    secret = store.put_bytes(b"not part of the result")
    server.uninvited = [hex_part(secret), "../../etc/passwd"]
    cache().share(store, action, encoded, done)
    assert hex_part(secret) not in server.blobs


def test_unhermetic_results_are_not_shared(server, cache, store, action, encoded, done, notes):
    with pytest.raises(IntegrityError, match="not hermetic"):
        cache().share(store, action, encoded, replace(done, is_hermetic=False))
    Guarded(cache()).share(store, action, encoded, replace(done, is_hermetic=False), progress=notes, is_cancelled=lambda: False)
    assert not server.calls


def test_a_server_that_takes_no_results_is_sent_nothing(server, cache, store, action, encoded, done):
    server.capabilities.cache_capabilities.action_cache_update_capabilities.update_enabled = False
    cache().share(store, action, encoded, done)
    assert not server.blobs
    assert not server.results


def test_an_unknown_action_is_a_miss(cache, store, action, encoded):
    assert cache().find(store, action, encoded) is None


@pytest.mark.parametrize("zstd", [False, True])
def test_wrong_bytes_are_not_stored(server, cache, store, other, action, encoded, done, zstd):
    if zstd:
        server.allow_zstd()
    cache().share(store, action, encoded, done)
    server.corrupt = True
    with pytest.raises(IntegrityError):
        cache().find(other, action, encoded)
    assert not list(other.digests())


def test_a_missing_blob_is_a_miss(server, cache, store, other, action, encoded, done):
    cache().share(store, action, encoded, done)
    del server.blobs[hex_part(done.outputs.entries[LARGE_PATH].digest)]
    assert cache().find(other, action, encoded) is None


def _failed(result):
    result.exit_code = 1


def _nothing(result):
    del result.output_directories[:]


def _stranger(result):
    result.output_files.add(path="stranger", digest=result.stdout_digest)


def _outside(result):
    result.output_files.add(path="../../etc/passwd", digest=result.stdout_digest)


def _no_tree(result):
    result.output_directories[0].tree_digest.CopyFrom(result.stdout_digest)


def _no_digest(result):
    result.output_directories[0].tree_digest.hash = "../../x"


def _huge(result):
    result.output_directories[0].tree_digest.size_bytes = 1 << 60


def _negative(result):
    result.output_files.add(path="out", digest=api.Digest(hash="0" * 64, size_bytes=-1))


@pytest.mark.parametrize("change", [_failed, _nothing, _stranger, _outside, _no_tree, _no_digest, _huge, _negative])
def test_results_that_cannot_be_right_are_not_taken(server, cache, store, other, action, encoded, done, change):
    cache().share(store, action, encoded, done)
    change(server.results[hex_part(encoded.digest)])
    if change is _failed:
        assert cache().find(other, action, encoded) is None
    else:
        with pytest.raises(IntegrityError):
            cache().find(other, action, encoded)
    assert not list(other.digests())


def test_an_upload_that_breaks_goes_on_where_it_was(server, cache, store, other, action, encoded, done):
    server.die_after = 3 << 20
    cache().share(store, action, encoded, done)
    assert server.offsets == [0, 3 << 20]
    assert server.calls["QueryWriteStatus"] == 1
    assert server.blobs[hex_part(done.outputs.entries[LARGE_PATH].digest)] == LARGE
    assert cache().find(other, action, encoded).outputs == done.outputs


def test_a_compressed_upload_that_breaks_starts_again(server, cache, store, action, encoded, done):
    server.allow_zstd()
    server.die_after = 1 << 10
    cache().share(store, action, encoded, done)
    assert server.offsets == [0, 0]
    assert server.blobs[hex_part(done.outputs.entries[LARGE_PATH].digest)] == LARGE


@pytest.mark.parametrize("end_early", [False, True])
def test_a_download_that_breaks_goes_on_where_it_was(server, cache, store, other, action, encoded, done, end_early):
    cache().share(store, action, encoded, done)
    server.offsets.clear()
    server.die_after, server.end_early = 2 << 20, end_early
    server.spare = 1 << 20
    assert cache().find(other, action, encoded).outputs == done.outputs
    assert 2 << 20 in server.offsets
    assert other.read(done.outputs.entries[LARGE_PATH].digest) == LARGE


def test_a_compressed_download_that_breaks_is_fetched_plain(server, cache, store, other, action, encoded, done):
    cache().share(store, action, encoded, done)
    server.allow_zstd()
    server.die_after, server.end_early, server.spare = 1 << 16, False, 1 << 16
    assert cache().find(other, action, encoded).outputs == done.outputs


def test_a_download_that_never_ends_well_is_given_up(server, cache, store, other, action, encoded, done):
    cache().share(store, action, encoded, done)
    server.refusals["Read"] = [Status.UNAVAILABLE] * 100
    with pytest.raises(ServerError) as caught:
        cache().find(other, action, encoded)
    assert caught.value.code == "UNAVAILABLE"
    assert server.calls["Read"] == QUICK.tries


def test_what_unpacks_to_more_than_it_should_is_stopped(server, cache, store, other, action, encoded, done):
    cache().share(store, action, encoded, done)
    server.allow_zstd()
    server.bomb = zstandard.compress(bytes(300 << 20))
    with pytest.raises(ArchiveError):
        cache().find(other, action, encoded)
    assert not [digest for digest in other.digests() if other.size(digest)]


def test_an_answer_that_is_too_large_is_not_read(server, cache, store, other, action, encoded, done):
    cache().share(store, action, encoded, done)
    server.padding = 2 << 20
    with pytest.raises(ServerError, match="bytes, 1048576 are allowed"):
        cache(replace(QUICK, answer_bytes=1 << 20)).find(other, action, encoded)


def test_no_room_is_tried_again_later(server, cache, store, action, encoded, done):
    server.refusals = {"BatchUpdateBlobs": [Status.RESOURCE_EXHAUSTED] * 2, "UpdateActionResult": [Status.RESOURCE_EXHAUSTED]}
    cache().share(store, action, encoded, done)
    assert server.results


@pytest.mark.parametrize("method", ["FindMissingBlobs", "BatchUpdateBlobs", "Write", "UpdateActionResult"])
def test_a_result_is_never_there_without_its_content(server, cache, store, action, encoded, done, method):
    server.refusals = {method: [Status.RESOURCE_EXHAUSTED] * 100}
    with pytest.raises(ServerError) as caught:
        cache().share(store, action, encoded, done)
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert not server.results


def test_refusals_that_stay_are_not_tried_again(server, cache, store, action, encoded):
    server.refusals = {"GetCapabilities": [Status.UNAUTHENTICATED]}
    with pytest.raises(ServerError, match="UNAUTHENTICATED") as caught:
        cache().find(store, action, encoded)
    assert "--remote-token-file" in caught.value.hint
    assert server.calls["GetCapabilities"] == 1


@pytest.mark.parametrize("method", ["GetCapabilities", "GetActionResult", "BatchReadBlobs", "Read"])
def test_silence_ends_by_a_deadline(server, cache, store, other, action, encoded, done, method):
    cache().share(store, action, encoded, done)
    server.calls.clear()
    server.hangs = {method}
    with pytest.raises(ServerError) as caught:
        cache(replace(QUICK, call_s=0.3, slowest_bytes_per_s=1 << 40)).find(other, action, encoded)
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert server.calls[method] <= 2


def test_a_token_is_sent_and_in_no_message(server, cache, store, action, encoded):
    token = "s3cret-of-nobody"
    server.refusals = {"GetActionResult": [Status.PERMISSION_DENIED]}
    with pytest.raises(ServerError) as caught:
        cache(token=token).find(store, action, encoded)
    assert server.tokens == {f"Bearer {token}"}
    assert token not in str(caught.value) + repr(caught.value) + str(caught.value.hint)


def test_versions_that_do_not_meet(server, cache, store, action, encoded):
    server.capabilities.low_api_version.major = server.capabilities.high_api_version.major = 3
    with pytest.raises(ServerError, match=r"speaks versions 3\.0 to 3\.3 .* this program 2\.0 to 2\.12"):
        cache().find(store, action, encoded)


def test_a_server_without_sha256(server, cache, store, action, encoded):
    server.capabilities.cache_capabilities.digest_functions[:] = [api.DigestFunction.BLAKE3]
    with pytest.raises(ServerError, match=r"sha256 .*BLAKE3"):
        cache().find(store, action, encoded)


def test_a_server_that_states_no_version(server, cache, store, action, encoded):
    server.capabilities.ClearField("high_api_version")
    with pytest.raises(ServerError, match="does not say which versions"):
        cache().find(store, action, encoded)


# What a build makes of it.


def test_the_second_machine_makes_nothing(cache, store, other, builder, shell, sandbox):
    random = shell("mkdir out; cat /proc/sys/kernel/random/uuid > out/id")
    made = run(store, random, Guarded(cache()))
    assert run(other, random, Guarded(cache()), is_remote_only=True).outputs == made.outputs


@pytest.mark.parametrize("fault", ["corrupt", "hang", "refuse", "dead", "quota"])
def test_a_bad_server_costs_time_and_nothing_else(server, cache, store, other, action, builder, sandbox, notes, fault):
    expected = run(store, action, Guarded(cache())).outputs
    for name in action.inputs[RelPath("")].entries.values():
        if hasattr(name, "digest"):
            other.put_bytes(store.read(name.digest))
    one = Guarded(cache(replace(QUICK, call_s=0.3) if fault == "hang" else QUICK))
    match fault:
        case "corrupt":
            server.corrupt = True
        case "hang":
            server.hangs = {"GetCapabilities"}
        case "refuse":
            server.refusals = {"GetActionResult": [Status.INTERNAL] * 100}
        case "quota":
            server.results.clear()
            server.blobs.clear()
            server.refusals = {"BatchUpdateBlobs": [Status.RESOURCE_EXHAUSTED] * 100}
        case "dead":
            server.stop()
    found = run(other, action, one, progress=notes)
    assert found.outputs == expected
    assert any("going on without the cache" in line for line in notes.lines)


def test_a_failing_cache_is_not_asked_for_ever(server, cache, store, shell, sandbox, notes):
    server.refusals = {"GetCapabilities": [Status.INTERNAL] * 100}
    one = Guarded(cache())
    for number in range(4):
        run(store, shell(f"mkdir out; echo {number} > out/n"), one, progress=notes)
    assert server.calls["GetCapabilities"] == 2 * QUICK.tries
    assert sum("not asked again" in line for line in notes.lines) == 1


def test_a_near_cache_is_given_what_a_far_one_had(server, cache, store, other, action, sandbox):
    from tests.support.reapi_server import FakeServer  # a second one

    with FakeServer() as far:
        from kata_bundle.build.remote.reapi import ReapiCache
        from kata_bundle.build.remote.settings import parse_server

        distant = ReapiCache(parse_server(far.url, limits=QUICK))
        run(store, action, Guarded(distant))
        run(other, action, Guarded(cache()), Guarded(distant), is_remote_only=True)
    assert set(server.results) == set(far.results)


def test_without_upload_nothing_is_sent(server, cache, store, action, sandbox):
    run(store, action, Guarded(cache(), upload=False))
    assert not server.blobs
    assert not server.results


def test_failed_actions_are_not_shared(server, cache, store, shell, sandbox):
    from kata_bundle.core.errors import BuildError

    with pytest.raises(BuildError, match="exit code 3"):
        run(store, shell("mkdir out; exit 3"), Guarded(cache()))
    assert not server.results


def test_remote_only_does_not_make_anything_here(cache, store, action):
    with pytest.raises(RemoteError, match="nothing may be made on this machine"):
        run(store, action, Guarded(cache()), is_remote_only=True)
