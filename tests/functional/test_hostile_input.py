"""Hostile tarballs and image layouts through the command line: refused with one clear error, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kata_bundle.cli import main
from kata_bundle.core import canonical
from kata_bundle.core.digest import digest_bytes
from tests.fixtures import hostile, rawtar

# Where no image has to be made for the hash in a configuration.
ARCH = ("--arch", "ppc64le")


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """Run the command line in this process: there are hundreds of cases."""
    monkeypatch.setenv("KATA_BUNDLE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def call(*argv):
        code = main([*map(str, argv)])
        shown = capsys.readouterr()
        assert "unexpected" not in shown.err
        return code, shown.out, shown.err

    return call


def tarball_folder(folder: Path, **tarballs: bytes) -> Path:
    folder.mkdir()
    for component, data in tarballs.items():
        (folder / f"kata-static-{component}.tar.zst").write_bytes(data)
    rows = {"evil": {"ppc64le": sorted(tarballs)}}
    (folder / "shim-components.json").write_text(json.dumps({"shims": rows}))
    return folder


def below(folder: Path) -> list[str]:
    """Every path below ``folder`` but the empty folders of a store."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("case", hostile.CASES, ids=str)
def test_a_hostile_tarball_is_refused_or_harmless(cli, tmp_path, case):
    sentinel = hostile.Sentinel(tmp_path / "outside")
    folder = tarball_folder(tmp_path / "tarballs", nydus=case.make(os.fsencode(sentinel.directory)))
    for argv in (["import", folder, *ARCH], ["install", folder, "--shim", "evil", "--root", "root", "-q", *ARCH]):
        code, out, err = cli(*argv)
        if case.refused is None and case.leaves:
            assert code == 0, err
            continue
        if case.refused is None:  # nothing below opt/kata: no component, but an install of nothing
            assert code in {0, 7}, err
            continue
        assert (code, out) == (7, "")
        assert err.startswith("error: ")
        assert "nydus" in err
        assert all(character.isprintable() or character == "\n" for character in err)
    if case.refused is not None:
        assert not list((tmp_path / "store" / "blobs" / "sha256").iterdir())
        assert below(tmp_path / "root") == []
    sentinel.check()


def test_a_folder_of_many_hostile_tarballs_is_told_as_a_whole(cli, tmp_path):
    """One good tarball among bad ones is not taken either."""
    good = rawtar.packed(rawtar.tar(rawtar.member(b"opt/kata/ok", b"fine")))
    refused = [case for case in hostile.CASES if case.refused is not None]
    folder = tarball_folder(tmp_path / "tarballs", kernel=good)
    names = ["qemu", "nydus", "ovmf", "virtiofsd", "shim-v2-go", "shim-v2-rust", "rootfs-image", "rootfs-initrd"]
    for name, case in zip(names, refused[:: len(refused) // len(names)], strict=False):
        (folder / f"kata-static-{name}.tar.zst").write_bytes(case.make(os.fsencode(tmp_path)))
    code, _, err = cli("import", folder, *ARCH)
    assert code == 7
    for name in names:
        assert f"kata-static-{name}.tar.zst" in err
    assert "kata-static-kernel.tar.zst" not in err
    assert not list((tmp_path / "store" / "blobs" / "sha256").iterdir())


def test_a_bomb_ends_soon(cli, tmp_path):
    folder = tarball_folder(tmp_path / "tarballs", nydus=rawtar.rle_bomb(1 << 36))
    for argv in (["import", folder, *ARCH], ["install", folder, "--shim", "evil", "--root", "root", "-q", *ARCH]):
        code, _, err = cli(*argv)
        assert code == 7
        assert "zeros after the end-of-archive blocks" in err


@pytest.mark.parametrize(
    "name",
    [
        "kata-static-nosuch.tar.zst",
        "kata-static-../x.tar.zst".replace("/", "_"),
        "kata-static-.tar.zst",
        "kata-static-qemu.tar.gz",
    ],
)
def test_names_of_no_component_are_told_and_nothing_is_taken(cli, tmp_path, name):
    folder = tarball_folder(tmp_path / "tarballs", kernel=rawtar.packed(rawtar.tar(rawtar.member(b"opt/kata/ok", b"fine"))))
    (folder / name).write_bytes(b"x")
    code, _, err = cli("import", folder, *ARCH)
    assert code == 7
    assert name in err


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "dangling"])
def test_tarballs_that_are_no_files_are_refused_without_waiting(cli, tmp_path, kind):
    folder = tarball_folder(tmp_path / "tarballs", nydus=b"")
    path = folder / "kata-static-nydus.tar.zst"
    path.unlink()
    match kind:
        case "link":
            path.symlink_to("/etc/passwd")
        case "dangling":
            path.symlink_to("nowhere")
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
    code, _, err = cli("import", folder, *ARCH)
    assert (code, "not a regular file" in err) == (7, True)


# Image layouts


@pytest.fixture
def layout(cli, tmp_path):
    code, _, err = cli("bundle", "--shim", "remote", *ARCH, "-o", "good", "--lock", "lock", "--quiet")
    assert code == 0, err
    return Layout(Path(shutil.copytree(tmp_path / "good", tmp_path / "evil")))


class Layout:
    """An image layout whose documents can be changed with every digest above them put right again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.index = json.loads((folder / "index.json").read_bytes())
        self.images = self._read(self.index["manifests"][0])
        self.manifest = self._read(self.images["manifests"][0])
        self.config = self._read(self.manifest["config"])
        self.bundle = self.config["io.katacontainers.bundle"]

    def blob(self, descriptor) -> Path:
        return self.blobs / descriptor["digest"].partition(":")[2]

    @property
    def layer(self) -> Path:
        return self.blob(self.manifest["layers"][0])

    def write(self) -> None:
        for document, descriptor in (
            (self.config, self.manifest["config"]),
            (self.manifest, self.images["manifests"][0]),
            (self.images, self.index["manifests"][0]),
        ):
            data = canonical.dumps(document)
            descriptor.update(digest=digest_bytes(data), size=len(data))
            self.blob(descriptor).write_bytes(data)
        (self.folder / "index.json").write_bytes(canonical.dumps(self.index))

    def _read(self, descriptor):
        return json.loads(self.blob(descriptor).read_bytes())


def truncate(e):
    data = e.layer.read_bytes()
    e.layer.unlink()
    e.layer.write_bytes(data[:-1])


def flip(e):
    data = bytearray(e.layer.read_bytes())
    data[100] ^= 1
    e.layer.unlink()
    e.layer.write_bytes(bytes(data))


def linked_layer(e):
    data = e.layer.read_bytes()
    e.layer.unlink()
    (e.folder / "blobs" / "aside").write_bytes(data)
    e.layer.symlink_to("../aside")


def linked_folder(e):
    e.blobs.rename(e.folder / "elsewhere")
    e.blobs.symlink_to("../elsewhere")


def fifo(e):
    e.layer.unlink()
    os.mkfifo(e.layer)


def entry(e):
    return next(iter(e.bundle["layers"].values()))


OTHER = "sha256:" + "0" * 64
EDITS = {
    "a truncated layer": truncate,
    "a flipped bit": flip,
    "a missing layer": lambda e: e.layer.unlink(),
    "a layer that is a link": linked_layer,
    "a folder of blobs that is a link": linked_folder,
    "a layer that is a FIFO": fifo,
    "a missing manifest": lambda e: e.blob(e.images["manifests"][0]).unlink(),
    "no index.json": lambda e: (e.folder / "index.json").unlink(),
    "no oci-layout": lambda e: (e.folder / "oci-layout").unlink(),
    "another layout version": lambda e: (e.folder / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}'),
    "an endless index.json": lambda e: os.truncate(e.folder / "index.json", 1 << 33),
    "an index.json that is no JSON": lambda e: (e.folder / "index.json").write_text("["),
    "an index.json nested deeply": lambda e: (e.folder / "index.json").write_text("[" * 100_000),
}
REWRITES = {
    "a digest that leaves the folder": lambda e: e.index["manifests"][0].update(digest="sha256:../../../etc/passwd"),
    "a digest of another algorithm": lambda e: e.index["manifests"][0].update(digest="md5:" + "0" * 32),
    "a size that is wrong": lambda e: e.index["manifests"][0].update(size=1),
    "a size that is huge": lambda e: e.index["manifests"][0].update(size=1 << 62),
    "a size that is no number": lambda e: e.index["manifests"][0].update(size="1"),
    "a size that is negative": lambda e: e.index["manifests"][0].update(size=-1),
    "an index of no image": lambda e: e.index.update(manifests=[]),
    "an index of two images": lambda e: e.index["manifests"].append(dict(e.index["manifests"][0])),
    "a foreign media type": lambda e: e.index["manifests"][0].update(mediaType="text/html"),
}
DOCUMENTS = {
    "another tree": lambda e: entry(e).update(tree=OTHER),
    "another packed digest": lambda e: entry(e).update(packed=OTHER),
    "another diff id": lambda e: entry(e).update(diff_id=OTHER),
    "another size": lambda e: entry(e).update(packed_size_bytes=1),
    "a shim without its layer": lambda e: e.bundle["shims"].update(remote=["kernel"]),
    "a component that is a path": lambda e: e.bundle["layers"].update({"../../x": entry(e)}),
    "a prefix that leaves the tree": lambda e: e.bundle.update(prefix="../.."),
    "an unknown member": lambda e: e.bundle.update(surprise=True),
    "a later version": lambda e: e.bundle.update(version=99),
    "another architecture": lambda e: e.bundle.update(arch="s390x"),
    "no bundle index": lambda e: e.config.pop("io.katacontainers.bundle"),
    "too few diff ids": lambda e: e.config["rootfs"].update(diff_ids=[]),
    "an unknown layer type": lambda e: e.manifest["layers"][0].update(mediaType="application/vnd.oci.image.layer.v1.tar+gzip"),
    "a layer twice": lambda e: e.manifest["layers"].append(e.manifest["layers"][0]),
    "two images of one architecture": lambda e: e.images["manifests"].append(dict(e.images["manifests"][0])),
    "an index that is a manifest too": lambda e: e.images.update(config=e.manifest["config"]),
    "an image of another platform": lambda e: e.images["manifests"][0].update(platform={"os": "linux", "architecture": "s390x"}),
    "an image of an unknown platform": lambda e: e.images["manifests"][0].update(platform={"os": "plan9", "architecture": "vax"}),
}


@pytest.mark.parametrize("what", [*EDITS, *REWRITES, *DOCUMENTS])
def test_a_hostile_layout_is_refused_before_anything_is_installed(cli, tmp_path, layout, what):
    if what in EDITS:
        EDITS[what](layout)
    elif what in REWRITES:
        REWRITES[what](layout)
        (layout.folder / "index.json").write_bytes(canonical.dumps(layout.index))
    else:
        DOCUMENTS[what](layout)
        layout.write()
    before = (tmp_path / "good" / "index.json").read_bytes()
    code, out, err = cli("install", "evil", "--root", "root", "-q", *ARCH)
    assert (code, out) == (7, ""), err
    assert err.startswith("error: ")
    assert all(character.isprintable() or character == "\n" for character in err)
    assert not (tmp_path / "root").exists() or below(tmp_path / "root") == []
    assert (tmp_path / "good" / "index.json").read_bytes() == before


def test_the_layout_that_these_are_made_of_installs(cli, layout):
    layout.write()
    code, _, err = cli("install", "evil", "--root", "root", "-q", *ARCH)
    assert code == 0, err
