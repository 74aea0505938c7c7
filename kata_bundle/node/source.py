"""What to install from: a bundle (OCI image layout) or a directory of ``kata-static-*.tar.zst`` with ``shim-components.json``.

Both are asked the same: which components a list of shims needs on an architecture (installer specification §5.2), and where the
packed layer of each lies. Must not know: what is installed, or where.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from kata_bundle.core.componentmap import (
    FILE_NAME,
    TARBALL_SUFFIX,
    ComponentMap,
    Selected,
    component_of_tarball,
    tarball_name,
)
from kata_bundle.core.digest import CHUNK_SIZE, digest_bytes, digest_stream
from kata_bundle.core.errors import HostError, IntegrityError, UsageError
from kata_bundle.core.record import record
from kata_bundle.node.receipt import SourceKind
from kata_bundle.node.unpacked import places_below, read_unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kata_bundle.archive.toc import TableRef
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import File
    from kata_bundle.oci.bundle import Bundle
    from kata_bundle.oci.deltas import DeltaRef
    from kata_bundle.oci.registry import RemoteBundle

__all__ = ["Indexed", "LayerRef", "Selection", "Source", "Wanted", "open_source", "select"]

_TARBALL_FOLDER = "tarballs"
_INDEX_FILE = "index.json"


@record
class LayerRef:
    """A packed layer that can be read, and what is known of it before reading."""

    component: str
    path: Path
    packed: Digest
    packed_size_bytes: int
    origin: str
    tree: Digest | None = None
    """``None`` when only reading tells."""
    version: str | None = None
    action: Digest | None = None
    table: TableRef | None = None
    """The layer's table of contents, when the source vouches for it."""


@record
class Selection:
    """What a list of shims needs, in the order of extraction."""

    arch: Arch
    components: tuple[str, ...]
    shims: dict[str, tuple[str, ...]]
    """The selected shims that have a row, with their components."""
    without_row: tuple[str, ...]
    """Selected shims that the source has nothing for on this architecture."""


Wanted: TypeAlias = "Callable[[RelPath, File], bool]"
"""Says of a file of a layer whether its content is needed."""


class Source(Protocol):
    """Where packed layers come from."""

    @property
    def kind(self) -> SourceKind:
        """What it is."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether layers have to be fetched before they can be read."""

    def digest(self) -> Digest:
        """Return the identity of the whole: of the OCI index, or of the component map."""

    def arches(self) -> tuple[Arch, ...]:
        """Return the architectures it has something for, by name."""

    def shims(self, arch: Arch) -> dict[str, tuple[str, ...]]:
        """Return shim → components on ``arch``."""

    def default_shims(self, arch: Arch) -> tuple[str, ...]:
        """Return the shims to enable when nobody says which; empty when the source does not know."""

    def layer(self, arch: Arch, component: str) -> LayerRef:
        """Return the packed layer of a component. Raises :class:`HostError` naming path and component when it is not there."""

    def known_shims(self) -> tuple[str, ...]:
        """Return every shim name the source knows, on any architecture."""

    def components(self, arch: Arch) -> frozenset[str]:
        """Return the components it has for ``arch``, those of no shim too."""

    def places(self) -> tuple[str, ...]:
        """Return real paths of files and folders: while none of them changes, the source says the same."""

    def fetch(self, refs: Sequence[LayerRef], wanted: Wanted) -> Sequence[LayerRef]:
        """Have the wanted files of ``refs`` on this machine; return the layers as they can be read."""

    def transfer_bytes(self, refs: Sequence[LayerRef], wanted: Wanted) -> int:
        """Return how many bytes :meth:`fetch` would transfer."""

    def release(self, refs: Iterable[LayerRef]) -> None:
        """Let go of what was fetched."""

    def deltas(self, arch: Arch) -> tuple[DeltaRef, ...]:
        """Return the deltas that it offers for layers of ``arch``; asked only where layers are elsewhere."""

    def fetch_delta(self, delta: DeltaRef) -> Path:
        """Have one of :meth:`deltas` on this machine; return its file, whose content has the delta's digest."""


def open_source(path: Path) -> Source:
    """Return the bundle or tarball directory at ``path``; raises :class:`HostError` when it is neither."""
    if (path / FILE_NAME).is_file():
        return TarballDirectory(path)
    if (path / _INDEX_FILE).is_file() or (path / "oci-layout").is_file():
        from kata_bundle.oci.bundle import open_bundle

        return BundleSource(open_bundle(path))
    if not path.is_dir():
        msg = f'"{path}" is not a directory'
        raise HostError(msg, hint="give the folder that kata-bundle bundle -o wrote")
    msg = f'"{path}" is neither a bundle nor a folder of tarballs'
    raise HostError(msg, hint=f"a bundle has index.json, a folder of tarballs {FILE_NAME}")


def select(source: Source, arch: Arch, shims: Iterable[str], extra: Iterable[str] = ()) -> Selection:
    """Return what ``shims`` need on ``arch``, and the ``extra`` components.

    A shim without a row on this architecture is reported in the result, never half installed; one the source has never heard of
    raises :class:`UsageError`.
    """
    rows = source.shims(arch)
    known = source.known_shims()
    wanted = tuple(dict.fromkeys(shims))
    for shim in wanted:
        if shim not in rows and shim not in known:
            from kata_bundle.core.diagnostics import did_you_mean

            msg = f'unknown shim "{shim}"'
            raise UsageError(msg, hint=did_you_mean(shim, known) or f"shims here: {', '.join(sorted(known))}")
    selected = ComponentMap({shim: {arch.value: row} for shim, row in rows.items()}).select(wanted, arch.value)
    return _selection(arch, selected, rows, wanted, extra)


def _selection(
    arch: Arch, selected: Selected, rows: dict[str, tuple[str, ...]], wanted: tuple[str, ...], extra: Iterable[str]
) -> Selection:
    return Selection(
        arch=arch,
        components=tuple(sorted({*selected.components, *extra})),
        shims={shim: rows[shim] for shim in wanted if shim in rows},
        without_row=selected.shims_without_row,
    )


class _Local:
    """A source on this machine: nothing has to be fetched."""

    is_elsewhere = False

    def fetch(self, refs: Sequence[LayerRef], wanted: Wanted) -> Sequence[LayerRef]:
        """Return ``refs``."""
        del wanted
        return refs

    def transfer_bytes(self, refs: Sequence[LayerRef], wanted: Wanted) -> int:
        """Return 0."""
        del refs, wanted
        return 0

    def release(self, refs: Iterable[LayerRef]) -> None:
        """Do nothing."""

    def deltas(self, arch: Arch) -> tuple[DeltaRef, ...]:
        """Return none: whole layers are here."""
        del arch
        return ()

    def fetch_delta(self, delta: DeltaRef) -> Path:
        """Raise ``LookupError``: no delta was offered."""
        raise LookupError(delta.descriptor.digest)


class Indexed:
    """What a source says of itself from the bundle indexes that it has."""

    kind = SourceKind.BUNDLE
    _bundle: Bundle | RemoteBundle

    def arches(self) -> tuple[Arch, ...]:
        """Return the architectures that were opened."""
        return self._bundle.arches()

    def shims(self, arch: Arch) -> dict[str, tuple[str, ...]]:
        """Return shim → components on ``arch``; none for an architecture that is not there."""
        return dict(self._bundle.index(arch).shims) if arch in self.arches() else {}

    def default_shims(self, arch: Arch) -> tuple[str, ...]:
        """Return the defaults that the bundle index states."""
        return self._bundle.index(arch).default_shims if arch in self.arches() else ()

    def known_shims(self) -> tuple[str, ...]:
        """Return the shims of all architectures."""
        return tuple(sorted({shim for arch in self.arches() for shim in self._bundle.index(arch).shims}))

    def components(self, arch: Arch) -> frozenset[str]:
        """Return the components that the index has a layer of."""
        return frozenset(self._bundle.index(arch).layers) if arch in self.arches() else frozenset()


class BundleSource(Indexed, _Local):
    """An opened bundle."""

    _bundle: Bundle

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def digest(self) -> Digest:
        """Return the digest of the OCI index."""
        return self._bundle.digest

    def places(self) -> tuple[str, ...]:
        """Return the file that names the index by digest."""
        return (os.path.realpath(self._bundle.layout.directory / _INDEX_FILE),)

    def layer(self, arch: Arch, component: str) -> LayerRef:
        """Return the layer's blob and what the index says of it."""
        entry = self._bundle.index(arch).layers.get(component)
        if entry is None:
            msg = f'the bundle has no component "{component}" for {arch}'
            raise HostError(msg)
        return LayerRef(
            component=component,
            path=Path(self._bundle.layer_path(arch, component)),
            packed=entry.packed,
            packed_size_bytes=entry.packed_size_bytes,
            origin=entry.origin,
            tree=entry.tree,
            version=entry.version,
            action=entry.action,
            table=entry.table,
        )


class TarballDirectory(_Local):
    """``kata-static-<component>.tar.zst`` files, beside ``shim-components.json`` or in its ``tarballs`` folder.

    In place of a tarball there may be a folder ``kata-static-<component>`` with the files themselves.
    """

    kind = SourceKind.TARBALLS

    def __init__(self, path: Path) -> None:
        self._path = path
        data = (path / FILE_NAME).read_bytes()
        self._digest = digest_bytes(data)
        self._map = ComponentMap.parse(data, what=str(path / FILE_NAME))
        folder = path / _TARBALL_FOLDER
        self._tarballs = folder if folder.is_dir() else path
        self._packed: dict[str, LayerRef] = {}
        self._scratch: str | None = None

    def digest(self) -> Digest:
        """Return the digest of the component map."""
        return self._digest

    def arches(self) -> tuple[Arch, ...]:
        """Return the architectures of the map that exist here."""
        from kata_bundle.core.arch import Arch

        named = {arch for _, arch in self._map.cells()}
        return tuple(arch for arch in sorted(Arch) if arch.value in named)

    def shims(self, arch: Arch) -> dict[str, tuple[str, ...]]:
        """Return shim → components on ``arch``."""
        return {shim: row[arch.value] for shim, row in self._map.shims.items() if arch.value in row}

    def default_shims(self, arch: Arch) -> tuple[str, ...]:
        """Return nothing: the map states no defaults."""
        del arch
        return ()

    def known_shims(self) -> tuple[str, ...]:
        """Return every shim of the map."""
        return tuple(sorted(self._map.shims))

    def places(self) -> tuple[str, ...]:
        """Return the component map, the folder of tarballs, every tarball and everything in folders of components."""
        folder = os.path.realpath(self._tarballs)
        tarballs = [os.path.realpath(os.path.join(folder, name)) for name in os.listdir(folder) if component_of_tarball(name)]
        for name in self._folders():
            tarballs += places_below(os.path.realpath(self._folder(name)))
        return (os.path.realpath(self._path / FILE_NAME), folder, *tarballs)

    def components(self, arch: Arch) -> frozenset[str]:
        """Return the components that have a tarball or a folder here, which is of one architecture."""
        del arch
        tarballs = {name for file in os.listdir(self._tarballs) if (name := component_of_tarball(file)) is not None}
        return frozenset({*tarballs, *self._folders()})

    def layer(self, arch: Arch, component: str) -> LayerRef:
        """Return the tarball with its digest, which is computed here; a folder in its place is packed into a temporary one."""
        del arch
        path = self._tarballs / tarball_name(component)
        if not path.exists() and self._folder(component).is_dir():
            return self._pack(component)
        try:
            with path.open("rb") as stream:
                packed, size = digest_stream(iter(lambda: stream.read(CHUNK_SIZE), b""))
        except FileNotFoundError:
            msg = f'"{path}" is missing: component "{component}" needs it'
            raise HostError(msg) from None
        except OSError as error:
            msg = f'"{path}" cannot be read: {error.strerror}'
            raise IntegrityError(msg) from None
        return LayerRef(component=component, path=path, packed=packed, packed_size_bytes=size, origin="foreign")

    def _folder(self, component: str) -> Path:
        return self._tarballs / tarball_name(component).removesuffix(TARBALL_SUFFIX)

    def _folders(self) -> tuple[str, ...]:
        """Return the components that have a folder and no tarball."""
        names = sorted(
            name
            for file in os.listdir(self._tarballs)
            if (name := component_of_tarball(file + TARBALL_SUFFIX)) is not None and (self._tarballs / file).is_dir()
        )
        return tuple(name for name in names if not (self._tarballs / tarball_name(name)).exists())

    def _pack(self, component: str) -> LayerRef:
        if component not in self._packed:
            if self._scratch is None:
                import shutil
                import tempfile
                import weakref

                self._scratch = tempfile.mkdtemp(prefix="kata-bundle-")
                weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
            path = Path(self._scratch, tarball_name(component))
            made = read_unpacked(self._folder(component)).pack(path)
            self._packed[component] = LayerRef(
                component=component,
                path=path,
                packed=made.packed,
                packed_size_bytes=made.packed_size_bytes,
                origin="foreign",
                tree=made.tree,
            )
        return self._packed[component]
