from __future__ import annotations

import pytest

from kata_bundle.manifest import load_catalog


@pytest.fixture(scope="session")
def catalog():
    found, report = load_catalog()
    assert found is not None, list(report)
    return found
