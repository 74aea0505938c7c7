"""The fast way from a document to its values agrees with the models, which have the last word."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kata_bundle.manifest.schema import SCHEMAS
from kata_bundle.manifest.shape import Record, shaped

SHIPPED = Path(__file__).parents[3] / "manifests"
DOCUMENTS = [(name if name != "arch" else "arches/x86_64", name) for name in SCHEMAS]


def data_of(file):
    path = SHIPPED / f"{file}.json"
    return json.loads(path.read_text()) if path.exists() else tomllib.loads((SHIPPED / f"{file}.toml").read_text())


def same(record, model):
    """Return whether a record holds what the model holds, down to which keys were given."""
    if isinstance(record, Record):
        names = set(record.__dict__) - {"model_fields_set"}
        assert names == set(type(model).model_fields)
        assert record.model_fields_set == model.model_fields_set
        return all(same(getattr(record, name), getattr(model, name)) for name in names)
    if isinstance(record, dict):
        return record.keys() == model.keys() and all(same(value, model[key]) for key, value in record.items())
    if isinstance(record, list):
        return len(record) == len(model) and all(same(*pair) for pair in zip(record, model, strict=True))
    return record == model and type(record) is type(model)


@pytest.mark.parametrize(("file", "schema"), DOCUMENTS)
def test_a_shipped_document_is_taken_and_holds_what_the_model_holds(file, schema):
    data = data_of(file)
    record = shaped(schema, data)
    assert record is not None, "every check would pay for the models"
    assert same(record, SCHEMAS[schema].model_validate(data))


VALUES = st.sampled_from(
    [1, 0, True, False, "", "x", "X_", [], ["x"], {}, {"x": 1}, None, 1.5, "320Mi", "2026-08-22", "go", ["go"]]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_what_is_taken_of_a_changed_document_is_what_the_model_takes(data):
    file, schema = data.draw(st.sampled_from(DOCUMENTS))
    document = data_of(file)
    place = document
    for _ in range(data.draw(st.integers(0, 4))):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        inner = [key for key in keys if isinstance(place[key], dict | list) and place[key]]
        if not inner:
            break
        place = place[data.draw(st.sampled_from(inner))]
    if isinstance(place, dict):
        key = data.draw(st.one_of(st.sampled_from(sorted(place)), st.sampled_from(["x", "", "é", "a\n"])))
        place[key] = data.draw(VALUES)
        if data.draw(st.booleans()):
            del place[key]
    elif data.draw(st.booleans()):
        place.append(data.draw(VALUES))
    else:
        place[0] = data.draw(VALUES)
    record = shaped(schema, document)
    if record is not None:
        assert same(record, SCHEMAS[schema].model_validate(document))


def test_a_check_without_findings_imports_no_models():
    code = (
        "import sys; from kata_bundle.cli import main; main(['check', '-q']); print([m for m in sys.modules if 'pydantic' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
