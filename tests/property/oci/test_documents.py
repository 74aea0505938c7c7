"""Rules of documents that hold for every input hypothesis finds."""

from __future__ import annotations

import contextlib
import json
import re

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.archive.toc import TableRef
from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.oci import BundleIndex, BundleLayer, Descriptor, Platform
from kata_bundle.oci.bundleschema import bundle_index_schema
from kata_bundle.oci.documents import Index, Manifest
from kata_bundle.oci.image import ImageConfig, bundle_image, check_image
from tests.support.strategies import json_values, mutated

names = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
digests = st.binary(max_size=8).map(digest_bytes)
sizes = st.integers(0, (1 << 63) - 1)
texts = st.text(min_size=1, max_size=20)
objects = st.dictionaries(st.text(max_size=8), json_values, max_size=4)


tables = st.builds(TableRef, digest=digests, offset=st.integers(8, 1 << 40), size_bytes=st.integers(1, 1 << 20))


def layers(component):
    return plain_layers(component) | st.builds(
        lambda layer, table: replace(layer, table=table, packed_size_bytes=table.packed_size_bytes),
        plain_layers(component),
        tables,
    )


def plain_layers(component):
    return st.builds(
        BundleLayer,
        component=st.just(component),
        tree=digests,
        packed=digests,
        packed_size_bytes=sizes,
        diff_id=digests,
        unpacked_size_bytes=sizes,
        origin=st.from_regex(r"[a-z0-9][a-z0-9+._-]{0,20}", fullmatch=True),
        hermetic=st.booleans(),
        version=st.none() | texts,
        rule_key=st.none() | digests,
        action=st.none() | digests,
        recipe=st.none() | objects,
    )


@st.composite
def indexes(draw):
    components = draw(st.lists(names, unique=True, max_size=5))
    needs = st.lists(st.sampled_from(components), unique=True).map(tuple) if components else st.just(())
    shims = draw(st.dictionaries(names, needs, max_size=4))
    chosen = st.sampled_from(sorted(shims)) if shims else st.nothing()
    return BundleIndex(
        arch=draw(st.sampled_from(Arch)),
        shims=shims,
        layers={component: draw(layers(component)) for component in components},
        default_shim=draw(st.none() | chosen),
        default_shims=tuple(draw(st.lists(chosen, unique=True))),
        runtime_classes=tuple(draw(st.lists(objects, max_size=3))),
        prefix=draw(st.sampled_from(["opt/kata", "a", "a/b/c"])),
    )


@given(indexes())
def test_a_bundle_index_survives_canonical_json(index):
    document = canonical.dumps(index.to_dict())
    found = BundleIndex.from_dict(canonical.loads(document, what="index"))
    assert found == index
    assert canonical.dumps(found.to_dict()) == document


@given(indexes(), st.integers(0, 1 << 33))
def test_an_image_survives_its_bytes_and_agrees_with_itself(index, created):
    image = bundle_image(index, created)
    config = ImageConfig.parse(image.config, what="config")
    manifest = Manifest.parse(image.manifest, what="manifest")
    assert config.bundle == index
    check_image(manifest, config)
    assert image.descriptor.size_bytes == len(image.manifest)


@given(
    st.builds(
        Descriptor,
        media_type=st.sampled_from(["a/b", "application/vnd.oci.image.index.v1+json"]),
        digest=digests,
        size_bytes=sizes,
        platform=st.none() | st.builds(Platform, os=texts, architecture=texts),
        annotations=st.dictionaries(st.text(), st.text(), max_size=3),
    )
)
def test_a_descriptor_survives_json(descriptor):
    assert Descriptor.from_dict(json.loads(json.dumps(descriptor.to_dict()))) == descriptor


@given(json_values)
def test_any_json_is_read_or_refused_as_damaged(value):
    data = json.dumps(value).encode()
    readers = (
        BundleIndex.from_dict,
        lambda v: BundleLayer.from_dict("kernel", v),
        Descriptor.from_dict,
        lambda _: Index.parse(data, what="d"),
        lambda _: Manifest.parse(data, what="d"),
        lambda _: ImageConfig.parse(data, what="d"),
    )
    for reader in readers:
        with contextlib.suppress(IntegrityError):
            reader(value)


@given(st.data(), indexes())
def test_a_changed_bundle_index_is_read_or_refused_as_damaged(data, index):
    document = data.draw(mutated(json.loads(json.dumps(index.to_dict()))))
    try:
        found = BundleIndex.from_dict(document)
    except IntegrityError:
        return
    assert BundleIndex.from_dict(json.loads(json.dumps(found.to_dict()))) == found


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_as_damaged(data):
    for reader in (Index.parse, Manifest.parse, ImageConfig.parse):
        try:
            reader(data, what="d")
        except IntegrityError:
            pass
        else:
            raise AssertionError(data)


SCHEMA = jsonschema.Draft202012Validator(bundle_index_schema())
BEYOND_SCHEMAS = re.compile(
    r"has no layer|is not in the bundle|prefix: |layer under|plain JSON data|from 0, found \d+\.0|matching .*found '.*\\n'"
)
"""What the reader refuses and a schema cannot, or in Python's regular expressions does not."""


@given(indexes())
def test_every_bundle_index_is_valid_by_its_schema(index):
    jsonschema.Draft202012Validator.check_schema(bundle_index_schema())
    SCHEMA.validate(index.to_dict())


@given(indexes().flatmap(lambda index: mutated(index.to_dict())))
def test_the_schema_and_the_reader_agree_on_what_is_a_bundle_index(document):
    refused = ""
    try:
        BundleIndex.from_dict(document)
    except IntegrityError as error:
        refused = str(error)
    assert SCHEMA.is_valid(document) == (not refused) or BEYOND_SCHEMAS.search(refused), refused
