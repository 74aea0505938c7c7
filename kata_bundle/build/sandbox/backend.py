"""The walls around a command: bubblewrap's, or none.

``bubblewrap`` unshares every namespace, so the command sees the action's trees, a bare ``/dev`` and ``/proc``, and nothing else:
no network, no host file, no environment, another user, host name and process table. What ``/proc`` says of the machine is covered
by fixed files. ``none`` is for hosts without user namespaces: the command runs with the host's tools beside copies of its inputs,
its result is not hermetic and is never shared. Must not know: stores, trees.

References: bwrap(1); user_namespaces(7).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from kata_bundle.build.sandbox.surroundings import CLOCK_FILE, HOST_NAME, USER_ID, USUAL, Surroundings, clock_environment
from kata_bundle.core import clock
from kata_bundle.core.errors import HostError
from kata_bundle.core.process import base_environment, find_program, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "HOST_NAME",
    "USER_ID",
    "Backend",
    "Limits",
    "bare_command",
    "bare_environment",
    "bubblewrap_problem",
    "processors",
    "wrapped_command",
    "write_covers",
]

_COVERED: Final = {
    "cpuinfo": "",
    "loadavg": "0.00 0.00 0.00 1/1 1\n",
    "uptime": "0.00 0.00\n",
    "version": "Linux version 0.0.0 (kata-bundle) #1 SMP 1980-01-01\n",
    "cmdline": "\n",
    "partitions": "",
    "diskstats": "",
    "modules": "",
    "keys": "",
    "interrupts": "",
    "swaps": "",
    "version_signature": "",
}
"""Files of /proc that would tell the machine, and what they say instead. Those that a kernel does not have are left out."""


class Backend(StrEnum):
    """Which walls."""

    BUBBLEWRAP = "bubblewrap"
    NONE = "none"

    @property
    def is_hermetic(self) -> bool:
        """Whether only the action's inputs can have had a say in the result."""
        return self is Backend.BUBBLEWRAP


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a command may use. Memory is counted per process (``RLIMIT_AS``), since control groups need a privileged host."""

    output_bytes: int = 16 << 30
    """Largest sum of all output files, and largest single file written."""
    memory_bytes: int | None = None


def bubblewrap_problem() -> HostError | None:
    """Return why no sandbox can be made on this host, with what to do about it; ``None`` when one can."""
    try:
        program = find_program("bwrap", package="bubblewrap")
    except HostError as error:
        return error
    probe = [
        program,
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--uid",
        str(USER_ID),
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "/bin/true",
    ]
    done = run(probe, timeout_s=30, check=False)
    if done.status == 0:
        return None
    last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit code {done.status}"])[-1]
    msg = f"bubblewrap cannot make a sandbox on this host: {last}"
    return HostError(
        msg,
        hint="allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces; in a container its "
        "seccomp and AppArmor profiles), or build with --sandbox none: its results are not hermetic and never shared",
    )


def wrapped_command(
    argv: tuple[str, ...],
    *,
    root: Path,
    work: Path,
    temporary: Path,
    covers: Path,
    inputs: Mapping[str, Path],
    env: Mapping[str, str],
    limits: Limits,
    around: Surroundings = USUAL,
) -> list[str]:
    """Return the command line that runs ``argv`` inside bubblewrap.

    ``root`` is seen read-only at ``/``, ``work`` writable at ``/<folder>`` of ``around``, ``temporary`` at ``/tmp``, each of
    ``inputs`` (path below the work folder → directory) read-only. ``covers`` is a folder made by :func:`write_covers`.
    """
    command = [*_limited(limits, around), find_program("bwrap", package="bubblewrap")]
    command += [
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--cap-drop",
        "ALL",
    ]
    command += ["--uid", str(around.user_id), "--gid", str(around.group_id), "--hostname", around.host_name]
    elsewhere = {} if around.temporary == "tmp" else {"TMPDIR": f"/{around.temporary}"}
    lied = clock_environment(around, clock.now(), CLOCK_FILE)
    for name, value in sorted({**env, **elsewhere, **around.env, **lied}.items()):
        command += ["--setenv", name, value]
    command += ["--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--bind", str(temporary), "/tmp"]  # noqa: S108
    for cover in sorted(covers.iterdir()):
        command += ["--ro-bind", str(cover), f"/proc/{cover.name}"]
    if around.clock_library is not None:
        command += ["--ro-bind", str(around.clock_library), CLOCK_FILE]
    if elsewhere:
        command += ["--bind", str(temporary), f"/{around.temporary}"]
    command += ["--bind", str(work), f"/{around.folder}"]
    for at, source in sorted(inputs.items()):
        command += ["--ro-bind", str(source), f"/{around.folder}/{at}"]
    return [*command, "--chdir", f"/{around.folder}", "--", *argv]


def write_covers(folder: Path) -> None:
    """Write into the empty ``folder`` the files that stand before those of ``/proc`` which tell the machine."""
    for name, text in _COVERED.items():
        if os.path.exists(f"/proc/{name}"):
            (folder / name).write_text(text)


def bare_command(argv: tuple[str, ...], limits: Limits, around: Surroundings = USUAL) -> list[str]:
    """Return the command line that runs ``argv`` with the host's own tools and nothing but limits around it."""
    return [*_limited(limits, around), *argv]


def bare_environment(env: Mapping[str, str], around: Surroundings = USUAL) -> dict[str, str]:
    """Return the environment for :func:`bare_command`: the action's, with the host's program path."""
    lied = clock_environment(around, clock.now(), str(around.clock_library))
    return {**env, "PATH": base_environment()["PATH"], **around.env, **lied}


def processors(number: int | None) -> list[str]:
    """Return the words before a command line that let it use ``number`` of this program's processors; none for all of them."""
    if number is None:
        return []
    chosen = sorted(os.sched_getaffinity(0))[:number]
    return [find_program("taskset", package="util-linux"), "--cpu-list", ",".join(map(str, chosen))]


def _limited(limits: Limits, around: Surroundings) -> list[str]:
    program = find_program("prlimit", package="util-linux")
    memory = [] if limits.memory_bytes is None else [f"--as={limits.memory_bytes}"]
    return [*processors(around.processors), program, "--core=0", f"--fsize={limits.output_bytes}", *memory, "--"]
