"""The node-wide lock: one mutation at a time, of all installs on the host (installer specification §1.4, D37).

An exclusive ``flock`` on ``/run/lock/kata-deploy.lock``, the same that other installers of this tree take. Must not know: what
is done under it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from kata_bundle.core.clock import monotonic
from kata_bundle.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.core.events import Progress
    from kata_bundle.node.site import Site

__all__ = ["LOCK_PATH", "node_lock"]

LOCK_PATH: Final = "/run/lock/kata-deploy.lock"
MOUNTED_FOLDER: Final = "/host-run-lock"
"""Where a pod sees the host's folder of locks (installer specification §28)."""
GIVE_UP_S: Final = 600.0
_POLL_S: Final = 0.5
_TELL_S: Final = 30.0


@contextmanager
def node_lock(
    site: Site,
    progress: Progress,
    *,
    path: str | None = None,
    give_up_s: float = GIVE_UP_S,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[None]:
    """Hold the lock of the host at ``site.root`` while the body runs.

    Says who holds it when it has to wait, and raises :class:`HostError` after ``give_up_s`` seconds. In a pod the host's folder
    of locks is mounted apart; ``path`` names another lock file. A root directory without ``/run/lock`` is locked itself, so that
    no file is left in it.
    """
    descriptor = _open(site, path)
    try:
        _acquire(descriptor, path or LOCK_PATH, progress, give_up_s, sleep)
        yield
    finally:
        os.close(descriptor)


def _open(site: Site, path: str | None) -> int:
    if path is None:
        if not os.path.isdir(site.root):
            msg = f'root directory "{site.root}" does not exist'
            raise HostError(msg)
        folder = site.at(MOUNTED_FOLDER, follow=True)
        if not os.path.isdir(folder):
            folder = site.at(os.path.dirname(LOCK_PATH), follow=True)
        if not os.path.isdir(folder):
            return os.open(site.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        path = os.path.join(folder, os.path.basename(LOCK_PATH))
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        msg = f'the lock file "{path}" cannot be opened: {error.strerror}'
        raise HostError(msg) from None


def _acquire(descriptor: int, name: str, progress: Progress, give_up_s: float, sleep: Callable[[float], object]) -> None:
    started = told = monotonic()
    first = True
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = monotonic()
            holder = _holder(descriptor)
            by = f" by process {holder}" if holder else ""
            if now - started >= give_up_s:
                msg = f"another install holds {name}{by} for more than {give_up_s:g} s"
                raise HostError(msg, hint="wait for it to end and run the command again", retryable=True) from None
            if first or now - told >= _TELL_S:
                progress.note(f"process {os.getpid()} waits for {name}, held{by} ({now - started:.0f} s so far)")
                first, told = False, now
            sleep(_POLL_S)
        else:
            return


def _holder(descriptor: int) -> str | None:
    """Return the id of the process that holds the lock, where the kernel shows it."""
    found = os.fstat(descriptor)
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as stream:
            fields = [line.split() for line in stream]
    except OSError:
        return None
    # "1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF"; a waiter's line has "->" after the number.
    return next((f[4] for f in fields if len(f) > 5 and f[1] == "FLOCK" and f[5] == wanted and f[4] != "-1"), None)
