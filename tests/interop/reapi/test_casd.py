"""buildbox-casd as cache and as executor: two machines, the local digest, its death."""

from __future__ import annotations

import pytest

from kata_bundle.build.action import encode_action
from kata_bundle.build.remote import Guarded, open_cache, open_executor
from kata_bundle.build.remote.settings import Limits, parse_server
from kata_bundle.build.workshop import Workshop
from kata_bundle.core.relpath import RelPath

pytestmark = pytest.mark.interop

MAKE = (
    "mkdir -p out/bin out/empty; seq 1 900000 > out/large; echo said; "
    "echo '#!/bin/sh' > out/bin/run; chmod 755 out/bin/run; ln -s bin/run out/link; env > out/env; pwd > out/pwd; : > out/nothing"
)


def run(store, action, **more):
    return Workshop(**more).run(store, action, memory_mib=None, is_cancelled=lambda: False)


def test_the_second_machine_makes_nothing(casd, store, other, shell, sandbox):
    # Whoever makes it gets another result, so an equal one was not made.
    action = shell(MAKE + "; cat /proc/sys/kernel/random/uuid > out/id")
    made = run(store, action, caches=(Guarded(open_cache(casd)),))
    found = run(other, action, caches=(Guarded(open_cache(casd)),), is_remote_only=True)
    assert found.outputs == made.outputs
    assert not other.missing_files(found.outputs)
    assert other.get_result(encode_action(action).digest).tree == made.outputs.digest
    assert other.read(found.log) == b"said\n"


def test_remote_execution_gives_the_local_digest(casd, store, other, shell, sandbox, machine):
    action = shell(MAKE, salt="executed")
    machine(other)
    remote = run(other, action, executor=open_executor(casd), is_remote_only=True)
    local = run(store, action)
    assert remote.outputs.digest == local.outputs.digest
    assert other.read(remote.log) == store.read(local.log)


def test_sources_below_the_work_folder_are_seen_remotely(casd, store, other, shell, sandbox, machine):
    from kata_bundle.core.tree import File, Tree

    data = b"a source\n"
    source = Tree.of({RelPath("file"): File(mode=0o644, size_bytes=len(data), digest=store.put_bytes(data))})
    action = shell("mkdir out; cat src/file > out/copy; ls -l src > out/list; id > out/id", inputs={RelPath("build/src"): source})
    machine(other)
    other.put_bytes(data)
    remote = run(other, action, executor=open_executor(casd), is_remote_only=True)
    assert remote.outputs.entries[RelPath("out/copy")].digest == store.put_bytes(data)


def test_what_fails_remotely_is_tried_here(casd, store, shell, sandbox):
    from kata_bundle.core.errors import BuildError

    with pytest.raises(BuildError, match="exit code 4 on grpc://"):
        run(store, shell("mkdir out; exit 4"), executor=open_executor(casd), is_remote_only=True)
    with pytest.raises(BuildError, match=r"exit code 4$"):
        run(store, shell("mkdir out; exit 4"), executor=open_executor(casd))


def test_an_instance_that_is_not_there(casd, store, shell):
    from kata_bundle.core.errors import RemoteError

    action = shell("mkdir out")
    with pytest.raises(RemoteError):
        open_cache(casd, instance="nowhere").find(store, action, encode_action(action), is_cancelled=lambda: False)


def test_a_server_that_is_gone(store, shell, sandbox):
    from kata_bundle.build.remote.reapi import ReapiCache
    from tests.interop.reapi.conftest import free_port

    limits = Limits(tries=2, first_pause_s=0.01)
    gone = ReapiCache(parse_server(f"grpc://127.0.0.1:{free_port()}", limits=limits))
    assert run(store, shell("mkdir out; echo x > out/x"), caches=(Guarded(gone),)).is_hermetic
