"""Rules of profile ``upstream``: every component has one, what it needs is said, and what it would run is kept.

The golden file has the digest of each action with made-up pins, sources, toolchains and parents, so that a change of a rule or of
the encoding is seen. Refresh it with ``KATA_BUNDLE_GOLDEN=write pytest tests/unit/build/test_upstream_rules.py``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from kata_bundle.build import Rulebook, Target
from kata_bundle.build.action import encode_action
from kata_bundle.build.actionrules import ActionRecipe, SourceKind
from kata_bundle.build.fetchlock import FetchPin
from kata_bundle.build.kinds import action_of, steps_of
from kata_bundle.build.resolve import Resolver
from kata_bundle.build.rules import Kind
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import LockError
from kata_bundle.core.profile import Profile
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.manifest import load_catalog

HERE = Path(__file__).parents[2]
GOLDEN = HERE / "golden/build/upstream-actions.json"
VERSIONS = HERE / "fixtures/upstream-versions/versions.yaml"
CATALOG = load_catalog()[0]
assert CATALOG is not None
BARE = Rulebook.load(CATALOG, profile=Profile.UPSTREAM)
TARGETS = [
    Target(arch=arch, component=name)
    for name, known in CATALOG.components.items()
    for arch in Arch
    if known.outputs.get(arch) or (known.is_guest_part and arch in known.arches)
]


class AnyPin(dict):
    """A pin for every file that is asked for: the real ones cannot be computed here."""

    def get(self, key, default=None):
        entry, file = key
        return FetchPin(entry=entry, file=file, size_bytes=1, digest=digest_bytes(f"{entry} {file}".encode()))


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Rulebook:
    root = tmp_path_factory.mktemp("given")
    given = {}
    for target in TARGETS:
        for source in BARE.recipe(target).sources:
            if source.checkout:
                given[source.checkout] = root / source.checkout
    for name, folder in given.items():
        folder.mkdir()
        (folder / "file").write_text(name)
    shutil.copy(VERSIONS, given["kata-containers"])
    (given["kata-containers"] / "VERSION").write_text("3.32.0\n")
    return Rulebook(CATALOG, BARE.rules, BARE.lock, profile=Profile.UPSTREAM, resolver=Resolver(given, AnyPin()))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.text)
def test_every_component_has_a_recipe_of_its_own_on_each_architecture(target):
    assert BARE.rule(target.component).marked[target.arch, Profile.UPSTREAM].kind.is_real


def test_components_without_a_rule_are_those_that_exist_nowhere():
    assert set(CATALOG.components) - {target.component for target in TARGETS} == set(CATALOG.components) - set(BARE.rules)
    assert {CATALOG.components[name].kind.value for name in set(CATALOG.components) - set(BARE.rules)} == {"unused"}


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.text)
def test_what_cannot_be_made_here_says_what_it_needs(target):
    lacks = BARE.lacks(target)
    assert 'source "kata-containers": --source kata-containers=DIR' in [lack.text for lack in lacks]
    assert all(lack.what and lack.remedy for lack in lacks)
    with pytest.raises(LockError) as caught:
        BARE.order([target])
    assert all(lack.text in str(caught.value) for lack in lacks)
    assert all(lack.text in str(caught.value) for parent in BARE.parents(target) for lack in BARE.lacks(parent))


def test_with_sources_and_pins_only_toolchains_are_left_to_be_pinned(book):
    for target in TARGETS:
        assert all("toolchain" in lack.what for lack in book.lacks(target)), target


def test_no_version_is_guessed(book):
    for target in TARGETS:
        recipe = book.recipe(target)
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", recipe.version), (target, recipe.version)
        assert all(source.urls for source in recipe.sources if source.kind is SourceKind.FETCH)
        assert not any("{" in url for source in recipe.sources for url in source.urls)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.text)
def test_declared_outputs_are_named_by_what_makes_them(book, target):
    recipe = book.recipe(target)
    words = [word for step in steps_of(recipe, target.component) for word in step]
    said = {word.removeprefix("{out}/").rstrip("/") for word in words if word.startswith("{out}/")}
    said |= {link.at for link in recipe.links}
    by_install = "install" in words or any("install" in word and "\n" in word for word in words)
    missing = [
        output
        for output in CATALOG.components[target.component].outputs.get(target.arch, ())
        if not any(output.rstrip("/") == one or output.startswith(f"{one}/") for one in said)
    ]
    assert by_install or not missing, missing


def actions(book: Rulebook) -> dict[str, str]:
    """Return the digest of every action, by component and architecture."""
    found = {}
    for target in TARGETS:
        recipe = book.recipe(target)
        assert isinstance(recipe, ActionRecipe)
        tree = lambda text: Tree.of(  # noqa: E731
            {RelPath("file"): File(mode=0o644, size_bytes=len(text), digest=digest_bytes(text.encode()))}
        )
        action = action_of(
            recipe,
            target.component,
            target.arch,
            book.version(target),
            tree(f"toolchain {recipe.toolchain} {recipe.machine}"),
            {source.name: tree(f"{source.checkout} {source.digest}") for source in recipe.sources},
            {name: tree(f"component {name}") for name in recipe.needs},
            digest_bytes,
        )
        found[target.text] = encode_action(action).digest
    return found


def test_actions_are_those_that_were_looked_at(book):
    found = actions(book)
    text = json.dumps(found, indent=1, sort_keys=True) + "\n"
    if os.environ.get("KATA_BUNDLE_GOLDEN") == "write":
        GOLDEN.write_text(text)
    assert json.loads(GOLDEN.read_text()) == found
    assert len(set(found.values())) == len(found)


def test_kinds_are_those_that_the_programs_are_written_in(book):
    kinds = {target.component: book.recipe(target).kind for target in TARGETS}
    assert kinds["shim-v2-go"] is Kind.GO
    assert {kinds[name] for name in ("agent", "shim-v2-rust", "kata-ctl", "cloud-hypervisor", "virtiofsd")} == {Kind.CARGO}
    assert {kinds[name] for name in ("qemu", "kernel", "ovmf", "busybox")} == {Kind.MAKE}
    assert {kind for name, kind in kinds.items() if name.startswith("rootfs-")} == {Kind.IMAGE}
