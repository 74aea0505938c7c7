"""An HTTP server of few words for tests of clients: a function makes the answer, byte for byte where a test is hostile."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

Reply = bytes | Iterable[bytes]


@dataclass
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    path: str = ""
    query: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = urlsplit(self.target)
        self.path, self.query = parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def reply(status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, length: int | None = None) -> bytes:
    """Return a whole answer; ``length`` is what it says of its body, whatever that is."""
    lines = [f"HTTP/1.1 {status} Test", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Server:
    """Answers every request with what ``handle`` returns; ``None`` drops the connection. Requests are kept."""

    def __init__(self, handle: Callable[[Received], Reply | None], *, tls=None) -> None:
        self.handle = handle
        self.requests: list[Received] = []
        self.connections = 0
        self._tls = tls
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone lets one more connection in
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        connection = plain
        try:
            with contextlib.suppress(OSError):
                if self._tls is not None:
                    connection = self._tls.wrap_socket(plain, server_side=True)
                with connection, connection.makefile("rb") as stream:
                    while (request := self._read(stream)) is not None:
                        with self._lock:
                            self.requests.append(request)
                        answer = self.handle(request)
                        if answer is None:
                            return
                        if isinstance(answer, bytes):
                            connection.sendall(
                                answer if request.method != "HEAD" else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
                            )
                        else:
                            for part in answer:
                                connection.sendall(part)
                            return
        finally:
            plain.close()
            with self._lock:
                self._open.discard(plain)

    @staticmethod
    def _read(stream) -> Received | None:
        first = stream.readline(65536).decode("latin-1").split()
        if len(first) != 3:
            return None
        headers: dict[str, str] = {}
        while line := stream.readline(65536).decode("latin-1").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(stream.readline(), 16):
                body += stream.read(size)
                stream.readline()
            stream.readline()
        else:
            wanted = int(headers.get("content-length", 0))
            body = stream.read(wanted)
            if len(body) < wanted:
                return None
        return Received(first[0], first[1], headers, body)


@contextlib.contextmanager
def serving(handle: Callable[[Received], Reply | None], **settings) -> Iterator[Server]:
    """Run a server for a block."""
    with Server(handle, **settings) as server:
        yield server
