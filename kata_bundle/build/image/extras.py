"""What an installer image carries beside components: the nydus snapshotter's programs and the record of versions.

Both lie where installer specification §5.1 says. The programs are those of a pinned distribution package, or of a folder that
upstream's build filled. Must not know: OCI, the network.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.tarheader import Kind
from kata_bundle.build.debfile import open_data
from kata_bundle.build.image.base import SUITE, ensure_pinned
from kata_bundle.core.errors import BuildError, UsageError
from kata_bundle.core.events import NO_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kata_bundle.build.apt import PackageSource
    from kata_bundle.build.deblock import DebLock, DebPin
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store
    from kata_bundle.store.records import LayerRecord

__all__ = ["NYDUS_FOLDER", "NYDUS_PACKAGE", "NYDUS_PROGRAMS", "copy_nydus", "render_versions", "unpack_nydus"]

NYDUS_PACKAGE: Final = "nydus-snapshotter"
NYDUS_PROGRAMS: Final = ("containerd-nydus-grpc", "nydus-overlayfs")
NYDUS_FOLDER: Final = "nydus-snapshotter"
_LICENCE: Final = f"usr/share/doc/{NYDUS_PACKAGE}/copyright"


def unpack_nydus(
    lock: DebLock, arch: Arch, store: Store, packages: PackageSource, target: Path, *, progress: Progress = NO_PROGRESS
) -> DebPin:
    """Put the programs of the pinned package into the empty folder ``target``, with their licence; return the pin.

    Raises what :func:`~kata_bundle.build.image.base.ensure_pinned` raises, :class:`BuildError` for a package without them.
    """
    (pin,) = ensure_pinned(lock, [NYDUS_PACKAGE], arch, store, packages, progress=progress)
    wanted = {f"usr/bin/{name}": (name, 0o755) for name in NYDUS_PROGRAMS} | {_LICENCE: ("copyright", 0o644)}
    with store.open(pin.digest) as stream, open_data(stream, what=f"package {pin.package} {pin.version}") as reader:
        for member in reader:
            found = wanted.get(member.name.removeprefix("./").rstrip("/"))
            if found is not None and member.kind is Kind.FILE:
                with open(target / found[0], "xb") as sink:
                    sink.writelines(reader.chunks())
                (target / found[0]).chmod(found[1])
    missing = [name for name in NYDUS_PROGRAMS if not (target / name).exists()]
    if missing:
        msg = f"package {pin.package} {pin.version} of {SUITE} has no {' and '.join(missing)}"
        raise BuildError(msg)
    return pin


def copy_nydus(folder: Path, target: Path) -> None:
    """Put every file of ``folder`` into the empty folder ``target``: the programs, and templates that lie beside them.

    Raises :class:`UsageError` when a program is missing.
    """
    missing = [name for name in NYDUS_PROGRAMS if not (folder / name).is_file()]
    if missing:
        msg = f"{folder} has no {' and '.join(missing)}"
        raise UsageError(msg, hint="name the folder that holds both programs of the nydus snapshotter")
    for path in sorted(folder.iterdir()):
        if path.is_file():
            place = target / path.name
            place.write_bytes(path.read_bytes())
            place.chmod(0o755 if path.name in NYDUS_PROGRAMS else 0o644)


def render_versions(components: Sequence[LayerRecord], nydus: DebPin | None) -> bytes:
    """Return ``versions.yaml`` of an image for which nobody gave upstream's: what is in it, from where, by digest."""
    lines = ["# What this installer image holds. Written by kata-bundle generate image.", "components:"]
    for record in sorted(components, key=lambda record: record.component):
        facts = {"version": record.version, "origin": record.origin, "packed": record.packed}
        lines.append(f"  {json.dumps(record.component)}: {json.dumps(facts)}")
    if not components:
        lines[-1] += " {}"
    if nydus is not None:
        facts = {"version": nydus.version, "origin": "deb", "package": nydus.digest}
        lines += ["externals:", f"  {json.dumps(nydus.package)}: {json.dumps(facts)}"]
    return ("\n".join(lines) + "\n").encode()
