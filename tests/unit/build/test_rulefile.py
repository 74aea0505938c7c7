"""Rule files: what is accepted, and that everything wrong is said at once."""

from __future__ import annotations

import re

import pytest

from kata_bundle.build.rulefile import load_rules
from kata_bundle.build.rules import DebRecipe, FixtureRecipe, Transform
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import BuildError, FindingsError
from kata_bundle.core.profile import Profile

DEB = """
version = 1
[[recipes]]
kind = "deb"
arches = ["x86_64", "aarch64"]
notes = "n"
suite = "trixie"
packages = ["tool"]
metapackages = ["meta"]
version_of = "tool"
[[recipes.files]]
package = "tool"
from = "usr/bin/tool-{arch}"
to = "bin/tool-{arch}"
[[recipes.files]]
package = "meta"
from = "boot/vmlinuz-*"
to = "share/vmlinux-*"
transform = "vmlinux-from-bzimage"
[[recipes.links]]
at = "share/current"
to = "vmlinux-*"
"""
FIXTURE = """
version = 1
[[recipes]]
kind = "fixture"
arches = ["s390x"]
notes = "n"
"""


PLACE = re.compile(r"(/[^:]+\.toml):\d+:\d+: ")


def load(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return load_rules(folder)


def problems(folder, **files) -> list[str]:
    with pytest.raises(FindingsError) as caught:
        load(folder, **files)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert all(PLACE.match(line) for line in lines), lines
    return [PLACE.sub(r"\1: ", line) for line in lines]


def test_a_rule_gives_one_recipe_per_architecture(tmp_path):
    rules = load(tmp_path, tool=DEB + FIXTURE.replace("version = 1", ""))
    assert list(rules) == ["tool"]
    rule = rules["tool"]
    assert list(rule.recipes) == [Arch.X86_64, Arch.AARCH64, Arch.S390X]
    recipe = rule.recipe(Arch.AARCH64, Profile.PACKAGES)
    assert isinstance(recipe, DebRecipe)
    assert (recipe.files[0].source, recipe.files[0].target) == ("usr/bin/tool-aarch64", "bin/tool-aarch64")
    assert recipe.files[1].transform is Transform.VMLINUX_FROM_BZIMAGE
    assert [(p.name, p.is_meta) for p in recipe.packages] == [("meta", True), ("tool", False)]
    assert isinstance(rule.recipe(Arch.S390X, Profile.PACKAGES), FixtureRecipe)


def test_an_architecture_without_recipe_is_named_with_those_that_have_one(tmp_path):
    rule = load(tmp_path, tool=FIXTURE)["tool"]
    with pytest.raises(BuildError, match='"tool" has no recipe for ppc64le') as caught:
        rule.recipe(Arch.PPC64LE, Profile.PACKAGES)
    assert caught.value.hint == "it has recipes for s390x"


def test_a_profile_has_its_own_recipe_or_the_unmarked_one(tmp_path):
    of_source = (
        DEB.replace("version = 1", "").replace('notes = "n"', 'notes = "n"\nprofile = "source"').replace(', "aarch64"', "")
    )
    of_upstream = FIXTURE.replace("version = 1", "").replace('notes = "n"', 'notes = "n"\nprofile = "upstream"')
    rule = load(tmp_path, tool=DEB + of_source + of_upstream)["tool"]
    assert rule.recipe(Arch.X86_64, Profile.SOURCE) is rule.marked[Arch.X86_64, Profile.SOURCE]
    assert rule.recipe(Arch.AARCH64, Profile.SOURCE) is rule.recipe(Arch.AARCH64, Profile.PACKAGES)
    assert list(rule.recipes_of(Profile.PACKAGES)) == [Arch.X86_64, Arch.AARCH64]
    assert list(rule.recipes_of(Profile.UPSTREAM)) == [Arch.X86_64, Arch.AARCH64, Arch.S390X]
    assert [(arch, profile) for arch, profile, _ in rule.every_recipe()] == [
        (Arch.X86_64, None),
        (Arch.X86_64, Profile.SOURCE),
        (Arch.AARCH64, None),
        (Arch.S390X, Profile.UPSTREAM),
    ]
    with pytest.raises(BuildError, match='"tool" has no recipe for s390x in profile source') as caught:
        rule.recipe(Arch.S390X, Profile.SOURCE)
    assert caught.value.hint == "--profile upstream has one"


def test_two_recipes_of_one_profile_for_an_architecture_are_refused(tmp_path):
    marked = FIXTURE.replace("version = 1", "").replace('notes = "n"', 'notes = "n"\nprofile = "source"')
    found = problems(tmp_path, tool="version = 1\n" + marked + marked)
    assert found == [f"{tmp_path}/tool.toml: recipes.1.arches: s390x has a recipe of profile source already"]


@pytest.mark.parametrize("name", ["packages", "sources"])
def test_only_profiles_with_recipes_of_their_own_can_be_marked(tmp_path, name):
    (found,) = problems(tmp_path, tool=FIXTURE.replace('notes = "n"', f'notes = "n"\nprofile = "{name}"'))
    assert found.startswith(f"{tmp_path}/tool.toml: recipes.0.profile: input should be 'source' or 'upstream'")


def test_rules_come_sorted_by_component_and_locks_are_no_rules(tmp_path):
    files = dict.fromkeys(("boot-image-se-runtime-rs", "boot-image-se", "agent"), FIXTURE)
    (tmp_path / "debian.lock.toml").write_text("version = 1\n")
    assert list(load(tmp_path, **files)) == ["agent", "boot-image-se", "boot-image-se-runtime-rs"]


def test_all_problems_of_all_files_are_said_at_once(tmp_path):
    found = problems(
        tmp_path,
        a=DEB.replace('notes = "n"', 'notes = "n"\ncommand = "rm -rf /"'),
        b="version = 1\nrecipes = [",
        c=FIXTURE.replace("s390x", "sparc"),
        d=FIXTURE.replace('notes = "n"', ""),
    )
    assert len(found) == 4
    assert found[0] == f"{tmp_path}/a.toml: recipes.0.command: unknown key"
    assert found[1].startswith(f"{tmp_path}/b.toml: not valid TOML")
    assert found[2].startswith(f"{tmp_path}/c.toml: recipes.0.arches.0: input should be 'x86_64'")
    assert found[3] == f"{tmp_path}/d.toml: recipes.0.notes: key is missing"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('version_of = "tool"', 'version_of = "other"', 'version_of: "other" is not one of the packages'),
        ('package = "tool"\n', 'package = "other"\n', 'files.0.package: "other" is not one of the packages'),
        ('packages = ["tool"]', 'packages = ["tool", "tool"]', 'package "tool" is listed twice'),
        ('packages = ["tool"]', 'packages = ["tool", "spare"]', 'nothing is taken from package "spare"'),
        ('to = "bin/tool-{arch}"', 'to = "bin/tool-{host}"', 'unknown placeholder in "bin/tool-{host}"'),
        ('to = "bin/tool-{arch}"', 'to = "bin/../../etc/x"', 'contains ".."'),
        ('to = "bin/tool-{arch}"', 'to = "/etc/x"', "is absolute"),
        ('to = "bin/tool-{arch}"', 'to = "bin//x"', "is not in its shortest form"),
        ('to = "bin/tool-{arch}"', 'to = "bin/tool/"', "either both or none of from and to end with a slash"),
        ("share/vmlinux-*", "share/vmlinux", 'either both or none of from and to have a "*"'),
        ("boot/vmlinuz-*", "*/vmlinuz-*", 'one "*" is allowed'),
        ('to = "vmlinux-*"', 'to = "../../etc/passwd"', "points outside the tree"),
        ('at = "share/current"', 'at = "share/*"', 'one "*" in the last part of to is allowed'),
        ('arches = ["x86_64", "aarch64"]', 'arches = ["x86_64", "x86_64"]', "x86_64 has a recipe already"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(tmp_path, old, new, problem):
    assert old in DEB
    found = problems(tmp_path, tool=DEB.replace(old, new))
    assert any(problem in line and "tool.toml: recipes.0" in line for line in found), found
    assert len(found) == len(set(found))


@pytest.mark.parametrize("value", ['"1"', "2", "true"])
def test_another_version_is_refused(tmp_path, value):
    assert "version" in problems(tmp_path, tool=FIXTURE.replace("version = 1", f"version = {value}"))[0]
