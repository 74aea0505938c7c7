"""What whoever carries out actions sees of caches and executors: two small interfaces, and how a failing one is put aside.

Must not know: protocols.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.core.errors import BuildError, BundleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.build.action import Action, EncodedAction
    from kata_bundle.build.sandbox.execute import Executed
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = ["Guarded", "RemoteExecutor", "SharedCache"]

_STRIKES: Final = 2
"""Failures in a row after which a cache is not asked again: each may have cost deadlines."""


class SharedCache(Protocol):
    """Results of actions that others made."""

    @property
    def name(self) -> str:
        """What people call it: its address."""

    def find(self, store: Store, action: Action, encoded: EncodedAction, *, is_cancelled: Callable[[], bool]) -> Executed | None:
        """Return the result, its files checked and in ``store``; ``None`` when the cache has none that is complete.

        Raises :class:`RemoteError` and :class:`IntegrityError`.
        """

    def share(
        self, store: Store, action: Action, encoded: EncodedAction, done: Executed, *, is_cancelled: Callable[[], bool]
    ) -> None:
        """Give a hermetic result to the cache; raises like :meth:`find`."""


class RemoteExecutor(Protocol):
    """A service that carries out actions."""

    @property
    def name(self) -> str:
        """What people call it: its address."""

    def execute(self, store: Store, action: Action, encoded: EncodedAction, *, is_cancelled: Callable[[], bool]) -> Executed:
        """Return what ``action`` made there, its files checked and in ``store``.

        Raises :class:`RemoteError` and :class:`IntegrityError` for the service's failures, :class:`BuildError` for the command's.
        """


class Guarded:
    """A cache whose failures cost time and nothing else: told in a line; after some in a row it is left alone. Thread-safe."""

    def __init__(self, cache: SharedCache, *, upload: bool = True) -> None:
        self._cache = cache
        self._upload = upload
        self._strikes = 0
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """What people call it."""
        return self._cache.name

    def find(
        self, store: Store, action: Action, encoded: EncodedAction, *, progress: Progress, is_cancelled: Callable[[], bool]
    ) -> Executed | None:
        """Return the cache's result, ``None`` without one or when it fails. Raises :class:`BuildError` when cancelled."""
        if self._strikes >= _STRIKES:
            return None
        try:
            found = self._cache.find(store, action, encoded, is_cancelled=is_cancelled)
        except BuildError:
            raise
        except BundleError as error:
            self._failed(action, error, progress)
            return None
        self._worked()
        return found

    def share(
        self,
        store: Store,
        action: Action,
        encoded: EncodedAction,
        done: Executed,
        *,
        progress: Progress,
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Give the cache a result when it may be shared and the cache takes any; a failure is told and nothing else."""
        if not self._upload or not done.is_hermetic or self._strikes >= _STRIKES:
            return
        try:
            self._cache.share(store, action, encoded, done, is_cancelled=is_cancelled)
        except BuildError:
            return  # cancelled: what was made is kept all the same
        except BundleError as error:
            self._failed(action, error, progress)
            return
        self._worked()

    def _worked(self) -> None:
        with self._lock:
            self._strikes = 0

    def _failed(self, action: Action, error: BundleError, progress: Progress) -> None:
        with self._lock:
            self._strikes += 1
            is_last = self._strikes == _STRIKES
        hint = f" ({error.hint})" if error.hint else ""
        progress.note(f"{action.name}: going on without the cache: {error}{hint}")
        if is_last:
            progress.note(f"{self.name} is not asked again by this command")
