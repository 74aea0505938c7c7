"""The only module that starts programs: argument list, cleared environment, time limit, captured output."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, BinaryIO

from kata_bundle.core.errors import BuildError, HostError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

__all__ = ["Completed", "base_environment", "find_program", "run", "run_attached", "run_logged", "stream_output"]

_ASK_S = 0.1
_KEPT = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@record
class Completed:
    """A finished program: its command line, exit status and captured output."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def command(self) -> str:
        """The command line as a shell would take it, to repeat by hand."""
        return shlex.join(self.argv)

    def text(self) -> str:
        """Return standard output as text."""
        return self.stdout.decode("utf-8", "replace")


def base_environment(**extra: str) -> dict[str, str]:
    """Return the environment every program gets: fixed path, locale and zone, proxies passed on, ``extra`` added."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", **kept, **extra}


def find_program(name: str, *, package: str) -> str:
    """Return the absolute path of program ``name``; raise :class:`HostError` naming the Debian ``package`` that has it."""
    found = shutil.which(name, path=base_environment()["PATH"])
    if found is None:
        msg = f'program "{name}" is not installed'
        raise HostError(msg, hint=f"apt-get install {package}")
    return found


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 600.0,
    cwd: str | os.PathLike[str] | None = None,
    stdin: bytes | None = None,
    check: bool = True,
) -> Completed:
    """Run ``argv`` to its end and return what it printed.

    With ``check``, a non-zero exit raises :class:`BuildError` showing the command and the end of its error output; a program
    that outlives ``timeout_s`` is killed and raises the same. A missing program raises :class:`HostError`.
    """
    try:
        done = subprocess.run(
            list(argv),
            env=base_environment() if env is None else dict(env),
            timeout=timeout_s,
            cwd=cwd,
            input=b"" if stdin is None else stdin,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        msg = f"{shlex.join(argv)} did not end within {timeout_s:g} s"
        raise BuildError(msg, retryable=True) from None
    except FileNotFoundError:
        msg = f'program "{argv[0]}" is not installed'
        raise HostError(msg) from None
    result = Completed(argv=tuple(argv), status=done.returncode, stdout=done.stdout, stderr=done.stderr)
    if check and result.status:
        raise _failed(result)
    return result


def stream_output(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> AbstractContextManager[BinaryIO]:
    """Return a context that runs ``argv`` and yields its standard output as a stream.

    On leaving, a non-zero exit raises :class:`BuildError`. If the body raised, the program is killed and its own error is kept.
    """
    from contextlib import contextmanager
    from tempfile import TemporaryFile

    @contextmanager
    def context() -> Iterator[BinaryIO]:
        with TemporaryFile() as errors:
            process = subprocess.Popen(
                list(argv),
                env=base_environment() if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            stdout = process.stdout
            if stdout is None:  # pragma: no cover - PIPE always gives a stream
                msg = "no pipe to the child process"
                raise BuildError(msg)
            try:
                with stdout:
                    yield stdout  # type: ignore[misc]
            except BaseException:
                process.kill()
                process.wait()
                raise
            status = process.wait()
            if status:
                errors.seek(0)
                raise _failed(Completed(argv=tuple(argv), status=status, stdout=b"", stderr=errors.read()))

    return context()


def run_logged(
    argv: Sequence[str],
    *,
    log: BinaryIO,
    env: Mapping[str, str],
    cwd: str | os.PathLike[str],
    timeout_s: float,
    is_cancelled: Callable[[], bool] = lambda: False,
    umask: int = -1,
) -> int | None:
    """Run ``argv`` in a session of its own, both outputs written to ``log``; return its exit status.

    ``None`` when it outlived ``timeout_s`` or ``is_cancelled`` came true (asked ten times a second): then it and everything in
    its session were killed, as they are when this call is left by an exception. ``umask`` is the program's, -1 for this one's. A
    missing program raises :class:`HostError`.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=umask,
        )
    except FileNotFoundError:
        msg = f'program "{argv[0]}" is not installed'
        raise HostError(msg) from None
    left = timeout_s
    try:
        while True:
            try:
                return process.wait(timeout=min(_ASK_S, left))
            except subprocess.TimeoutExpired:
                left -= _ASK_S
                if left <= 0 or is_cancelled():
                    return None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run_attached(argv: Sequence[str]) -> int:
    """Run ``argv`` on this program's own terminal and return its exit status; a missing program raises :class:`HostError`."""
    try:
        return subprocess.run(list(argv), env=base_environment(), check=False).returncode
    except FileNotFoundError:
        msg = f'program "{argv[0]}" is not installed'
        raise HostError(msg) from None


def _failed(result: Completed) -> BuildError:
    tail = result.stderr.decode("utf-8", "replace").strip()[-2000:]
    msg = f"{result.command} exited with {result.status}" + (f":\n{tail}" if tail else "")
    return BuildError(msg)
