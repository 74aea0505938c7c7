"""One unary call of the ttrpc protocol, version 1.0 (PROTOCOL.md of containerd/ttrpc).

A frame is ten bytes (length and stream, both 32 bits big-endian, a type, flags) and its data, at most 4 MiB. A call is one
request on an odd stream and one response on the same. Everything the peer sends is checked before it is believed.
Must not know: which services there are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from kata_bundle.node.diagnostics import ttrpc_pb2
from kata_bundle.node.diagnostics.errors import AgentError, AgentStatusError

if TYPE_CHECKING:
    from kata_bundle.node.diagnostics.transport import AgentConnection

__all__ = ["MAX_DATA", "call"]

MAX_DATA: Final = 4 << 20
"""Most bytes of data in one frame."""
_HEADER: Final = struct.Struct(">IIBB")
_REQUEST, _RESPONSE = 1, 2
_STREAM: Final = 1
_NANOSECONDS: Final = 1_000_000_000
_SHOWN: Final = 500


def call(connection: AgentConnection, service: str, method: str, payload: bytes, *, reply_limit_bytes: int = MAX_DATA) -> bytes:
    """Call ``method`` of ``service`` with an encoded message and return the encoded reply; one call per connection.

    Raises :class:`AgentStatusError` when the peer refuses, :class:`AgentError` when it does not keep to the protocol or its
    frame is longer than ``reply_limit_bytes``, and what the connection raises.
    """
    request = ttrpc_pb2.Request(
        service=service, method=method, payload=payload, timeout_nano=max(1, int(connection.left_s * _NANOSECONDS))
    ).SerializeToString()
    if len(request) > MAX_DATA:
        msg = f"a request of {len(request)} bytes does not fit a frame"
        raise AgentError(msg)
    connection.send(_HEADER.pack(len(request), _STREAM, _REQUEST, 0) + request)
    length, stream, kind, _flags = _HEADER.unpack(connection.receive(_HEADER.size))
    if length > min(MAX_DATA, reply_limit_bytes):
        msg = f"the answer to {method} is announced with {length} bytes, at most {min(MAX_DATA, reply_limit_bytes)} are taken"
        raise AgentError(msg)
    if (stream, kind) != (_STREAM, _RESPONSE):
        msg = f"expected the answer to {method}, found a frame of type {kind} for stream {stream}"
        raise AgentError(msg)
    try:
        response = ttrpc_pb2.Response.FromString(connection.receive(length))
    except DecodeError as error:
        msg = f"the answer to {method} is no response of the protocol"
        raise AgentError(msg) from error
    if response.status.code:
        raise _refused(method, response.status.code, response.status.message)
    return response.payload


def _refused(method: str, code: int, message: str) -> AgentStatusError:
    names = {number: name for name, number in ttrpc_pb2.Code.items()}
    name = names.get(code, str(code))
    text = message if len(message) <= _SHOWN else message[:_SHOWN] + "…"
    return AgentStatusError(f"{method} was refused ({name})" + (f": {text}" if text else ""), code=name)
