"""Answer health probes and wait for SIGTERM in as little memory as a Python process can have.

After a successful install the installer replaces itself with this file, run by path (``python -I -S waiter.py``), so that for the
weeks until the node is dismantled nothing of the install stays in memory. That is why it imports C modules of the interpreter
instead of ``signal``, ``socket`` and ``os``, which would cost half of its private memory again, and nothing of this package.

The probe loop and the probe's bytes (installer specification §24.1, D18) stand here once; ``health`` runs the same loop in a
thread.

Must not know: nodes, runtimes, what the command that follows SIGTERM does.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import posix
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ACTION", "FD_VARIABLE", "METRICS_VARIABLE", "RUNTIME_VARIABLE", "main", "reply", "serve"]

ACTION = "internal-post-install-wait"
RUNTIME_VARIABLE = "KATA_DEPLOY_DETECTED_RUNTIME"
FD_VARIABLE = "KATA_DEPLOY_HEALTH_FD"
METRICS_VARIABLE = "KATA_BUNDLE_HEALTH_METRICS"

READ_LIMIT_S = 5.0
"""How long a client may take to send its request line."""

_LINE_LIMIT = 8192
_DRAIN_LIMIT_S = 1.0
_DRAIN_LIMIT_BYTES = 65536
_MAX_CLIENTS = 64
_TEXT = "text/plain"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_REASONS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


def reply(request: bytes, *, ready: bool, metrics: str = "") -> bytes:
    """Return the whole response to a request whose first line is ``request``: header and body, to be sent in one write.

    Only the second word counts, without its query. ``metrics`` is the OpenMetrics text for ``/metrics``; without it that path is
    not found.
    """
    words = request.split()
    path = words[1].split(b"?", 1)[0] if len(words) > 1 else b""
    state = "ready" if ready else "installing"
    status, kind, body = 404, _TEXT, "not found\n"
    if path == b"/healthz":
        status, body = 200, f"ok {state}\n"
    elif path == b"/readyz":
        status, body = (200, "ok ready\n") if ready else (503, f"not_ready {state}\n")
    elif path == b"/metrics" and metrics:
        status, kind, body = 200, _OPENMETRICS, metrics
    data = body.encode()
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n"
    head += "Connection: close\r\n\r\n"
    return head.encode() + (b"" if words[:1] == [b"HEAD"] else data)


class _Client:
    """One connection: its request line is read, the answer is sent, what else it says is read and dropped."""

    __slots__ = ("answered", "deadline", "done", "out", "received", "sock")

    def __init__(self, descriptor: int) -> None:
        self.sock = _socket.socket(fileno=descriptor)
        self.sock.setblocking(False)
        self.received = b""
        self.out = b""
        self.answered = False
        self.done = False
        self.deadline = time.monotonic() + READ_LIMIT_S

    def step(self, answer: Callable[[bytes], bytes]) -> None:
        """Do what can be done without waiting; ``done`` says whether the connection is over."""
        try:
            if not self.out:
                self._receive(answer)
            if self.out:
                self._send()
        except BlockingIOError:
            pass
        except OSError:
            self.done = True

    def _receive(self, answer: Callable[[bytes], bytes]) -> None:
        data = self.sock.recv(4096)
        self.received += data
        if self.answered:
            # Closing with unread input makes the kernel send a reset, which can overtake the answer.
            self.done = not data or len(self.received) >= _DRAIN_LIMIT_BYTES
            return
        line, newline, rest = self.received.partition(b"\n")
        if len(line) > _LINE_LIMIT:
            self.done = True
        elif newline or not data:
            if line.strip():
                self.received, self.out, self.answered = rest, answer(line), True
            else:
                self.done = True

    def _send(self) -> None:
        self.out = self.out[self.sock.send(self.out) :]
        if not self.out:
            self.sock.shutdown(_socket.SHUT_WR)
            self.deadline = time.monotonic() + _DRAIN_LIMIT_S


def serve(listener: int, wake: int, answer: Callable[[bytes], bytes], *, grace_s: float = 1.0) -> None:
    """Answer requests on the listening socket ``listener`` until ``wake`` is readable.

    ``answer`` maps a request line to a response. A slow client delays nobody: each has its own deadline. When woken, connections
    already accepted are finished within ``grace_s``; the listener stays open, and what connects meanwhile waits in its queue for
    whoever serves it next.
    """
    # A descriptor of its own: closing this object must not close the caller's listener.
    accepting = _socket.socket(fileno=_socket.dup(listener))
    accepting.setblocking(False)
    poll = select.poll()
    poll.register(accepting.fileno(), select.POLLIN)
    poll.register(wake, select.POLLIN)
    clients: dict[int, _Client] = {}

    def drop(descriptor: int) -> None:
        poll.unregister(descriptor)
        clients.pop(descriptor).sock.close()

    def accept() -> None:
        while True:
            try:
                # The public accept() is a Python method of the socket module; this is what it calls.
                descriptor, _ = accepting._accept()  # type: ignore[attr-defined]
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    if clients:
                        drop(next(iter(clients)))
                    else:
                        time.sleep(0.05)
                return
            if len(clients) >= _MAX_CLIENTS:
                drop(next(iter(clients)))
            clients[descriptor] = client = _Client(descriptor)
            poll.register(descriptor, select.POLLIN)
            step(descriptor, client)

    def step(descriptor: int, client: _Client) -> None:
        client.step(answer)
        if client.done:
            drop(descriptor)
        else:
            poll.modify(descriptor, select.POLLOUT if client.out else select.POLLIN)

    try:
        stopping: float | None = None
        while stopping is None or (clients and time.monotonic() < stopping):
            ends = [client.deadline for client in clients.values()] + ([] if stopping is None else [stopping])
            timeout = max(0, int((min(ends) - time.monotonic()) * 1000) + 1) if ends else None
            for descriptor, _ in poll.poll(timeout):
                if descriptor == wake:
                    poll.unregister(wake)
                    poll.unregister(accepting.fileno())
                    stopping = time.monotonic() + grace_s
                elif descriptor == accepting.fileno():
                    accept()
                elif descriptor in clients:
                    step(descriptor, clients[descriptor])
            now = time.monotonic()
            for descriptor in [d for d, client in clients.items() if client.deadline <= now]:
                drop(descriptor)
    finally:
        for descriptor in list(clients):
            drop(descriptor)
        accepting.close()


def main(arguments: list[str], environment: Mapping[bytes, bytes]) -> int:
    """Wait for SIGTERM, then become the command after ``--`` in ``arguments``; return an exit status only when that cannot be.

    SIGTERM is expected to be blocked already: one that came while the process replaced itself is pending and counts.
    """
    _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGTERM])
    if arguments[:2] != [ACTION, "--"] or len(arguments) < 3:
        return _fail(f"usage: waiter.py {ACTION} -- COMMAND...")
    if not environment.get(RUNTIME_VARIABLE.encode()):
        return _fail(f"{RUNTIME_VARIABLE} is not set")
    text = environment.get(FD_VARIABLE.encode(), b"").decode("ascii", "replace")
    listener = -1
    if text:
        try:
            listener = int(text) if text.isdigit() else -1
            posix.set_inheritable(listener, False)
            _socket.socket(fileno=listener).detach()
        except (OSError, OverflowError):
            return _fail(f'{FD_VARIABLE} is "{text}", which is no open socket')
    else:
        _say(f"warning: {FD_VARIABLE} is not set, so health probes are not answered")
    _wait(listener, environment.get(METRICS_VARIABLE.encode(), b"").decode("utf-8", "replace"))
    if listener >= 0:
        # The command after us takes the socket over, as we did.
        posix.set_inheritable(listener, True)
    try:
        posix.execve(arguments[2], arguments[2:], environment)
    except OSError as error:
        return _fail(f"{arguments[2]}: {error.strerror}")


def _wait(listener: int, metrics: str) -> None:
    """Return when SIGTERM has come; it is blocked again then."""
    reader, writer = posix.pipe()
    posix.set_blocking(writer, False)
    _signal.set_wakeup_fd(writer)
    # The first process of a container gets no signal without a handler.
    _signal.signal(_signal.SIGTERM, _nothing)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGTERM])
    if listener >= 0:
        serve(listener, reader, lambda line: reply(line, ready=True, metrics=metrics))
    else:
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        poll.poll()
    _signal.pthread_sigmask(_signal.SIG_BLOCK, [_signal.SIGTERM])


def _nothing(_number: int, _frame: object) -> None:
    """Do nothing: the byte in the wake-up pipe is the message."""


def _say(message: str) -> None:
    posix.write(2, f"kata-deploy: {message}\n".encode())


def _fail(message: str) -> int:
    _say(f"error: {message}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], posix.environ))
