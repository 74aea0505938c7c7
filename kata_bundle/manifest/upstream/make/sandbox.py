"""Ask make itself what variables are, where nothing of the tree can reach anything.

The files that a runtime's makefile needs are copied to a folder that is shown read-only to ``bwrap``: no network, no other file
of the host but /usr, no process outside, no environment, limits on time, memory and what is printed. Only a person's wish starts
this; without ``bwrap`` it is refused, never done without.

Knows: how make and bwrap are called. Must not know: which variables matter to whom.
"""

from __future__ import annotations

import posixpath
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import BuildError, HostError
from kata_bundle.core.process import base_environment, find_program, run, stream_output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kata_bundle.manifest.upstream.source import Files

__all__ = ["ask_make"]

_NEEDED: Final = re.compile(
    r"utils\.mk|VERSION|versions\.yaml|src/runtime(?:-rs)?/(?:Makefile|[a-z]+\.mk|VERSION|(?:arch|config)/.*)"
)
_MARK: Final = "kata-bundle:"
_SECONDS: Final = 20
_MEMORY_BYTES: Final = 2 << 30
_MAX_OUTPUT_BYTES: Final = 4 << 20
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIMITS: Final = (f"--as={_MEMORY_BYTES}", f"--cpu={_SECONDS}", "--fsize=16777216", "--nofile=256")
_SANDBOX: Final = (
    *("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--setenv", "PATH", "/ask:/usr/bin:/bin"),
    *("--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib"),
    *("--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108 - its own
)


def ask_make(
    files: Files,
    name: str,
    *,
    machine: str,
    command_line: Mapping[str, str],
    environment: Mapping[str, str],
    variables: Iterable[str],
) -> dict[str, str]:
    """Return the values that make gives ``variables`` in the makefile ``name`` of the tree, on a ``machine`` of uname's name.

    Raise :class:`HostError` when a program is missing or no sandbox can be had, and :class:`BuildError` with one line when make
    stops, goes on too long or prints too much.
    """
    programs = {what: find_program(what, package=package) for what, package in _PROGRAMS.items()}
    _try_sandbox(programs["bwrap"])
    wanted = sorted({variable for variable in variables if _NAME.fullmatch(variable)})
    with tempfile.TemporaryDirectory(prefix="kata-bundle-make-") as scratch:
        tree = Path(scratch) / "tree"
        _copy(files, tree)
        _prepare(Path(scratch) / "ask", _makefile(posixpath.basename(name), wanted), machine)
        argv = [
            *(programs["timeout"], "-s", "KILL", str(_SECONDS), programs["prlimit"], *_LIMITS, programs["bwrap"], *_SANDBOX),
            *(word for key, value in sorted(environment.items()) for word in ("--setenv", key, value)),
            *("--ro-bind", str(tree), "/tree", "--ro-bind", f"{scratch}/ask", "/ask"),
            *("--chdir", f"/tree/{posixpath.dirname(name)}", programs["make"], "-s", "-f", "/ask/ask.mk", "kata-bundle-nothing"),
            *(f"{key}={value}" for key, value in sorted(command_line.items())),
        ]
        return _printed(argv)


_PROGRAMS: Final = {"bwrap": "bubblewrap", "make": "make", "prlimit": "util-linux", "timeout": "coreutils"}


def _try_sandbox(bwrap: str) -> None:
    done = run([bwrap, *_SANDBOX, "/usr/bin/true"], env=base_environment(), timeout_s=_SECONDS, check=False)
    if done.status:
        reason = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"bwrap exited with {done.status}"]
        msg = "no sandbox can be made here, and make is not started without one"
        raise HostError(msg, hint=reason[0])


def _prepare(folder: Path, makefile: str, machine: str) -> None:
    """Write what is asked, and the programs that tell the machine: the host is one of many."""
    folder.mkdir()
    (folder / "ask.mk").write_text(makefile, encoding="utf-8")
    for name, condition in (("uname", '[ "$*" = -m ]'), ("arch", '[ "$*" = "" ]')):
        script = f'#!/bin/sh\nif {condition}; then echo {machine}; else exec /usr/bin/{name} "$@"; fi\n'
        (folder / name).write_text(script, encoding="utf-8")
        (folder / name).chmod(0o755)


def _copy(files: Files, tree: Path) -> None:
    names = [name for name in files.names if _NEEDED.fullmatch(name) and ".." not in name.split("/")]
    files.prefetch(names)
    for name in names:
        data = files.read(name)
        if data is not None:
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _makefile(name: str, variables: list[str]) -> str:
    """Return a makefile that reads ``name`` and prints variables, one a line: a line break inside a value becomes a blank."""
    return "\n".join(
        [
            f"include {name}",
            "define kata_bundle_line",
            "",
            "",
            "endef",
            *(f"$(info {_MARK}{variable}=$(subst $(kata_bundle_line), ,$({variable})))" for variable in variables),
            f"$(info {_MARK}.)",
            "kata-bundle-nothing: ; @:",
            "",
        ]
    )


def _printed(argv: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    ended = False
    try:
        with stream_output(argv, env=base_environment()) as stream:
            for line in _lines(stream.read(_MAX_OUTPUT_BYTES + 1)):
                if line == f"{_MARK}.":
                    ended = True
                elif line.startswith(_MARK):
                    key, _, value = line.removeprefix(_MARK).partition("=")
                    found[key] = value
    except BuildError as error:
        if ended:
            return found  # all was said before it failed
        status = re.search(r" exited with (-?\d+)(?::\n|$)", str(error))
        if status is None:
            raise
        message = str(error)[status.end() :].strip().splitlines()[-1:] or [f"make exited with {status.group(1)}"]
        if status.group(1) in _KILLED:
            message = [f"make said nothing within {_SECONDS} s, or needed more than it may have"]
        raise BuildError(message[0]) from None
    if not ended:
        msg = "make ended before it said anything"
        raise BuildError(msg)
    return found


_KILLED: Final = frozenset({"137", "-9"})
"""How the status of a program shows that ``timeout`` killed it."""


def _lines(data: bytes) -> Iterator[str]:
    if len(data) > _MAX_OUTPUT_BYTES:
        msg = f"make prints more than {_MAX_OUTPUT_BYTES >> 20} MiB"
        raise BuildError(msg)
    yield from data.decode("utf-8", "replace").splitlines()
