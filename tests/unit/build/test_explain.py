"""A miss explains itself: the input that differs, with old and new value, also behind a toolchain or a needed component."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kata_bundle.build.actionrules import ActionRecipe, Source, SourceKind, WorkFolder
from kata_bundle.build.deblock import DebLock
from kata_bundle.build.explain import explain
from kata_bundle.build.rulebook import Rulebook, Target
from kata_bundle.build.rules import DebRecipe, FileMapping, Kind, Package, Rule
from kata_bundle.build.toolchain import PinnedToolchain, Toolchain, toolchain_ingredients, toolchain_key
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import BuildError, IntegrityError
from kata_bundle.core.tree import Tree
from kata_bundle.store import ActionResult
from tests.unit.build.test_deblock import pin

X86 = Arch.X86_64
PARENT, CHILD = Target(arch=X86, component="virtiofsd"), Target(arch=X86, component="kernel")
DEB = DebRecipe(
    suite="trixie",
    packages=(Package(name="virtiofsd"),),
    version_of="virtiofsd",
    files=(FileMapping(package="virtiofsd", source="usr/libexec/virtiofsd", target="libexec/virtiofsd"),),
    links=(),
    notes="",
)
ACTION = ActionRecipe(
    kind=Kind.SCRIPT,
    toolchain="c",
    machine=X86,
    version="6.12",
    sources=(Source(name="code", kind=SourceKind.FILES, path="code"),),
    needs=("virtiofsd",),
    steps=(("make", "-j{jobs}", "A=1"),),
    env=(),
    work=WorkFolder.COPY,
    image=None,
    links=(),
    notes="",
)
TOOLCHAIN = Toolchain(name="c", arches=(X86,), suite="trixie", packages=("gcc",), links=(), notes="")


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "rules"
    (place / "kernel" / "code").mkdir(parents=True)
    (place / "kernel" / "code" / "base.config").write_text("CONFIG_A=y\n")
    return place


@pytest.fixture
def book(catalog, folder):
    def make(*, action=ACTION, deb=DEB, version="1:2", gcc="1:1"):
        pinned = PinnedToolchain(name="c", arch=X86, pins=(pin("gcc", "amd64", gcc), pin("make", "amd64", "4")), tree=None)
        return Rulebook(
            catalog,
            {
                "virtiofsd": Rule(component="virtiofsd", recipes={X86: deb}),
                "kernel": Rule(component="kernel", recipes={X86: action}),
            },
            DebLock((pin("virtiofsd", "amd64", version),)),
            toolchains={"c": TOOLCHAIN},
            pinned={("c", X86): pinned},
            folder=folder,
        )

    return make


def remember(store, book, *targets):
    for target in targets:
        store.put_tree(Tree.of({}))
        store.put_result(
            book.key(target),
            ActionResult(tree=Tree.of({}).digest, origin="x", version="1", hermetic=True, ingredients=book.ingredients(target)),
        )
    toolchain, pinned = book.package_tree("c", X86)
    parts = toolchain_ingredients(toolchain, pinned)
    made = ActionResult(tree=Tree.of({}).digest, origin="toolchain", version="1", hermetic=True, ingredients=parts)
    store.put_result(toolchain_key(toolchain, pinned), made)


def seen(store, book, target=CHILD):
    return [(" / ".join(change.where), change.old, change.new) for change in explain(book, store, target).changes]


def test_what_was_never_made_has_nothing_to_compare_with(store, book):
    found = explain(book(), store, CHILD)
    assert (found.is_known, found.nearest, found.changes) == (False, None, ())


def test_a_changed_step_is_named(store, book):
    remember(store, book(), CHILD)
    changed = book(action=replace(ACTION, steps=(("make", "-j{jobs}", "A=2"),)))
    assert seen(store, changed) == [("rule / steps / 0 / 2", "A=1", "A=2")]
    assert explain(changed, store, CHILD).nearest == book().key(CHILD)
    assert explain(book(), store, CHILD).is_known


def test_one_byte_in_a_file_beside_the_rule_is_named_with_the_file(store, book, folder):
    remember(store, book(), CHILD)
    (folder / "kernel" / "code" / "base.config").write_text("CONFIG_A=n\n")
    ((where, old, new),) = seen(store, book())
    assert where == "files beside the rule / code / base.config"
    assert old == f"0644 {digest_bytes(b'CONFIG_A=y' + bytes([10]))}"
    assert new == f"0644 {digest_bytes(b'CONFIG_A=n' + bytes([10]))}"


def test_a_tool_is_found_behind_the_toolchain(store, book):
    remember(store, book(), CHILD)
    changes = seen(store, book(gcc="1:2"))
    assert ("toolchain / pinned packages / gcc / version", "1:1", "1:2") in changes
    assert all(where.startswith("toolchain / pinned packages / gcc") for where, _, _ in changes)


def test_a_source_is_found_behind_the_component_that_is_needed(store, book):
    remember(store, book(), PARENT, CHILD)
    changes = seen(store, book(version="1:3"))
    assert ("needed components / virtiofsd / pinned packages / virtiofsd / version", "1:2", "1:3") in changes


def test_the_nearest_of_several_is_taken_and_another_can_be_asked_for(store, book):
    far, near = (
        book(action=replace(ACTION, env=(("A", "1"), ("B", "2")), version="1")),
        book(action=replace(ACTION, version="6.11")),
    )
    remember(store, far, CHILD)
    remember(store, near, CHILD)
    assert seen(store, book()) == [("rule / version", "6.11", "6.12"), ("version", "6.11", "6.12")]
    assert len(explain(book(), store, CHILD, against=far.key(CHILD)).changes) > 2
    with pytest.raises(IntegrityError, match="no result of kernel"):
        explain(book(), store, CHILD, against=digest_bytes(b"x"))


def test_rules_that_need_each_other_are_named_in_their_circle(catalog):
    rules = {
        name: Rule(component=name, recipes={X86: replace(ACTION, needs=(other,), sources=(), work=WorkFolder.EMPTY)})
        for name, other in (("kernel", "qemu"), ("qemu", "kernel"))
    }
    with pytest.raises(BuildError, match="kernel → qemu → kernel"):
        Rulebook(catalog, rules, DebLock(())).key(CHILD)
