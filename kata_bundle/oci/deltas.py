"""Delta layers as OCI artefacts: a manifest whose subject is an architecture's image manifest, with one layer for each delta.

The annotations of a layer say which component it is of, and from which tree to which it leads; so a reader knows what it can use
before it transfers anything. They are hints: what a delta says and gives is checked by whoever applies it.
On a medium the manifest lists full layers too, so that generic tools copy them along. Must not know: the format of deltas, trees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.componentmap import COMPONENT_NAME
from kata_bundle.core.digest import parse_digest
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fsops import one_writer
from kata_bundle.core.record import record, replace
from kata_bundle.oci import mediatypes
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.documents import Manifest, image_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.layout import Layout

__all__ = [
    "DeltaRef",
    "attach_deltas",
    "attached_deltas",
    "delta_descriptor",
    "delta_manifest",
    "read_deltas",
    "with_entry",
]


@record
class DeltaRef:
    """A delta layer that somebody offers: what it claims to be."""

    component: str
    old: Digest
    """Tree that it starts from."""
    new: Digest
    """Tree that it leads to."""
    descriptor: Descriptor


def delta_descriptor(component: str, old: Digest, new: Digest, digest: Digest, size_bytes: int) -> Descriptor:
    """Return the descriptor of a delta layer."""
    return Descriptor(
        media_type=mediatypes.DELTA_LAYER,
        digest=digest,
        size_bytes=size_bytes,
        annotations={
            mediatypes.ANNOTATION_COMPONENT: component,
            mediatypes.ANNOTATION_TITLE: f"kata-delta-{component}-{old[7:19]}-{new[7:19]}",
            mediatypes.ANNOTATION_DELTA_OLD: old,
            mediatypes.ANNOTATION_DELTA_NEW: new,
        },
    )


def delta_manifest(
    image: Descriptor, deltas: Iterable[Descriptor], layers: Iterable[Descriptor] = (), *, is_whole: bool = True
) -> bytes:
    """Return the canonical bytes of the manifest: ``deltas`` of ``image``, and full ``layers`` beside them.

    Each content stands in it once, in the order of the digests. The image is its subject, but for one that is not whole where
    this goes: generic tools copy subjects along, so there an annotation names it.
    """
    found = {item.digest: item for item in (*layers, *deltas)}
    about = Descriptor(media_type=image.media_type, digest=image.digest, size_bytes=image.size_bytes)
    return image_manifest(
        Descriptor(media_type=mediatypes.EMPTY, digest=_EMPTY_DIGEST, size_bytes=len(_EMPTY)),
        [found[digest] for digest in sorted(found)],
        subject=about if is_whole else None,
        annotations=None if is_whole else {mediatypes.ANNOTATION_DELTA_IMAGE: image.digest},
        artifact_type=mediatypes.DELTA_ARTEFACT,
    )


_EMPTY: Final = b"{}"
_EMPTY_DIGEST: Final = parse_digest("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")


def read_deltas(manifest: Manifest, *, what: str) -> tuple[DeltaRef, ...]:
    """Return the deltas that the artefact's ``manifest`` offers, none for another kind; raises :class:`IntegrityError`."""
    if manifest.artifact_type != mediatypes.DELTA_ARTEFACT:
        return ()
    found = []
    for layer in manifest.layers:
        if layer.media_type != mediatypes.DELTA_LAYER:
            continue
        component = layer.annotations.get(mediatypes.ANNOTATION_COMPONENT, "")
        if not COMPONENT_NAME.fullmatch(component):
            msg = f"{what}: delta {layer.digest} does not name the component that it is of"
            raise IntegrityError(msg)
        old, new = (
            parse_digest(layer.annotations.get(key)) for key in (mediatypes.ANNOTATION_DELTA_OLD, mediatypes.ANNOTATION_DELTA_NEW)
        )
        found.append(DeltaRef(component=component, old=old, new=new, descriptor=layer))
    return tuple(found)


def attached_deltas(layout: Layout, subject: Digest | None = None) -> tuple[DeltaRef, ...]:
    """Return the deltas in ``layout``: those of the image manifest ``subject``, or of any. Raises :class:`IntegrityError`."""
    found: list[DeltaRef] = []
    for entry in layout.index().manifests:
        # The kind need not stand in the entry: other tools leave it out when they copy.
        could_be = entry.artifact_type in {None, mediatypes.DELTA_ARTEFACT} and mediatypes.is_manifest(entry.media_type)
        if not could_be or not layout.has(entry.digest):
            continue
        manifest = layout.manifest(entry)
        if subject is None or (manifest.subject is not None and manifest.subject.digest == subject):
            found += read_deltas(manifest, what=f"manifest {entry.digest}")
    return tuple(found)


def attach_deltas(
    layout: Layout,
    subject: Descriptor,
    deltas: Sequence[Descriptor],
    *,
    layers: Sequence[Descriptor] = (),
    name: str | None = None,
) -> Descriptor:
    """Write the artefact that holds ``deltas`` (and ``layers``), whose blobs are there, into ``layout``; return its descriptor.

    It becomes an entry of ``index.json``, as ORAS writes referrers, with ``name`` if given; an equal one is not added twice.
    """
    layout.add_bytes(_EMPTY, mediatypes.EMPTY)
    data = delta_manifest(subject, deltas, layers)
    entry = replace(layout.add_bytes(data, mediatypes.IMAGE_MANIFEST), artifact_type=mediatypes.DELTA_ARTEFACT)
    if name is not None:
        entry = replace(entry, annotations={mediatypes.ANNOTATION_REF_NAME: name})
    with_entry(layout, entry)
    return entry


def with_entry(layout: Layout, entry: Descriptor) -> None:
    """Add ``entry`` to the layout's ``index.json``; one of the same name, or the same unnamed one, is replaced."""
    with one_writer(layout.directory):
        try:
            entries = list(layout.index().manifests)
        except IntegrityError:
            if (layout.directory / "index.json").exists():
                raise
            entries = []
        name = entry.annotations.get(mediatypes.ANNOTATION_REF_NAME)

        def is_replaced(other: Descriptor) -> bool:
            other_name = other.annotations.get(mediatypes.ANNOTATION_REF_NAME)
            return other_name == name and (name is not None or other.digest == entry.digest)

        layout.write_index([*(other for other in entries if not is_replaced(other)), entry])
