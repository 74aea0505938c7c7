"""Brings pinned packages into the store: by digest from there, else from the mirror, checked against the pin.

The digest decides, whoever served the bytes. Must not know: recipes, components.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from kata_bundle.core.errors import IntegrityError, PinMissingError
from kata_bundle.core.events import NO_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.build.apt import IndexEntry, PackageSource
    from kata_bundle.build.deblock import DebPin
    from kata_bundle.build.debsource import SourcePin
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = ["REFRESH_COMMAND", "Sources", "is_served"]

_FEW = 4
REFRESH_COMMAND = "kata-bundle lock debian --refresh-missing"


class Sources:
    """Pinned packages as blobs of ``store``. Safe for several threads: a package that two components need is fetched once."""

    def __init__(
        self, store: Store, packages: PackageSource, *, progress: Progress = NO_PROGRESS, refresh: str = REFRESH_COMMAND
    ) -> None:
        self._store = store
        self._packages = packages
        self._progress = progress
        self._refresh = refresh
        self._lock = threading.Lock()
        self._busy: dict[Digest, threading.Lock] = {}

    def ensure(self, pins: Iterable[DebPin], arch: Arch) -> None:
        """Make the store have the files of all ``pins``.

        The mirror is asked only for what the store lacks, and about all of that before anything is downloaded. Raises
        :class:`PinMissingError` naming every pin that the mirror no longer has, and :class:`IntegrityError` for a file that is
        not what was pinned.
        """
        wanted = [pin for pin in pins if not self._has(pin)]
        if len(wanted) > _FEW:
            self._fetch_all(wanted, arch)
            return
        missing = [pin for pin in wanted if not is_served(pin, arch, self._packages)]
        if missing:
            raise missing_error(missing, self._refresh)
        for pin in wanted:
            with self._lock:
                lock = self._busy.setdefault(pin.digest, threading.Lock())
            with lock:
                if not self._has(pin):
                    self._fetch(pin, arch)

    def _has(self, pin: DebPin) -> bool:
        return self._store.size(pin.digest) == pin.size_bytes

    def _fetch_all(self, pins: list[DebPin], arch: Arch) -> None:
        """Fetch many at once, as a toolchain needs them; a name is then the package's own."""
        for suite in sorted({pin.suite for pin in pins}):
            group = {pin.package: pin for pin in pins if pin.suite == suite}
            wanted = {name: pin.version for name, pin in group.items()}
            served = self._packages.find_all(suite, arch.debian_name, wanted)
            missing = [pin for name, pin in group.items() if not _is_pinned(pin, served.get(name))]
            if missing:
                raise missing_error(missing, self._refresh)
            total = sum(pin.size_bytes for pin in group.values())
            task = f"fetch {len(group)} packages ({arch.debian_name})"
            self._progress.start(task, total)
            try:
                with self._store.scratch() as folder:
                    for path in self._packages.download_all(suite, arch.debian_name, wanted, folder):
                        self._store.put_file(path)
                        self._progress.advance(task, path.stat().st_size)
            finally:
                self._progress.finish(task)
            # Whatever was downloaded, only the pinned contents count.
            wrong = [pin.short for pin in group.values() if not self._has(pin)]
            if wrong:
                msg = f"the mirror served other files than were pinned for {', '.join(wrong)}"
                raise IntegrityError(msg)

    def _fetch(self, pin: DebPin, arch: Arch) -> None:
        task = f"fetch {pin.package} ({pin.architecture})"
        self._progress.start(task, pin.size_bytes)
        try:
            with self._store.scratch() as folder:
                path = self._packages.download(pin.suite, arch.debian_name, pin.package, pin.version, folder)
                size = path.stat().st_size
                if size != pin.size_bytes:
                    msg = f"package {pin.package} {pin.version} has {size} bytes, its pin states {pin.size_bytes}"
                    raise IntegrityError(msg)
                try:
                    self._store.put_file(path, pin.digest)
                except IntegrityError as error:
                    msg = f"package {pin.package} {pin.version}: {error}"
                    raise IntegrityError(msg) from None
            self._progress.advance(task, pin.size_bytes)
        finally:
            self._progress.finish(task)


def is_served(pin: DebPin, arch: Arch, packages: PackageSource) -> bool:
    """Return whether the mirror still has the file that ``pin`` states.

    Raises :class:`IntegrityError` when it has that version with other content: that is an attack or an accident, not an update.
    """
    return _is_pinned(pin, packages.find(pin.suite, arch.debian_name, pin.package, pin.version))


def _is_pinned(pin: DebPin, entry: IndexEntry | None) -> bool:
    if entry is None:
        return False
    if (entry.digest, entry.size_bytes) != (pin.digest, pin.size_bytes):
        msg = (
            f"{pin.suite} has {pin.package} {pin.version} for {pin.architecture} with digest {entry.digest}, "
            f"its pin states {pin.digest}"
        )
        raise IntegrityError(msg, hint="a version is never rebuilt in place: find out who changed it before pinning it again")
    return True


def missing_error(pins: Iterable[DebPin | SourcePin], refresh: str = REFRESH_COMMAND) -> PinMissingError:
    """Return the error that names ``pins`` and the command that replaces them."""
    names = [f"{pin.package} {pin.version} ({pin.architecture}, {pin.suite})" for pin in pins]
    msg = "the mirror no longer has " + ("a pinned package: " if len(names) == 1 else "pinned packages:\n  ") + "\n  ".join(names)
    return PinMissingError(msg, hint=f"{refresh}   replaces missing pins, prints each change, and leaves the others alone")
