"""Makes components from rules: loads rules and pins, computes keys, fetches, repacks, makes stand-ins, imports prebuilt tarballs.

Knows: the catalog, the store. Must not know: bundles, nodes, the command line.
"""

from kata_bundle.build.apt import Apt
from kata_bundle.build.components import Built, build_component, build_plan, find_component
from kata_bundle.build.deblock import DebLock, DebPin, load_deb_lock
from kata_bundle.build.prebuilt import Imported, import_directory, imported_layer
from kata_bundle.build.refresh import PinChange, Refreshed, missing_pins, refresh_pins
from kata_bundle.build.rulebook import Rulebook, Target
from kata_bundle.build.rulefile import load_rules, rules_folder
from kata_bundle.build.rules import Kind, Rule
from kata_bundle.build.workshop import Workshop

__all__ = [
    "Apt",
    "Built",
    "DebLock",
    "DebPin",
    "Imported",
    "Kind",
    "PinChange",
    "Refreshed",
    "Rule",
    "Rulebook",
    "Target",
    "Workshop",
    "build_component",
    "build_plan",
    "find_component",
    "import_directory",
    "imported_layer",
    "load_deb_lock",
    "load_rules",
    "missing_pins",
    "refresh_pins",
    "rules_folder",
]
