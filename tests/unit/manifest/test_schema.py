"""The published schemas are what the models give, are valid themselves, and agree with the models on what is a document."""

import copy
import json
import tomllib
from datetime import date

import jsonschema
import pytest
from pydantic import ValidationError

from kata_bundle.cli.schemas import schema_files as schema_files_of_all
from kata_bundle.core.resources import shipped
from kata_bundle.manifest.schema import DIALECT, SCHEMAS, drift, file_name, render_schema, schema_files, write_schemas

MANIFESTS = shipped("manifests")
DOCUMENTS = {
    "shim-components.json": "shim-components",
    "shims.toml": "shims",
    "components.toml": "components",
    "runtimeclasses.toml": "runtimeclasses",
    "ignores.toml": "ignores",
    **{f"arches/{arch}.toml": "arch" for arch in ("x86_64", "aarch64", "s390x", "ppc64le")},
}


def data_of(name):
    text = (MANIFESTS / name).read_text()
    return json.loads(text) if name.endswith(".json") else tomllib.loads(text)


def as_json(value):
    """TOML data with dates as the texts that JSON has for them."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def validator(name):
    schema = json.loads((shipped("schemas") / file_name(name)).read_text())
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def test_the_published_schemas_are_what_the_models_give():
    assert drift(shipped("schemas"), schema_files_of_all()) == (), "run: kata-bundle schema --write"


def test_drift_names_missing_changed_and_superfluous_files(tmp_path):
    files = schema_files()
    assert drift(tmp_path / "none", files) == tuple(sorted(map(file_name, SCHEMAS)))
    assert sorted(write_schemas(tmp_path, files)) == sorted(map(file_name, SCHEMAS))
    assert write_schemas(tmp_path, files) == ()
    (tmp_path / "arch.schema.json").write_text("{}")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "old.schema.json").write_text("{}")
    (tmp_path / "shims.schema.json").unlink()
    assert drift(tmp_path, files) == ("arch.schema.json", "below/old.schema.json", "shims.schema.json")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_a_valid_schema_and_closed_against_unknown_keys(name):
    schema = json.loads(render_schema(name))
    assert schema["$schema"] == DIALECT
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert all(part.get("additionalProperties") is False for part in schema.get("$defs", {}).values())
    assert '"null"' not in render_schema(name)


@pytest.mark.parametrize(("document", "name"), DOCUMENTS.items())
def test_every_shipped_manifest_is_valid_by_its_schema(document, name):
    validator(name).validate(as_json(data_of(document)))


def mutations(data, path=()):
    """Yield (what, copy of data with one mistake), a few for every value."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield f"{(*path, key)} dropped", {k: v for k, v in data.items() if k != key}
            yield f"{(*path, key)} misspelt", {(f"{k}x y" if k == key else k): v for k, v in data.items()}
            for what, changed in mutations(value, (*path, key)):
                yield what, data | {key: changed}
    elif isinstance(data, list):
        yield f"{path} not a list", "x y"
        for what, changed in mutations(data[0], (*path, 0)) if data else ():
            yield what, [changed, *data[1:]]
    elif not isinstance(data, date):
        yield f"{path} of another type", {"x": 1}
        yield f"{path} a strange text", "// .. \n"
        yield f"{path} a negative number", -1


@pytest.mark.parametrize(
    "document", ["shim-components.json", "runtimeclasses.toml", "ignores.toml", "arches/s390x.toml", "shims.toml"]
)
def test_models_and_schemas_refuse_the_same_documents(document):
    name = DOCUMENTS[document]
    check = validator(name)
    count = 0
    for what, changed in mutations(copy.deepcopy(data_of(document))):
        if document == "shims.toml" and count % 5:  # many, and all alike
            count += 1
            continue
        try:
            SCHEMAS[name].model_validate(changed)
            valid = True
        except ValidationError:
            valid = False
        assert check.is_valid(as_json(changed)) is valid, what
        count += 1
    assert count > 15
