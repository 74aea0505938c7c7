"""A Remote Execution API server as cache of actions and as executor.

A server is believed in one thing only: which content belongs to an action. All content is checked against its digest, and the
result's shape against what the action declares. Must not know: rules, how a failure is dealt with.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.action import decode_outputs
from kata_bundle.build.action.encode import parsed_digest
from kata_bundle.build.remote.capabilities import negotiate
from kata_bundle.build.remote.cas import Cas, digest_message
from kata_bundle.build.remote.errors import BlobMissing, ServerError
from kata_bundle.build.remote.operations import run_action
from kata_bundle.build.remote.results import check_outputs, encode_result, files_of, tree_documents
from kata_bundle.build.remote.rpc import never, on_server
from kata_bundle.build.sandbox import Limits
from kata_bundle.build.sandbox.execute import Executed
from kata_bundle.core.clock import monotonic
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import BuildError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from kata_bundle.build.action import Action, EncodedAction
    from kata_bundle.build.remote.rpc import Connection
    from kata_bundle.build.remote.settings import ServerSettings
    from kata_bundle.core.digest import Digest
    from kata_bundle.store import Store

__all__ = ["ReapiCache", "ReapiExecutor"]

_CACHE: Final = "/build.bazel.remote.execution.v2.ActionCache/"
_LOG_BYTES: Final = 1 << 20
_SHOWN: Final = 4000


class ReapiCache:
    """The action cache and content of a server. Thread-safe: every call has a connection of its own."""

    def __init__(self, settings: ServerSettings, *, output_bytes: int | None = None) -> None:
        self.settings = settings
        self._output_bytes = output_bytes or Limits().output_bytes

    @property
    def name(self) -> str:
        """The server's address."""
        return self.settings.url

    def find(
        self, store: Store, action: Action, encoded: EncodedAction, *, is_cancelled: Callable[[], bool] = never
    ) -> Executed | None:
        """Return what the server remembers of ``action``; see ``ports.SharedCache``."""

        async def work(connection: Connection) -> Executed | None:
            from kata_bundle.build.reapi import remote_execution_pb2 as api

            cas = Cas(connection, await negotiate(connection))
            request = api.GetActionResultRequest(
                instance_name=self.settings.instance, action_digest=digest_message(encoded.digest, encoded.size_bytes)
            )
            try:
                result = await connection.call(_CACHE + "GetActionResult", request, api.ActionResult)
                if result.exit_code:
                    return None  # others may keep failures; we build again
                return await fetch_result(cas, store, action, result, where=self.name, limit_bytes=self._output_bytes)
            except BlobMissing:
                return None
            except ServerError as error:
                if error.code == "NOT_FOUND":
                    return None
                raise

        return on_server(self.settings, work, is_cancelled=is_cancelled)

    def share(
        self,
        store: Store,
        action: Action,
        encoded: EncodedAction,
        done: Executed,
        *,
        is_cancelled: Callable[[], bool] = never,
    ) -> None:
        """Give the server a result: content first, then the result that refers to it. An unhermetic one is refused."""
        if not done.is_hermetic:
            msg = f"{action.name}: a result that is not hermetic is not shared"
            raise IntegrityError(msg)

        async def work(connection: Connection) -> None:
            from kata_bundle.build.reapi import remote_execution_pb2 as api

            features = await negotiate(connection)
            if not features.can_update:
                return
            result = encode_result(action, done.outputs, (done.log, store.size(done.log) or 0))
            # The small messages too, so that people can look at what an entry of the cache was made by.
            documents = {**result.documents, **_own_messages(encoded)}
            sizes = {digest: len(data) for digest, data in documents.items()}
            await Cas(connection, features).upload({**sizes, **result.files}, _source(store, documents))
            request = api.UpdateActionResultRequest(
                instance_name=self.settings.instance,
                action_digest=digest_message(encoded.digest, encoded.size_bytes),
                action_result=result.message,
            )
            await connection.call(_CACHE + "UpdateActionResult", request, api.ActionResult)

        on_server(self.settings, work, is_cancelled=is_cancelled)


class ReapiExecutor:
    """The execution service of a server. Thread-safe like :class:`ReapiCache`."""

    def __init__(self, settings: ServerSettings, *, output_bytes: int | None = None, use_cache: bool = True) -> None:
        self.settings = settings
        self._output_bytes = output_bytes or Limits().output_bytes
        self._use_cache = use_cache

    @property
    def name(self) -> str:
        """The server's address."""
        return self.settings.url

    def execute(
        self, store: Store, action: Action, encoded: EncodedAction, *, is_cancelled: Callable[[], bool] = never
    ) -> Executed:
        """Return what ``action`` made on the server; see ``ports.RemoteExecutor``."""

        async def work(connection: Connection) -> Executed:
            cas = Cas(connection, await negotiate(connection, execution=True))
            sizes = {digest: len(data) for digest, data in encoded.messages.items()}
            source = _source(store, encoded.messages)
            started = monotonic()
            for is_last in (False, True):
                await cas.upload({**encoded.files, **sizes}, source)
                try:
                    response = await run_action(connection, encoded, timeout_s=action.timeout_s, skip_cache=not self._use_cache)
                    break
                except ServerError as error:
                    # The server dropped an input since we asked: once more with what it lacks now.
                    if error.code != "FAILED_PRECONDITION" or is_last:
                        raise
            result = response.result
            if result.exit_code:
                raise await self._failed(cas, store, action, result)
            done = await fetch_result(cas, store, action, result, where=self.name, limit_bytes=self._output_bytes)
            duration = 0.0 if response.cached_result else monotonic() - started
            return Executed(outputs=done.outputs, log=done.log, duration_s=duration, is_hermetic=True)

        return on_server(self.settings, work, is_cancelled=is_cancelled)

    async def _failed(self, cas: Cas, store: Store, action: Action, result: Any) -> BuildError:
        log = store.read(await _log(cas, store, result)).decode("utf-8", "replace").strip()
        tail = "".join(char if char.isprintable() or char in "\n\t" else "�" for char in log[-_SHOWN:])
        msg = f"{action.name} failed with exit code {result.exit_code} on {self.name}" + (f":\n{tail}" if tail else "")
        return BuildError(msg)


async def fetch_result(cas: Cas, store: Store, action: Action, result: Any, *, where: str, limit_bytes: int) -> Executed:
    """Return what an ``ActionResult`` message stands for, with its files, checked, in ``store``.

    Nothing large is fetched before the shape is known to be right. Raises :class:`IntegrityError` when it is not.
    """
    documents = {digest: await cas.read(digest, size) for digest, size in tree_documents(result).items()}
    outputs = decode_outputs(result, lambda digest, _: documents[digest])
    check_outputs(action, outputs, where=where, limit_bytes=limit_bytes)
    await cas.download(files_of(outputs), store)
    return Executed(outputs=outputs, log=await _log(cas, store, result), duration_s=0.0, is_hermetic=True)


async def _log(cas: Cas, store: Store, result: Any) -> Digest:
    """Return the digest of what the command printed, in the store; what is gone or large is left out."""
    data = b""
    for raw, message in ((result.stdout_raw, result.stdout_digest), (result.stderr_raw, result.stderr_digest)):
        if raw:
            data += raw[:_LOG_BYTES]
        elif 0 < message.size_bytes <= _LOG_BYTES:
            try:
                data += await cas.read(parsed_digest(message), message.size_bytes)
            except (ServerError, IntegrityError):
                continue  # no part of the result
    return store.put_bytes(data)


def _own_messages(encoded: EncodedAction) -> dict[Digest, bytes]:
    """Return the ``Action`` and its ``Command``, without the input's directories."""
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    data = encoded.messages[encoded.digest]
    command = parsed_digest(api.Action.FromString(data).command_digest)
    return {encoded.digest: data, command: encoded.messages[command]}


def _source(store: Store, documents: Any) -> Callable[[Digest], BinaryIO]:
    """Return what opens a blob: one of ``documents``, else one of the store."""

    def open_blob(digest: Digest) -> BinaryIO:
        data = documents.get(digest)
        if data is None:
            return store.open(digest)
        if digest_bytes(data) != digest:
            msg = f"a message with digest {digest_bytes(data)} is kept as {digest}"
            raise IntegrityError(msg)
        return io.BytesIO(data)

    return open_blob
