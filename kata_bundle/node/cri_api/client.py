"""Ask a container runtime over its CRI socket: Version, Status, ListPodSandbox. Nothing is created or changed by asking.

gRPC is grpclib's (pure Python). Each call has a connection and an event loop of its own, since the runtime restarts between
calls. Must not know: what the answers are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kata_bundle.node.cri_api.values import CriCondition, CriError, CriSandbox, CriStatus, CriVersion, configured_handlers

if TYPE_CHECKING:
    from google.protobuf.message import Message

    Reply = TypeVar("Reply", bound=Message)

__all__ = ["CALL_TIMEOUT_S", "CriClient"]

CALL_TIMEOUT_S = 10.0
_SERVICE = "/runtime.v1.RuntimeService"
_NANOSECONDS = 1_000_000_000


class CriClient:
    """The CRI at the Unix socket ``path``.

    All calls raise :class:`CriError` when there is no good answer within ``timeout_s`` seconds.
    """

    def __init__(self, path: str, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def version(self) -> CriVersion:
        """Return the runtime's name and version."""
        from kata_bundle.node.cri_api import api_pb2

        reply = self._call("Version", api_pb2.VersionRequest(), api_pb2.VersionResponse)
        return CriVersion(
            runtime_name=reply.runtime_name, runtime_version=reply.runtime_version, api_version=reply.runtime_api_version
        )

    def status(self) -> CriStatus:
        """Return the runtime's conditions and the handlers it serves.

        The handlers come from the list that the kubelet reads; where a release does not give one, from its effective
        configuration.
        """
        from kata_bundle.node.cri_api import api_pb2

        reply = self._call("Status", api_pb2.StatusRequest(verbose=True), api_pb2.StatusResponse)
        listed = tuple(sorted(handler.name for handler in reply.runtime_handlers if handler.name))
        return CriStatus(
            conditions=tuple(
                CriCondition(kind=item.type, is_true=item.status, reason=item.reason, message=item.message)
                for item in reply.status.conditions
            ),
            handlers=listed or configured_handlers(dict(reply.info)),
        )

    def sandboxes(self) -> tuple[CriSandbox, ...]:
        """Return every pod sandbox, running or not, in the runtime's order."""
        from kata_bundle.node.cri_api import api_pb2

        reply = self._call("ListPodSandbox", api_pb2.ListPodSandboxRequest(), api_pb2.ListPodSandboxResponse)
        return tuple(
            CriSandbox(
                sandbox_id=item.id,
                pod=item.metadata.name,
                namespace=item.metadata.namespace,
                handler=item.runtime_handler,
                is_ready=item.state == api_pb2.SANDBOX_READY,
                created_at=item.created_at / _NANOSECONDS,
            )
            for item in reply.items
        )

    def _call(self, method: str, request: Message, reply: type[Reply]) -> Reply:
        import asyncio

        try:
            return asyncio.run(asyncio.wait_for(self._ask(method, request, reply), self._timeout_s))
        except TimeoutError:
            msg = f"the container runtime at {self._path} did not answer {method} within {self._timeout_s:g} s"
            raise CriError(msg, retryable=True) from None

    async def _ask(self, method: str, request: Message, reply: type[Reply]) -> Reply:
        from grpclib.client import Channel, UnaryUnaryMethod
        from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

        channel = Channel(path=self._path)
        try:
            call: UnaryUnaryMethod[Message, Reply] = UnaryUnaryMethod(channel, f"{_SERVICE}/{method}", type(request), reply)
            return await call(request, timeout=self._timeout_s)
        except GRPCError as error:
            msg = f"the container runtime at {self._path} refused {method}: {error.message or error.status.name}"
            raise CriError(msg, retryable=True) from error
        except TimeoutError:
            raise
        except (OSError, StreamTerminatedError, ProtocolError) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            msg = f"the container runtime at {self._path} does not answer {method}: {text}"
            raise CriError(msg, retryable=True) from error
        finally:
            channel.close()
