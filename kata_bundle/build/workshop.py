"""Where and how actions are carried out: found in the store or a shared cache, else run by a server or on this machine.

A result is remembered under its action's digest, so rules that lead to one action share it. What was made without walls is not
remembered under that digest, since the digest does not say with which tools of which host. Caches and servers that fail cost time
and nothing else, unless nothing may run here. Must not know: rules, protocols.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.build.action import encode_action
from kata_bundle.build.sandbox import Backend, Limits, execute
from kata_bundle.build.sandbox.execute import Executed
from kata_bundle.build.sandbox.logs import ActionError
from kata_bundle.core.digest import parse_digest
from kata_bundle.core.errors import BuildError, IntegrityError, RemoteError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.store import ActionResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.build.action import Action, EncodedAction
    from kata_bundle.build.remote import Guarded, RemoteExecutor
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = ["Cached", "Performed", "Workshop"]


class Cached(StrEnum):
    """Whether something was done for a result, and else where it came from."""

    LOCAL = "local"
    """It was in the store."""
    REMOTE = "remote"
    """A shared cache had it."""
    NO = "no"
    """It was made, here or by a server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Performed(Executed):
    """What an action made, which one it was, and where that came from."""

    action: Digest
    cached: Cached


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """How actions are carried out."""

    backend: Backend = Backend.BUBBLEWRAP
    limits: Limits = field(default_factory=Limits)
    caches: tuple[Guarded, ...] = ()
    """Asked in this order after the store; each is given what comes from a later one or is made."""
    executor: RemoteExecutor | None = None
    """Carries out actions instead of this machine, which steps in when it fails."""
    is_remote_only: bool = False
    """Run nothing on this machine: what neither caches nor executor give is an error."""
    progress: Progress = NO_PROGRESS

    def run(self, store: Store, action: Action, *, memory_mib: int | None, is_cancelled: Callable[[], bool]) -> Performed:
        """Return what ``action`` makes, from ``store`` or a cache when it was made before.

        Raises like :func:`execute`; with ``is_remote_only`` also what the executor raises, or :class:`RemoteError` without one.
        """
        encoded = encode_action(action)
        try:
            known = store.get_result(encoded.digest)
        except IntegrityError:
            known = None  # the damaged part is set aside; what comes now takes its place
        if known is not None:
            return Performed(
                outputs=store.get_tree(known.tree),
                log=_log_of(store, known),
                duration_s=0.0,
                is_hermetic=known.hermetic,
                action=encoded.digest,
                cached=Cached.LOCAL,
            )
        try:
            done, source = self._obtain(store, action, encoded, memory_mib, is_cancelled)
        except ActionError as error:
            error.action = encoded.digest
            raise
        except BuildError as error:
            if is_cancelled():  # by what waited for a server
                raise ActionError(str(error), is_cancelled=True) from error
            raise
        if done.is_hermetic:
            self._remember(store, action, encoded, done)
            for cache in self.caches:
                if cache is source:
                    break  # those after it were not asked
                cache.share(store, action, encoded, done, progress=self.progress, is_cancelled=is_cancelled)
        return Performed(
            outputs=done.outputs,
            log=done.log,
            duration_s=done.duration_s,
            is_hermetic=done.is_hermetic,
            action=encoded.digest,
            cached=Cached.NO if source is None else Cached.REMOTE,
        )

    def _obtain(
        self, store: Store, action: Action, encoded: EncodedAction, memory_mib: int | None, is_cancelled: Callable[[], bool]
    ) -> tuple[Executed, Guarded | None]:
        for cache in self.caches:
            found = cache.find(store, action, encoded, progress=self.progress, is_cancelled=is_cancelled)
            if found is not None:
                self.progress.note(f"{action.name}: from {cache.name}")
                return found, cache
        if self.executor is not None:
            try:
                return self.executor.execute(store, action, encoded, is_cancelled=is_cancelled), None
            except (BuildError, IntegrityError, RemoteError) as error:
                # Even what the server says of the command is its word only: this machine decides whether it fails.
                if self.is_remote_only or is_cancelled():
                    raise
                self.progress.note(f"{action.name}: made here, since {self.executor.name} did not: {error}")
        elif self.is_remote_only:
            names = ", ".join(cache.name for cache in self.caches) or "no cache"
            msg = f"{action.name}: {names} does not have it, and nothing may be made on this machine"
            raise RemoteError(msg, hint="name a server with --remote-executor, or leave out --remote-only")
        memory = self.limits.memory_bytes if memory_mib is None else memory_mib << 20
        limits = Limits(output_bytes=self.limits.output_bytes, memory_bytes=memory)
        return execute(store, action, backend=self.backend, limits=limits, is_cancelled=is_cancelled), None

    def _remember(self, store: Store, action: Action, encoded: EncodedAction, done: Executed) -> None:
        store.put_tree(done.outputs)
        store.put_result(
            encoded.digest,
            ActionResult(
                tree=done.outputs.digest,
                origin="action",
                version=action.salt or "-",  # a record's texts are never empty
                hermetic=True,
                ingredients={"action": encoded.digest, "log": done.log},
            ),
        )


def _log_of(store: Store, known: ActionResult) -> Digest:
    """Return the digest of what the action printed, that of nothing when it is gone; either is in ``store``."""
    try:
        log = parse_digest(known.ingredients.get("log", ""))
    except IntegrityError:
        return store.put_bytes(b"")
    return log if store.has(log) else store.put_bytes(b"")
