"""Rule keys: fixed for fixed ingredients, changed by everything that can change the result, by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kata_bundle.build.deblock import DebLock
from kata_bundle.build.rulebook import Rulebook, Target, key_of
from kata_bundle.build.rules import DebRecipe, FileMapping, FixtureRecipe, Link, Package, Rule, Transform
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import LockError, UsageError
from kata_bundle.core.relpath import RelPath
from tests.unit.build.test_deblock import pin

RECIPE = DebRecipe(
    suite="trixie",
    packages=(Package(name="virtiofsd"),),
    version_of="virtiofsd",
    files=(FileMapping(package="virtiofsd", source="usr/libexec/virtiofsd", target="libexec/virtiofsd"),),
    links=(Link(at=RelPath("libexec/v"), target="virtiofsd"),),
    notes="words",
)
LOCK = DebLock((pin("virtiofsd"), pin("virtiofsd", "arm64", "1:3")))
GOLDEN = {
    "deb": "sha256:6c70f0d9416297f9ba175515e61ccabdfd752550b812634ba795700762e9d9fe",
    "fixture": "sha256:d2a1276f5e1a2fad70f21f3d5976eb772ac1b757968eb45b3b36b4cddc496691",
}


def book(catalog, recipe, lock=LOCK, arch=Arch.X86_64, component="virtiofsd"):
    return Rulebook(catalog, {component: Rule(component=component, recipes={arch: recipe})}, lock)


def key(catalog, recipe, lock=LOCK, arch=Arch.X86_64, component="virtiofsd"):
    return book(catalog, recipe, lock, arch, component).key(Target(arch=arch, component=component))


def test_keys_of_known_ingredients_are_fixed(catalog):
    assert {"deb": key(catalog, RECIPE), "fixture": key(catalog, FixtureRecipe(links=(), notes=""))} == GOLDEN


def test_ingredients_are_readable_and_make_the_key(catalog):
    parts = book(catalog, RECIPE).ingredients(Target(arch=Arch.X86_64, component="virtiofsd"))
    assert key_of(parts) == key(catalog, RECIPE)
    assert parts["program"] == '"repack-1"'
    assert "libexec/virtiofsd" in parts["facts"]
    assert list(parts) == ["facts", "recipe", "pins", "program"]


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, version_of="other"),
        replace(RECIPE, links=()),
        replace(RECIPE, files=(replace(RECIPE.files[0], source="usr/bin/virtiofsd"),)),
        replace(RECIPE, files=(replace(RECIPE.files[0], target="bin/virtiofsd"),)),
        replace(RECIPE, files=(replace(RECIPE.files[0], transform=Transform.VMLINUX_FROM_BZIMAGE),)),
    ],
)
def test_whatever_changes_the_result_changes_the_key(catalog, recipe):
    assert key(catalog, recipe) != key(catalog, RECIPE)


def test_another_pin_or_architecture_changes_the_key(catalog):
    other = LOCK.with_pins([pin("virtiofsd", version="1:2.1")])
    assert key(catalog, RECIPE, other) != key(catalog, RECIPE)
    assert key(catalog, RECIPE, arch=Arch.AARCH64) != key(catalog, RECIPE)


def test_notes_suites_and_unrelated_pins_do_not_change_the_key(catalog):
    more = LOCK.with_pins([pin("other")])
    assert key(catalog, replace(RECIPE, notes="other words"), more) == key(catalog, RECIPE)


def test_a_changed_configuration_value_changes_the_key_of_the_shim_that_carries_it(catalog):
    recipe = FixtureRecipe(links=(), notes="")
    shim = catalog.shims["qemu"]
    config = replace(shim.configs[Arch.X86_64], default_memory_mib=4096)
    changed = replace(catalog, shims={**catalog.shims, "qemu": replace(shim, configs={**shim.configs, Arch.X86_64: config})})
    for component, arch, differs in (
        ("shim-v2-go", Arch.X86_64, True),
        ("shim-v2-go", Arch.AARCH64, False),
        ("shim-v2-rust", Arch.X86_64, False),
        ("nydus", Arch.X86_64, False),
    ):
        before, after = (key(c, recipe, arch=arch, component=component) for c in (catalog, changed))
        assert (before != after) == differs, component


def test_errors_name_what_is_wrong(catalog):
    with pytest.raises(LockError, match='package "virtiofsd" of trixie is not pinned for amd64'):
        key(catalog, RECIPE, DebLock())
    with pytest.raises(UsageError, match='component "nydus" does not exist on s390x') as caught:
        key(catalog, FixtureRecipe(links=(), notes=""), arch=Arch.S390X, component="nydus")
    assert caught.value.hint == "it exists on x86_64, aarch64"
    with pytest.raises(UsageError, match='unknown component "nydu"') as caught:
        key(catalog, FixtureRecipe(links=(), notes=""), component="nydu")
    assert caught.value.hint == 'did you mean "nydus"?'
