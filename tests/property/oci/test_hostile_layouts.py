"""Layouts changed in any way are opened, or refused with a proper error; the list of problems is never a traceback."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.core.errors import BundleError, IntegrityError
from kata_bundle.oci import open_bundle, verify_layout, write_bundle
from tests.support.bundles import CREATED, sample_bundle
from tests.support.strategies import mutated


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return sample_bundle(tmp_path_factory.mktemp("original"))


def read_everything(directory):
    """Open the bundle and read every layer; return whether it was accepted."""
    try:
        bundle = open_bundle(directory)
        for arch in bundle.arches():
            for component in bundle.index(arch).layers:
                with bundle.open_layer(arch, component) as stream:
                    assert digest_bytes(stream.read()) == bundle.index(arch).layers[component].packed
    except IntegrityError:
        return False
    return True


def damage(data, directory):
    """Change one file of the layout in one way."""
    files = sorted(path for path in directory.rglob("*") if not path.is_dir() or path.is_symlink())
    if not files:
        return
    path = data.draw(st.sampled_from(files))
    way = data.draw(st.sampled_from(["flip", "cut", "grow", "remove", "link", "loop", "fifo", "folder", "swap", "empty"]))
    content = path.read_bytes() if path.is_file() else b""
    if path.is_symlink() or path.exists():
        path.unlink()
    match way:
        case "flip" if content:
            at = data.draw(st.integers(0, len(content) - 1))
            path.write_bytes(content[:at] + bytes([content[at] ^ data.draw(st.integers(1, 255))]) + content[at + 1 :])
        case "cut" if content:
            path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        case "grow":
            path.write_bytes(content + data.draw(st.binary(min_size=1, max_size=20)))
        case "link":
            path.symlink_to(data.draw(st.sampled_from(["/dev/zero", "/etc/passwd", "../index.json", "nowhere"])))
        case "loop":
            path.symlink_to(path.name)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "swap":
            other = data.draw(st.sampled_from(files))
            path.write_bytes(other.read_bytes() if other.is_file() else b"")
        case "empty":
            path.write_bytes(b"")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_files_never_cause_a_traceback_nor_pass_unnoticed(original, tmp_path, data):
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(original.directory, copy)
    for _ in range(data.draw(st.integers(1, 3))):
        damage(data, copy)
    problems = verify_layout(copy)
    if read_everything(copy):
        assert not problems
    # And a damaged bundle can be replaced, or is refused; never a traceback.
    try:
        write_bundle(copy, original.indexes, original.store.path, created=CREATED)
    except (BundleError, OSError):
        return
    assert verify_layout(copy) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_documents_rewritten_with_right_digests_are_opened_or_refused(original, tmp_path, data):
    """A forger who keeps all digests right: one document is changed, and every document above it is made to fit."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(original.directory, copy)
    blobs = copy / "blobs" / "sha256"

    def rewrite(path, document):
        text = json.dumps(document).encode()
        if path.parent != blobs:
            path.write_bytes(text)
            return None
        digest = digest_bytes(text)
        (blobs / hex_part(digest)).write_bytes(text)
        return {"digest": digest, "size": len(text)}

    def of(entry):
        return blobs / entry["digest"].removeprefix("sha256:")

    top = json.loads((copy / "index.json").read_bytes())
    index = json.loads(of(top["manifests"][0]).read_bytes())
    manifest = json.loads(of(index["manifests"][0]).read_bytes())
    config = json.loads(of(manifest["config"]).read_bytes())
    level = data.draw(st.sampled_from(["top", "index", "manifest", "config"]))
    if level == "config":
        manifest["config"].update(rewrite(of(manifest["config"]), data.draw(mutated(config))))
    if level == "manifest":
        manifest = data.draw(mutated(manifest))
    index["manifests"][0].update(rewrite(of(index["manifests"][0]), manifest))
    if level == "index":
        index = data.draw(mutated(index))
    top["manifests"][0].update(rewrite(of(top["manifests"][0]), index))
    rewrite(copy / "index.json", data.draw(mutated(top)) if level == "top" else top)

    problems = verify_layout(copy)
    if read_everything(copy):
        assert not problems
