"""A bundle from a registry into an image layout: the documents of all that is asked for, and only the layers that it needs.

What was left out is missing in the layout, which says so; digests are those of the registry all the same. Must not know: nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import UsageError
from kata_bundle.oci.registry.transfer import fetch_into

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.bundle import RemoteBundle
    from kata_bundle.oci.registry.client import RemoteDocument
    from kata_bundle.oci.registry.transfer import Transfer

__all__ = ["needed_layers", "pull_bundle"]


def needed_layers(bundle: RemoteBundle, arch: Arch, shims: Collection[str] | None) -> dict[str, Descriptor]:
    """Return component → layer of what ``shims`` (``None``: everything) need on ``arch``.

    Raises :class:`UsageError` for a shim that the bundle does not have there.
    """
    index = bundle.index(arch)
    if shims is None:
        return dict(bundle.layers(arch))
    wanted: set[str] = set()
    for shim in shims:
        if shim not in index.shims:
            msg = f'{bundle.reference} has no shim "{shim}" for {arch}'
            raise UsageError(msg, hint=did_you_mean(shim, index.shims) or f"shims there: {', '.join(sorted(index.shims))}")
        wanted.update(index.shims[shim])
    return {component: bundle.layer_descriptor(arch, component) for component in sorted(wanted)}


def pull_bundle(
    bundle: RemoteBundle,
    directory: Path,
    *,
    shims: Collection[str] | None = None,
    is_whole: bool = False,
    jobs: int = 4,
    dry_run: bool = False,
) -> Transfer:
    """Make ``directory`` an image layout with the opened architectures of ``bundle``, and of them what ``shims`` need.

    ``is_whole`` says that all architectures were opened. Raises :class:`UsageError` for an unknown shim or a folder that holds
    something else, and what the registry raises.
    """
    documents: list[RemoteDocument] = []
    blobs: dict[Digest, Descriptor] = {}
    left_out = not is_whole
    for arch in bundle.arches():
        image = bundle.image(arch)
        documents.append(image.manifest)
        layers = needed_layers(bundle, arch, shims)
        left_out = left_out or len(layers) < len(image.layers)
        for blob in (image.config.descriptor, *layers.values()):
            blobs[blob.digest] = blob
    return fetch_into(
        bundle.repository,
        directory,
        bundle.document,
        documents=[*(d for d in documents if d is not bundle.document), bundle.document],
        blobs=tuple(blobs.values()),
        is_partial=left_out,
        jobs=jobs,
        dry_run=dry_run,
    )
