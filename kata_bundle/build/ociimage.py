"""Images of registries as sources: pulled by digest, their layers laid over each other as a tree, without running anything.

Format: OCI image specification, image-layout and layer (whiteouts), and Docker's of the same shape. Must not know: rules.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.unpack import unpack_archive
from kata_bundle.core.digest import parse_digest
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.tree import Directory, Symlink, Tree

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.events import Progress
    from kata_bundle.core.relpath import RelPath
    from kata_bundle.core.tree import Entry
    from kata_bundle.oci.registry.client import Repository
    from kata_bundle.store import Store

__all__ = ["lay_over", "pull_image"]

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MAX_LAYERS: Final = 128
_MAX_BYTES: Final = 16 << 30


def pull_image(image: str, arch: Arch, store: Store, *, what: str, progress: Progress = NO_PROGRESS) -> Tree:
    """Return the file system of ``image`` (registry/repository@digest), of an index that of ``arch``; files are in ``store``.

    Layers that the store has are not fetched again. Raises :class:`RegistryError`, :class:`IntegrityError` for content that is
    not what its digest says or no image, :class:`ArchiveError` for a layer that holds what a source cannot.
    """
    from kata_bundle.oci.registry.client import RegistryClient
    from kata_bundle.oci.registry.reference import parse_reference

    with RegistryClient(progress=progress) as client:
        repository = client.repository(parse_reference(image))
        entries: dict[RelPath, Entry] = {}
        for layer in _layers(repository, arch, what):
            digest, size = parse_digest(layer["digest"]), layer["size"]
            if store.size(digest) != size:
                _fetch(repository, layer, store)
            with store.open(digest) as stream:
                lay_over(entries, unpack_archive(stream, store, what=f"{what}, layer {digest[:19]}", strip=0), what=what)
    return Tree.of(entries)


def lay_over(entries: dict[RelPath, Entry], layer: Tree, *, what: str) -> None:
    """Put ``layer`` over ``entries``: whiteouts remove what is below them, files replace folders and folders files.

    Raises :class:`IntegrityError` for a folder where there is a link below.
    """
    for path in layer.entries:
        folder, _, name = path.rpartition("/")
        if name == _OPAQUE:
            _remove(entries, folder, is_kept=True)
        elif name.startswith(_WHITEOUT):
            _remove(entries, f"{folder}/{name[len(_WHITEOUT) :]}".lstrip("/"), is_kept=False)
    for path, entry in layer.entries.items():
        if path.rpartition("/")[2].startswith(_WHITEOUT):
            continue
        known = entries.get(path)
        if isinstance(known, Symlink) and isinstance(entry, Directory):
            # Whoever wrote the layer may have meant what the link leads to: neither is taken for granted.
            msg = f'{what}: a layer has a folder "{path}", which is a link in those below it'
            raise IntegrityError(msg)
        if known is not None and isinstance(known, Directory) and not isinstance(entry, Directory):
            _remove(entries, path, is_kept=False)
        entries[path] = entry


def _remove(entries: dict[RelPath, Entry], path: str, *, is_kept: bool) -> None:
    inside = f"{path}/" if path else ""
    for one in [one for one in entries if one.startswith(inside) or (one == path and not is_kept)]:
        del entries[one]


def _layers(repository: Repository, arch: Arch, what: str) -> list[dict[str, Any]]:
    document = _json(repository.manifest().data, what)
    if "manifests" in document:
        fitting = [
            one
            for one in document["manifests"]
            if (one.get("platform") or {}).get("architecture") == arch.go_name and one["platform"].get("os", "linux") == "linux"
        ]
        if not fitting:
            msg = f"{what}: the image has nothing for {arch.go_name}"
            raise IntegrityError(msg)
        document = _json(repository.manifest(parse_digest(fitting[0]["digest"])).data, what)
    layers = document.get("layers")
    if (
        not isinstance(layers, list)
        or len(layers) > _MAX_LAYERS
        or not all(
            isinstance(one, dict) and isinstance(one.get("size"), int) and 0 <= one["size"] <= _MAX_BYTES for one in layers
        )
    ):
        msg = f"{what}: the document is no image of layers"
        raise IntegrityError(msg)
    return layers


def _json(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError as error:
        msg = f"{what}: the manifest is not JSON: {error}"
        raise IntegrityError(msg) from None
    if not isinstance(document, dict):
        msg = f"{what}: the manifest is no JSON object"
        raise IntegrityError(msg)
    return document


def _fetch(repository: Repository, layer: dict[str, Any], store: Store) -> None:
    from kata_bundle.oci.descriptor import Descriptor

    digest = parse_digest(layer["digest"])
    with store.scratch() as folder:
        path = folder / "layer"
        repository.download(
            Descriptor(media_type=str(layer.get("mediaType", "")), digest=digest, size_bytes=layer["size"]),
            path,
            task=str(digest[:19]),
        )
        store.put_file(path, digest)
