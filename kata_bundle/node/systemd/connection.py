"""One D-Bus connection to systemd: the SASL greeting, calls with time limits, signals kept while waiting for replies.

Used for systemd's private socket (no bus between) and for the system bus. Opens a Unix socket and nothing else.
Must not know: units, what calls mean.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, NoReturn

from kata_bundle.core import clock
from kata_bundle.node.systemd import wire
from kata_bundle.node.systemd.errors import DBusCallError, SystemdError, SystemdTimeoutError, SystemdUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from kata_bundle.node.systemd.wire import Message

__all__ = ["IO_TIMEOUT_S", "Connection"]

IO_TIMEOUT_S = 60.0
"""Limit of one read or write (installer specification §33)."""

_KEPT_SIGNALS = 64
_LINE_LIMIT = 8192
_SIOCOUTQ = 0x5411  # linux/sockios.h: bytes sent that the peer has not read


class Connection:
    """A connection past its greeting. Not for two threads at once. Use it as a context."""

    def __init__(self, sock: socket.socket, *, timeout_s: float = IO_TIMEOUT_S) -> None:
        self._sock = sock
        self._timeout_s = timeout_s
        self._received = bytearray()
        self._signals: deque[Message] = deque(maxlen=_KEPT_SIGNALS)
        self._serial = 0

    @classmethod
    def open(cls, path: str, *, bus: bool = False, timeout_s: float = IO_TIMEOUT_S) -> Connection:
        """Connect to the socket ``path``; with ``bus`` it is a bus daemon's, which wants a ``Hello`` and a match rule first.

        Raises :class:`SystemdUnavailableError` when nobody listens there or we are turned away, and
        :class:`SystemdTimeoutError` when the peer does not answer within ``timeout_s``.
        """
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection = cls(sock, timeout_s=timeout_s)
        try:
            sock.settimeout(timeout_s)
            try:
                sock.connect(path)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    connection._late("connecting")
                msg = f"cannot reach systemd at {path}: {error.strerror or error}"
                raise SystemdUnavailableError(msg) from error
            try:
                connection._greet()
                if bus:
                    connection._register()
            except SystemdTimeoutError:
                raise
            except SystemdError as error:
                # systemd hangs up on peers whose process it cannot see, and on anyone but root.
                msg = f"systemd at {path} does not talk to this process: {error}"
                raise SystemdUnavailableError(msg) from error
        except BaseException:
            sock.close()
            raise
        return connection

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def call(
        self,
        member: str,
        arguments: Sequence[object] = (),
        signature: str = "",
        *,
        path: str = wire.MANAGER_PATH,
        interface: str = wire.MANAGER_INTERFACE,
        destination: str = wire.MANAGER_NAME,
    ) -> tuple[object, ...]:
        """Call a method and return the body of its reply.

        Raises :class:`DBusCallError` when the reply is an error, :class:`SystemdTimeoutError` when none comes in time,
        :class:`SystemdError` when the connection breaks. Signals that come first are kept for :meth:`wait_signal`.
        """
        serial = self._send(member, arguments, signature, path=path, interface=interface, destination=destination)
        deadline = clock.monotonic() + self._timeout_s
        while True:
            message = self._next(deadline)
            if message is None:
                self._late(f"waiting for the reply to {member}")
            if message.kind == "signal":
                self._signals.append(message)
            elif message.reply_serial == serial and message.kind == "method_return":
                return message.body
            elif message.reply_serial == serial and message.kind == "error":
                text = str(message.body[0]) if message.body else message.error_name
                said = f"systemd refused {member}{_shown(arguments)}: {text} ({message.error_name})"
                raise DBusCallError(message.error_name, said)

    def drain(self) -> None:
        """Wait until systemd has read everything sent. Raises :class:`SystemdTimeoutError` when it does not in time."""
        self._until_read(clock.monotonic() + self._timeout_s, "sending a call")

    def post(self, member: str, arguments: Sequence[object] = (), signature: str = "") -> None:
        """Call a manager method whose reply is not wanted and will not come."""
        self._send(member, arguments, signature, no_reply=True)

    def wait_signal(
        self, member: str, *, deadline_s: float, accept: Callable[[tuple[object, ...]], bool] | None = None
    ) -> tuple[object, ...]:
        """Return the body of the first signal ``member`` that ``accept`` takes, one kept earlier first.

        Other signals of that name are dropped, those of other names kept. Read time-outs do not matter; raises
        :class:`SystemdTimeoutError`, naming the signal, when ``deadline_s`` seconds have passed.
        """
        deadline = clock.monotonic() + deadline_s
        kept, self._signals = self._signals, deque(maxlen=_KEPT_SIGNALS)
        found: tuple[object, ...] | None = None
        for message in kept:
            if message.member != member:
                self._signals.append(message)
            elif found is None and (accept is None or accept(message.body)):
                found = message.body
        while found is None:
            message_or_none = self._next(deadline)
            if message_or_none is None:
                msg = f"no signal {member} from systemd within {deadline_s:g} s"
                raise SystemdTimeoutError(msg)
            message = message_or_none
            if message.kind != "signal":
                continue
            if message.member != member:
                self._signals.append(message)
            elif accept is None or accept(message.body):
                found = message.body
        return found

    def _send(
        self,
        member: str,
        arguments: Sequence[object],
        signature: str,
        *,
        no_reply: bool = False,
        path: str = wire.MANAGER_PATH,
        interface: str = wire.MANAGER_INTERFACE,
        destination: str = wire.MANAGER_NAME,
    ) -> int:
        self._serial += 1
        self._write(
            wire.encode_call(
                member,
                arguments,
                signature=signature,
                serial=self._serial,
                no_reply=no_reply,
                path=path,
                interface=interface,
                destination=destination,
            )
        )
        return self._serial

    def _next(self, deadline: float) -> Message | None:
        """Return the next message, ``None`` when ``deadline`` has come; what was read of it is kept."""
        while True:
            if len(self._received) >= wire.PREFIX_SIZE:
                size = wire.frame_size(bytes(self._received[: wire.PREFIX_SIZE]))
                if len(self._received) >= size:
                    frame = bytes(self._received[:size])
                    del self._received[:size]
                    return wire.decode(frame)
            if not self._read(deadline):
                return None

    def _read(self, deadline: float) -> bool:
        remaining = deadline - clock.monotonic()
        if remaining <= 0:
            return False
        self._sock.settimeout(remaining)
        try:
            data = self._sock.recv(65536)
        except TimeoutError:
            return False
        except OSError as error:
            msg = f"the connection to systemd broke: {error.strerror}"
            raise SystemdError(msg, retryable=True) from error
        if not data:
            msg = "systemd closed the connection"
            raise SystemdError(msg, retryable=True)
        self._received += data
        return True

    def _write(self, data: bytes) -> None:
        self._sock.settimeout(self._timeout_s)
        try:
            self._sock.sendall(data)
        except TimeoutError:
            self._late("sending a call")
        except OSError as error:
            msg = f"the connection to systemd broke: {error.strerror}"
            raise SystemdError(msg, retryable=True) from error

    def _greet(self) -> None:
        """SASL EXTERNAL as this user; D-Bus specification, "Authentication Protocol"."""
        deadline = clock.monotonic() + self._timeout_s
        self._write(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        while b"\r\n" not in self._received:
            if len(self._received) > _LINE_LIMIT:
                msg = "systemd answered the greeting with an endless line"
                raise SystemdUnavailableError(msg)
            if not self._read(deadline):
                self._late("waiting for the answer to the greeting")
        line, _, rest = bytes(self._received).partition(b"\r\n")
        self._received = bytearray(rest)
        if not line.startswith(b"OK"):
            msg = f"systemd refused the greeting: {line.decode('ascii', 'replace')}"
            raise SystemdUnavailableError(msg)
        self._write(b"BEGIN\r\n")
        # systemd drops a call that arrives together with BEGIN.
        self._until_read(deadline, "waiting for the end of the greeting")

    def _until_read(self, deadline: float, doing: str) -> None:
        """Wait until the peer has taken everything from the socket."""
        pause = 0.0005
        while True:
            try:
                unread = struct.unpack("i", fcntl.ioctl(self._sock, _SIOCOUTQ, b"\0\0\0\0"))[0]
            except OSError:
                return
            if not unread:
                return
            if clock.monotonic() >= deadline:
                self._late(doing)
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def _register(self) -> None:
        self.call("Hello", path=wire.BUS_PATH, interface=wire.BUS_INTERFACE, destination=wire.BUS_NAME)
        rule = f"type='signal',sender='{wire.MANAGER_NAME}',path='{wire.MANAGER_PATH}',interface='{wire.MANAGER_INTERFACE}'"
        self.call("AddMatch", (rule,), "s", path=wire.BUS_PATH, interface=wire.BUS_INTERFACE, destination=wire.BUS_NAME)

    def _late(self, doing: str) -> NoReturn:
        msg = f"systemd did not answer within {self._timeout_s:g} s while {doing}"
        raise SystemdTimeoutError(msg) from None


def _shown(arguments: Sequence[object]) -> str:
    return f"({', '.join(str(argument) for argument in arguments)})"
