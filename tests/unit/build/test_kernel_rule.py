"""The compiled kernel's rule: fragments are not dropped in silence, and one byte of them reaches what depends on it."""

from __future__ import annotations

import runpy
import shutil

import pytest

from kata_bundle.build.explain import explain
from kata_bundle.build.rulebook import Rulebook, Target
from kata_bundle.build.rules import Kind
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.profile import Profile
from kata_bundle.core.resources import shipped
from kata_bundle.core.tree import Tree
from kata_bundle.store import ActionResult

FOLDER = shipped("buildrules") / "kernel"
ARCHES = (Arch.X86_64, Arch.AARCH64)


@pytest.fixture(scope="module")
def kconfig():
    return runpy.run_path(str(FOLDER / "kconfig.py"))


@pytest.fixture
def fragments(tmp_path):
    def write(**files: str):
        folder = tmp_path / "fragments"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / f"{name}.conf").write_text(text)
        return folder

    return write


def test_fragments_are_merged_in_the_order_of_names(kconfig, fragments, tmp_path):
    folder = fragments(b="# Why.\n\nCONFIG_B=y\n# CONFIG_A is not set\n", a='CONFIG_C="x y"\nCONFIG_B=y\n')
    kconfig["main"](["merge", str(tmp_path / "wanted"), str(folder)])
    assert (tmp_path / "wanted").read_text() == '# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C="x y"\n'


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "CONFIG_A=y\nCONFIG_A=y\n"}, r"a\.conf:2: CONFIG_A is there twice"),
        ({"a": "CONFIG_A=y\n", "b": "# CONFIG_A is not set\n"}, r"CONFIG_A is y in .*a\.conf and n in .*b\.conf"),
        ({"a": "CONFIG A=y\n"}, r"a\.conf:1: neither an option nor a comment"),
        ({"a": "#CONFIG_A=y\n"}, r"a\.conf:1: neither"),
        ({"a": "# nothing\n"}, "no fragment asks for anything"),
    ],
)
def test_fragments_that_say_nothing_clear_are_refused(kconfig, fragments, files, message):
    with pytest.raises(SystemExit, match=message):
        kconfig["main"](["merge", "wanted", str(fragments(**files))])


def test_an_option_that_did_not_take_effect_fails_with_its_name(kconfig, tmp_path, capsys):
    (tmp_path / "wanted").write_text("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=8\nCONFIG_GONE=y\n")
    good = "#\n# Linux Kernel Configuration\n#\nCONFIG_A=y\nCONFIG_N=8\nCONFIG_GONE=y\nCONFIG_MORE=y\n"
    (tmp_path / "config").write_text(good)
    kconfig["main"](["check", str(tmp_path / "wanted"), str(tmp_path / "config")])
    assert "all 4 options" in capsys.readouterr().out
    (tmp_path / "config").write_text("CONFIG_A=m\nCONFIG_B=y\nCONFIG_N=9\n")
    with pytest.raises(SystemExit) as failed:
        kconfig["main"](["check", str(tmp_path / "wanted"), str(tmp_path / "config")])
    for line in ("A: asked for y, is m", "B: asked for n, is y", "GONE: asked for y, is n", "N: asked for 8, is 9"):
        assert f"CONFIG_{line}" in str(failed.value)


@pytest.mark.parametrize("arch", ARCHES)
def test_the_shipped_fragments_agree_and_ask_for_what_a_guest_cannot_do_without(kconfig, arch):
    options = kconfig["merge"]([str(FOLDER / "fragments" / "common"), str(FOLDER / "fragments" / arch.value)])
    assert options["CONFIG_MODULES"] == "n"
    for name in (
        "VIRTIO_BLK",
        "VIRTIO_FS",
        "VIRTIO_VSOCKETS",
        "SCSI_VIRTIO",
        "DM_INIT",
        "DM_VERITY",
        "DEVTMPFS_MOUNT",
        "EXT4_FS",
    ):
        assert options[f"CONFIG_{name}"] == "y"


@pytest.fixture
def rules(tmp_path):
    place = tmp_path / "rules"
    shutil.copytree(shipped("buildrules"), place)
    return place


def book_of(catalog, rules):
    return Rulebook.load(catalog, rules, profile=Profile.SOURCE)


def targets_of(book):
    return [Target(arch=arch, component=name) for name, rule in book.rules.items() for arch in rule.recipes_of(Profile.SOURCE)]


def needing(book, targets, changed):
    """Return what of ``targets`` is of ``changed`` or needs one of it, at any distance."""
    return {target for target in targets if changed & set(book.order([target]))}


@pytest.mark.parametrize(("fragment", "arches"), [("x86_64/machine.conf", {Arch.X86_64}), ("common/virtio.conf", set(ARCHES))])
def test_one_byte_of_a_fragment_reaches_what_depends_on_it_and_nothing_else(catalog, store, rules, fragment, arches):
    before = book_of(catalog, rules)
    targets = targets_of(before)
    keys = {target: before.key(target) for target in targets}
    for target in targets:
        store.put_tree(Tree.of({}))
        made = ActionResult(
            tree=Tree.of({}).digest, origin="x", version="1", hermetic=True, ingredients=before.ingredients(target)
        )
        store.put_result(keys[target], made)

    path = rules / "kernel" / "fragments" / fragment
    old = path.read_bytes()
    new = old.replace(b"# ", b"#\t", 1)
    assert len(new) == len(old)
    path.write_bytes(new)

    after = book_of(catalog, rules)
    changed = {target for target in targets if after.key(target) != keys[target]}
    kernels = {Target(arch=arch, component="kernel") for arch in arches}
    assert changed == needing(after, targets, kernels)
    assert kernels <= changed
    assert {after.recipe(kernel).kind for kernel in kernels} == {Kind.MAKE}
    for target in targets:
        found = explain(after, store, target)
        assert found.is_known == (target not in changed)
        if target in kernels:
            (change,) = found.changes
            source = "common" if fragment.startswith("common") else "machine"
            assert change.where == ("files beside the rule", source, fragment.rpartition("/")[2])
            assert (change.old, change.new) == (f"0644 {digest_bytes(old)}", f"0644 {digest_bytes(new)}")
            assert found.nearest == keys[target]


def test_without_the_profile_the_fragments_are_of_no_account(catalog, rules):
    target = Target(arch=Arch.X86_64, component="kernel")
    before = Rulebook.load(catalog, rules, profile=Profile.PACKAGES)
    assert before.recipe(target).kind is Kind.DEB
    key = before.key(target)
    with (rules / "kernel" / "fragments" / "common" / "base.conf").open("a") as file:
        file.write("CONFIG_X=y\n")
    assert Rulebook.load(catalog, rules, profile=Profile.PACKAGES).key(target) == key
