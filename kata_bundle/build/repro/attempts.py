"""One build under given conditions: of an action in its walls, or of what this program computes itself in a process of its own.

Nothing that comes out is remembered: the store gets blobs, no results. Must not know: what is done with what came out.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.action.model import ROOT
from kata_bundle.build.repro.conditions import Condition, changed
from kata_bundle.build.sandbox import Backend, Limits, execute
from kata_bundle.build.sandbox.backend import processors
from kata_bundle.build.sandbox.surroundings import clock_environment
from kata_bundle.core import clock
from kata_bundle.core.errors import BuildError
from kata_bundle.core.process import base_environment, find_program, run_logged
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.build.action import Action
    from kata_bundle.build.repro.conditions import Host
    from kata_bundle.build.sandbox.surroundings import Surroundings
    from kata_bundle.core.digest import Digest
    from kata_bundle.store import Store

__all__ = ["ActionAttempts", "Attempt", "LayerAttempts", "ProcessAttempts", "input_bytes"]

_TIMEOUT_S: Final = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """What came out, and when it was begun and done, in seconds since 1970."""

    tree: Tree
    started_at: float
    ended_at: float


def input_bytes(action: Action) -> int:
    """Return the size of what an action sees beside its tools."""
    return sum(tree.size_bytes for at, tree in action.inputs.items() if at != ROOT)


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionAttempts:
    """Carries out one action again and again; ``pick`` makes the tree that counts of its outputs."""

    store: Store
    action: Action
    host: Host
    backend: Backend
    limits: Limits
    is_cancelled: Callable[[], bool]
    pick: Callable[[Tree], Tree]

    def make(self, conditions: frozenset[Condition], clock_at: float | None = None) -> Attempt:
        """Return what comes out when ``conditions`` are changed; raises like :func:`execute`."""
        scratch = None
        if Condition.ORDER in conditions and self.host.tmpfs is not None:
            scratch = Path(tempfile.mkdtemp(prefix="kata-bundle-repro-", dir=self.host.tmpfs))
        try:
            done = execute(
                self.store,
                self.action,
                backend=self.backend,
                limits=self.limits,
                around=changed(conditions, self.host, scratch=scratch, clock_at=clock_at),
                is_cancelled=self.is_cancelled,
            )
        finally:
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)
        tree = self.pick(done.outputs)
        return Attempt(tree=tree, started_at=done.started_at, ended_at=done.started_at + done.duration_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessAttempts:
    """Has a process of its own make a component from its rule, again and again."""

    store: Store
    host: Host
    request: dict[str, Any]
    is_cancelled: Callable[[], bool]

    def make(self, conditions: frozenset[Condition], clock_at: float | None = None) -> Attempt:
        """Return what comes out when ``conditions`` are changed; raises :class:`BuildError` with what the process says."""
        with self.store.scratch() as folder:
            answer, started_at = self._ask(self.request, folder, conditions, clock_at)
            ended_at = clock.now()
        return Attempt(tree=self.store.get_tree(answer["tree"]), started_at=started_at, ended_at=ended_at)

    def _ask(
        self, request: dict[str, Any], folder: Path, conditions: frozenset[Condition], clock_at: float | None
    ) -> tuple[dict[str, Any], float]:
        around = changed(conditions, self.host, clock_at=clock_at)
        cwd = folder / "elsewhere" if Condition.PATH in conditions else folder
        cwd.mkdir(exist_ok=True)
        files = [str(folder / name) for name in ("request", "answer")]
        Path(files[0]).write_text(json.dumps({**request, "store": str(self.store.root.absolute())}))
        words = [*processors(around.processors), *_walls(around, conditions), sys.executable, "-P"]
        started_at = clock.now()
        with open(folder / "log", "xb") as log:
            status = run_logged(
                [*words, "-m", f"{__package__}.worker", *files],
                log=log,
                env={
                    **_environment(conditions),
                    **around.env,
                    **clock_environment(around, started_at, str(around.clock_library)),
                },
                cwd=cwd,
                timeout_s=_TIMEOUT_S,
                is_cancelled=self.is_cancelled,
                umask=around.umask,
            )
        what = f"{request['component']} ({request['arch']})"
        if status != 0:
            said = (folder / "log").read_text(errors="replace").strip()[-2000:]
            msg = f"{what}: the process that makes it " + ("was stopped" if status is None else f"failed: {said}")
            raise BuildError(msg)
        answer: dict[str, Any] = json.loads(Path(files[1]).read_text())
        if "error" in answer:
            msg = f"{what}: {answer['error']}"
            raise BuildError(msg, hint=answer["hint"])
        return answer, started_at


class LayerAttempts(ProcessAttempts):
    """Has a process of its own pack a component's tree, again and again; what comes out is one file."""

    def make(self, conditions: frozenset[Condition], clock_at: float | None = None) -> Attempt:
        """Return a tree with the packed layer."""
        with self.store.scratch() as folder:
            packed = folder / "packed"
            jobs = 1 if Condition.CPUS in conditions else self.host.processors
            answer, started_at = self._ask({**self.request, "packed": str(packed), "jobs": jobs}, folder, conditions, clock_at)
            ended_at = clock.now()
            digest: Digest = answer["packed"]
            self.store.put_file(packed, digest)
        name = RelPath(f"kata-static-{self.request['component']}.tar.zst")
        tree = Tree.of({name: File(mode=0o644, size_bytes=answer["size_bytes"], digest=digest)})
        return Attempt(tree=tree, started_at=started_at, ended_at=ended_at)


def _environment(conditions: frozenset[Condition]) -> dict[str, str]:
    import kata_bundle

    seed = "4242" if Condition.ENV in conditions else "0"
    here = str(Path(kata_bundle.__file__).parent.parent)
    return base_environment(PYTHONHASHSEED=seed, PYTHONPATH=here, HOME=os.environ.get("HOME", "/"))


def _walls(around: Surroundings, conditions: frozenset[Condition]) -> list[str]:
    """Return the words that make a process another user's or another host's, which sees this machine's files all the same."""
    if not conditions & {Condition.USER, Condition.HOST}:
        return []
    words = [find_program("bwrap", package="bubblewrap"), "--dev-bind", "/", "/", "--die-with-parent", "--unshare-user"]
    if Condition.USER in conditions:
        words += ["--uid", str(around.user_id), "--gid", str(around.group_id)]
    if Condition.HOST in conditions:
        words += ["--unshare-uts", "--hostname", around.host_name]
    return [*words, "--"]
