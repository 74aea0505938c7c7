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
    "make": "sha256:e3f5e9b17e417a1713d8302c3b4c23e276258d6ab09f8ce3914c1447c5b4620a",
    "cargo": "sha256:75c0e40a87b633a4e7f7f1ca60bba3b49172822174661f10d917f657f0a59ca7",
    "go": "sha256:ff05a75efee7a89b2e0c3d5a07e755bedf960c7cd09c0905da136a1325c89895",
    "script": "sha256:083a4a09a14ce8abb783fb4b065bec7ac7b4c7b4d711f29205b9a2a6927c39e8",
    "ext4": "sha256:41ab460beb3f8a5f26ce65af7b788805fa8097df1483465b88d880e140b32fcd",
    "erofs": "sha256:e8b35ce7a67eaac9d241bd494a797530fcfb5c8c41871786d6774abc8f2d91e4",
    "squashfs": "sha256:773fe8be3e78053b0bad39de5d6373f73be82fe193203edb71476595b52cfa54",
    "cpio": "sha256:593c37602c059e3b14c646bef4c9a73365cfbf8e20487909dd41926488a4808f",
    "verity": "sha256:e067e4f7130507488a3d02c19e083fd90643eb30fdb6a6199841da281a5fb859",
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
