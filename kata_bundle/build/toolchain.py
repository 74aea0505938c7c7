"""Toolchains: builder trees made of pinned distribution packages, for actions to run in.

``toolchains.toml`` names the programs that rules need; ``toolchains.lock.toml`` pins every package that these lead to, and the
digest of the tree that they make. Nothing of a package is run to make the tree. Must not know: rules, actions.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from kata_bundle.build.deblock import DebPin
from kata_bundle.build.debtree import DEBTREE_VERSION, unpack_packages
from kata_bundle.build.rulefile import rules_folder
from kata_bundle.build.sources import Sources
from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.digest import Digest, digest_bytes, hex_part, parse_digest
from kata_bundle.core.errors import ArchiveError, BuildError, FindingsError, IntegrityError, LockError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.fsops import write_atomic
from kata_bundle.core.relpath import RelPath, parse_relpath
from kata_bundle.core.tree import Directory, Symlink, Tree
from kata_bundle.store import ActionResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from kata_bundle.build.apt import Apt, PackageSource
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = [
    "FILE_NAME",
    "FOLDER",
    "LOCK_NAME",
    "PinnedToolchain",
    "Toolchain",
    "ToolchainsDocument",
    "is_pinned",
    "load_toolchain_lock",
    "load_toolchains",
    "lock_text",
    "make_builder",
    "pin_toolchain",
    "require_toolchain",
    "toolchain_ingredients",
    "toolchain_key",
    "write_lock",
]

FOLDER: Final = "toolchains"
"""Where both files lie, below the rules."""
FILE_NAME: Final = "toolchains.toml"
LOCK_NAME: Final = "toolchains.lock.toml"
REFRESH_COMMAND: Final = "kata-bundle lock toolchains --refresh-missing"
_HEADER: Final = """\
# Every package of every toolchain, and the tree that they make. Written by: kata-bundle lock toolchains
"""
_FOLDERS: Final = ("dev", "etc", "proc", "tmp", "usr")
"""What a sandbox mounts on, or what programs expect, whatever packages bring."""

Text = Annotated[str, StringConstraints(min_length=1, max_length=4095)]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ToolchainLinkDocument(_Document):
    """A symbolic link that a package's scripts would have made."""

    at: Text
    target: Text = Field(alias="to")


class ToolchainDocument(_Document):
    """A builder tree made of distribution packages."""

    notes: Text
    arches: list[Literal["x86_64", "aarch64", "s390x", "ppc64le"]] = Field(min_length=1)
    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]
    packages: list[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]+$", max_length=200)]] = Field(min_length=1)
    links: list[ToolchainLinkDocument] = []


class ToolchainsDocument(_Document):
    """All toolchains by name."""

    version: int = Field(ge=1, le=1)
    toolchains: dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")], ToolchainDocument]


@dataclass(frozen=True, kw_only=True, slots=True)
class Toolchain:
    """What a builder tree is made of, before anything is pinned."""

    name: str
    arches: tuple[Arch, ...]
    """Machines that it runs on."""
    suite: str
    packages: tuple[str, ...]
    links: tuple[tuple[RelPath, str], ...]
    notes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedToolchain:
    """A toolchain for one kind of machine: all its packages, and the tree that they make (``None`` until it was made once)."""

    name: str
    arch: Arch
    pins: tuple[DebPin, ...]
    tree: Digest | None


def load_toolchains(folder: Path | None = None) -> Mapping[str, Toolchain]:
    """Return the toolchains of ``folder`` (default: the shipped rules) by name; a folder without the file has none.

    Raises :class:`FindingsError` listing every problem with its key path.
    """
    path = rules_folder(folder) / FOLDER / FILE_NAME
    try:
        document = ToolchainsDocument.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        msg = f"{path}: not valid TOML: {error}"
        raise FindingsError(msg) from None
    except ValidationError as error:
        lines = "\n  ".join(f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        msg = f"the toolchains have errors:\n  {lines}"
        raise FindingsError(msg) from None
    problems: list[str] = []
    toolchains: dict[str, Toolchain] = {}
    for name, one in sorted(document.toolchains.items()):
        links = []
        for number, link in enumerate(one.links):
            try:
                links.append((parse_relpath(link.at), link.target))
            except ArchiveError as error:
                problems.append(f"{path}: toolchains.{name}.links.{number}.at: {error}")
        toolchains[name] = Toolchain(
            name=name,
            arches=tuple(Arch(arch) for arch in one.arches),
            suite=one.suite,
            packages=tuple(sorted(set(one.packages))),
            links=tuple(links),
            notes=one.notes,
        )
    if problems:
        msg = "the toolchains have errors:\n  " + "\n  ".join(problems)
        raise FindingsError(msg)
    return toolchains


def load_toolchain_lock(folder: Path | None = None) -> Mapping[tuple[str, Arch], PinnedToolchain]:
    """Return what is pinned, by name and machine; raise :class:`LockError` when the file is not such a lock."""
    path = rules_folder(folder) / FOLDER / LOCK_NAME
    try:
        return _parse_lock(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except (
        tomllib.TOMLDecodeError,
        UnicodeDecodeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IntegrityError,
    ) as error:
        msg = f"{path} is not a lock of toolchains: {error}"
        raise LockError(msg, hint=REFRESH_COMMAND) from None


def _parse_lock(document: dict[str, Any]) -> Mapping[tuple[str, Arch], PinnedToolchain]:
    if document.pop("version") != 1:
        msg = "another version"
        raise ValueError(msg)
    result: dict[tuple[str, Arch], PinnedToolchain] = {}
    for entry in document.pop("toolchains", []):
        name, arch, suite = str(entry["name"]), Arch(entry["arch"]), str(entry["suite"])
        pins = []
        for line in entry["packages"]:
            package, architecture, version, size, sha256 = line.split(" ")
            digest = parse_digest(f"sha256:{sha256}")
            pins.append(
                DebPin(
                    suite=suite,
                    name=package,
                    package=package,
                    architecture=architecture,
                    version=version,
                    size_bytes=int(size),
                    digest=digest,
                )
            )
        tree = parse_digest(f"sha256:{entry['tree']}") if "tree" in entry else None
        result[name, arch] = PinnedToolchain(name=name, arch=arch, pins=tuple(pins), tree=tree)
    if document:
        msg = f"unknown key {next(iter(document))}"
        raise ValueError(msg)
    return result


def lock_text(pinned: Iterable[PinnedToolchain]) -> str:
    """Return the lock's text: a table per toolchain and machine, a line per package."""
    parts = [_HEADER, "version = 1\n"]
    for one in sorted(pinned, key=lambda one: (one.name, one.arch)):
        rows = [
            f"name = {json.dumps(one.name)}",
            f"arch = {json.dumps(one.arch.value)}",
            f"suite = {json.dumps(one.pins[0].suite)}",
        ]
        if one.tree is not None:
            rows.append(f"tree = {json.dumps(hex_part(one.tree))}")
        lines = [
            f'    "{pin.package} {pin.architecture} {pin.version} {pin.size_bytes} {hex_part(pin.digest)}",\n' for pin in one.pins
        ]
        parts.append("[[toolchains]]\n" + "\n".join(rows) + "\npackages = [\n" + "".join(lines) + "]\n")
    return "\n".join(parts)


def write_lock(folder: Path, pinned: Iterable[PinnedToolchain]) -> None:
    """Replace the lock below the rules' ``folder``."""
    write_atomic(folder / FOLDER / LOCK_NAME, lock_text(pinned).encode())


def pin_toolchain(toolchain: Toolchain, arch: Arch, packages: Apt) -> PinnedToolchain:
    """Return the toolchain with what the mirror has today, its tree not known yet; raises like :meth:`Apt.closure`."""
    pins = tuple(
        DebPin(
            suite=toolchain.suite,
            name=entry.package,
            package=entry.package,
            architecture=entry.architecture,
            version=entry.version,
            size_bytes=entry.size_bytes,
            digest=entry.digest,
        )
        for entry in packages.closure(toolchain.suite, arch.debian_name, toolchain.packages)
    )
    return PinnedToolchain(name=toolchain.name, arch=arch, pins=pins, tree=None)


def is_pinned(toolchain: Toolchain, pinned: PinnedToolchain, packages: PackageSource) -> bool:
    """Return whether ``pinned`` has all that the toolchain names, and the mirror still has all of ``pinned``."""
    if set(toolchain.packages) - {pin.package for pin in pinned.pins}:
        return False
    wanted = {pin.package: pin.version for pin in pinned.pins}
    served = packages.find_all(toolchain.suite, pinned.arch.debian_name, wanted)
    return all(pin.package in served and served[pin.package].digest == pin.digest for pin in pinned.pins)


def require_toolchain(
    toolchains: Mapping[str, Toolchain], lock: Mapping[tuple[str, Arch], PinnedToolchain], name: str, arch: Arch
) -> tuple[Toolchain, PinnedToolchain]:
    """Return the toolchain and its pins for machines of ``arch``.

    Raises :class:`BuildError` when there is none of that name or for such machines, :class:`LockError` when it is not pinned or
    the lock lacks a package that it names.
    """
    toolchain = toolchains.get(name)
    if toolchain is None or arch not in toolchain.arches:
        where = "" if toolchain is None else f" for {arch} machines"
        msg = f'there is no toolchain "{name}"{where}'
        raise BuildError(msg, hint=did_you_mean(name, toolchains) or f"see {FILE_NAME}")
    pinned = lock.get((name, arch))
    lacking = sorted(set(toolchain.packages) - {pin.package for pin in pinned.pins}) if pinned else list(toolchain.packages)
    if pinned is None or lacking:
        msg = f'toolchain "{name}" is not pinned for {arch}: {", ".join(lacking[:5])}'
        raise LockError(msg, hint=REFRESH_COMMAND)
    return toolchain, pinned


def toolchain_key(toolchain: Toolchain, pinned: PinnedToolchain) -> Digest:
    """Return the digest of everything that decides the tree."""
    return digest_bytes(canonical.dumps({"format": "kata-bundle toolchain 1", **_ingredients(toolchain, pinned)}))


def make_builder(
    toolchain: Toolchain, pinned: PinnedToolchain, store: Store, packages: PackageSource, *, progress: Progress = NO_PROGRESS
) -> Tree:
    """Return the builder tree, made unless ``store`` has it.

    Raises :class:`PinMissingError` when the mirror no longer has a package that the store lacks, :class:`IntegrityError` when
    the tree is not the pinned one, :class:`BuildError` when the packages do not fit together.
    """
    key = toolchain_key(toolchain, pinned)
    known = store.get_result(key)
    if known is not None:
        return store.get_tree(known.tree)
    Sources(store, packages, progress=progress, refresh=REFRESH_COMMAND).ensure(pinned.pins, pinned.arch)
    progress.note(f"{pinned.arch}: unpacking toolchain {toolchain.name} ({len(pinned.pins)} packages)")
    entries = dict(unpack_packages(pinned.pins, store).entries)
    for folder in _FOLDERS:
        entries.setdefault(RelPath(folder), Directory())
    for at, target in toolchain.links:
        if at in entries:
            msg = f'toolchain "{toolchain.name}": "{at}" is a link of it and in a package'
            raise BuildError(msg)
        entries[at] = Symlink(target=target)
    tree = Tree.of(entries)
    if pinned.tree is not None and pinned.tree != tree.digest:
        msg = f'toolchain "{toolchain.name}" for {pinned.arch} has tree {tree.digest}, its lock states {pinned.tree}'
        raise IntegrityError(msg, hint=f"another version of kata-bundle made the lock? {REFRESH_COMMAND}")
    parts = toolchain_ingredients(toolchain, pinned)
    store.put_tree(tree)
    store.put_result(
        key, ActionResult(tree=tree.digest, origin="toolchain", version=DEBTREE_VERSION, hermetic=True, ingredients=parts)
    )
    return tree


def toolchain_ingredients(toolchain: Toolchain, pinned: PinnedToolchain) -> dict[str, str]:
    """Return the parts of :func:`toolchain_key` by name, each as canonical JSON text."""
    parts = _ingredients(toolchain, pinned)
    return {name: canonical.dumps(value).decode("ascii").rstrip("\n") for name, value in parts.items()}


def _ingredients(toolchain: Toolchain, pinned: PinnedToolchain) -> dict[str, Any]:
    return {
        "pins": [pin.to_key() for pin in pinned.pins],
        "links": [[at, target] for at, target in toolchain.links],
        "program": DEBTREE_VERSION,
    }
