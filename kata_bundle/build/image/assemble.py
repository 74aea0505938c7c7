"""Layers and documents of the payload image, one manifest per architecture, as an OCI image layout.

Layer order: the base, the installer, the nydus snapshotter, the component map, one layer per component by name, the record of
versions; so a new release of a component replaces its layer and a few small ones. Components lie there packed, as installer
specification §5.1 asks. Must not know: the network, packages.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.readtree import read_tree
from kata_bundle.archive.tarwriter import tar_size, write_tar
from kata_bundle.archive.zstd import open_compressor
from kata_bundle.build.image.base import unpack_base
from kata_bundle.build.image.extras import NYDUS_FOLDER, copy_nydus, render_versions, unpack_nydus
from kata_bundle.build.image.python import compile_python, copy_tree, fetch_wheels, install_program, install_wheels, start_time
from kata_bundle.core import canonical, clock
from kata_bundle.core.arch import Arch
from kata_bundle.core.blobs import BLOB_MODE
from kata_bundle.core.componentmap import FILE_NAME, tarball_name
from kata_bundle.core.digest import HashingWriter, digest_bytes
from kata_bundle.core.errors import UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, Entry, File
from kata_bundle.oci import mediatypes
from kata_bundle.oci.bundle import REF_NAME
from kata_bundle.oci.descriptor import Descriptor, Platform
from kata_bundle.oci.documents import image_index, image_manifest
from kata_bundle.oci.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from kata_bundle.archive.streams import Opener
    from kata_bundle.archive.zstd import Recipe
    from kata_bundle.build.apt import PackageSource
    from kata_bundle.build.deblock import DebLock, DebPin
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.store import Store
    from kata_bundle.store.records import LayerRecord

__all__ = ["ImageLayer", "Nydus", "PayloadImage", "build_image"]

_ARTIFACTS: Final = "opt/kata-artifacts"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageLayer:
    """A layer and what it costs."""

    arch: Arch
    name: str
    packed: Digest
    packed_size_bytes: int
    diff_id: Digest
    unpacked_size_bytes: int
    media_type: str

    @property
    def descriptor(self) -> Descriptor:
        """How a manifest names it."""
        return Descriptor(
            media_type=self.media_type,
            digest=self.packed,
            size_bytes=self.packed_size_bytes,
            annotations={mediatypes.ANNOTATION_TITLE: self.name},
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PayloadImage:
    """What was written: the digest of the image index, and every layer, by architecture and order.

    ``start_s`` is what ``kata-deploy`` costs to start, in seconds of processor time on this machine; ``None`` where the image is
    for other architectures only.
    """

    digest: Digest
    layers: tuple[ImageLayer, ...]
    start_s: float | None = None


class Nydus(StrEnum):
    """Where the nydus snapshotter's programs come from."""

    PINNED = "pinned"
    """The distribution package in the lock."""
    NONE = "none"


def build_image(
    directory: Path,
    arches: Sequence[Arch],
    *,
    lock: DebLock,
    packages: PackageSource,
    store: Store,
    components: Mapping[Arch, Sequence[LayerRecord]],
    component_map: Mapping[Arch, Mapping[str, JsonValue]],
    recipe: Recipe,
    source_date: int,
    nydus: Nydus | Path = Nydus.PINNED,
    versions: bytes | None = None,
    progress: Progress = NO_PROGRESS,
) -> PayloadImage:
    """Write the image for ``arches`` to ``directory``; ``components`` has the packed layers that go in, none for pulling nodes.

    ``component_map`` is ``shim-components.json`` per architecture, left out where there are no components; ``nydus`` may be a
    folder with the programs, ``versions`` upstream's ``versions.yaml`` (default: a record of what goes in). Equal pins, program
    and components give equal bytes. Raises :class:`UsageError` when the directory holds something else, and what fetching raises.
    """
    layout = Layout.create(directory)
    keep: set[Digest] = set()
    manifests = []
    made: list[ImageLayer] = []
    start_s: float | None = None
    with tempfile.TemporaryDirectory(prefix="kata-bundle-image-") as name:
        work = Path(name)
        own = Arch.of_this_machine()
        if not arches:
            msg = "an image needs at least one architecture"
            raise UsageError(msg)
        bases = {}
        for arch in dict.fromkeys((own, *arches)):
            bases[arch] = work / f"base-{arch.value}"
            bases[arch].mkdir()
            unpack_base(lock, arch, store, packages, bases[arch], progress=progress)
        interpreter = work / "interpreter"
        copy_tree(bases[own], interpreter)
        for arch in arches:
            compile_python(bases[arch], interpreter, own)
            program = _place_program(work, arch)
            compile_python(program, interpreter, own)
            layers = [
                _folder_layer(layout, arch, "base", bases[arch], recipe=recipe, mtime=source_date),
                _folder_layer(layout, arch, "installer", program, recipe=recipe, mtime=source_date),
            ]
            pin = None
            if nydus is not Nydus.NONE:
                extra = work / f"nydus-{arch.value}"
                pin = _place_nydus(extra, nydus, partial(unpack_nydus, lock, arch, store, packages, progress=progress))
                layers.append(_folder_layer(layout, arch, NYDUS_FOLDER, extra, recipe=recipe, mtime=source_date))
            if arch is own:
                start_s = start_time(bases[arch], program, own)
            if components.get(arch):
                document = canonical.dumps_pretty(component_map[arch]).encode()
                layers.append(
                    _text_layer(layout, arch, "component-map", document, path=f"{_ARTIFACTS}/{FILE_NAME}", mtime=source_date)
                )
                layers += [
                    _component_layer(layout, arch, record, store, source_date)
                    for record in sorted(components[arch], key=lambda record: record.component)
                ]
            document = versions if versions is not None else render_versions(components.get(arch, ()), pin)
            layers.append(_text_layer(layout, arch, "versions", document, path=f"{_ARTIFACTS}/versions.yaml", mtime=source_date))
            made += layers
            keep |= {layer.packed for layer in layers}
            config = layout.add_bytes(_config(arch, layers, source_date), mediatypes.IMAGE_CONFIG)
            annotations = {mediatypes.ANNOTATION_CREATED: clock.timestamp(source_date)}
            manifest = layout.add_bytes(
                image_manifest(config, [layer.descriptor for layer in layers], annotations=annotations), mediatypes.IMAGE_MANIFEST
            )
            keep |= {config.digest, manifest.digest}
            manifests.append(replace(manifest, platform=Platform.of(arch)))
    top = layout.add_bytes(image_index(manifests), mediatypes.IMAGE_INDEX)
    layout.write_index([replace(top, annotations={mediatypes.ANNOTATION_REF_NAME: REF_NAME})])
    layout.prune({*keep, top.digest})
    return PayloadImage(digest=top.digest, layers=tuple(made), start_s=start_s)


def _place_program(work: Path, arch: Arch) -> Path:
    """Return a new folder with the installer and its dependencies."""
    program, wheels = work / f"program-{arch.value}", work / f"wheels-{arch.value}"
    program.mkdir()
    wheels.mkdir()
    install_wheels(fetch_wheels(arch, wheels), program)
    install_program(program)
    return program


def _place_nydus(root: Path, source: Nydus | Path, unpack: Callable[[Path], DebPin]) -> DebPin | None:
    """Fill the new folder ``root`` with the nydus snapshotter's programs; return the pin they are from, if any."""
    place = root / _ARTIFACTS / NYDUS_FOLDER
    place.mkdir(parents=True)
    if isinstance(source, Path):
        copy_nydus(source, place)
        return None
    return unpack(place)


def _config(arch: Arch, layers: Iterable[ImageLayer], source_date: int) -> bytes:
    moment = clock.timestamp(source_date)
    document: dict[str, JsonValue] = {
        "created": moment,
        "architecture": arch.go_name,
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/kata-deploy"],
            "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": moment, "created_by": f"kata-bundle: {layer.name}"} for layer in layers],
    }
    return canonical.dumps(document)


def _folder_layer(layout: Layout, arch: Arch, name: str, folder: Path, *, recipe: Recipe, mtime: int) -> ImageLayer:
    # Modes of folders depend on who unpacked them, and what two names share is of no use in a layer.
    entries: dict[RelPath, Entry] = {
        path: Directory(mode=0o777 if path == "tmp" else 0o755) if isinstance(entry, Directory) else entry
        for path, entry in read_tree(folder).entries.items()
    }
    size = tar_size(entries.items(), prefix="", mtime=mtime)
    with _blob(layout) as (path, sink):
        packed = HashingWriter(sink)
        with open_compressor(packed, recipe, size) as compressor:
            unpacked = HashingWriter(compressor)
            write_tar(_members(entries, folder), unpacked, prefix="", mtime=mtime)
        sink.flush()
        layer = ImageLayer(
            arch=arch,
            name=name,
            packed=packed.digest,
            packed_size_bytes=path.stat().st_size,
            diff_id=unpacked.digest,
            unpacked_size_bytes=size,
            media_type=mediatypes.LAYER_ZSTD,
        )
        layout.add_blob(path, layer.descriptor)
    return layer


def _members(entries: Mapping[RelPath, Entry], folder: Path) -> Iterator[tuple[RelPath, Entry, Opener | None]]:
    for path, entry in entries.items():
        yield path, entry, partial(_read, folder / path) if isinstance(entry, File) else None


def _read(path: Path) -> BinaryIO:
    return open(path, "rb")


def _component_layer(layout: Layout, arch: Arch, record: LayerRecord, store: Store, mtime: int) -> ImageLayer:
    source = store.verified_path(record.packed)
    name = f"{_ARTIFACTS}/tarballs/{tarball_name(record.component)}"
    file = File(mode=0o644, size_bytes=record.packed_size_bytes, digest=record.packed)
    return _plain_layer(layout, arch, record.component, file, path=name, source=source, mtime=mtime)


def _text_layer(layout: Layout, arch: Arch, name: str, data: bytes, *, path: str, mtime: int) -> ImageLayer:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "file"
        source.write_bytes(data)
        file = File(mode=0o644, size_bytes=len(data), digest=digest_bytes(data))
        return _plain_layer(layout, arch, name, file, path=path, source=source, mtime=mtime)


def _plain_layer(layout: Layout, arch: Arch, name: str, file: File, *, path: str, source: Path, mtime: int) -> ImageLayer:
    """Return the layer of one file, not compressed once more."""
    folder, _, base = path.rpartition("/")
    with _blob(layout) as (blob, sink):
        packed = HashingWriter(sink)
        size = write_tar([(RelPath(base), file, partial(_read, source))], packed, prefix=folder, mtime=mtime)
        sink.flush()
        layer = ImageLayer(
            arch=arch,
            name=name,
            packed=packed.digest,
            packed_size_bytes=size,
            diff_id=packed.digest,
            unpacked_size_bytes=size,
            media_type=mediatypes.LAYER_TAR,
        )
        layout.add_blob(blob, layer.descriptor)
    return layer


@contextmanager
def _blob(layout: Layout) -> Iterator[tuple[Path, BinaryIO]]:
    """Yield a new file beside the blobs, and a stream to write it; the file is removed at the end, its links are not."""
    handle, name = tempfile.mkstemp(prefix="layer.tmp-", dir=layout.directory)
    try:
        with os.fdopen(handle, "wb") as sink:
            os.fchmod(handle, BLOB_MODE)
            yield Path(name), sink
    finally:
        os.unlink(name)
