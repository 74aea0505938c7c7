"""From an image to the configurations that boot it: the edge in the graph, the hash in the file, the key that follows."""

from __future__ import annotations

import io
import tomllib
from dataclasses import replace

import pytest

from kata_bundle.build.actionrules import ImageFormat, ImagePlan, Source, SourceKind
from kata_bundle.build.components import build_component
from kata_bundle.build.deblock import DebLock
from kata_bundle.build.explain import explain
from kata_bundle.build.facts import facts_of
from kata_bundle.build.rulebook import Rulebook, Target
from kata_bundle.build.rulefile import load_rules
from kata_bundle.build.rules import FixtureRecipe, Kind, Link, Rule
from kata_bundle.build.sandbox import Backend
from kata_bundle.build.toolchain import PinnedToolchain, Toolchain
from kata_bundle.build.verity import measured_images, parse_verity
from kata_bundle.build.workshop import Workshop
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Symlink, Tree
from kata_bundle.store import ActionResult
from tests.support.verity import root_hash
from tests.unit.build.test_deblock import pin
from tests.unit.build.test_explain import ACTION

X86, S390X = Arch.X86_64, Arch.S390X
GO, RUST, IMAGE = (Target(arch=X86, component=name) for name in ("shim-v2-go", "shim-v2-rust", "rootfs-image"))
FOLDER = "share/kata-containers"
HASH_FILE = RelPath(f"{FOLDER}/root_hash_base.txt")
STAND_IN = FixtureRecipe(links=(), notes="")
MADE = replace(
    ACTION,
    kind=Kind.IMAGE,
    needs=(),
    sources=(Source(name="guest", kind=SourceKind.FILES, path="guest"),),
    image=ImagePlan(format=ImageFormat.EXT4, content="src/guest", target=f"{FOLDER}/i.image", size_mib=1, verity=HASH_FILE),
    links=(Link(at=RelPath(f"{FOLDER}/kata-containers.img"), target="i.image"),),
)
TOOLS = Toolchain(name="c", arches=(X86,), suite="trixie", packages=("gcc",), links=(), notes="")
SALT = "5a" * 32


@pytest.fixture
def book(catalog, tmp_path):
    """Return a rulebook with the shims and an image whose guest's one file has the given content."""
    guest = tmp_path / "rules" / "rootfs-image" / "guest"
    guest.mkdir(parents=True)

    def make(content: str = "a", image=MADE, **more) -> Rulebook:
        (guest / "unit").write_text(content)
        rules = {
            "rootfs-image": Rule(component="rootfs-image", recipes={X86: image}),
            "rootfs-image-nvidia": Rule(component="rootfs-image-nvidia", recipes={X86: STAND_IN}),
            "shim-v2-go": Rule(component="shim-v2-go", recipes={X86: STAND_IN, S390X: STAND_IN}),
            "shim-v2-rust": Rule(component="shim-v2-rust", recipes={X86: STAND_IN}),
        }
        pinned = {("c", X86): PinnedToolchain(name="c", arch=X86, pins=(pin("gcc"),), tree=None)}
        return Rulebook(catalog, rules, DebLock(()), toolchains={"c": TOOLS}, pinned=pinned, folder=tmp_path / "rules", **more)

    return make


def line(data: bytes) -> str:
    blocks = len(data) // 4096
    root = root_hash(io.BytesIO(data), SALT, blocks)
    return f"root_hash={root},salt={SALT},data_blocks={blocks},data_block_size=4096,hash_block_size=4096"


def remember_image(store, book, data: bytes, *, text: str | None = None, hermetic=True) -> str:
    """Put an image into the store as if its action had been carried out; return its line."""
    stated = line(data) if text is None else text
    entries = {
        RelPath(f"{FOLDER}/i.image"): File(mode=0o644, size_bytes=len(data), digest=store.put_bytes(data)),
        RelPath(f"{FOLDER}/kata-containers.img"): Symlink(target="i.image"),
        HASH_FILE: File(mode=0o644, size_bytes=len(stated) + 1, digest=store.put_bytes(f"{stated}\n".encode())),
    }
    tree = Tree.of(entries)
    result = ActionResult(
        tree=store.put_tree(tree), origin="image", version="1", hermetic=hermetic, ingredients=book.ingredients(IMAGE)
    )
    store.put_result(book.key(IMAGE), result)
    return stated


def configuration(store, catalog, built, shim: str) -> dict:
    config = catalog.shims[shim]
    entry = store.get_tree(built.tree).entries[RelPath(f"{config.config_directory}/{config.config_file}")]
    document = tomllib.loads(store.read(entry.digest).decode())
    return document["hypervisor"][config.configs[X86].hypervisor_table]


def test_a_configuration_states_the_hash_of_the_image_it_boots(catalog, store, book):
    rules = book()
    stated = remember_image(store, rules, b"image".ljust(4096 * 300, b"\1"))
    go = build_component(rules, store, GO)
    assert configuration(store, catalog, go, "qemu")["kernel_verity_params"] == stated
    assert configuration(store, catalog, go, "clh")["kernel_verity_params"] == stated
    rust = build_component(rules, store, RUST)
    assert configuration(store, catalog, rust, "qemu-runtime-rs")["kernel_verity_params"] == stated
    # An image that is a stand-in, and a guest that starts from memory, have none.
    assert "kernel_verity_params" not in configuration(store, catalog, go, "qemu-nvidia-gpu")
    assert all(
        e["verity_params"] == "" for e in configuration(store, catalog, rust, "qemu-snp-runtime-rs")["guest_extension_images"]
    )
    assert go.hermetic


def test_the_shims_need_the_measured_images_that_a_rule_makes(book):
    rules = book()
    assert rules.parents(GO) == rules.parents(RUST) == (IMAGE,)
    assert rules.parents(Target(arch=S390X, component="shim-v2-go")) == ()
    assert rules.order([GO]) == (IMAGE, GO)
    assert book(image=STAND_IN).parents(GO) == ()


def test_every_shipped_shim_has_the_edge(catalog):
    rules = Rulebook.load(catalog)
    for target in (GO, RUST, *(replace(one, arch=Arch.AARCH64) for one in (GO, RUST))):
        assert replace(IMAGE, arch=target.arch) in rules.parents(target)
        assert '"rootfs-image"' in rules.ingredients(target)["parents"]


def test_one_byte_in_the_guest_changes_the_keys_and_is_explained(catalog, store, book):
    before = book("a")
    remember_image(store, before, b"a".ljust(8192, b"\0"))
    first = build_component(before, store, GO)
    after = book("b")
    assert after.key(IMAGE) != before.key(IMAGE)
    assert after.key(GO) != first.rule_key
    found = explain(after, store, GO)
    assert not found.is_known
    (change,) = found.changes
    assert change.where == ("needed components", "rootfs-image", "files beside the rule", "guest", "unit")
    stated = remember_image(store, after, b"b".ljust(8192, b"\0"))
    second = build_component(after, store, GO)
    assert second.tree != first.tree
    assert configuration(store, catalog, second, "qemu")["kernel_verity_params"] == stated
    assert build_component(before, store, GO).is_cached


def test_an_imported_image_is_not_given_the_hash_of_another(catalog, store, book):
    rules = book(imported=[IMAGE])
    assert rules.parents(GO) == ()
    assert rules.key(GO) != book().key(GO)
    built = build_component(rules, store, GO)
    assert "kernel_verity_params" not in configuration(store, catalog, built, "qemu")


def test_what_an_unhermetic_image_is_the_hash_of_is_not_hermetic(store, book):
    rules = book()
    remember_image(store, rules, bytes(4096), hermetic=False)
    assert not build_component(rules, store, GO, workshop=Workshop(backend=Backend.NONE)).hermetic


@pytest.mark.parametrize(
    "text",
    ["", "root_hash=ab", line(bytes(4096)) + "\nmore", line(bytes(4096)).replace("4096", "4095"), line(bytes(4096)).upper(),
     line(bytes(4096)).replace("data_blocks=1", "data_blocks=0"), line(bytes(4096)) + '"', "x" * 2000],
)  # fmt: skip
def test_a_file_that_is_no_such_line_stops_the_build(store, book, text):
    rules = book()
    remember_image(store, rules, bytes(4096), text=text)
    with pytest.raises(BuildError, match=r"root_hash_base\.txt of rootfs-image \(x86_64\) is no"):
        build_component(rules, store, GO)


def test_a_rule_of_an_image_that_needs_a_shim_is_a_circle(book):
    rules = book(image=replace(MADE, needs=("shim-v2-go",)))
    with pytest.raises(BuildError, match="rules need each other: shim-v2-go → rootfs-image → shim-v2-go"):
        rules.key(GO)


def test_the_line_of_an_image_is_taken_as_it_is():
    text = line(bytes(4096 * 3))
    assert parse_verity(text.encode() + b"\n", what="it") == text
    assert parse_verity(text.encode(), what="it") == text


def test_images_are_found_by_the_catalog(catalog):
    found = measured_images(catalog, facts_of(catalog, "shim-v2-rust", X86))
    assert {path.rpartition("/")[2]: one.component for path, one in found.items()} == {
        "kata-containers.img": "rootfs-image",
        "kata-containers-nvidia.img": "rootfs-image-nvidia",
        "kata-containers-coco-extension.img": "rootfs-image-coco-extension",
        "kata-containers-nvidia-gpu-extension.img": "rootfs-image-nvidia-gpu-extension",
    }
    assert measured_images(catalog, facts_of(catalog, "kernel", X86)) == {}
    assert (
        load_rules()["rootfs-image"].recipes[X86].image.verity
        == found["/opt/kata/share/kata-containers/kata-containers.img"].hash_file
    )
