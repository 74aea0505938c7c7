"""Makes a component twice under changed conditions and compares what came out.

Knows: rules, actions, the store. Must not know: bundles, the command line. Nothing that is made here is remembered.
"""

from __future__ import annotations

from kata_bundle.build.repro.check import Origin, Verdict, check_action, check_component, check_layer
from kata_bundle.build.repro.compare import Difference, compare_trees
from kata_bundle.build.repro.conditions import Condition, Host, Variation, parse_conditions, plan_variation

__all__ = [
    "Condition",
    "Difference",
    "Host",
    "Origin",
    "Variation",
    "Verdict",
    "check_action",
    "check_component",
    "check_layer",
    "compare_trees",
    "parse_conditions",
    "plan_variation",
]
