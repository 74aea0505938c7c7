"""The shipped catalog, upstream's facts, and the table of differences that the documentation states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kata_bundle.manifest import load_catalog

ROOT = Path(__file__).parents[3]
UPSTREAM = ROOT / "tests" / "fixtures" / "upstream"
GOLDEN = ROOT / "tests" / "golden" / "generate"


@pytest.fixture(scope="session")
def catalog():
    found, report = load_catalog()
    assert found is not None, list(report)
    return found


@pytest.fixture(scope="session")
def upstream():
    return lambda name: json.loads((UPSTREAM / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def documented():
    """The rows of the table of differences: (document, where)."""
    text = (ROOT / "docs" / "reference" / "generate.md").read_text()
    section = text.partition("## Differences from upstream")[2]
    rows = [line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows), "every row has four cells, a reason too"
    return {(row[0].strip().split(",")[0], row[1].strip().strip("`")) for row in rows}
