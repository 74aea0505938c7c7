"""Makes components from rules: loads rules and pins, computes keys, fetches, repacks, makes stand-ins, imports prebuilt tarballs.

Knows: the catalog, the store. Must not know: bundles, nodes, the command line.
"""

from kata_bundle.build.apt import Apt
from kata_bundle.build.components import Built, Target, build_component, build_plan, find_component, rule_of
from kata_bundle.build.deblock import DebLock, DebPin, load_deb_lock
from kata_bundle.build.keys import pins_of, rule_key
from kata_bundle.build.prebuilt import Imported, import_directory, imported_layer
from kata_bundle.build.refresh import PinChange, Refreshed, missing_pins, refresh_pins
from kata_bundle.build.rulefile import load_rules, rules_folder
from kata_bundle.build.rules import Kind, Rule

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
    "Target",
    "build_component",
    "build_plan",
    "find_component",
    "import_directory",
    "imported_layer",
    "load_deb_lock",
    "load_rules",
    "missing_pins",
    "pins_of",
    "refresh_pins",
    "rule_key",
    "rule_of",
    "rules_folder",
]
