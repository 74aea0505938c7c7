from __future__ import annotations

import pytest

from kata_bundle.manifest import load_catalog
from kata_bundle.store import Store


@pytest.fixture(scope="session")
def catalog():
    found, report = load_catalog()
    assert found is not None, list(report)
    return found


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", durable=False)
