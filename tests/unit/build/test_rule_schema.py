"""The published schema of build rules agrees with what is read."""

from __future__ import annotations

import copy
import json
import tomllib

import jsonschema
import pytest
from pydantic import ValidationError

from kata_bundle.build.rulefile import FOLDER, LOCK_SUFFIX, RuleDocument
from kata_bundle.core.resources import shipped

SCHEMA = jsonschema.Draft202012Validator(json.loads((shipped("schemas") / "build" / "build-rules.schema.json").read_text()))
RULES = {
    path.name: tomllib.loads(path.read_text())
    for path in sorted(shipped(FOLDER).glob("*.toml"))
    if not path.name.endswith(LOCK_SUFFIX)
}


def test_it_is_a_schema_closed_against_unknown_keys():
    SCHEMA.check_schema(SCHEMA.schema)
    assert all(part["additionalProperties"] is False for part in (SCHEMA.schema, *SCHEMA.schema["$defs"].values()))


@pytest.mark.parametrize("name", RULES)
def test_every_shipped_rule_is_valid(name):
    SCHEMA.validate(RULES[name])


def mistakes(document):
    """Yield copies of a rule with one mistake each."""

    def places(value, path=()):
        yield path
        for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            yield from places(item, (*path, key))

    for path in list(places(document))[1:]:
        for wrong in (7, "{", [], {}, True):  # TOML has no null
            changed = copy.deepcopy(document)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = wrong
            yield changed
        changed = copy.deepcopy(document)
        place = changed
        for key in path[:-1]:
            place = place[key]
        del place[path[-1]]
        if isinstance(place, dict):
            place["unheard-of"] = 1
        yield changed


@pytest.mark.parametrize("name", ["kernel.toml", "nydus.toml"])
def test_the_schema_and_the_model_refuse_the_same(name):
    seen = set()
    for document in mistakes(RULES[name]):
        try:
            RuleDocument.model_validate(document)
            reads = True
        except ValidationError:
            reads = False
        assert SCHEMA.is_valid(document) == reads, document
        seen.add(reads)
    assert seen == {True, False}
