"""A FAKE Remote Execution API server, for what a real one cannot be made to do: lie, hang, break off, run out of room.

It speaks the real protocol over a real connection, keeps everything in memory and never executes: what an action "makes" is what
the test says. Engines of other people are in tests/interop/reapi.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import zstandard
from google.protobuf.any_pb2 import Any as AnyMessage
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from kata_bundle.build.reapi import bytestream_pb2 as bs
from kata_bundle.build.reapi import operations_pb2 as ops
from kata_bundle.build.reapi import remote_execution_pb2 as api

if TYPE_CHECKING:
    import ssl

_PACKAGE = "/build.bazel.remote.execution.v2."
_PIECE = 64 << 10


class FakeServer:
    """Runs in a thread of its own. Set the attributes before, or between, calls."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.blobs: dict[str, bytes] = {}
        self.results: dict[str, Any] = {}
        self.partial: dict[str, bytes] = {}
        self.calls: Counter[str] = Counter()
        self.tokens: set[str | None] = set()
        self.instances: set[str] = set()
        self.largest_batch = 0
        self.written = 0
        self.offsets: list[int] = []
        # Faults.
        self.refusals: dict[str, list[Status]] = {}
        self.hangs: set[str] = set()
        self.corrupt = False
        self.die_after: int | None = None
        """Bytes of the next stream in either direction, after which it breaks."""
        self.spare = 0
        """Streams shorter than this many bytes do not break."""
        self.end_early = False
        """End a broken download as if it were complete."""
        self.padding = 0
        self.uninvited: list[str] = []
        self.bomb: bytes | None = None
        self.made: Any = None
        """The ``ActionResult`` of everything executed."""
        self.operation_breaks = 0
        self.forgets = False
        self.capabilities = api.ServerCapabilities(
            cache_capabilities=api.CacheCapabilities(
                digest_functions=[api.DigestFunction.SHA256],
                action_cache_update_capabilities=api.ActionCacheUpdateCapabilities(update_enabled=True),
            ),
            execution_capabilities=api.ExecutionCapabilities(exec_enabled=True, digest_functions=[api.DigestFunction.SHA256]),
        )
        self.capabilities.low_api_version.major = self.capabilities.high_api_version.major = 2
        self.capabilities.high_api_version.minor = 3
        self._tls = tls
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'grpcs' if self._tls else 'grpc'}://127.0.0.1:{self.port}"

    def allow_zstd(self) -> None:
        self.capabilities.cache_capabilities.supported_compressors.append(api.Compressor.ZSTD)
        self.capabilities.cache_capabilities.supported_batch_update_compressors.append(api.Compressor.ZSTD)

    def __enter__(self) -> FakeServer:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Go away, with all connections; once more does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
            assert not self._thread.is_alive()

    def _run(self) -> None:
        async def main() -> None:
            self._stop = asyncio.Event()
            server = Server([self])
            await server.start("127.0.0.1", 0, ssl=self._tls)
            self.port = server._server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._stop.wait()
            server.close()
            # Handlers that hang are ended by hand; nobody waits for them.
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.wait(others, timeout=5) if others else None

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(main())
        self._loop.close()

    def __mapping__(self) -> dict[str, Handler]:
        one, out, inward = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM, Cardinality.STREAM_UNARY
        table = {
            _PACKAGE + "Capabilities/GetCapabilities": (
                self.get_capabilities, one, api.GetCapabilitiesRequest, api.ServerCapabilities),
            _PACKAGE + "ContentAddressableStorage/FindMissingBlobs": (
                self.find_missing, one, api.FindMissingBlobsRequest, api.FindMissingBlobsResponse),
            _PACKAGE + "ContentAddressableStorage/BatchUpdateBlobs": (
                self.batch_update, one, api.BatchUpdateBlobsRequest, api.BatchUpdateBlobsResponse),
            _PACKAGE + "ContentAddressableStorage/BatchReadBlobs": (
                self.batch_read, one, api.BatchReadBlobsRequest, api.BatchReadBlobsResponse),
            _PACKAGE + "ActionCache/GetActionResult": (self.get_result, one, api.GetActionResultRequest, api.ActionResult),
            _PACKAGE + "ActionCache/UpdateActionResult": (
                self.update_result, one, api.UpdateActionResultRequest, api.ActionResult),
            _PACKAGE + "Execution/Execute": (self.execute, out, api.ExecuteRequest, ops.Operation),
            _PACKAGE + "Execution/WaitExecution": (self.wait, out, api.WaitExecutionRequest, ops.Operation),
            "/google.bytestream.ByteStream/Read": (self.read, out, bs.ReadRequest, bs.ReadResponse),
            "/google.bytestream.ByteStream/Write": (self.write, inward, bs.WriteRequest, bs.WriteResponse),
            "/google.bytestream.ByteStream/QueryWriteStatus": (
                self.query, one, bs.QueryWriteStatusRequest, bs.QueryWriteStatusResponse),
        }  # fmt: skip
        return {
            path: Handler(self._guarded(path.rpartition("/")[2], f), kind, ask, say)
            for path, (f, kind, ask, say) in table.items()
        }

    def _guarded(self, name: str, function: Any) -> Any:
        async def handler(stream: Any) -> None:
            self.calls[name] += 1
            self.tokens.add(stream.metadata.get("authorization"))
            if name in self.hangs:
                await asyncio.sleep(3600)
            if self.refusals.get(name):
                raise GRPCError(self.refusals[name].pop(0), "as the test says")
            await function(stream)

        return handler

    async def get_capabilities(self, stream: Any) -> None:
        self.instances.add((await stream.recv_message()).instance_name)
        await stream.send_message(self.capabilities)

    async def find_missing(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.instances.add(request.instance_name)
        reply = api.FindMissingBlobsResponse()
        reply.missing_blob_digests.extend(d for d in request.blob_digests if d.hash not in self.blobs)
        reply.missing_blob_digests.extend(api.Digest(hash=name, size_bytes=1) for name in self.uninvited)
        await stream.send_message(reply)

    async def batch_update(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.largest_batch = max(self.largest_batch, request.ByteSize())
        reply = api.BatchUpdateBlobsResponse()
        for item in request.requests:
            data = zstandard.decompress(item.data) if item.compressor == api.Compressor.ZSTD else item.data
            assert hashlib.sha256(data).hexdigest() == item.digest.hash
            self.blobs[item.digest.hash] = data
            self.written += len(data)
            reply.responses.add(digest=item.digest)
        await stream.send_message(reply)

    async def batch_read(self, stream: Any) -> None:
        request = await stream.recv_message()
        reply = api.BatchReadBlobsResponse()
        for digest in request.digests:
            item = reply.responses.add(digest=digest)
            if digest.hash not in self.blobs:
                item.status.code = Status.NOT_FOUND.value
            elif self.bomb is not None:
                item.data, item.compressor = self.bomb, api.Compressor.ZSTD
            elif api.Compressor.ZSTD in request.acceptable_compressors:
                item.data, item.compressor = zstandard.compress(self._content(digest.hash)), api.Compressor.ZSTD
            else:
                item.data = self._content(digest.hash) + bytes(self.padding)
        self.largest_batch = max(self.largest_batch, reply.ByteSize())
        await stream.send_message(reply)

    async def get_result(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.instances.add(request.instance_name)
        if request.action_digest.hash not in self.results:
            raise GRPCError(Status.NOT_FOUND, "no such action")
        await stream.send_message(self.results[request.action_digest.hash])

    async def update_result(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.results[request.action_digest.hash] = request.action_result
        await stream.send_message(request.action_result)

    async def read(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.offsets.append(request.read_offset)
        parts = request.resource_name.split("/")
        name = parts[-2]
        if name not in self.blobs:
            raise GRPCError(Status.NOT_FOUND, "no such blob")
        data = self._content(name)[request.read_offset :]
        if "compressed-blobs" in parts:
            data = self.bomb or zstandard.compress(data)
        stop = None
        if len(data) >= self.spare:
            stop, self.die_after = self.die_after, None
        for start in range(0, len(data), _PIECE):
            if stop is not None and start >= stop:
                if self.end_early:
                    return
                raise GRPCError(Status.UNAVAILABLE, "going down")
            await stream.send_message(bs.ReadResponse(data=data[start : start + _PIECE]))

    async def write(self, stream: Any) -> None:
        name = ""
        data = b""
        stop, self.die_after = self.die_after, None
        while (request := await stream.recv_message()) is not None:
            if not name:
                name = request.resource_name
                self.offsets.append(request.write_offset)
                data = self.partial.get(name, b"")[: request.write_offset]
            data += request.data
            if stop is not None and len(data) >= stop:
                self.partial[name] = data[:stop]
                self.written += stop
                raise GRPCError(Status.UNAVAILABLE, "going down")
            if request.finish_write:
                break
        self.written += len(data) - self.offsets[-1]
        size = int(name.rpartition("/")[2])
        if "/compressed-blobs/" in f"/{name}":
            data, size = zstandard.ZstdDecompressor().decompressobj().decompress(data), -1
        if hashlib.sha256(data).hexdigest() != name.split("/")[-2]:
            raise GRPCError(Status.INVALID_ARGUMENT, "another digest")
        self.blobs[name.split("/")[-2]] = data
        await stream.send_message(bs.WriteResponse(committed_size=size))

    async def query(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(bs.QueryWriteStatusResponse(committed_size=len(self.partial.get(request.resource_name, b""))))

    async def execute(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(ops.Operation(name="operations/1"))
        if self.operation_breaks:
            self.operation_breaks -= 1
            raise GRPCError(Status.UNAVAILABLE, "going down")
        await stream.send_message(self._finished())

    async def wait(self, stream: Any) -> None:
        request = await stream.recv_message()
        assert request.name == "operations/1"
        if self.forgets:
            raise GRPCError(Status.NOT_FOUND, "no such operation")
        await stream.send_message(self._finished())

    def _finished(self) -> Any:
        response = AnyMessage()
        response.Pack(api.ExecuteResponse(result=self.made))
        return ops.Operation(name="operations/1", done=True, response=response)

    def _content(self, name: str) -> bytes:
        data = self.blobs[name]
        return bytes([data[0] ^ 1]) + data[1:] if self.corrupt and data else data
