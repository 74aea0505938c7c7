"""Rules for upstream trees: what is wrong between lists that ought to agree. One function, one code, one explanation a rule."""

from __future__ import annotations

from importlib import import_module

from kata_bundle.manifest.upstream.rules.registry import TREE_RULES, Problem, run_tree_rules

__all__ = ["TREE_RULES", "Problem", "run_tree_rules"]

# Importing a module registers its rules.
for _name in (
    "names",
    "arches",
    "configurations",
    "paths",
    "settings",
    "siblings",
    "components",
    "classes",
    "profiles",
    "versionfile",
    "scripts",
    "pipelines",
):
    import_module(f"{__name__}.{_name}")
