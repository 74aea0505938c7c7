"""The base of the payload image: a Python that runs, its C library, and nothing to log in with.

Files of pinned packages as they are, without documentation and parts of the standard library that no installer needs; no
maintainer script runs. Must not know: Python packages, OCI.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.tarheader import Kind
from kata_bundle.build.debfile import open_data
from kata_bundle.build.deblock import DebLock, DebPin, load_deb_lock
from kata_bundle.build.rulefile import rules_folder
from kata_bundle.build.sources import Sources
from kata_bundle.core.errors import BuildError, LockError, PinMissingError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.relpath import parse_relpath

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kata_bundle.archive.tarreader import Member, TarReader
    from kata_bundle.build.apt import PackageSource
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = [
    "BASE_PACKAGES", "PYTHON", "SUITE", "base_folder", "ensure_pinned", "load_base_lock", "refresh_base", "unpack_base",
]  # fmt: skip

SUITE: Final = "trixie"
PYTHON: Final = "3.13"
"""Version of the interpreter in ``SUITE``; wheels are chosen for it."""

BASE_PACKAGES: Final = (
    "base-files", "libbz2-1.0", "libc6", "libexpat1", "libffi8", "libgcc-s1", "liblzma5", f"libpython{PYTHON}-minimal",
    f"libpython{PYTHON}-stdlib", "libssl3t64", "libuuid1", "libzstd1", f"python{PYTHON}-minimal", "zlib1g",
)  # fmt: skip

_LEFT_OUT: Final = re.compile(
    r"usr/(share/(doc/(?!.*/copyright$)|man|locale|lintian|bug|info|base-files|applications|pixmaps|common-licenses)|include|games)"
    r"|usr/lib/[^/]+/(gconv|audit|engines-3|ossl-modules)"
    rf"|usr/lib/python{re.escape(PYTHON)}/(test|idlelib|tkinter|turtledemo|lib2to3|ensurepip|pydoc_data|unittest|config-)"
    r"|(var|tmp|home|root|boot|media|mnt|srv|opt|proc|sys|dev|run)(/|$)"
)
_OWN_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
}
_FOLDERS: Final = ("dev", "etc", "opt", "proc", "root", "run", "sys", "tmp", "var")
"""Mount points, since the root file system is read-only where the image runs."""


def base_folder() -> Path:
    """Return the folder with the pins of the base."""
    return rules_folder() / "image"


def load_base_lock() -> DebLock:
    """Return the pins of the base's packages."""
    return load_deb_lock(base_folder())


def refresh_base(packages: PackageSource, arches: Iterable[Arch], more: Iterable[str] = ()) -> DebLock:
    """Return a lock of what the mirror has today for every package of the base, and ``more``.

    Raises :class:`LockError` when it lacks one.
    """
    pins = []
    for arch in arches:
        for name in (*BASE_PACKAGES, *more):
            entry = packages.find(SUITE, arch.debian_name, name)
            if entry is None:
                msg = f'{SUITE} has no package "{name}" for {arch.debian_name}'
                raise LockError(msg)
            pins.append(
                DebPin(
                    suite=SUITE,
                    name=name,
                    package=entry.package,
                    architecture=entry.architecture,
                    version=entry.version,
                    size_bytes=entry.size_bytes,
                    digest=entry.digest,
                )
            )
    return DebLock().with_pins(pins)


def ensure_pinned(
    lock: DebLock,
    names: Iterable[str],
    arch: Arch,
    store: Store,
    packages: PackageSource,
    *,
    progress: Progress = NO_PROGRESS,
) -> list[DebPin]:
    """Return the pins of the packages ``names``, whose files the store then has.

    Raises :class:`LockError` for a package without a pin and :class:`PinMissingError` when the mirror no longer has one that the
    store lacks, both saying how the image's packages are pinned anew.
    """
    hint = f"kata-bundle generate image --arch {arch.value} --shim default --refresh-base"
    try:
        pins = [lock.require(SUITE, name, arch) for name in names]
        Sources(store, packages, progress=progress).ensure(pins, arch)
    except PinMissingError as error:
        raise PinMissingError(str(error), hint=hint) from None
    except LockError as error:
        raise LockError(str(error), hint=hint) from None
    return pins


def unpack_base(
    lock: DebLock, arch: Arch, store: Store, packages: PackageSource, target: Path, *, progress: Progress = NO_PROGRESS
) -> None:
    """Fill the empty folder ``target`` with the base's files for ``arch``.

    Raises :class:`LockError` for a package without a pin, :class:`PinMissingError` when the mirror no longer has one that the
    store lacks, :class:`BuildError` when two packages disagree.
    """
    pins = ensure_pinned(lock, BASE_PACKAGES, arch, store, packages, progress=progress)
    for folder in _FOLDERS:
        (target / folder).mkdir()
    # Links of the merged layout come first, so that everything else finds its place.
    for link in ("bin", "lib", "lib64", "sbin"):
        (target / "usr" / link).mkdir(parents=True)
        (target / link).symlink_to(f"usr/{link}")
    for pin in pins:
        what = f"package {pin.package} {pin.version}"
        with store.open(pin.digest) as stream, open_data(stream, what=what) as reader:
            for member in reader:
                _place(reader, member, target, what)
    for name, text in _OWN_FILES.items():
        (target / name).write_text(text, "utf-8")
    _link_soft(target / "usr/bin/python3", f"python{PYTHON}")


def _place(reader: TarReader, member: Member, target: Path, what: str) -> None:
    name = member.name.removeprefix("./").rstrip("/")
    if not name or _LEFT_OUT.match(name):
        return
    path = target / parse_relpath(name)
    inside = os.path.realpath(path.parent)
    if not f"{inside}/".startswith(f"{os.path.realpath(target)}/"):
        reader.fail("leads out of the image")
    match member.kind:
        case Kind.DIRECTORY:
            if not path.is_dir():
                path.mkdir(parents=True)
        case Kind.SYMLINK:
            path.parent.mkdir(parents=True, exist_ok=True)
            _link_soft(path, member.target)
        case Kind.FILE:
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path):
                msg = f'"{name}" of {what} is in an earlier package too'
                raise BuildError(msg)
            with open(path, "xb") as sink:
                sink.writelines(reader.chunks())
            path.chmod(0o755 if member.mode & 0o111 else 0o644)
        case _:
            reader.fail("is neither file, folder nor symbolic link")


def _link_soft(path: Path, aim: str) -> None:
    if path.is_dir() and not path.is_symlink():
        return  # a link of the merged layout that is here already
    if not os.path.lexists(path):
        path.symlink_to(aim)
