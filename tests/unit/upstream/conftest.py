from __future__ import annotations

import pytest

from tests.fixtures.upstreamtrees import UpstreamFiles


@pytest.fixture
def today() -> UpstreamFiles:
    return UpstreamFiles("today")


@pytest.fixture
def shell() -> UpstreamFiles:
    return UpstreamFiles("shell")
