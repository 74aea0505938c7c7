"""Content on a server: asked for, sent and fetched (Remote Execution API, ``ContentAddressableStorage`` and ``ByteStream``).

Small blobs travel in batches, large ones in streams that go on where they broke; compressed where the server can. Every byte
that comes is checked against its digest before anybody gets it. Must not know: actions.
"""

from __future__ import annotations

import io
import tempfile
import uuid
from typing import TYPE_CHECKING, Any, Final, cast

from kata_bundle.archive.zstd import current_recipe, open_compressor, open_decompressor
from kata_bundle.build.remote.errors import RETRYABLE, BlobMissing, ServerError
from kata_bundle.core.digest import Digest, digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import BinaryIO

    from google.protobuf.message import Message

    from kata_bundle.build.remote.capabilities import Features
    from kata_bundle.build.remote.rpc import Connection
    from kata_bundle.store import Store

__all__ = ["Cas", "digest_message"]

_CAS: Final = "/build.bazel.remote.execution.v2.ContentAddressableStorage/"
_STREAM: Final = "/google.bytestream.ByteStream/"
_OVERHEAD: Final = 160
"""Bytes of a blob in a batch beside its content, at most."""
_LEVEL: Final = 3
_CODES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


class Cas:
    """The content of one server. All methods raise :class:`ServerError`."""

    def __init__(self, connection: Connection, features: Features) -> None:
        self._connection = connection
        self._features = features
        self._limits = connection.limits
        self._settings = connection.settings

    async def missing(self, blobs: Mapping[Digest, int]) -> dict[Digest, int]:
        """Return those of ``blobs`` (digest → length in bytes) that the server does not have."""
        from kata_bundle.build.reapi import remote_execution_pb2 as api

        found: dict[Digest, int] = {}
        wanted = sorted(blobs)
        for start in range(0, len(wanted), self._limits.digests):
            request = api.FindMissingBlobsRequest(
                instance_name=self._settings.instance,
                blob_digests=[digest_message(digest, blobs[digest]) for digest in wanted[start : start + self._limits.digests]],
            )
            reply = await self._connection.call(_CAS + "FindMissingBlobs", request, api.FindMissingBlobsResponse)
            for message in reply.missing_blob_digests:
                digest = Digest(f"sha256:{message.hash}")
                # What was not asked for is not sent, whatever a server makes of it.
                if digest in blobs:
                    found[digest] = blobs[digest]
        return found

    async def upload(self, blobs: Mapping[Digest, int], source: Callable[[Digest], BinaryIO]) -> int:
        """Make the server have ``blobs``, asking first what it lacks; return how many bytes of content were sent.

        ``source`` opens a blob from its start, for every try anew, and has to check the digest as ``Store.open`` does.
        """
        missing = await self.missing(blobs)
        limit = self._features.max_blob_bytes
        if limit is not None and (large := [size for size in missing.values() if size > limit]):
            msg = f"{self._settings.url} takes blobs up to {limit} bytes, there is one of {max(large)}"
            raise ServerError(msg, code="FAILED_PRECONDITION", hint="have the limit raised there")
        batches, streams = self._parted(missing)
        await self._connection.gather(
            [
                *(lambda batch=batch: self._send_batch(batch, missing, source) for batch in batches),
                *(lambda digest=digest: self._write(digest, missing[digest], source) for digest in streams),
            ]
        )
        return sum(missing.values())

    async def read(self, digest: Digest, size_bytes: int) -> bytes:
        """Return one checked document of up to ``Limits.document_bytes``."""
        if size_bytes > self._limits.document_bytes:
            msg = f"{self._settings.url}: {digest} has {size_bytes} bytes, {self._limits.document_bytes} are allowed for its kind"
            raise IntegrityError(msg)
        sink = io.BytesIO()
        if size_bytes:
            await self._read_into(sink, digest, size_bytes)
        data = sink.getvalue()
        if digest_bytes(data) != digest:
            msg = f"{self._settings.url} sent {len(data)} bytes with digest {digest_bytes(data)} for {digest}"
            raise IntegrityError(msg)
        return data

    async def download(self, blobs: Mapping[Digest, int], store: Store) -> int:
        """Put ``blobs`` into ``store``, those it has left out; return how many bytes of content came.

        Raises :class:`BlobMissing` when the server lacks one, :class:`IntegrityError` when it sends anything else.
        """
        wanted = {digest: size for digest, size in blobs.items() if store.size(digest) != size}
        for digest in [digest for digest, size in wanted.items() if not size]:
            if store.put_bytes(b"") != digest:
                msg = f"{self._settings.url}: {digest} is not the digest of nothing"
                raise IntegrityError(msg)
            del wanted[digest]
        batches, streams = self._parted(wanted)
        await self._connection.gather(
            [
                *(lambda batch=batch: self._fetch_batch(batch, wanted, store) for batch in batches),
                *(lambda digest=digest: self._fetch(digest, wanted[digest], store) for digest in streams),
            ]
        )
        return sum(wanted.values())

    # Batches

    def _parted(self, blobs: Mapping[Digest, int]) -> tuple[list[list[Digest]], list[Digest]]:
        """Return what goes together in batches, and what is too large for one."""
        limit = self._features.batch_bytes
        batches: list[list[Digest]] = []
        streams = []
        room = 0
        for digest in sorted(blobs):
            cost = blobs[digest] + _OVERHEAD
            if cost > limit:
                streams.append(digest)
                continue
            if cost > room:
                batches.append([])
                room = limit
            batches[-1].append(digest)
            room -= cost
        return batches, streams

    async def _send_batch(self, batch: list[Digest], sizes: Mapping[Digest, int], source: Callable[[Digest], BinaryIO]) -> None:
        from kata_bundle.build.reapi import remote_execution_pb2 as api

        zstd = api.Compressor.Value.ZSTD
        left = set(batch)

        async def attempt(_: int) -> None:
            request = api.BatchUpdateBlobsRequest(instance_name=self._settings.instance)
            for digest in sorted(left):
                with source(digest) as stream:
                    data = stream.read()
                item = request.requests.add(digest=digest_message(digest, sizes[digest]), data=data)
                if self._features.zstd_batches and len(data) >= self._limits.compress_bytes:
                    packed = b"".join(_compressed(io.BytesIO(data), len(data)))
                    if len(packed) < len(data):
                        item.data, item.compressor = packed, zstd
            reply = await self._connection.once(
                _CAS + "BatchUpdateBlobs", request, api.BatchUpdateBlobsResponse, timeout_s=self._deadline(request.ByteSize())
            )
            failed = None
            for response in reply.responses:
                digest = Digest(f"sha256:{response.digest.hash}")
                if response.status.code == 0:
                    left.discard(digest)
                else:
                    failed = self._status_error(f"upload of {digest}", response.status)
            if failed is not None:
                raise failed
            if left:
                msg = f"{self._settings.url} says nothing of {len(left)} blobs that it was sent"
                raise ServerError(msg, code="DATA_LOSS")

        await self._connection.retrying(attempt)

    async def _fetch_batch(self, batch: list[Digest], sizes: Mapping[Digest, int], store: Store) -> None:
        from kata_bundle.build.reapi import remote_execution_pb2 as api

        zstd = api.Compressor.Value.ZSTD
        left = set(batch)

        async def attempt(_: int) -> None:
            request = api.BatchReadBlobsRequest(
                instance_name=self._settings.instance,
                digests=[digest_message(digest, sizes[digest]) for digest in sorted(left)],
                acceptable_compressors=[zstd] if self._features.zstd else [],
            )
            timeout = self._deadline(sum(sizes[digest] for digest in left))
            reply = await self._connection.once(_CAS + "BatchReadBlobs", request, api.BatchReadBlobsResponse, timeout_s=timeout)
            failed = None
            with store.batch() as sink:
                for response in reply.responses:
                    digest = Digest(f"sha256:{response.digest.hash}")
                    if digest not in left:
                        continue
                    if response.status.code:
                        failed = self._status_error(f"download of {digest}", response.status)
                        continue
                    data = response.data
                    if response.compressor == zstd:
                        what = f"{self._settings.url}: {digest}"
                        data = open_decompressor(io.BytesIO(data), limit_bytes=sizes[digest], what=what).read()
                    sink.put_stream(io.BytesIO(data), digest)
                    left.discard(digest)
            if failed is not None:
                raise failed
            if left:
                msg = f"{self._settings.url} says nothing of {len(left)} blobs that it was asked for"
                raise ServerError(msg, code="DATA_LOSS")

        await self._connection.retrying(attempt)

    # Streams

    async def _write(self, digest: Digest, size: int, source: Callable[[Digest], BinaryIO]) -> None:
        from kata_bundle.build.reapi import bytestream_pb2 as wire

        is_packed = self._features.zstd
        kind = "compressed-blobs/zstd" if is_packed else "blobs"
        name = f"{self._settings.prefix}uploads/{uuid.uuid4()}/{kind}/{hex_part(digest)}/{size}"

        async def attempt(number: int) -> None:
            # Where a compressed stream stands cannot be told from what the server has of it: that one starts again.
            start = await self._committed(name) if number and not is_packed else 0
            taken: list[int] = []

            def take(reply: wire.WriteResponse) -> bool:
                taken.append(reply.committed_size)
                return False

            def requests() -> Iterator[Message]:
                with source(digest) as stream:
                    chunks = _compressed(stream, size) if is_packed else _chunks(stream, start, self._limits.chunk_bytes)
                    offset, is_first = start, True
                    for data, is_last in _marked(chunks):
                        yield wire.WriteRequest(
                            resource_name=name if is_first else "", write_offset=offset, data=data, finish_write=is_last
                        )
                        offset, is_first = offset + len(data), False

            await self._connection.exchange(
                _STREAM + "Write", requests(), wire.WriteResponse, take, timeout_s=self._deadline(size)
            )
            if not taken or (not is_packed and taken[0] != size):
                msg = f"{self._settings.url} took {taken[0] if taken else 'none'} of the {size} bytes of {digest}"
                raise ServerError(msg, code="UNAVAILABLE")

        await self._connection.retrying(attempt)

    async def _committed(self, name: str) -> int:
        """Return how many bytes of a broken upload the server has kept."""
        from kata_bundle.build.reapi import bytestream_pb2 as wire

        try:
            request = wire.QueryWriteStatusRequest(resource_name=name)
            reply = await self._connection.once(_STREAM + "QueryWriteStatus", request, wire.QueryWriteStatusResponse)
        except ServerError as error:
            if error.code in {"NOT_FOUND", "UNIMPLEMENTED"}:
                return 0
            raise
        return max(0, reply.committed_size)

    async def _fetch(self, digest: Digest, size: int, store: Store) -> None:
        with store.new_blob() as blob:
            await self._read_into(blob.sink, digest, size)
            try:
                blob.publish(digest)
            except IntegrityError as error:
                msg = f"{self._settings.url}: {error}"
                raise IntegrityError(msg) from None

    async def _read_into(self, sink: BinaryIO, digest: Digest, size: int) -> None:
        """Write the unchecked content of a blob to ``sink``: compressed in one piece, else in as many as it takes."""
        if self._features.zstd and size >= self._limits.compress_bytes:
            try:
                await self._read_packed(sink, digest, size)
            except ServerError as error:
                if not error.retryable:
                    raise
            else:
                return
        received = 0

        def take(data: bytes) -> None:
            nonlocal received
            received += len(data)
            if received > size:
                msg = f"{self._settings.url} sends more than the {size} bytes of {digest}"
                raise IntegrityError(msg)
            sink.write(data)

        async def attempt(_: int) -> None:
            await self._read(f"blobs/{hex_part(digest)}/{size}", received, size, take)
            if received < size:
                msg = f"{self._settings.url} sent {received} of the {size} bytes of {digest}"
                raise ServerError(msg, code="UNAVAILABLE")

        await self._connection.retrying(attempt)

    async def _read_packed(self, sink: BinaryIO, digest: Digest, size: int) -> None:
        # Beside the store first: only what came whole is unpacked, with bounds on what comes out.
        with tempfile.SpooledTemporaryFile(max_size=self._limits.chunk_bytes) as packed:
            received = 0

            def take(data: bytes) -> None:
                nonlocal received
                received += len(data)
                # Content that does not compress becomes a little longer.
                if received > size + size // 64 + 4096:
                    msg = f"{self._settings.url} sends more than {size} bytes need compressed"
                    raise IntegrityError(msg)
                packed.write(data)

            await self._read(f"compressed-blobs/zstd/{hex_part(digest)}/{size}", 0, size, take)
            packed.seek(0)
            what = f"{self._settings.url}: {digest}"
            unpacked = open_decompressor(cast("BinaryIO", packed), limit_bytes=size, what=what)
            while chunk := unpacked.read(self._limits.chunk_bytes):
                sink.write(chunk)

    async def _read(self, resource: str, offset: int, size: int, take: Callable[[bytes], None]) -> None:
        from kata_bundle.build.reapi import bytestream_pb2 as wire

        def took(reply: wire.ReadResponse) -> bool:
            take(reply.data)
            return False

        request = wire.ReadRequest(resource_name=self._settings.prefix + resource, read_offset=offset)
        try:
            await self._connection.exchange(
                _STREAM + "Read", [request], wire.ReadResponse, took, timeout_s=self._deadline(size - offset)
            )
        except ServerError as error:
            if error.code == "NOT_FOUND":
                raise BlobMissing(str(error)) from None
            raise

    def _deadline(self, size: int) -> float:
        return self._limits.call_s + size / self._limits.slowest_bytes_per_s

    def _status_error(self, what: str, status: Any) -> ServerError:
        code = _CODES[status.code] if 0 <= status.code < len(_CODES) else "UNKNOWN"
        text = ascii(status.message[:400])[1:-1]
        msg = f"{self._settings.url} refused {what}: {code}{': ' if text else ''}{text}"
        return BlobMissing(msg) if code == "NOT_FOUND" else ServerError(msg, code=code, retryable=code in RETRYABLE)


def digest_message(digest: Digest, size_bytes: int) -> Any:
    """Return the ``Digest`` message of a blob."""
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    return api.Digest(hash=hex_part(digest), size_bytes=size_bytes)


def _chunks(stream: BinaryIO, skip: int, size: int) -> Iterator[bytes]:
    """Yield what follows ``skip`` bytes; these are read too, since the digest is checked over everything."""
    while skip and (data := stream.read(min(skip, size))):
        skip -= len(data)
    while data := stream.read(size):
        yield data


def _compressed(stream: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the content, of ``size`` bytes, as one zstd frame in pieces."""
    pieces = _Pieces()
    with open_compressor(pieces, current_recipe(_LEVEL, None), size) as sink:
        while data := stream.read(1 << 20):
            sink.write(data)
            yield from pieces.taken()
    yield from pieces.taken()


class _Pieces:
    def __init__(self) -> None:
        self._data: list[bytes] = []

    def write(self, data: bytes, /) -> int:
        self._data.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        data, self._data = b"".join(self._data), []
        if data:
            yield data


def _marked(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield the chunks, each with whether it is the last; one that is empty when there is none."""
    last = next(chunks, b"")
    for chunk in chunks:
        yield last, False
        last = chunk
    yield last, True
