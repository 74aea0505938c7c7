from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from kata_bundle.archive.zstd import current_recipe
from kata_bundle.bundle.assemble import bundle_indexes, check_targets, write_layout, write_tarballs
from kata_bundle.bundle.pack import Content, pack_contents
from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import ComponentMap
from kata_bundle.core.errors import UsageError
from kata_bundle.oci import open_bundle, verify_layout
from kata_bundle.plan.closure import plan_closure
from kata_bundle.plan.selection import Selection
from kata_bundle.store import Store

DATE = 1_600_000_000
X, A = Arch.X86_64, Arch.AARCH64


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", durable=False)


def layers_of(plan, store, tmp_path):
    contents = []
    for planned in plan.components:
        folder = tmp_path / "trees" / planned.arch / planned.component
        folder.mkdir(parents=True, exist_ok=True)
        (folder / planned.component).write_text(f"{planned.component} {planned.arch}\n" * 50)
        contents.append(
            Content(
                component=planned.component,
                arch=planned.arch,
                tree=store.ingest_directory(folder).digest,
                origin="fixture",
                version="1",
                rule_key=None,
                hermetic=False,
            )
        )
    packed = pack_contents(contents, store, recipe=current_recipe(3), source_date=DATE, jobs=1)
    return [p.layer for p in packed]


def made(catalog, store, tmp_path, shims=("qemu", "clh"), arches=(X, A)):
    plan = plan_closure(catalog, Selection(shims=tuple(shims), arches=tuple(arches)))
    return plan, layers_of(plan, store, tmp_path)


def test_the_index_of_each_architecture_holds_its_cells_and_defaults_of_the_selection(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path, shims=("qemu", "qemu-runtime-rs"))
    indexes = bundle_indexes(catalog, plan, layers)
    assert list(indexes) == [X, A]
    assert indexes[A].shims["qemu"] == catalog.component_map.components("qemu", A)
    assert "ovmf" in indexes[A].layers
    assert "ovmf" not in indexes[X].layers
    assert indexes[X].default_shim == "qemu-runtime-rs"
    assert indexes[X].default_shims == ("qemu", "qemu-runtime-rs")
    assert [c["name"] for c in indexes[X].runtime_classes] == ["kata-qemu", "kata-qemu-runtime-rs"]


def test_a_bundle_of_everything_enables_the_architectures_defaults(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path, shims=("all",), arches=(X,))
    index = bundle_indexes(catalog, plan, layers)[X]
    assert set(index.default_shims) == set(catalog.arches[X].default_shims) & set(index.shims)
    assert len(index.shims) > len(index.default_shims) > 1


def test_a_selection_without_the_default_shim_has_none(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path, shims=("clh",), arches=(X,))
    assert bundle_indexes(catalog, plan, layers)[X].default_shim is None


def test_the_layout_is_valid_and_repeats_to_the_byte(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path)
    one = write_layout(catalog, plan, layers, store, tmp_path / "one", source_date=DATE)
    two = write_layout(catalog, plan, layers, store, tmp_path / "two", source_date=DATE)
    assert one == two == open_bundle(tmp_path / "one").digest
    assert not verify_layout(tmp_path / "one")
    names = sorted(os.path.relpath(os.path.join(d, f), tmp_path / "one") for d, _, fs in os.walk(tmp_path / "one") for f in fs)
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_smaller_selection_replaces_a_larger_one_in_place(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path)
    write_layout(catalog, plan, layers, store, tmp_path / "out", source_date=DATE)
    small, small_layers = made(catalog, store, tmp_path, shims=("clh",), arches=(X,))
    write_layout(catalog, small, small_layers, store, tmp_path / "out", source_date=DATE)
    bundle = open_bundle(tmp_path / "out")
    assert bundle.arches() == (X,)
    assert "qemu" not in bundle.index(X).layers
    assert not verify_layout(tmp_path / "out")


def test_tarballs_of_one_architecture_lie_beside_a_map_of_exactly_the_selection(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path, arches=(X,))
    (folder,) = write_tarballs(catalog, plan, layers, store, tmp_path / "t")
    found = ComponentMap.parse((folder / "shim-components.json").read_bytes())
    assert set(found.cells()) == {("qemu", "x86_64"), ("clh", "x86_64")}
    assert found.components("qemu", "x86_64") == catalog.component_map.components("qemu", "x86_64")
    expected = {f"kata-static-{c.component}.tar.zst" for c in plan.components} | {"shim-components.json"}
    assert set(os.listdir(folder)) == expected


def test_tarballs_of_several_architectures_get_a_folder_each(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path)
    folders = write_tarballs(catalog, plan, layers, store, tmp_path / "t")
    assert folders == (tmp_path / "t" / "x86_64", tmp_path / "t" / "aarch64")


def test_tarballs_of_an_earlier_run_go_and_other_files_are_never_touched(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path, arches=(X,))
    write_tarballs(catalog, plan, layers, store, tmp_path / "t")
    small, small_layers = made(catalog, store, tmp_path, shims=("remote",), arches=(X,))
    write_tarballs(catalog, small, small_layers, store, tmp_path / "t")
    assert sorted(os.listdir(tmp_path / "t")) == ["kata-static-shim-v2-go.tar.zst", "shim-components.json"]
    (tmp_path / "t" / "precious").touch()
    before = sorted(os.listdir(tmp_path / "t"))
    with pytest.raises(UsageError, match="precious"):
        write_tarballs(catalog, plan, layers, store, tmp_path / "t")
    assert sorted(os.listdir(tmp_path / "t")) == before


def test_several_writers_of_one_folder_leave_one_whole_bundle(catalog, store, tmp_path):
    """Each removes what its index does not name: unguarded, they take each other's temporary files away."""
    large, large_layers = made(catalog, store, tmp_path)
    small, small_layers = made(catalog, store, tmp_path, shims=("clh",), arches=(X,))

    def write(number):
        plan, layers = ((large, large_layers), (small, small_layers))[number % 2]
        write_layout(catalog, plan, layers, store, tmp_path / "out", source_date=DATE)
        if plan is small:
            write_tarballs(catalog, plan, layers, store, tmp_path / "t")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert not verify_layout(tmp_path / "out")
    used = {layer.packed for layer in (small_layers if open_bundle(tmp_path / "out").arches() == (X,) else large_layers)}
    assert len(os.listdir(tmp_path / "out" / "blobs" / "sha256")) == len(used) + 1 + 2 * len(
        open_bundle(tmp_path / "out").arches()
    )
    assert not [name for name in os.listdir(tmp_path / "t") if ".tmp-" in name]


@pytest.mark.parametrize(
    ("layout", "tarballs", "lock", "words"),
    [
        ("a", "a", None, "the layout .*a would lie in the folder of the tarballs"),
        ("a/b", "a", None, "the layout .* would lie in the folder of the tarballs"),
        ("a", "a/b", None, "the tarballs .* would lie in the folder of the layout"),
        ("link", "a", None, "would lie in the folder of"),
        ("a", None, "a/kata-bundle.lock", "the folder of the lock .* does not exist"),
        ("there", None, "there/kata-bundle.lock", "the lock .* would lie in the folder of the layout"),
        (None, "there", "there/kata-bundle.lock", "the lock .* would lie in the folder of the tarballs"),
        ("file", None, None, "is a file, expected a folder"),
        (None, "file", None, "is a file, expected a folder"),
        (None, "file/below", None, "is a file, expected a folder"),
        ("taken", None, None, 'holds "letter"'),
        (None, "taken", None, 'holds "letter"'),
    ],
)
def test_places_are_looked_at_before_any_work(catalog, tmp_path, layout, tarballs, lock, words):
    plan = plan_closure(catalog, Selection(shims=("qemu",), arches=(X,)))
    (tmp_path / "there").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("a")
    places = {"layout": layout, "tarballs": tarballs, "lock": lock}
    with pytest.raises(UsageError, match=words):
        check_targets(plan, **{what: None if name is None else tmp_path / name for what, name in places.items()})


def test_tarballs_of_one_architecture_are_not_mixed_with_folders_of_several(catalog, store, tmp_path):
    plan, layers = made(catalog, store, tmp_path, arches=(X,))
    write_tarballs(catalog, plan, layers, store, tmp_path / "t")
    both, both_layers = made(catalog, store, tmp_path)
    with pytest.raises(UsageError, match="which is no part of a tarball set"):
        write_tarballs(catalog, both, both_layers, store, tmp_path / "t")


def test_places_beside_each_other_are_fine(catalog, store, tmp_path):
    plan = plan_closure(catalog, Selection(shims=("qemu",), arches=(X, A)))
    check_targets(plan, layout=tmp_path / "a", tarballs=tmp_path / "ab", lock=tmp_path / "lock")
