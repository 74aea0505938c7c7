"""Images as sources, from a real registry: by digest, layers over each other, and nothing that is not what its digest says."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from kata_bundle.build.ociimage import pull_image
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.tree import File
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.registry.client import RegistryClient
from kata_bundle.oci.registry.reference import parse_reference
from kata_bundle.store import Store

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


def tar(*members):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.CHRTYPE
                archive.addfile(info)
            else:
                info.size, info.mode = len(content), 0o755
                archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def push(registry, name, layers, arch=None):
    """Push an image, as an index when ``arch`` is given; return its reference by digest."""
    with RegistryClient() as client:
        repository = client.repository(parse_reference(f"{registry.address}/{name}:t"))

        def put(data, media_type):
            descriptor = Descriptor(media_type=media_type, digest=digest_bytes(data), size_bytes=len(data))
            repository.upload(descriptor, lambda: io.BytesIO(data))
            return {"mediaType": media_type, "digest": descriptor.digest, "size": len(data)}

        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": put(b"{}", CONFIG),
            "layers": [put(one, LAYER) for one in layers],
        }
        found = repository.put_manifest(json.dumps(document).encode(), MANIFEST)
        if arch is not None:
            entry = {"mediaType": MANIFEST, "digest": found.digest, "size": found.size_bytes}
            entry["platform"] = {"architecture": arch, "os": "linux"}
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
            found = repository.put_manifest(json.dumps(index).encode(), INDEX)
    return f"{registry.address}/{name}@{found.digest}"


def paths(tree):
    return sorted(path for path, entry in tree.entries.items() if isinstance(entry, File))


def test_layers_are_laid_over_each_other(registry, tmp_path):
    layers = [tar(("bin/tool", b"old"), ("etc/gone", b"x")), tar(("bin/tool", b"new"), ("etc/.wh.gone", b""))]
    store = Store(tmp_path, durable=False)
    tree = pull_image(push(registry, "source/plain", layers), Arch.X86_64, store, what="source")
    assert paths(tree) == ["bin/tool"]
    with store.open(tree.entries["bin/tool"].digest) as stream:
        assert stream.read() == b"new"


def test_of_an_index_the_architecture_is_taken(registry, tmp_path):
    image = push(registry, "source/index", [tar(("a", b"1"))], arch="arm64")
    store = Store(tmp_path, durable=False)
    assert paths(pull_image(image, Arch.AARCH64, store, what="source")) == ["a"]
    with pytest.raises(IntegrityError, match="has nothing for amd64"):
        pull_image(image, Arch.X86_64, store, what="source")


@pytest.mark.parametrize("member", [("../escape", b"x"), ("dev/null", None)])
def test_what_a_source_cannot_hold_is_refused(registry, tmp_path, member):
    image = push(registry, "source/hostile", [tar(member)])
    with pytest.raises(ArchiveError):
        pull_image(image, Arch.X86_64, Store(tmp_path, durable=False), what="source")
