from __future__ import annotations

import pytest

from tests.support.bundles import sample_bundle


@pytest.fixture
def sample(tmp_path):
    return sample_bundle(tmp_path)
