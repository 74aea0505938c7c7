"""The probe server of an installer at work: one thread, so that probes are answered while a host call blocks.

The loop and the answers are the waiter's (:mod:`kata_bundle.node.waiter`); here are the socket, the thread and the hand-over.
Opens a listening socket and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from typing import TYPE_CHECKING

from kata_bundle import __version__
from kata_bundle.core.errors import HostError
from kata_bundle.node import waiter
from kata_bundle.node.health.metrics import render_metrics

if TYPE_CHECKING:
    from types import TracebackType

    from kata_bundle.node.health.state import HealthState

__all__ = ["HealthServer", "bind"]

_BACKLOG = 128
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


def bind(port: int) -> socket.socket:
    """Return a socket listening on every address of the machine: dual-stack, or IPv4 where there is no IPv6.

    ``port`` 0 takes a free one. Raises :class:`HostError` when the port cannot be had.
    """
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):  # noqa: S104 - the kubelet probes the pod's address
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            if family == socket.AF_INET6 and error.errno in _NO_IPV6:
                continue
            raise _cannot_bind(port, error) from error
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind((address, port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            if family == socket.AF_INET6 and error.errno in _NO_IPV6:
                continue
            raise _cannot_bind(port, error) from error
        return listener
    raise AssertionError  # pragma: no cover - the last family returns or raises


def _cannot_bind(port: int, error: OSError) -> HostError:
    return HostError(f"cannot listen on port {port} for health probes: {error.strerror}", hint="set HEALTH_PORT to a free port")


class HealthServer:
    """Serves ``state`` on a listening socket, which it owns, until closed or detached. Use it as a context."""

    def __init__(self, state: HealthState, listener: socket.socket) -> None:
        self._state = state
        self._listener: socket.socket | None = listener
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, args=(listener.fileno(),), name="health", daemon=True)
        self._thread.start()

    @classmethod
    def adopt(cls, state: HealthState, descriptor: int) -> HealthServer:
        """Serve on a listening socket that another process handed over as ``descriptor``."""
        return cls(state, socket.socket(fileno=descriptor))

    @property
    def port(self) -> int:
        """The port served."""
        if self._listener is None:
            msg = "the listener was handed on"
            raise RuntimeError(msg)
        port: int = self._listener.getsockname()[1]
        return port

    def metrics(self) -> str:
        """Return the OpenMetrics text of the state now."""
        return render_metrics(self._state.snapshot(), version=__version__)

    def detach(self) -> int:
        """Stop serving, finish what was accepted, and return the still listening descriptor; connections queue meanwhile."""
        listener = self._stop()
        if listener is None:
            msg = "the listener was handed on already"
            raise RuntimeError(msg)
        return listener.detach()

    def close(self) -> None:
        """Stop serving and close the socket."""
        listener = self._stop()
        if listener is not None:
            listener.close()

    def __enter__(self) -> HealthServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _stop(self) -> socket.socket | None:
        listener, self._listener = self._listener, None
        if listener is not None:
            os.write(self._writer, b".")
            self._thread.join()
            for descriptor in (self._reader, self._writer):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        return listener

    def _run(self, descriptor: int) -> None:
        waiter.serve(descriptor, self._reader, self._answer)

    def _answer(self, request: bytes) -> bytes:
        snapshot = self._state.snapshot()
        return waiter.reply(request, ready=snapshot.ready, metrics=render_metrics(snapshot, version=__version__))
