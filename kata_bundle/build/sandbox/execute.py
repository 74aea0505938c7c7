"""Carry out one action on this machine: inputs on disk, command in its walls, outputs into the store.

::

    <store>/sandboxes/<name>-<random>/   one action: build/ (what it may write), tmp/, proc/ (covers), log; locked while it runs;
                                         running: the mark of one that has not ended

After success the folder goes; after the command's failure it stays for a look inside and is named in the error, up to
:data:`KEPT` of them. What a program left that was killed still has its mark, and goes when a later action begins.
Must not know: rules, caches.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.build.action.model import ROOT, WORK, normalized
from kata_bundle.build.sandbox.backend import (
    Backend,
    Limits,
    bare_command,
    bare_environment,
    bubblewrap_problem,
    wrapped_command,
    write_covers,
)
from kata_bundle.build.sandbox.checkout import checkout, remove_left, write_tree
from kata_bundle.build.sandbox.logs import ActionError, keep_log
from kata_bundle.build.sandbox.surroundings import USUAL, other_order
from kata_bundle.core.clock import monotonic, now
from kata_bundle.core.errors import BuildError, BundleError, HostError
from kata_bundle.core.fsops import about
from kata_bundle.core.process import run_logged
from kata_bundle.core.relpath import RelPath, quoted
from kata_bundle.core.tree import Directory, File, Symlink, Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.build.action.model import Action
    from kata_bundle.build.sandbox.surroundings import Surroundings
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.tree import Entry
    from kata_bundle.store import Store

__all__ = ["KEPT", "SANDBOXES", "Executed", "execute", "shell_command"]

SANDBOXES: Final = "sandboxes"
"""Folder of the store with a folder for each action that runs or failed."""
KEPT: Final = 5
"""Work folders of failed actions that are kept."""
_MARK: Final = "running"
_STALE_AFTER_S: Final = 60.0
_SCARCE_BYTES: Final = 1 << 20
_SHOWN: Final = 4000
_SAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Executed:
    """What an action made: ``outputs`` below the action's work folder, modes 0644 and 0755."""

    outputs: Tree
    log: Digest
    """What it printed, the middle of a very long text left out."""
    duration_s: float
    is_hermetic: bool
    started_at: float = 0.0
    """When the command began, in seconds since 1970; 0 when it did not run here."""


def execute(
    store: Store,
    action: Action,
    *,
    backend: Backend = Backend.BUBBLEWRAP,
    limits: Limits | None = None,
    around: Surroundings = USUAL,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Executed:
    """Run ``action`` and return what it made, with its files in ``store``.

    Without walls, of ``around`` only environment, umask, processors, clock and scratch folder have an effect.
    Raises :class:`BuildError` when the command fails, takes too long, is cancelled, leaves out an output, writes elsewhere than
    its outputs and ``/tmp``, or makes more than ``limits`` allow; :class:`HostError` when this host has no sandbox;
    :class:`IntegrityError` when the store lacks an input.
    """
    limits = limits or Limits()
    if backend is Backend.BUBBLEWRAP and (problem := bubblewrap_problem()) is not None:
        raise problem
    with _work_folder(store, action, around.scratch) as work:
        argv, env = _prepare(store, action, work, backend, limits, around)
        started_at, started = now(), monotonic()
        with open(work / "log", "xb") as log:
            status = run_logged(
                argv,
                log=log,
                env=env,
                cwd=work / "build",
                timeout_s=action.timeout_s,
                is_cancelled=is_cancelled,
                umask=around.umask,
            )
        duration = monotonic() - started
        if status != 0:
            raise _failed(action, work, status, is_cancelled=is_cancelled())
        outputs = _collect(store, action, work, limits)
        digest = keep_log(store, work / "log")
    return Executed(outputs=outputs, log=digest, duration_s=duration, is_hermetic=backend.is_hermetic, started_at=started_at)


def _prepare(  # noqa: PLR0917
    store: Store, action: Action, work: Path, backend: Backend, limits: Limits, around: Surroundings
) -> tuple[list[str], dict[str, str]]:
    build = work / "build"
    for name in ("build", "tmp", "proc"):
        _make_folder(work / name)
    inputs: dict[str, Path] = {}
    for number, (at, tree) in enumerate(sorted(action.inputs.items())):
        if at == ROOT:
            continue
        target = work / at
        _make_folder(target)
        tree = normalized(tree)  # noqa: PLW2901
        if backend is Backend.NONE:
            _write_input(store, tree, target, around)
        elif around.scratch is None:
            inputs[_below_work(at)] = checkout(store, tree)
        else:
            place = inputs[_below_work(at)] = work / "inputs" / str(number)
            place.mkdir(parents=True)
            _write_input(store, tree, place, around)
    if backend is Backend.NONE:
        env = bare_environment({**action.env, "TMPDIR": str(work / "tmp")}, around)
        return bare_command(action.argv, limits, around), env
    write_covers(work / "proc")
    # The mount points are there for bubblewrap; every server makes the same ones.
    points = {RelPath(point): Directory() for name in (around.folder, around.temporary) for point in _way(name)}
    root = Tree.of({**dict.fromkeys(map(RelPath, (WORK, "proc", "dev", "tmp")), Directory()), **points, **_root_entries(action)})
    command = wrapped_command(
        action.argv,
        root=checkout(store, root),
        work=build,
        temporary=work / "tmp",
        covers=work / "proc",
        inputs=inputs,
        env=action.env,
        limits=limits,
        around=around,
    )
    (work / "command").write_text(shlex.join(command) + "\n")
    return command, {}


def _make_folder(path: Path) -> None:
    """Make a folder and those that lead to it, with a mode that does not depend on the umask: the command sees it."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir()
        path.chmod(0o755)


def shell_command(folder: Path) -> list[str]:
    """Return the command line that opens a shell where the failed action of work folder ``folder`` ran.

    Raises :class:`BuildError` when the folder is not that of an action in bubblewrap.
    """
    try:
        command = shlex.split((folder / "command").read_text())
        at = command.index("--chdir")
    except (OSError, ValueError):
        msg = f"{folder} is not the work folder of a failed sandboxed action"
        raise BuildError(msg) from None
    # A new session would take the terminal away.
    return [*(word for word in command[: at + 2] if word != "--new-session"), "--", "/bin/sh"]


def _write_input(store: Store, tree: Tree, folder: Path, around: Surroundings) -> None:
    order = None if around.scratch is None or not tree.entries else other_order(tree, checkout(store, tree), folder)
    write_tree(store, tree, folder, order=order)


def _below_work(at: RelPath) -> str:
    return at.removeprefix(f"{WORK}/")


def _way(path: str) -> list[str]:
    """Return ``path`` and every folder that leads to it."""
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names) + 1)]


def _root_entries(action: Action) -> dict[RelPath, Entry]:
    return dict(normalized(action.inputs[ROOT]).entries) if ROOT in action.inputs else {}


def _collect(store: Store, action: Action, work: Path, limits: Limits) -> Tree:
    """Return the outputs as a tree; everything that is wrong with them is said at once."""
    build = work / "build"
    missing = [path for path in action.outputs if not os.path.lexists(build / path)]
    places = {RelPath(at.removeprefix(f"{WORK}/")) for at in action.inputs if at != ROOT}
    strays = sorted(_strays(build, RelPath(""), places | set(action.outputs)))
    problems = []
    if missing:
        problems.append(f"it did not make {', '.join(quoted(path) for path in missing)}")
    if strays:
        problems.append(f"it wrote {', '.join(quoted(path) for path in strays[:20])}, which are not declared as outputs")
    if (size := sum(_size(build / path) for path in action.outputs if path not in missing)) > limits.output_bytes:
        problems.append(f"its outputs have {size} bytes, {limits.output_bytes} are allowed")
    if problems:
        msg = f"{action.name}: " + "; ".join(problems)
        hint = f"declare outputs in the rule, write what is not kept to /tmp; look into {build}"
        raise ActionError(msg, hint=hint, log=work / "log")
    entries: dict[RelPath, Entry] = {}
    for path in action.outputs:
        place = build / path
        if place.is_symlink():
            entries[path] = Symlink(target=os.readlink(place))
        elif place.is_dir():
            entries[path] = Directory()
            tree = store.ingest_directory(place)
            entries |= {RelPath(f"{path}/{name}"): entry for name, entry in normalized(tree).entries.items()}
        else:
            mode = place.lstat().st_mode
            digest, size = store.put_file(place)
            entries[path] = File(mode=0o755 if mode & 0o100 else 0o644, size_bytes=size, digest=digest)
    return Tree.of(entries)


def _strays(folder: Path, prefix: RelPath, allowed: set[RelPath]) -> Iterator[RelPath]:
    """Yield what lies in ``folder`` and neither is, nor leads to, an allowed path."""
    for item in os.scandir(folder):
        path = RelPath(f"{prefix}/{item.name}" if prefix else item.name)
        if path in allowed:
            continue
        if item.is_dir(follow_symlinks=False) and any(other.startswith(f"{path}/") for other in allowed):
            yield from _strays(folder / item.name, path, allowed)
        else:
            yield path


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path, followlinks=False) for name in names
    )


def _failed(action: Action, work: Path, status: int | None, *, is_cancelled: bool) -> ActionError:
    with open(work / "log", "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - _SHOWN))
        tail = log.read().decode("utf-8", "replace").strip()
    if status is None and is_cancelled:
        return ActionError(f"{action.name} was cancelled", is_cancelled=True)
    reason = f"did not end within {action.timeout_s:g} s" if status is None else f"failed with exit code {status}"
    room = os.statvfs(work)
    if room.f_bavail * room.f_frsize < _SCARCE_BYTES:
        reason += f", and the file system of {work.parent} is full"
    msg = f"{action.name} {reason}" + (f":\n{tail}" if tail else "")
    hint = f"the whole log: {work / 'log'}; the work folder is kept: kata-bundle debug shell {work.name}"
    return ActionError(msg, hint=hint, status=status, log=work / "log")


@contextmanager
def _work_folder(store: Store, action: Action, scratch: Path | None) -> Iterator[Path]:
    parent = scratch or store.root / SANDBOXES
    parent.mkdir(exist_ok=True)
    _drop_old(parent)
    work = Path(tempfile.mkdtemp(prefix=f"{_SAFE.sub('-', action.name)[:60]}-", dir=parent))
    descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        is_kept = False
        try:
            with about(work):  # writing to an open file names none when the disk is full
                (work / _MARK).touch()
                yield work
        except BundleError as error:
            # Nobody looks into what an interrupt or this host's own trouble ended, and a full disk needs the room.
            is_cancelled = isinstance(error, ActionError) and error.is_cancelled
            is_kept = not isinstance(error, HostError) and not is_cancelled and (work / "log").exists()
            raise
        finally:
            if is_kept:
                (work / _MARK).unlink(missing_ok=True)
            else:
                shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(descriptor)


def _drop_old(parent: Path) -> None:
    """Remove what killed programs left, and all but the newest folders of failed actions. Whoever works in one holds it."""
    failed: list[tuple[float, Path]] = []
    for path in parent.iterdir():
        if (path / _MARK).exists() or not (path / "log").exists():
            remove_left(path, older_than_s=_STALE_AFTER_S)  # the age covers the instant before its maker locks it
            continue
        with suppress(OSError):  # gone meanwhile
            failed.append((path.stat().st_mtime, path))
    for _, path in sorted(failed, reverse=True)[KEPT:]:
        remove_left(path)
