"""The agent's extensible call for diagnostic data, and the registry of the types of text that may be asked for.

Source: installer specification §31.1. A type that an agent does not know is refused by it as an invalid argument, so asking an
older one is harmless. Must not know: what is done with the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import UsageError
from kata_bundle.core.record import record
from kata_bundle.node.diagnostics.errors import AgentError
from kata_bundle.node.diagnostics.transport import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.diagnostics.address import AgentAddress

__all__ = ["CALL_TIMEOUT_S", "LOG_TYPES", "TERMINATION_LOG", "LogType", "diagnostic_data", "log_type"]

CALL_TIMEOUT_S: Final = 5.0
_CONTAINER_ID_LIMIT: Final = 256
_ENVELOPE_BYTES: Final = 4096
"""Room for what stands around the text in a reply: lengths, and the message of a refusal."""


@record
class LogType:
    """One type of text: its name in the call, what it is, and how many bytes of it are kept."""

    name: str
    about: str
    limit_bytes: int


TERMINATION_LOG: Final = LogType(
    name="termination_log", about="what the container wrote to its terminationMessagePath", limit_bytes=4096
)
LOG_TYPES: Final[Mapping[str, LogType]] = {kind.name: kind for kind in (TERMINATION_LOG,)}
"""Every type that is known here, by its name. A new one is one more entry."""


def log_type(name: str) -> LogType:
    """Return the type called ``name``. Raises :class:`UsageError` naming those there are."""
    found = LOG_TYPES.get(name)
    if found is None:
        msg = f'"{name}" is no type of diagnostic text'
        raise UsageError(msg, hint=f"known: {', '.join(LOG_TYPES)}")
    return found


def diagnostic_data(
    address: AgentAddress, kind: LogType, container_id: str, *, root: str = "/", timeout_s: float = CALL_TIMEOUT_S
) -> str:
    """Return the text of ``kind`` for one container, at most its limit; empty when there is none.

    Everything together takes at most ``timeout_s`` seconds. Raises :class:`AgentError`.
    """
    from google.protobuf.message import DecodeError

    from kata_bundle.node.diagnostics import agent_pb2, ttrpc

    if not container_id or len(container_id) > _CONTAINER_ID_LIMIT:
        msg = f"a container's id has 1 to {_CONTAINER_ID_LIMIT} characters"
        raise UsageError(msg)
    request = agent_pb2.GetDiagnosticDataRequest(log_type=kind.name, container_id=container_id)
    with connect(address, root=root, timeout_s=timeout_s) as connection:
        reply = ttrpc.call(
            connection,
            "grpc.AgentService",
            "GetDiagnosticData",
            request.SerializeToString(),
            # A byte that is no UTF-8 comes as a replacement character of three.
            reply_limit_bytes=3 * kind.limit_bytes + _ENVELOPE_BYTES,
        )
    try:
        text = agent_pb2.GetDiagnosticDataResponse.FromString(reply).data
    except DecodeError as error:
        msg = f"the agent at {address} answered with something else than diagnostic data"
        raise AgentError(msg) from error
    return text.encode()[: kind.limit_bytes].decode("utf-8", "ignore")
