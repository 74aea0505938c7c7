"""Refreshing pins: only what has to change, each change named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kata_bundle.build.deblock import DebLock
from kata_bundle.build.refresh import missing_pins, refresh_pins
from kata_bundle.build.rules import DebRecipe, FixtureRecipe, Package, Rule
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import IntegrityError, LockError
from tests.fixtures.debs import MemoryPackages, Served
from tests.unit.build.test_deblock import pin


def rule(*packages: str, meta: str | None = None, arches=(Arch.X86_64, Arch.AARCH64)) -> Rule:
    all_packages = [*(Package(name=p) for p in packages), *([Package(name=meta, is_meta=True)] if meta else [])]
    recipe = DebRecipe(suite="trixie", packages=tuple(all_packages), version_of=packages[0], files=(), links=(), notes="")
    return Rule(component="x", recipes={**dict.fromkeys(arches, recipe), Arch.S390X: FixtureRecipe(links=(), notes="")})


TOOL = [Served("tool", "1", a, f"tool-1-{a}".encode()) for a in ("amd64", "arm64")]
DATA = Served("data", "1", "all", b"data-1")
META = Served("linux", "6", "amd64", b"meta", depends=("linux-6.1",))
LINUX = Served("linux-6.1", "6.1-1", "amd64", b"kernel")
RULES = {"a": rule("tool", "data"), "b": rule("data", meta="linux", arches=(Arch.X86_64,))}
MIRROR = [*TOOL, DATA, META, LINUX]
LOCK = DebLock(()).with_pins([TOOL[0].pin, TOOL[1].pin, DATA.pin, LINUX.pin_as("linux")])


def test_pins_are_made_for_what_rules_need():
    result = refresh_pins(RULES, DebLock(), MemoryPackages(MIRROR))
    assert result.lock == LOCK
    assert [(c.name, c.old, c.new) for c in result.changes] == [(p.name, None, p) for p in LOCK.pins]


@pytest.mark.parametrize("only_missing", [True, False])
def test_nothing_changes_when_all_is_served(only_missing):
    result = refresh_pins(RULES, LOCK, MemoryPackages(MIRROR), only_missing=only_missing)
    assert (result.lock, result.changes) == (LOCK, ())


def test_a_metapackage_leads_to_the_package_it_stands_for():
    new_meta, new = replace(META, version="6.2", depends=("linux-6.2",)), Served("linux-6.2", "6.2-1", "amd64", b"new")
    result = refresh_pins(RULES, LOCK, MemoryPackages([*TOOL, DATA, new_meta, new]))
    assert [(c.old, c.new) for c in result.changes] == [(LINUX.pin_as("linux"), new.pin_as("linux"))]
    assert result.changes[0].new.package == "linux-6.2"


def test_only_missing_leaves_pins_alone_that_are_still_served():
    new_tool = replace(TOOL[0], version="2", data=b"tool-2")
    # amd64 lost version 1; arm64 has both; data is unchanged.
    mirror = [new_tool, TOOL[1], replace(TOOL[1], version="2", data=b"x"), DATA, META, LINUX]
    result = refresh_pins(RULES, LOCK, MemoryPackages(mirror))
    assert [(c.old, c.new) for c in result.changes] == [(TOOL[0].pin, new_tool.pin)]
    assert result.changes[0].to_dict()["new"]["version"] == "2"


def test_a_full_refresh_updates_and_drops():
    mirror = [replace(t, version="2", data=b"2") for t in TOOL] + [DATA, META, LINUX]
    lock = LOCK.with_pins([pin("unused")])
    result = refresh_pins(RULES, lock, MemoryPackages(mirror), only_missing=False)
    assert [(c.name, c.new and c.new.version) for c in result.changes] == [("tool", "2"), ("tool", "2"), ("unused", None)]
    assert refresh_pins(RULES, lock, MemoryPackages(MIRROR)).lock == lock


def test_missing_pins_are_listed_once():
    assert missing_pins(RULES, LOCK, MemoryPackages(MIRROR)) == ()
    assert missing_pins(RULES, LOCK, MemoryPackages([*TOOL, LINUX])) == (DATA.pin,)


def test_a_package_that_no_longer_exists_is_an_error():
    with pytest.raises(LockError, match='trixie has no package "tool" for arm64'):
        refresh_pins(RULES, LOCK, MemoryPackages([TOOL[0], DATA, META, LINUX]))
    with pytest.raises(LockError, match="depends on 2 packages"):
        refresh_pins(RULES, DebLock(), MemoryPackages([*TOOL, DATA, replace(META, depends=("a", "b")), LINUX]))


def test_other_content_under_a_pinned_version_is_never_taken_over():
    for call in (refresh_pins, missing_pins):
        with pytest.raises(IntegrityError, match="has data 1 for all with digest"):
            call(RULES, LOCK, MemoryPackages([*TOOL, replace(DATA, data=b"other!"), META, LINUX]))
