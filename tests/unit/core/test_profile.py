from __future__ import annotations

import pytest

from kata_bundle.core.errors import UsageError
from kata_bundle.core.profile import Profile


def test_a_profile_is_read_by_name():
    assert [Profile.parse(name) for name in ("packages", " source", "upstream")] == list(Profile)


def test_an_unknown_one_is_answered_with_the_nearest():
    with pytest.raises(UsageError) as caught:
        Profile.parse("upstrem")
    assert caught.value.hint == 'did you mean "upstream"?; known profiles: packages, source, upstream'
    assert caught.value.exit_code == 2
