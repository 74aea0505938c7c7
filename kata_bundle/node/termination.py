"""SIGTERM as a question that can be asked, and the hand-over to the waiter that loses none.

SIGTERM stays blocked in every thread from the first moment on: the kernel keeps it pending, also across ``exec``, and nothing is
interrupted half way. Work asks :attr:`Termination.requested` between its steps, waits with :meth:`Termination.wait`, and the
process that follows finds the signal still pending (installer specification §24.2, §24.3, D19). The first process of a container
would otherwise have it thrown away while no handler is installed.

Must not know: what is installed or cleaned up.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

from kata_bundle.core.errors import InstallError, UsageError
from kata_bundle.node import waiter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TERMINATION_MESSAGE_LIMIT", "Termination", "hand_over", "handed_over_listener", "write_termination_message"]

TERMINATION_MESSAGE_LIMIT = 4096
"""Bytes of a termination message that Kubernetes keeps of one container."""


class Termination:
    """Whether this process was asked to end. Make it before any thread is started, since threads inherit what is blocked."""

    def __init__(self) -> None:
        if threading.active_count() > 1:
            msg = "SIGTERM has to be blocked before the first thread starts"
            raise RuntimeError(msg)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._consumed = False

    @property
    def requested(self) -> bool:
        """Whether SIGTERM has come; once true, it stays so."""
        return self._consumed or signal.SIGTERM in signal.sigpending()

    def wait(self, seconds: float) -> bool:
        """Wait ``seconds``, or less when SIGTERM comes; return whether it has."""
        if not self._consumed and signal.sigtimedwait({signal.SIGTERM}, max(0.0, seconds)) is not None:
            self._consumed = True
        return self._consumed


def hand_over(
    *, runtime: str, listener: int | None, metrics: str, then: Sequence[str], environment: Mapping[str, str] | None = None
) -> NoReturn:
    """Replace this process by the waiter; it becomes the command ``then`` when SIGTERM comes.

    ``listener`` is the descriptor of the health server's socket, ``metrics`` what ``/metrics`` says from now on, ``then`` an
    absolute program path with arguments. Call it with SIGTERM blocked and no other thread using the listener. Raises
    :class:`InstallError` when the program cannot be replaced; this process goes on then, as it was.
    """
    handed = dict(os.environ if environment is None else environment)
    handed[waiter.RUNTIME_VARIABLE] = runtime
    handed.pop(waiter.FD_VARIABLE, None)
    handed[waiter.METRICS_VARIABLE] = metrics
    if listener is not None:
        handed[waiter.FD_VARIABLE] = str(listener)
        os.set_inheritable(listener, True)
    argv = [sys.executable, "-I", "-S", _waiter_file(), waiter.ACTION, "--", *then]
    try:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, argv, handed)  # noqa: S606 - the same interpreter takes this process's place
    except OSError as error:
        if listener is not None:
            os.set_inheritable(listener, False)
        msg = f"cannot become the waiter: {sys.executable}: {error.strerror}"
        raise InstallError(msg) from error


def _waiter_file() -> str:
    """Return the compiled waiter when there is one: compiling it in place would leave half a megabyte behind."""
    compiled = getattr(waiter, "__cached__", None)
    if isinstance(compiled, str) and os.access(compiled, os.R_OK):
        return compiled
    return waiter.__file__


def handed_over_listener(environment: Mapping[str, str]) -> int | None:
    """Return the listening socket that was handed to this process, made private again, or ``None``.

    Raises :class:`UsageError` when the variable says anything but an open socket.
    """
    text = environment.get(waiter.FD_VARIABLE, "")
    if not text:
        return None
    try:
        if not (text.isascii() and text.isdigit()):
            raise ValueError
        descriptor = int(text)
        os.set_inheritable(descriptor, False)
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise ValueError
    except (OSError, ValueError, OverflowError):
        msg = f'{waiter.FD_VARIABLE} is "{text}", which is no open socket'
        raise UsageError(msg) from None
    return descriptor


def write_termination_message(text: str, path: str = "/dev/termination-log") -> bool:
    """Leave ``text`` where Kubernetes looks for the reason a container ended; return whether that was possible.

    At most :data:`TERMINATION_MESSAGE_LIMIT` bytes are written, the end of a longer text. Outside a pod the file does not exist
    and is not made.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > TERMINATION_MESSAGE_LIMIT:
        data = "…".encode() + data[-(TERMINATION_MESSAGE_LIMIT - 3) :].decode("utf-8", "ignore").encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        with open(descriptor, "wb") as stream:
            stream.write(data)
    except OSError:
        return False
    return True
