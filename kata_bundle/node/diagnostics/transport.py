"""A connection to a guest's agent whose whole life has one deadline: a peer that drips bytes gains nothing by it.

Hybrid vsock is the hypervisors' way: a Unix socket on which ``CONNECT <port>`` is answered by ``OK <port>`` before the guest's
bytes begin. Must not know: what is said over the connection.
"""

from __future__ import annotations

import contextlib
import os
import socket  # noqa: TID251 - docs/decisions/002 names the diagnostics
from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.node.diagnostics.address import Transport
from kata_bundle.node.diagnostics.errors import AgentError, AgentTimeoutError

if TYPE_CHECKING:
    from types import TracebackType

    from kata_bundle.node.diagnostics.address import AgentAddress

__all__ = ["AgentConnection", "connect"]

_HANDSHAKE_LIMIT = 64
_PIECE = 1 << 16


class AgentConnection:
    """A connected stream. Every operation raises :class:`AgentError`, after the deadline :class:`AgentTimeoutError`."""

    def __init__(self, sock: socket.socket, *, where: str, deadline: float) -> None:
        self._socket = sock
        self._where = where
        self._deadline = deadline

    def __enter__(self) -> AgentConnection:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - clock.monotonic()

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        view = memoryview(data)
        while view:
            self._arm()
            try:
                view = view[self._socket.send(view) :]
            except OSError as error:
                raise self._failed(error) from error

    def receive(self, size: int) -> bytes:
        """Return exactly ``size`` bytes; memory grows with what arrives, not with what was announced."""
        found = bytearray()
        while len(found) < size:
            piece = self._some(min(size - len(found), _PIECE))
            if not piece:
                msg = f"the agent at {self._where} hung up after {len(found)} of {size} bytes"
                raise AgentError(msg)
            found += piece
        return bytes(found)

    def shake_hands(self, port: int) -> None:
        """Ask a hypervisor's socket for guest port ``port``."""
        self.send(b"CONNECT %d\n" % port)
        answer = b""
        # One byte at a time: what follows the line is the guest's.
        while not answer.endswith(b"\n") and len(answer) < _HANDSHAKE_LIMIT:
            byte = self._some(1)
            if not byte:
                break
            answer += byte
        if not (answer.startswith(b"OK ") and answer.endswith(b"\n")):
            shown = ascii(answer.decode("utf-8", "replace"))
            msg = f"the hypervisor at {self._where} answered {shown} instead of connecting to guest port {port}"
            raise AgentError(msg, hint="the guest may have ended, or its agent listens on another port")

    def _some(self, size: int) -> bytes:
        self._arm()
        try:
            return self._socket.recv(size)
        except OSError as error:
            raise self._failed(error) from error

    def _arm(self) -> None:
        left = self.left_s
        if left <= 0:
            raise self._too_late()
        self._socket.settimeout(left)

    def _too_late(self) -> AgentTimeoutError:
        return AgentTimeoutError(f"the agent at {self._where} did not answer in time", retryable=True)

    def _failed(self, error: OSError) -> AgentError:
        if isinstance(error, TimeoutError):
            return self._too_late()
        return AgentError(f"the agent at {self._where}: {error.strerror or error}")


def connect(address: AgentAddress, *, root: str = "/", timeout_s: float) -> AgentConnection:
    """Return a connection to the agent at ``address``, to be used up within ``timeout_s`` seconds.

    Paths are below ``root``. Raises :class:`AgentError`.
    """
    deadline = clock.monotonic() + timeout_s
    where = str(address)
    sock: socket.socket | None = None
    try:
        if address.transport is Transport.VSOCK:
            sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            sock.connect((address.cid, address.port))
        else:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            sock.connect(os.path.join(root, address.path.lstrip("/")))
        connection = AgentConnection(sock, where=where, deadline=deadline)
        if address.transport is Transport.HYBRID_VSOCK:
            connection.shake_hands(address.port)
    except OSError as error:
        _close(sock)
        text = "did not answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        kind = AgentTimeoutError if isinstance(error, TimeoutError) else AgentError
        msg = f"the agent at {where} cannot be reached: {text}"
        raise kind(msg, hint="the address is right only while the sandbox runs") from error
    except AgentError:
        _close(sock)
        raise
    return connection


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.close()
