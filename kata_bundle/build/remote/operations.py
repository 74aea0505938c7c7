"""Run one action on a server and follow it to its end (Remote Execution API, ``Execution``). Must not know: stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.remote.cas import digest_message
from kata_bundle.build.remote.errors import ServerError

if TYPE_CHECKING:
    from kata_bundle.build.action import EncodedAction
    from kata_bundle.build.remote.rpc import Connection

__all__ = ["run_action"]

_SERVICE: Final = "/build.bazel.remote.execution.v2.Execution/"
_NAMES: Final = {
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    14: "UNAVAILABLE",
}
_PASSING: Final = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE"})


async def run_action(connection: Connection, encoded: EncodedAction, *, timeout_s: float, skip_cache: bool) -> Any:
    """Return the ``ExecuteResponse`` of an action whose inputs the server has.

    A stream that breaks is taken up again where the operation has a name. The whole may take ``timeout_s`` and the time in the
    queue that the limits allow. Raises :class:`ServerError`; with code ``FAILED_PRECONDITION`` when an input is missing.
    """
    from kata_bundle.build.reapi import operations_pb2
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    name = ""
    limit = timeout_s + connection.limits.queue_s

    async def attempt(_: int) -> Any:
        nonlocal name
        finished: list[operations_pb2.Operation] = []

        def take(operation: operations_pb2.Operation) -> bool:
            nonlocal name
            name = operation.name or name
            if operation.done:
                finished.append(operation)
            return operation.done

        if name:
            method: str = "WaitExecution"
            request: Any = api.WaitExecutionRequest(name=name)
        else:
            method = "Execute"
            request = api.ExecuteRequest(
                instance_name=connection.settings.instance,
                action_digest=digest_message(encoded.digest, encoded.size_bytes),
                skip_cache_lookup=skip_cache,
            )
        try:
            await connection.exchange(_SERVICE + method, [request], operations_pb2.Operation, take, timeout_s=limit)
        except ServerError as error:
            if name and error.code == "NOT_FOUND":
                # It forgot the operation, by a restart perhaps: asked for anew.
                name = ""
                raise ServerError(str(error), code="UNAVAILABLE") from None
            raise
        if not finished:
            msg = f"{connection.settings.url} ended {method} before the action did"
            raise ServerError(msg, code="UNAVAILABLE")
        try:
            return _response(connection.settings.url, finished[0])
        except ServerError:
            name = ""
            raise

    return await connection.retrying(attempt)


def _response(url: str, operation: Any) -> Any:
    from google.protobuf.message import DecodeError

    from kata_bundle.build.reapi import remote_execution_pb2 as api

    if operation.WhichOneof("result") == "error":
        raise _error(url, operation.error)
    response = api.ExecuteResponse()
    try:
        is_known = operation.response.Unpack(response)
    except DecodeError:
        is_known = False
    if not is_known:
        msg = f"{url} ended the action with what is no ExecuteResponse"
        raise ServerError(msg, code="DATA_LOSS")
    if response.status.code:
        raise _error(url, response.status)
    return response


def _error(url: str, status: Any) -> ServerError:
    code = _NAMES.get(status.code, f"code {status.code}")
    text = ascii(status.message[:400])[1:-1]
    msg = f"{url} could not execute the action: {code}{': ' if text else ''}{text}"
    return ServerError(msg, code=code, retryable=code in _PASSING)
