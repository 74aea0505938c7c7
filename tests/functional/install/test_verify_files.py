"""A bundle whose author lies about a file: believed by default, found on request before anything is switched."""

from __future__ import annotations

from pathlib import Path

import pytest

from kata_bundle.archive.layer import scan_layer
from kata_bundle.archive.toc import Table, render_trailer
from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError
from kata_bundle.oci import BundleIndex, BundleLayer, write_bundle
from tests.fixtures.cli import call_cli
from tests.unit.archive.layers import DATE, pack

SCRATCH = ("--arch", "x86_64", "--payload-only", "--json")


@pytest.fixture
def lying(tmp_path: Path) -> Path:
    """A bundle that is consistent from its digest down to its frames, but for the digest of one file."""
    data, made = pack()
    assert made.table is not None
    start, size = made.table.offset, made.table.size_bytes
    document = canonical.loads(data[start : start + size], what="table")
    document["entries"]["share/same"]["digest"] = digest_bytes(b"another")
    table = Table.from_json(canonical.dumps(document), what="table")
    forged = data[: start - 8] + render_trailer(table.to_json())
    (tmp_path / "layer").write_bytes(forged)
    layer = BundleLayer(
        component="qemu",
        tree=table.tree.digest,
        packed=digest_bytes(forged),
        packed_size_bytes=len(forged),
        diff_id=made.diff_id,
        unpacked_size_bytes=made.unpacked_size_bytes,
        origin="deb",
        hermetic=True,
        table=table.ref(),
    )
    index = BundleIndex(
        arch=Arch.X86_64, shims={"qemu": ("qemu",)}, layers={"qemu": layer}, default_shim="qemu", default_shims=("qemu",)
    )
    write_bundle(tmp_path / "bundle", {Arch.X86_64: index}, lambda _: tmp_path / "layer", created=DATE)
    return tmp_path / "bundle"


def test_a_file_digest_that_is_a_lie_is_found_when_asked_for(lying: Path, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match='"entries" of its table'):
        scan_layer(tmp_path / "layer", what="layer")
    found = call_cli("install", lying, "--root", tmp_path / "careful", "--verify-files", *SCRATCH)
    assert (found.code, '"share/same" has the digest' in found.stderr) == (7, True)
    assert not (tmp_path / "careful/opt/kata/bin").exists()

    call_cli("install", lying, "--root", tmp_path / "trusting", *SCRATCH).ok()
    assert (tmp_path / "trusting/opt/kata/share/same").read_bytes() == b"hello\n"
    drift = call_cli("verify", "--root", tmp_path / "trusting")
    assert (drift.code, "share/same" in drift.stdout + drift.stderr) == (12, True)


def test_a_bundle_that_does_not_lie_is_installed_with_files_verified(tmp_path: Path) -> None:
    old = Path(__file__).parents[2] / "fixtures/formats/bundle-v1"
    call_cli("install", old, "--root", tmp_path / "root", "--verify-files", *SCRATCH).ok()
    assert (tmp_path / "root/opt/kata/bin/qemu-system-x86_64").read_bytes() == b"tool\n" * 100
