from __future__ import annotations

import os

import pytest

from kata_bundle.archive.layer import scan_layer
from kata_bundle.archive.packing import PACKER
from kata_bundle.archive.toc import Table
from kata_bundle.archive.zstd import current_recipe
from kata_bundle.bundle.pack import Content, pack_contents
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import replace
from kata_bundle.store import Store

DATE = 1_600_000_000


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store", durable=False)


@pytest.fixture
def contents(tmp_path, store):
    made = []
    for name in ("kernel", "qemu", "ovmf"):
        folder = tmp_path / name
        (folder / "share").mkdir(parents=True)
        (folder / "share" / name).write_bytes(name.encode() * 40_000)
        os.symlink(name, folder / "share" / "link")
        made.append(content(name, store.ingest_directory(folder).digest))
    return made


def content(component, tree, **changes):
    facts = {"arch": Arch.X86_64, "origin": "deb", "version": "1", "rule_key": None, "hermetic": False, **changes}
    return Content(component=component, tree=tree, **facts)


def pack(contents, store, jobs=2, source_date=DATE, level=3):
    return pack_contents(contents, store, recipe=current_recipe(level), source_date=source_date, jobs=jobs)


def test_layers_come_back_in_order_and_hold_their_trees(store, contents):
    packed = pack(contents, store)
    assert [p.layer.component for p in packed] == ["kernel", "qemu", "ovmf"]
    for one, made in zip(packed, contents, strict=True):
        with store.open(one.layer.packed) as stream:
            tree, scanned = scan_layer(stream, what=one.layer.component)
        assert (tree.digest, scanned.diff_id) == (made.tree, one.layer.diff_id)


def test_a_second_run_packs_nothing(store, contents):
    first, second = pack(contents, store), pack(contents, store)
    assert [p.reused for p in first] == [False] * 3
    assert [p.reused for p in second] == [True] * 3
    assert [p.layer for p in first] == [p.layer for p in second]


@pytest.mark.parametrize("jobs", [1, 3])
def test_bytes_do_not_depend_on_jobs_or_umask(tmp_path, store, contents, jobs):
    before = [p.layer.packed for p in pack(contents, store)]
    for layer in store.layers():
        store.drop_layer(layer)
    old = os.umask(0o077)
    try:
        assert [p.layer.packed for p in pack(contents, store, jobs=jobs)] == before
    finally:
        os.umask(old)


def test_equal_content_by_another_recipe_is_told_as_repacked(store, contents):
    class Notes:
        def __init__(self):
            self.lines = []

        def start(self, task, total, unit="bytes"): ...
        def advance(self, task, amount): ...
        def finish(self, task): ...

        def note(self, message):
            self.lines.append(message)

    notes = Notes()
    old = pack(contents[:1], store)[0]
    older = replace(old.layer, recipe={"codec": "zstd", "level": 3, "library": "1.4.0"}, table=None)
    store.drop_layer(old.layer)
    store.put_layer(older)
    new = pack_contents(contents[:1], store, recipe=current_recipe(3), source_date=DATE, jobs=1, progress=notes)[0]
    assert (old.repacked, new.repacked, new.reused) == (None, older, False)
    library = current_recipe().library
    rest = f"min match none → 4, packer none → {PACKER}"
    assert notes.lines == [
        f"kernel (x86_64): same content, repacked (library 1.4.0 → {library}, frame size none → 2097152, {rest})"
    ]


def test_layers_have_a_table_that_the_record_names(store, contents):
    for packed in pack(contents, store):
        data = store.read(packed.layer.packed)
        ref = packed.layer.table
        document = data[ref.offset : ref.offset + ref.size_bytes]
        assert digest_bytes(document) == ref.digest
        table = Table.from_json(document, what="layer")
        assert (table.tree.digest, table.diff_id) == (packed.layer.tree, packed.layer.diff_id)


def test_dates_and_levels_are_part_of_the_bytes_and_never_of_the_tree(store, contents):
    one, two, three = (pack(contents[:1], store, **change)[0].layer for change in ({}, {"source_date": DATE + 1}, {"level": 4}))
    assert len({one.packed, two.packed, three.packed}) == 3
    assert {one.tree, two.tree, three.tree} == {contents[0].tree}


def test_a_reused_layer_states_the_provenance_of_who_asks(store, contents):
    pack(contents, store)
    key = digest_bytes(b"rule")
    again = pack([content("kernel", contents[0].tree, version="2", rule_key=key, arch=Arch.AARCH64)], store)[0]
    assert again.reused
    assert (again.layer.version, again.layer.rule_key, again.layer.arch) == ("2", key, Arch.AARCH64)


def test_a_damaged_file_in_the_store_is_named_and_nothing_is_published(store, contents):
    tree = store.get_tree(contents[0].tree)
    blob = store.path(next(e.digest for e in tree.entries.values() if hasattr(e, "digest")))
    os.chmod(blob, 0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    with pytest.raises(IntegrityError):
        pack(contents[:1], store)
    assert list(store.layers()) == []


def test_progress_names_components_and_ends_with_every_task(store, contents):
    class Recorder:
        def __init__(self):
            self.started, self.finished, self.done = {}, [], 0

        def start(self, task, total, unit="bytes"):
            self.started[task] = total

        def advance(self, task, amount):
            self.done += amount

        def finish(self, task):
            self.finished.append(task)

        def note(self, message):
            raise AssertionError(message)

    recorder = Recorder()
    pack_contents(contents, store, recipe=current_recipe(3), source_date=DATE, jobs=1, progress=recorder)
    names = ["pack kernel (x86_64)", "pack qemu (x86_64)", "pack ovmf (x86_64)"]
    assert list(recorder.started) == recorder.finished == names
    assert recorder.done == sum(recorder.started.values())
