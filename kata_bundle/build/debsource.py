"""Source packages of the distribution: the lock that says which files one stands for, and the tree that these files make.

Format: dsc(5) and deb-src(5), as the signed index ``Sources`` of a suite repeats them. A source package is an upstream archive
(``orig``), perhaps more of them for folders inside, and an archive with the folder ``debian``, which holds the distribution's
patches; or one archive of everything ("native"). Upstream's tree with ``debian`` in it is made here and depends on nothing but
the pinned bytes; patches are applied where the tree is worked on, by the program ``patch`` of the toolchain (``build.kinds``).
Must not know: mirrors, recipes.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.unpack import unpack_archive
from kata_bundle.core import canonical
from kata_bundle.core.digest import CHUNK_SIZE, Digest, digest_bytes, hex_part
from kata_bundle.core.errors import ArchiveError, IntegrityError, LockError
from kata_bundle.core.fields import Fields
from kata_bundle.core.fsops import write_atomic
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, Entry, Hardlink, Tree
from kata_bundle.store import ActionResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kata_bundle.store import Store

__all__ = ["FILE_NAME", "SourceFile", "SourceLock", "SourcePin", "load_source_lock", "parse_source_lock", "unpack_source"]

FILE_NAME: Final = "debian-sources.lock.toml"
NATIVE: Final = ("3.0 (native)", "1.0")
QUILT: Final = "3.0 (quilt)"
FORMATS: Final = (QUILT, *NATIVE)

_VERSION_OF_UNPACKING: Final = "debsource-1"
"""Raised by whoever changes what is made of equal files."""
_HEADER: Final = """\
# Source packages that rules use, with every file of theirs. Written by: kata-bundle lock debian
"""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]{1,199}")
_SUITE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_VERSION: Final = re.compile(r"(?:[0-9]+:)?[A-Za-z0-9.+~-]{1,200}")
_FILE: Final = re.compile(r"[a-z0-9][A-Za-z0-9.+~-]{0,200}_[A-Za-z0-9.+~_-]{1,250}")
_LINE: Final = re.compile(r"(\S+) ([0-9]{1,15}) ([0-9a-f]{64})")
_PART: Final = re.compile(r"_[^_]*?\.(?:(orig)(?:-([A-Za-z0-9-]+))?\.|(debian)\.)?tar\.(?:gz|xz|bz2)")
_REFRESH: Final = "kata-bundle lock debian --refresh-missing"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class SourceFile:
    """One file of a source package."""

    name: str
    size_bytes: int
    digest: Digest

    @property
    def part(self) -> tuple[str, str] | None:
        """What of the tree it is: ``("orig", folder)``, ``("debian", "")`` or ``("native", "")``; ``None`` of descriptions."""
        found = _PART.search(self.name)
        if found is None or found.end() != len(self.name):
            return None
        return (found[1] or found[3] or "native", found[2] or "")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePin:
    """One version of a source package. Raises :class:`LockError` for files of which no tree can be made."""

    suite: str
    name: str
    version: str
    format: str
    files: tuple[SourceFile, ...]

    def __post_init__(self) -> None:
        """Refuse what :func:`unpack_source` could not read, before anything is fetched."""
        parts = [file.part for file in self.files]
        if self.format not in FORMATS:
            problem = f'is of format "{self.format}", known are {", ".join(FORMATS)}'
        elif not all(_FILE.fullmatch(file.name) and file.name.startswith(f"{self.name}_") for file in self.files):
            problem = "has a file whose name is none of a source package"
        elif any(file.name.endswith(".diff.gz") for file in self.files):
            problem = "is of format 1.0 with a diff, which this program does not read"
        elif self.format in NATIVE and [part for part in parts if part] != [("native", "")]:
            problem = "is not native: expected one archive"
        elif self.format == QUILT and not (
            parts.count(("orig", "")) == parts.count(("debian", "")) == 1
            and ("native", "") not in parts
            and len({part for part in parts if part}) == len([part for part in parts if part])
        ):
            problem = "is not complete: expected one orig and one debian archive, and each folder once"
        else:
            return
        msg = f"source package {self.name} {self.version} of {self.suite} {problem}"
        raise LockError(msg, hint="take the program from its binary package, or from an archive by kind fetch")

    @property
    def order(self) -> tuple[str, str]:
        """What decides the pin's place in the lock, and what no two pins share."""
        return (self.suite, self.name)

    @property
    def package(self) -> str:
        """The name, as pins of binary packages have it."""
        return self.name

    @property
    def architecture(self) -> str:
        """Debian's word for what belongs to no architecture since it was not built."""
        return "source"

    @property
    def text(self) -> str:
        """The pin on one line, as the lock of a selection states it; the digest is that of everything in the pin."""
        return f"{self.name}:source={self.version}@{self.digest}"

    @property
    def digest(self) -> Digest:
        """The identity of all files together."""
        return digest_bytes(canonical.dumps(self.to_key()))

    @property
    def short(self) -> str:
        """The pin for people."""
        return f"{self.name} {self.version} (source)"

    @property
    def parts(self) -> tuple[SourceFile, ...]:
        """The files that make the tree; the ``.dsc`` and signatures only say of these what the pin says."""
        return tuple(file for file in self.files if file.part is not None)

    def to_key(self) -> dict[str, Any]:
        """Return what can change what is made of it, as JSON data."""
        files = {file.name: file.digest for file in self.parts}
        return {"name": self.name, "version": self.version, "format": self.format, "files": files}


@dataclass(frozen=True, slots=True)
class SourceLock:
    """All pins, sorted."""

    pins: tuple[SourcePin, ...] = ()

    def find(self, suite: str, name: str) -> SourcePin | None:
        """Return the pin, ``None`` when there is none."""
        return next((pin for pin in self.pins if pin.order == (suite, name)), None)

    def require(self, suite: str, name: str) -> SourcePin:
        """Return the pin; raise :class:`LockError` when there is none."""
        pin = self.find(suite, name)
        if pin is None:
            msg = f'source package "{name}" of {suite} is not pinned'
            raise LockError(msg, hint=_REFRESH)
        return pin

    def with_pins(self, pins: Iterable[SourcePin]) -> SourceLock:
        """Return a lock in which ``pins`` replace those of the same suite and name."""
        result = {pin.order: pin for pin in (*self.pins, *pins)}
        return SourceLock(tuple(result[order] for order in sorted(result)))

    def to_toml(self) -> str:
        """Return the document's text."""
        tables = [_HEADER, "version = 1\n"]
        for pin in self.pins:
            rows = [("suite", pin.suite), ("name", pin.name), ("version", pin.version), ("format", pin.format)]
            files = "".join(f'    "{file.name} {file.size_bytes} {hex_part(file.digest)}",\n' for file in pin.files)
            keys = "".join(f"{key} = {json.dumps(value)}\n" for key, value in rows)
            tables.append(f"[[sources]]\n{keys}files = [\n{files}]\n")
        return "\n".join(tables)

    def write(self, folder: Path) -> None:
        """Replace the lock file in ``folder``."""
        write_atomic(folder / FILE_NAME, self.to_toml().encode())


def load_source_lock(folder: Path | None = None) -> SourceLock:
    """Return the lock in ``folder`` (default: the shipped rules); a folder without one has no pins.

    Raises :class:`LockError` with the key path when the file is not a lock.
    """
    from kata_bundle.build.rulefile import rules_folder

    path = rules_folder(folder) / FILE_NAME
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return SourceLock()
    except UnicodeDecodeError as error:
        msg = f"{path} is not UTF-8: {error}"
        raise LockError(msg) from None
    return parse_source_lock(text, what=str(path))


def parse_source_lock(text: str, *, what: str) -> SourceLock:
    """Return the lock in ``text``; raise :class:`LockError` naming ``what`` and what is wrong."""
    try:
        fields = Fields(tomllib.loads(text), what)
        if fields.integer("version") != 1:
            msg = f"{what}: unknown version, this program reads version 1"
            raise LockError(msg)
        pins = [_pin(pin, what) for pin in fields.children("sources")] if "sources" in fields else []
        fields.done()
    except (tomllib.TOMLDecodeError, IntegrityError) as error:
        msg = f"{what} is not a lock of source packages: {error}"
        raise LockError(msg, hint="kata-bundle lock debian writes it again") from None
    lock = SourceLock().with_pins(pins)
    if len(lock.pins) != len(pins):
        msg = f"{what}: a source package is pinned twice"
        raise LockError(msg, hint="kata-bundle lock debian writes it again")
    return lock


def _pin(fields: Fields, what: str) -> SourcePin:
    files = []
    for line in fields.texts("files"):
        found = _LINE.fullmatch(line)
        if found is None:
            msg = f'{what}: expected "name size sha256" of a file, found "{line[:100]}"'
            raise LockError(msg)
        files.append(SourceFile(name=found[1], size_bytes=int(found[2]), digest=Digest(f"sha256:{found[3]}")))
    pin = SourcePin(
        suite=fields.text("suite", _SUITE),
        name=fields.text("name", _NAME),
        version=fields.text("version", _VERSION),
        format=fields.text("format"),
        files=tuple(sorted(files)),
    )
    fields.done()
    return pin


def unpack_source(pin: SourcePin, store: Store) -> Tree:
    """Return the tree of the files of ``pin``, which are in ``store``: unpacked, or as ``store`` remembers it.

    Upstream's archive without the one folder that it is in, other archives in folders of their names, ``debian`` in place of
    upstream's own; patches are not applied. Raises :class:`ArchiveError` for an archive that is damaged or holds what has no
    place there, :class:`IntegrityError` when the store lacks one.
    """
    parts = {"pin": pin.to_key(), "program": _VERSION_OF_UNPACKING}
    key = digest_bytes(canonical.dumps({"format": "kata-bundle source package 1", **parts}))
    known = store.get_result(key)
    if known is not None:
        return store.get_tree(known.tree)
    entries: dict[RelPath, Entry] = {}
    order = ["native", "orig", "debian"]
    for file in sorted(pin.parts, key=lambda file: (order.index((file.part or ("", ""))[0]), (file.part or ("", ""))[1])):
        kind, folder = file.part or ("", "")
        what = f"source package {pin.name} {pin.version}, {file.name}"
        with store.open(file.digest) as stream:
            tree = unpack_archive(stream, store, what=what, strip=0)
            # To the end, where the store checks the digest, even if the archive ends earlier.
            while stream.read(CHUNK_SIZE):
                pass
        if kind == "debian":
            strays = [path for path in tree.entries if path != "debian" and not path.startswith("debian/")]
            if strays:
                msg = f'{what} has "{strays[0]}", which is not below "debian"'
                raise ArchiveError(msg)
            folder, tree = "debian", _inside(tree)
        else:
            tree = _inside(tree)
        if folder:
            entries = {path: entry for path, entry in entries.items() if path != folder and not path.startswith(f"{folder}/")}
            entries[RelPath(folder)] = Directory()
        entries |= _below(tree, folder)
    tree = Tree.of(entries)
    store.put_tree(tree)
    texts = {name: canonical.dumps(value).decode("ascii").rstrip("\n") for name, value in parts.items()}
    store.put_result(key, ActionResult(tree=tree.digest, origin="source", version=pin.version, hermetic=True, ingredients=texts))
    return tree


def _inside(tree: Tree) -> Tree:
    """Return the content of the one folder that everything lies in, as archives of programs mostly are; else the whole tree."""
    tops = {path.partition("/")[0] for path in tree.entries}
    if len(tops) != 1:
        return tree
    (top,) = tops
    if not isinstance(tree.entries.get(RelPath(top)), Directory) and RelPath(top) in tree.entries:
        return tree
    cut = len(top) + 1
    return Tree.of(
        {RelPath(path[cut:]): _moved(entry, lambda to: to[cut:]) for path, entry in tree.entries.items() if path != top}
    )


def _below(tree: Tree, folder: str) -> dict[RelPath, Entry]:
    if not folder:
        return dict(tree.entries)
    return {RelPath(f"{folder}/{path}"): _moved(entry, lambda to: f"{folder}/{to}") for path, entry in tree.entries.items()}


def _moved(entry: Entry, move: Callable[[str], str]) -> Entry:
    return Hardlink(target=RelPath(move(entry.target))) if isinstance(entry, Hardlink) else entry
