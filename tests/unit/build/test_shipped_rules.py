"""The shipped rules fit the shipped catalog and the shipped lock."""

from __future__ import annotations

import re

import pytest

from kata_bundle.build import Rulebook, Target
from kata_bundle.build.facts import facts_of
from kata_bundle.core.arch import Arch
from kata_bundle.core.profile import Profile
from kata_bundle.core.resources import shipped
from kata_bundle.manifest import load_catalog

CATALOG = load_catalog()[0]
assert CATALOG is not None
BOOK = Rulebook.load(CATALOG)
RULES = BOOK.rules
CELLS = CATALOG.component_map.cells()
REAL = {"kernel", "qemu", "virtiofsd", "ovmf", "rootfs-image", "rootfs-initrd"}


@pytest.mark.parametrize(("shim", "arch"), CELLS)
def test_every_component_of_every_cell_can_be_made(shim, arch):
    for component in CATALOG.component_map.components(shim, arch):
        assert RULES[component].recipe(Arch(arch), Profile.PACKAGES)


def test_recipes_exist_exactly_where_components_do():
    for name, rule in RULES.items():
        if not rule.recipes:
            continue  # a tool or a part of guests, which has recipes of profile upstream alone
        assert list(rule.recipes) == [arch for arch in Arch if CATALOG.components[name].outputs.get(arch)], name


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.AARCH64])
def test_what_packages_can_make_is_real_and_all_others_say_they_are_not(arch):
    real = {name for name, rule in RULES.items() if arch in rule.recipes and rule.recipe(arch, Profile.PACKAGES).kind.is_real}
    assert real == REAL


def test_every_rule_says_why_it_is_as_it_is():
    assert all(len(recipe.notes.split()) > 3 for rule in RULES.values() for _, _, recipe in rule.every_recipe())


def test_all_packages_are_pinned_and_all_pins_used():
    books = [Rulebook.load(CATALOG, profile=profile) for profile in Profile]
    used = {
        pin
        for book in books
        for name, rule in RULES.items()
        for arch in rule.recipes_of(book.profile)
        for pin in book.pins(Target(arch=arch, component=name))
    }
    assert used == set(BOOK.lock.pins)


def test_neither_rules_nor_lock_name_a_host():
    for path in shipped("buildrules").rglob("*.toml"):
        assert not re.search(r"://|\.(org|com|net|io)\b", path.read_text()), path


def test_facts_are_what_the_catalog_says():
    facts = facts_of(CATALOG, "shim-v2-go", Arch.S390X)
    assert "bin/kata-runtime" in facts.outputs
    assert [c.shim for c in facts.configs][:2] == ["qemu-coco-dev", "qemu-nvidia-cpu"]
