"""Small real bundles for tests: layers that are valid .tar.zst files, in a store, written as an image layout."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.oci import BundleIndex, write_bundle
from kata_bundle.store import LayerRecord, Store

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.core.digest import Digest

CREATED = 1577836800
SHIMS = {"qemu": ("kernel", "qemu", "shim-v2-go"), "clh": ("cloud-hypervisor", "kernel", "shim-v2-go")}
EVERY_COMPONENT = ("cloud-hypervisor", "kernel", "qemu", "shim-v2-go")
RECIPE = {"codec": "zstd", "level": 3, "library": "test"}


def tarball(files: dict[str, bytes]) -> bytes:
    """Return an uncompressed tarball of ``files`` below opt/kata."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in sorted(files.items()):
            info = tarfile.TarInfo(f"opt/kata/{name}")
            info.size, info.mode, info.mtime = len(data), 0o755, CREATED
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def add_layer(store: Store, component: str, arch: Arch, content: bytes | None = None) -> LayerRecord:
    """Store a one-file layer and its record; the content depends on component and architecture."""
    raw = tarball({f"bin/{component}": content or f"{component} for {arch}\n".encode() * 50})
    packed = zstandard.ZstdCompressor(level=3).compress(raw)
    record = LayerRecord(
        component=component,
        arch=arch,
        tree=digest_bytes(raw + b"tree"),
        packed=store.put_bytes(packed),
        packed_size_bytes=len(packed),
        diff_id=digest_bytes(raw),
        unpacked_size_bytes=len(raw),
        origin="fixture",
        hermetic=False,
        version="1.0",
        rule_key=digest_bytes(component.encode()),
        recipe=dict(RECIPE),
        source_date=CREATED,
    )
    store.put_layer(record)
    return record


def bundle_index(store: Store, arch: Arch) -> BundleIndex:
    """Return a bundle index over layers that are put into ``store``."""
    records = [add_layer(store, component, arch) for component in EVERY_COMPONENT]
    return BundleIndex(
        arch=arch,
        shims=SHIMS,
        layers={record.component: record.to_bundle_layer() for record in records},
        default_shim="qemu",
        default_shims=("qemu", "clh"),
        runtime_classes=({"shim": "qemu", "overhead": {"memory": "160Mi", "cpu": "250m"}},),
    )


@dataclass
class Sample:
    """A written bundle."""

    store: Store
    directory: Path
    indexes: dict[Arch, BundleIndex]
    digest: Digest

    def write(self, directory: Path) -> Digest:
        """Write the same bundle again, elsewhere."""
        return write_bundle(directory, self.indexes, self.store.path, created=CREATED).digest


def sample_bundle(folder: Path, arches: tuple[Arch, ...] = (Arch.X86_64, Arch.S390X)) -> Sample:
    """Write a bundle of two shims to ``folder/bundle`` from a store in ``folder/store``."""
    store = Store(folder / "store", durable=False)
    indexes = {arch: bundle_index(store, arch) for arch in arches}
    directory = folder / "bundle"
    top = write_bundle(directory, indexes, store.verified_path, created=CREATED)
    return Sample(store, directory, indexes, top.digest)
