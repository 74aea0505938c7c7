"""The lock of distribution packages: which file exactly every package name in the rules stands for.

``debian.lock.toml`` lies beside the rules and is written by ``kata-bundle lock debian`` only: one table per pin, sorted, so
that a changed pin is a small diff. It names suites, never hosts. Must not know: mirrors, recipes.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.digest import Digest, hex_part
from kata_bundle.core.errors import IntegrityError, LockError
from kata_bundle.core.fields import Fields
from kata_bundle.core.fsops import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kata_bundle.core.arch import Arch

__all__ = ["ALL", "FILE_NAME", "DebLock", "DebPin", "load_deb_lock"]

FILE_NAME: Final = "debian.lock.toml"
ALL: Final = "all"
"""Debian's name for packages that are the same on every architecture."""

_HEADER: Final = """\
# Packages that the rules of kind "deb" take files from. Written by: kata-bundle lock debian
# "name" is what rules ask for; "package" is what it stood for when it was pinned, where that is another name.
"""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{1,199}")
_SUITE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_ARCHITECTURE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_VERSION: Final = re.compile(r"(?:[0-9]+:)?[A-Za-z0-9.+~-]{1,200}")


@dataclass(frozen=True, kw_only=True, slots=True)
class DebPin:
    """One file of a suite: the package, its version and architecture in Debian's words, its length and digest."""

    suite: str
    name: str
    package: str
    architecture: str
    version: str
    size_bytes: int
    digest: Digest

    @property
    def order(self) -> tuple[str, str, str]:
        """What decides the pin's place in the lock, and what no two pins share."""
        return (self.suite, self.name, self.architecture)

    @property
    def text(self) -> str:
        """Package, architecture, version and digest on one line, as the lock of a selection states them."""
        return f"{self.package}:{self.architecture}={self.version}@{self.digest}"

    @property
    def short(self) -> str:
        """The same for people, without the digest."""
        return f"{self.package} {self.version} ({self.architecture})"

    def to_key(self) -> dict[str, Any]:
        """Return what can change a component made of this file, as JSON data: only the content can."""
        return {"name": self.name, "version": self.version, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class DebLock:
    """All pins, sorted."""

    pins: tuple[DebPin, ...] = ()

    def find(self, suite: str, name: str, arch: Arch) -> DebPin | None:
        """Return the pin of ``name`` that fits ``arch``, ``None`` when there is none."""
        for pin in self.pins:
            if (pin.suite, pin.name) == (suite, name) and pin.architecture in {arch.debian_name, ALL}:
                return pin
        return None

    def require(self, suite: str, name: str, arch: Arch) -> DebPin:
        """Return the pin like :meth:`find`; raise :class:`LockError` when there is none."""
        pin = self.find(suite, name, arch)
        if pin is None:
            msg = f'package "{name}" of {suite} is not pinned for {arch.debian_name}'
            raise LockError(msg, hint="kata-bundle lock debian --refresh-missing")
        return pin

    def with_pins(self, pins: Iterable[DebPin]) -> DebLock:
        """Return a lock in which ``pins`` replace those of the same suite, name and architecture.

        A package that becomes (or stops being) the same on every architecture replaces its old pins too.
        """
        result = {pin.order: pin for pin in self.pins}
        for pin in pins:
            for order in [o for o in result if o[:2] == pin.order[:2] and (ALL in {o[2], pin.architecture})]:
                del result[order]
            result[pin.order] = pin
        return DebLock(tuple(sorted(result.values(), key=lambda p: p.order)))

    def to_toml(self) -> str:
        """Return the document's text."""
        parts = [_HEADER, "version = 1\n"]
        for pin in self.pins:
            package = [] if pin.package == pin.name else [("package", pin.package)]
            rows: list[tuple[str, str | int]] = [
                ("suite", pin.suite),
                ("name", pin.name),
                *package,
                ("architecture", pin.architecture),
                ("version", pin.version),
                ("size", pin.size_bytes),
                ("sha256", hex_part(pin.digest)),
            ]
            parts.append("[[pins]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows))
        return "\n".join(parts)

    def write(self, folder: Path) -> None:
        """Replace the lock file in ``folder``."""
        text = self.to_toml()
        if parse_deb_lock(text, what=FILE_NAME) != self:  # pragma: no cover - the writer is wrong, not the input
            msg = "the lock does not read back as it was written"
            raise IntegrityError(msg)
        write_atomic(folder / FILE_NAME, text.encode())


def load_deb_lock(folder: Path | None = None) -> DebLock:
    """Return the lock in ``folder`` (default: the shipped rules).

    Raises :class:`LockError` with the key path when the file is not a lock. A folder without one has no pins.
    """
    from kata_bundle.build.rulefile import rules_folder

    path = rules_folder(folder) / FILE_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return DebLock()
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8: {error}"
        raise LockError(msg) from None
    return parse_deb_lock(text, what=str(path))


def parse_deb_lock(text: str, *, what: str) -> DebLock:
    """Return the lock in ``text``; raise :class:`LockError` naming ``what`` and the key that is wrong."""
    try:
        fields = Fields(tomllib.loads(text), what)
        if fields.integer("version") != 1:
            msg = f"{what}: unknown version, this program reads version 1"
            raise LockError(msg)
        pins = [_pin(pin) for pin in fields.children("pins")] if "pins" in fields else []
        fields.done()
    except (tomllib.TOMLDecodeError, IntegrityError) as error:
        msg = f"{what} is not a lock of packages: {error}" if isinstance(error, tomllib.TOMLDecodeError) else str(error)
        raise LockError(msg, hint="kata-bundle lock debian writes it again") from None
    seen: set[tuple[str, str, str]] = set()
    pins.sort(key=lambda p: p.order)
    for pin in pins:
        if pin.order in seen or replace(pin, architecture=ALL).order in seen:
            msg = f'{what}: package "{pin.name}" of {pin.suite} is pinned twice for {pin.architecture}'
            raise LockError(msg, hint="kata-bundle lock debian writes it again")
        seen.add(pin.order)
    return DebLock(tuple(pins))


def _pin(fields: Fields) -> DebPin:
    name = fields.text("name", _NAME)
    pin = DebPin(
        suite=fields.text("suite", _SUITE),
        name=name,
        package=fields.optional_text("package", _NAME) or name,
        architecture=fields.text("architecture", _ARCHITECTURE),
        version=fields.text("version", _VERSION),
        size_bytes=fields.integer("size"),
        digest=Digest("sha256:" + fields.text("sha256", re.compile(r"[0-9a-f]{64}"))),
    )
    fields.done()
    return pin
