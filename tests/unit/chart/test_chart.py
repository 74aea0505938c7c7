"""The chart's values, their schema, and its texts, without helm."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from kata_bundle.core.errors import UsageError
from kata_bundle.core.record import replace
from kata_bundle.generate.chart import render_chart
from kata_bundle.generate.chart.schema import full_schema
from kata_bundle.generate.chart.values import full_values
from kata_bundle.manifest import load_catalog

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def catalog():
    found, report = load_catalog()
    assert found is not None, list(report)
    return found


@pytest.fixture(scope="module")
def files(catalog):
    return render_chart(catalog)


def test_the_committed_chart_has_exactly_the_files_that_are_made(files):
    folder = ROOT / "charts" / "kata-bundle"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(files)


def test_the_values_file_says_what_the_values_are(catalog, files):
    assert yaml.safe_load(files["values.yaml"]) == full_values(catalog)
    assert max(map(len, files["values.yaml"].splitlines())) <= 120


def test_the_defaults_and_the_profiles_satisfy_the_schema(catalog):
    schema = full_schema(catalog)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    profiles = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "tests/fixtures/profiles").glob("*.yaml"))]
    assert len(profiles) == 3
    for values in (full_values(catalog), *profiles):
        assert [error.message for error in validator.iter_errors(values)] == []


def test_the_schema_knows_every_value(catalog):
    schema = full_schema(catalog)["properties"]
    assert set(full_values(catalog)) == set(schema) - {"global"}


def test_every_value_is_used_by_a_template_or_said_to_be_unused(catalog, files):
    texts = "\n".join(text for name, text in files.items() if name.startswith("templates/"))
    used = set(re.findall(r"\.Values\)?\.([A-Za-z0-9]+)", texts)) | set(re.findall(r'index \.Values "([a-z-]+)"', texts))
    assert set(full_values(catalog)) - used == {"kubectlImage"}


def test_each_helper_that_is_called_is_defined_and_the_reverse(files):
    texts = "\n".join(text for name, text in files.items() if name.startswith("templates/"))
    defined, called = set(re.findall(r'define "([^"]+)"', texts)), set(re.findall(r'include "([^"]+)"', texts))
    assert defined == called


def test_the_named_release_goes_to_the_classes(catalog):
    assert yaml.safe_load(render_chart(catalog, kata_version="9.9.9")["Chart.yaml"])["appVersion"] == "9.9.9"


def test_the_release_is_the_catalogs_and_has_to_be_known(catalog, files):
    assert yaml.safe_load(files["Chart.yaml"])["appVersion"] == catalog.release.version == "4.1.0"
    silent = replace(catalog, release=replace(catalog.release, version=None))
    with pytest.raises(UsageError, match="which release of Kata"):
        render_chart(silent)


def test_no_text_names_a_registry(files):
    assert not re.search(r"\b[a-z0-9-]+\.(io|com|org)/kata-(containers|bundle)/", "\n".join(files.values()))
