from __future__ import annotations

import json

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.store import ActionResult, LayerRecord
from tests.support.bundles import add_layer

RESULT = ActionResult(tree=digest_bytes(b"t"), origin="deb", version="1", hermetic=True, ingredients={"a": "b"})


@pytest.fixture
def record(store):
    return add_layer(store, "kernel", Arch.PPC64LE)


def through_json(document):
    return json.loads(json.dumps(document))


def test_records_survive_json(record):
    assert ActionResult.from_dict(through_json(RESULT.to_dict())) == RESULT
    foreign = replace(record, recipe=None, rule_key=None, version=None, source_date=None)
    for value in (record, foreign):
        assert LayerRecord.from_dict(through_json(value.to_dict())) == value


def test_a_record_becomes_a_layer_of_a_bundle_index(record):
    action = digest_bytes(b"action")
    layer = record.to_bundle_layer(action)
    shared = set(LayerRecord.__slots__) - {"arch", "source_date"}
    assert {name: getattr(layer, name) for name in shared} == {name: getattr(record, name) for name in shared}
    assert layer.action == action


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("arch", "amd64"),
        ("component", "../x"),
        ("component", "Kernel"),
        ("packed", "sha256:"),
        ("packed_size_bytes", -1),
        ("hermetic", 1),
        ("recipe", 1),
        ("source_date", "now"),
        ("surprise", 1),
    ],
)
def test_a_layer_record_with_a_wrong_member_is_refused(record, member, value):
    with pytest.raises(IntegrityError):
        LayerRecord.from_dict({**record.to_dict(), member: value})


@pytest.mark.parametrize(
    ("member", "value"),
    [("tree", None), ("origin", ""), ("version", 1), ("hermetic", None), ("ingredients", {"a": 1}), ("surprise", 1)],
)
def test_a_result_with_a_wrong_member_is_refused(member, value):
    with pytest.raises(IntegrityError):
        ActionResult.from_dict({**RESULT.to_dict(), member: value})
