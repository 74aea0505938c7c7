"""Settings for all tests.

Property tests draw the same few examples in every run, so that a pipeline is quick, and red for what changed and not by chance.
Many new examples are looked for on demand: ``./dev test --hypothesis-profile=explore tests/property``. A test states a number of
its own only where its examples are dear.

Commands use the recipes of profile ``packages``, which need no compiler; a test of other recipes names their profile.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "pipeline", max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.register_profile("explore", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pipeline")

os.environ["KATA_BUNDLE_PROFILE"] = "packages"
