"""``kata-bundle media``: small media, and bundles from them that are what they were."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kata_bundle.bundle import mediacopy
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.oci import open_bundle, verify_layout
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.layout import Layout
from tests.fixtures.cli import call_cli
from tests.functional.delta.conftest import NEW, OLD, SHIMS, Releases, patched
from tests.support.deltabundles import bundle_of
from tests.support.deltas import noise


def blobs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "blobs" / "sha256").iterdir()}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def export(releases: Releases, medium: Path, *more: str) -> dict[str, object]:
    arguments = (f"r1={releases.old}", f"r2={releases.new}", "-o", medium, "--json", *more)
    return json.loads(call_cli("media", "export", *arguments).ok())


def test_two_releases_come_back_with_their_digests_from_a_medium_half_as_large(releases: Releases, tmp_path: Path) -> None:
    medium, out = tmp_path / "medium", tmp_path / "out"
    document = export(releases, medium)
    assert verify_layout(medium) == []
    assert size(medium) < 0.62 * (size(releases.old) + size(releases.new)) - size(releases.old / "blobs") * 0.1
    assert document["bytes"] < 0.5 * document["full_bytes"]
    call_cli("media", "verify", medium, "--deep").ok()
    call_cli("media", "import", medium, "-o", out).ok()
    for name, source in (("r1", releases.old), ("r2", releases.new)):
        assert verify_layout(out / name) == []
        assert open_bundle(out / name).digest == open_bundle(source).digest
        assert blobs(out / name) == blobs(source)


def test_what_comes_back_installs(releases: Releases, tmp_path: Path) -> None:
    export(releases, tmp_path / "medium")
    call_cli("media", "import", tmp_path / "medium", "-o", tmp_path / "b", "--release", "r2", "--arch", "x86_64").ok()
    (tmp_path / "root").mkdir()
    call_cli("install", tmp_path / "b", "--root", tmp_path / "root", "--arch", "x86_64").ok()
    assert (tmp_path / "root/opt/kata/share/kata-2.image").read_bytes() == NEW["rootfs-image"]["share/kata-2.image"]


def test_equal_input_makes_an_equal_medium(releases: Releases, tmp_path: Path) -> None:
    export(releases, tmp_path / "one", "--jobs", "1")
    export(releases, tmp_path / "two", "--jobs", "4")
    assert blobs(tmp_path / "one") == blobs(tmp_path / "two")
    assert (tmp_path / "one/index.json").read_bytes() == (tmp_path / "two/index.json").read_bytes()


def test_a_medium_takes_further_releases_and_keeps_what_it_has(releases: Releases, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    call_cli("media", "export", f"r1={releases.old}", "-o", medium).ok()
    before = blobs(medium)
    document = json.loads(call_cli("media", "export", f"r2={releases.new}", "-o", medium, "--json").ok())
    assert blobs(medium).items() >= before.items()
    assert document["bytes"] < 0.1 * document["full_bytes"]
    bundle_of(tmp_path / "third", {Arch.X86_64: {**NEW, "kernel": {"share/vmlinuz": noise(21_000, 8)}}})
    third = f"r3={tmp_path / 'third'}"
    document = json.loads(call_cli("media", "export", third, f"r2={releases.new}", "-o", medium, "--json").ok())
    assert [row["component"] for row in document["layers"]] == ["kernel"]
    again = json.loads(call_cli("media", "export", third, "-o", medium, "--json").ok())
    assert (again["layers"], again["bytes"]) == ([], 0)
    call_cli("media", "verify", medium, "--deep").ok()
    call_cli("media", "import", medium, "-o", tmp_path / "out").ok()
    assert sorted(os.listdir(tmp_path / "out")) == ["r1", "r2", "r3"]
    assert blobs(tmp_path / "out/r3") == blobs(tmp_path / "third")


def test_parts_are_imported_by_architecture_and_shim(releases: Releases, tmp_path: Path) -> None:
    source = tmp_path / "source"
    digest = bundle_of(source, {Arch.X86_64: NEW, Arch.AARCH64: OLD}, shims=SHIMS)
    medium = tmp_path / "medium"
    call_cli("media", "export", f"r2={source}", "-o", medium).ok()
    call_cli("media", "import", medium, "-o", tmp_path / "part", "--arch", "amd64", "--shim", "qemu-snp").ok()
    assert verify_layout(tmp_path / "part") == []
    bundle = open_bundle(tmp_path / "part")
    assert bundle.digest == digest
    assert bundle.arches() == (Arch.X86_64,)
    assert set(bundle.index(Arch.X86_64).shims) == {"qemu-snp"}
    assert set(bundle.index(Arch.X86_64).layers) == {"kernel", "qemu", "rootfs-image-confidential"}
    assert call_cli("media", "import", medium, "-o", tmp_path / "x", "--shim", "no").code == 2
    assert call_cli("media", "import", medium, "-o", tmp_path / "x", "--arch", "s390x").code == 2
    assert call_cli("media", "import", medium, "-o", tmp_path / "x", "--release", "r9").code == 2


def test_a_dry_run_writes_nothing(releases: Releases, tmp_path: Path) -> None:
    assert export(releases, tmp_path / "medium", "--dry-run")["estimate"]
    assert not (tmp_path / "medium").exists()
    export(releases, tmp_path / "medium")
    text = call_cli("media", "import", tmp_path / "medium", "-o", tmp_path / "out", "--dry-run").ok()
    assert "would be made" in text
    assert not (tmp_path / "out").exists()


def test_a_release_kept_in_full_is_an_ordinary_image_there(releases: Releases, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    export(releases, medium, "--full", "r2")
    bundle = open_bundle(medium, ref="r2")
    assert bundle.digest == open_bundle(releases.new).digest
    entry = next(e for e in Layout.open(medium).index().manifests if e.digest == bundle.digest)
    assert "io.katacontainers.partial" not in entry.annotations


def test_layers_packed_elsewhere_stay_full_and_say_why(releases: Releases, tmp_path: Path) -> None:
    foreign = frozenset({"rootfs-image"})
    bundle_of(tmp_path / "one", {Arch.X86_64: OLD}, foreign=foreign)
    bundle_of(tmp_path / "two", {Arch.X86_64: NEW}, foreign=foreign)
    pair = (f"a={tmp_path / 'one'}", f"b={tmp_path / 'two'}")
    document = json.loads(call_cli("media", "export", *pair, "-o", tmp_path / "medium", "--json").ok())
    rows = [row for row in document["layers"] if row["component"] == "rootfs-image"]
    assert {(row["mode"], row["reason"]) for row in rows} == {("full", "packed elsewhere")}
    call_cli("media", "import", tmp_path / "medium", "-o", tmp_path / "out").ok()
    assert blobs(tmp_path / "out/b") == blobs(tmp_path / "two")


def test_another_library_is_named_before_anything_is_made(
    releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zstandard

    export(releases, tmp_path / "medium")
    monkeypatch.setattr(zstandard, "ZSTD_VERSION", (1, 5, 2))
    result = call_cli("media", "import", tmp_path / "medium", "-o", tmp_path / "out", "--release", "r2")
    assert result.code == 7
    assert "this one is 1.5.2" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("at_once", [True, False])
def test_layers_with_equal_files_of_other_dates_take_nothing(tmp_path: Path, at_once: bool) -> None:
    bundle_of(tmp_path / "one", {Arch.X86_64: OLD})
    bundle_of(tmp_path / "two", {Arch.X86_64: {**NEW, "qemu": OLD["qemu"]}}, created=1_600_000_000)
    medium = tmp_path / "medium"
    one, two = f"a={tmp_path / 'one'}", f"b={tmp_path / 'two'}"
    if not at_once:
        call_cli("media", "export", one, "-o", medium).ok()
    document = json.loads(call_cli("media", "export", *([one] if at_once else []), two, "-o", medium, "--json").ok())
    modes = {(row["component"], row["mode"], row["bytes"]) for row in document["layers"] if row["releases"] == ["b"]}
    assert {("qemu", "same files", 0), ("kernel", "same files", 0)} <= modes
    call_cli("media", "verify", medium, "--deep").ok()
    call_cli("media", "import", medium, "-o", tmp_path / "out").ok()
    for name, source in (("a", "one"), ("b", "two")):
        assert open_bundle(tmp_path / "out" / name).digest == open_bundle(tmp_path / source).digest
        assert blobs(tmp_path / "out" / name) == blobs(tmp_path / source)


# Damage and interruption


def test_every_damaged_or_missing_blob_is_found(releases: Releases, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    export(releases, medium)
    for path in sorted((medium / "blobs/sha256").iterdir()):
        data = path.read_bytes()
        broken = bytearray(data)
        broken[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(broken)
        assert call_cli("media", "verify", medium).code == 7, path.name
        path.unlink()
        # What only a partial image lacks may be left out on purpose: then the release must say that it has no way to it.
        assert call_cli("media", "verify", medium).code == 7 or path.name in documents_of_left_out(medium), path.name
        path.write_bytes(data)
    call_cli("media", "verify", medium).ok()


def documents_of_left_out(medium: Path) -> set[str]:
    """Return the manifests of partial images: without one the medium just does not have that architecture."""
    layout = Layout.open(medium)
    found = set()
    for entry in layout.index().manifests:
        if entry.annotations.get("io.katacontainers.partial") == "true":
            found |= {hex_part(item.digest) for item in layout.read_index(entry).manifests}
    return found


def test_import_refuses_a_damaged_delta_and_leaves_no_index(releases: Releases, tmp_path: Path) -> None:
    medium = tmp_path / "medium"
    document = export(releases, medium)
    assert isinstance(document["layers"], list)
    layout = Layout.open(medium)
    from kata_bundle.oci.deltas import attached_deltas

    victim = max(attached_deltas(layout), key=lambda delta: delta.descriptor.size_bytes).descriptor
    path = layout.blob_path(victim)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    result = call_cli("media", "import", medium, "-o", tmp_path / "out")
    assert result.code == 7, result
    assert not all((tmp_path / "out" / name / "index.json").exists() for name in ("r1", "r2"))


class StopError(Exception):
    pass


@pytest.mark.parametrize("after", [0, 2, 5])
def test_an_interrupted_export_goes_on(releases: Releases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    from kata_bundle.bundle import mediaexport

    left = [after]

    def stopping(function):
        def wrapper(*args, **kwargs):
            if not left[0]:
                raise StopError
            left[0] -= 1
            return function(*args, **kwargs)

        return wrapper

    medium = tmp_path / "medium"
    with monkeypatch.context() as patch:
        patch.setattr(mediaexport, "copy_blob", stopping(mediaexport.copy_blob))
        patch.setattr(mediaexport, "add_delta", stopping(mediaexport.add_delta))
        arguments = (f"r1={releases.old}", f"r2={releases.new}", "-o", medium)
        assert call_cli("media", "export", *arguments).code == 1
        assert not (medium / "index.json").exists()
    made = []
    original = mediaexport.add_delta
    monkeypatch.setattr(mediaexport, "add_delta", lambda *a, **k: made.append(a) or original(*a, **k))
    export(releases, medium)
    export(releases, tmp_path / "fresh")
    assert blobs(medium) == blobs(tmp_path / "fresh")
    assert sorted(os.listdir(medium)) == ["blobs", "index.json", "oci-layout"]


def test_an_interrupted_import_goes_on(releases: Releases, tmp_path: Path) -> None:
    export(releases, tmp_path / "medium")
    out = tmp_path / "out"
    call_cli("media", "import", tmp_path / "medium", "-o", out, "--release", "r2").ok()
    whole = blobs(out)
    (out / "index.json").unlink()
    (out / "oci-layout").unlink()
    for i, path in enumerate(sorted((out / "blobs/sha256").iterdir())):
        if i % 3 == 0:
            path.unlink()
        elif i % 3 == 1:
            path.chmod(0o644)
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    call_cli("media", "import", tmp_path / "medium", "-o", out, "--release", "r2").ok()
    assert blobs(out) == whole
    assert verify_layout(out) == []


@pytest.mark.parametrize("kept", [0, 1, 70_000, 100_000, 150_000])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_copy_goes_on_after_what_it_has_and_never_ends_wrong(tmp_path: Path, kept: int, damaged: bool) -> None:
    data = noise(100_000)
    descriptor = Descriptor(media_type="a/b", digest=digest_bytes(data), size_bytes=len(data))
    source = tmp_path / "source"
    source.write_bytes(data)
    layout = Layout.create(tmp_path / "layout")
    part = tmp_path / "layout/blobs/sha256" / f"{hex_part(descriptor.digest)}.tmp-part"
    before = (data + noise(50_000, 1))[:kept]
    part.write_bytes(patched(before, 0, b"\xff") if damaged and before else before)
    from kata_bundle.core.errors import IntegrityError

    for _ in range(2):
        try:
            mediacopy.copy_blob(source, layout, descriptor)
            break
        except IntegrityError:
            assert damaged or kept > len(data)
            assert not part.exists()
    assert layout.blob_path(descriptor).read_bytes() == data
    assert not part.exists()
    assert not mediacopy.copy_blob(source, layout, descriptor)
    shutil.rmtree(tmp_path / "layout")
