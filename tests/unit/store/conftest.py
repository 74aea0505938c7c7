from __future__ import annotations

import pytest

from kata_bundle.store import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", durable=False)
