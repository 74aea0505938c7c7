"""Rules: what is wrong between documents that are each well formed. One function, one code, one explanation a rule."""

from __future__ import annotations

from importlib import import_module

from kata_bundle.manifest.rules.registry import REGISTRY, Problem, Rule, run_rules

__all__ = ["REGISTRY", "Problem", "Rule", "run_rules"]

# Importing a module registers its rules.
for _name in (
    "reading",
    "names",
    "cells",
    "shims",
    "components",
    "classes",
    "defaults",
    "configurations",
    "closures",
    "releases",
    "budgets",
    "overheads",
    "siblings",
    "upstreamnames",
    "cachekeys",
    "texts",
):
    import_module(f"{__name__}.{_name}")
