"""From a recipe to an action: golden actions, words quoted, places expanded, nothing outside the prefix."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from kata_bundle.build.action import encode_action
from kata_bundle.build.actionrules import ActionRecipe, ImageFormat, ImagePlan, Source, SourceKind, WorkFolder
from kata_bundle.build.kinds import action_of, component_tree, render_script, steps_of
from kata_bundle.build.rules import Kind, Link
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Symlink, Tree

SOURCE = Source(name="code", kind=SourceKind.FILES, path="code")
RECIPE = ActionRecipe(
    kind=Kind.MAKE,
    toolchain="c",
    machine=Arch.X86_64,
    version="1.2",
    sources=(SOURCE,),
    needs=(),
    steps=(),
    env=(),
    work=WorkFolder.COPY,
    image=None,
    links=(),
    notes="",
)
IMAGE = ImagePlan(format=ImageFormat.EXT4, content="src/code", target="share/image.img", size_mib=16, label="root")
BUILDER = Tree.of({RelPath("bin/sh"): File(mode=0o755, size_bytes=1, digest=digest_bytes(b"s"))})
CODE = Tree.of({RelPath("a.c"): File(mode=0o644, size_bytes=1, digest=digest_bytes(b"a"))})

GOLDEN = {
    "make": "sha256:cd00cec3d39e277eae27d1f5734e97b686a19328e5d9a9fb31cd5feabe6beb57",
    "cargo": "sha256:eda503d462eda05c86b4a0ca49719b7a3249382bdb0b0ea20373732a0435ba0b",
    "go": "sha256:d6d9a9b321f1145f631bb2cd6fbfa2de12ce2c1b5da9d986f55b9b0c87c549aa",
    "script": "sha256:6186f55f66e418ffe2c3f215c2c5f9509ced069f61305ebadc946f21237a0898",
    "ext4": "sha256:6ce13e5b5fc3ad2a2f40c637d51c251de36c3820182db13f98c9ab1a8e2e60b7",
    "erofs": "sha256:62c03f2be547ef9c0f087da143e296201279f643e848154a7b01814ec36e3103",
    "squashfs": "sha256:1c35117c4e0ff37bfe0c73bf8e61c167c874d2017521d1beee499fe7dd86eb81",
    "cpio": "sha256:ff815fcc423b2ef8016f2393f97eed9ad83cc1eeb42f14901dd2586309f2bf75",
    "verity": "sha256:c9a1fad8d48cbe20f5a602423ac7d632f53c1728837a6f048d0085cbd56eca9f",
}
RECIPES = {
    "make": RECIPE,
    "cargo": replace(RECIPE, kind=Kind.CARGO),
    "go": replace(RECIPE, kind=Kind.GO),
    "script": replace(
        RECIPE, kind=Kind.SCRIPT, steps=(("cp", "a.c", "{out}/a"),), env=(("V", "{version}"),), work=WorkFolder.EMPTY
    ),
    "ext4": replace(RECIPE, kind=Kind.IMAGE, image=IMAGE, work=WorkFolder.EMPTY),
    "erofs": replace(RECIPE, kind=Kind.IMAGE, image=replace(IMAGE, format=ImageFormat.EROFS, size_mib=None)),
    "squashfs": replace(RECIPE, kind=Kind.IMAGE, image=replace(IMAGE, format=ImageFormat.SQUASHFS, size_mib=None, label="")),
    "cpio": replace(RECIPE, kind=Kind.IMAGE, image=replace(IMAGE, format=ImageFormat.CPIO, size_mib=None, label="")),
    "verity": replace(RECIPE, kind=Kind.IMAGE, image=replace(IMAGE, verity="share/root_hash.txt")),
}


def action(recipe, **changes):
    parts = {"component": "thing", "arch": Arch.X86_64, "version": "1.2"} | changes
    return action_of(
        recipe, parts["component"], parts["arch"], parts["version"], BUILDER, {"code": CODE}, {"base": CODE}, digest_bytes
    )


def test_the_action_of_every_kind_is_fixed():
    # A change here means that everything of that kind is made anew: raise ACTION_VERSION when results may differ.
    assert {name: encode_action(action(recipe)).digest for name, recipe in RECIPES.items()} == GOLDEN


@pytest.mark.parametrize("name", RECIPES)
def test_the_script_of_every_kind_is_shell(name):
    script = render_script(RECIPES[name], component="thing", arch=Arch.X86_64, version="1.2")
    assert subprocess.run(["sh", "-n"], input=script, capture_output=True, check=False).stderr == b""


def test_words_reach_programs_as_they_stand_in_the_rule(tmp_path):
    words = ["a b", "$HOME", "`id`", "it's", '"', "*", "", "a\nb", "~", "\\", "{version}-{arch}", "x={out}", "${jobs}"]
    recipe = replace(RECIPE, kind=Kind.SCRIPT, work=WorkFolder.EMPTY, steps=(("printf", "%s\\0", *words),))
    script = render_script(recipe, component="thing", arch=Arch.AARCH64, version="1:2~3")
    (tmp_path / "run").write_bytes(script)
    done = subprocess.run(
        ["sh", "run"], cwd=tmp_path, capture_output=True, check=True, env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    )
    seen = done.stdout.decode().split("\0")[:-1]
    assert seen[:10] == words[:10]
    assert seen[10] == "1:2~3-aarch64"
    assert seen[11] == f"x={tmp_path}/out/opt/kata"
    assert seen[12].startswith("$")
    assert seen[12][1:].isdigit()


def test_a_place_that_nobody_knows_is_refused():
    with pytest.raises(BuildError, match=r'unknown place "\{nowhere\}"'):
        action(replace(RECIPE, steps=(("true", "{nowhere}"),)))
    with pytest.raises(BuildError, match="cannot stand in an environment variable"):
        action(replace(RECIPE, env=(("A", "{out}"),)))


def test_a_kind_without_steps_needs_them():
    with pytest.raises(BuildError, match="has to state steps"):
        steps_of(replace(RECIPE, kind=Kind.SCRIPT), "thing")


def test_sources_parents_and_script_have_their_places():
    made = action(RECIPE)
    assert set(made.inputs) == {"", "build/rule", "build/src/code", "build/deps/base"}
    assert made.argv == ("/bin/sh", "rule/run")
    assert made.env["SOURCE_DATE_EPOCH"].isdigit()


def test_notes_limits_and_addresses_change_no_action():
    other = replace(
        RECIPE, notes="words", timeout_s=5, memory_mib=7, sources=(replace(SOURCE, urls=("https://example.invalid/a",)),)
    )
    assert encode_action(action(other)).digest == encode_action(action(RECIPE)).digest
    assert other.to_key() == RECIPE.to_key()


def test_links_are_made_last():
    script = render_script(
        replace(RECIPE, links=(Link(at=RelPath("bin/a"), target="b c"),)), component="thing", arch=Arch.X86_64, version="1"
    ).decode()
    assert script.endswith("ln -s 'b c' \"$OUT\"/bin/a\n")


def test_only_what_lies_below_the_prefix_is_the_component():
    entry = CODE.entries[RelPath("a.c")]
    good = Tree.of({RelPath("out/opt/kata/bin/a"): entry, RelPath("out/opt/kata/l"): Symlink(target="bin/a")})
    assert component_tree(good, "thing") == Tree.of({RelPath("bin/a"): entry, RelPath("l"): Symlink(target="bin/a")})
    for stray in ("out/etc/a", "out/opt/other"):
        with pytest.raises(BuildError, match="not below"):
            component_tree(Tree.of({**good.entries, RelPath(stray): Directory()}), "thing")
