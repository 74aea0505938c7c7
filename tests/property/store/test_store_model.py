"""The store against a model: a dictionary of what was put."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.tree import Directory, File, Symlink, Tree
from kata_bundle.store import ActionResult, LayerRecord, Store
from tests.support.strategies import json_values

contents = st.binary(max_size=40) | st.sampled_from([b"x" * (1 << 18), b"y" * ((1 << 18) + 1), b"z" * 600_000])
names = st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True)


class StoreMachine(RuleBasedStateMachine):
    """Puts, readings, corruption and re-opening in any order."""

    digests = Bundle("digests")

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="store-model-"))
        self.store = Store(self.folder / "s", durable=False)
        self.model: dict[str, bytes] = {}
        self.results: dict[str, ActionResult] = {}

    def teardown(self):
        shutil.rmtree(self.folder)

    @rule(target=digests, data=contents, way=st.sampled_from(["bytes", "stream", "file", "batch", "writer"]))
    def put(self, data, way):
        match way:
            case "bytes":
                digest = self.store.put_bytes(data)
            case "stream":
                digest, _ = self.store.put_stream(io.BytesIO(data))
            case "file":
                (self.folder / "f").write_bytes(data)
                digest, _ = self.store.put_file(self.folder / "f")
            case "batch":
                with self.store.batch() as batch:
                    digest = batch.put_bytes(data)
            case "writer":
                with self.store.new_blob() as blob:
                    blob.sink.write(data)
                    digest, _ = blob.publish()
        assert digest == digest_bytes(data)
        self.model[digest] = data
        return digest

    @rule(digest=digests)
    def read(self, digest):
        if digest in self.model:
            assert self.store.read(digest) == self.model[digest]

    @rule(digest=digests)
    def corrupt_and_read(self, digest):
        if not self.model.get(digest):
            return
        path = self.store.path(digest)
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
        try:
            self.store.read(digest)
        except IntegrityError:
            del self.model[digest]
        else:
            raise AssertionError("corruption went unnoticed")

    @rule(key=contents, digest=digests)
    def remember(self, key, digest):
        tree = Tree.of({"f": File(mode=0o644, size_bytes=len(self.model.get(digest, b"")), digest=digest)})
        self.model[tree.digest] = tree.to_json()
        result = ActionResult(tree=self.store.put_tree(tree), origin="o", version="v", hermetic=True, ingredients={"k": "v"})
        self.store.put_result(digest_bytes(key), result)
        self.results[digest_bytes(key)] = result

    @rule()
    def reopen(self):
        self.store = Store(self.folder / "s", durable=False)

    @invariant()
    def what_was_put_is_there_and_nothing_else(self):
        assert list(self.store.digests()) == sorted(self.model)
        assert not list((self.folder / "s" / "tmp").iterdir())

    @invariant()
    def a_result_is_found_exactly_when_it_is_complete(self):
        for key, result in self.results.items():
            complete = result.tree in self.model and not self.store.missing_files(Tree.from_json(self.model[result.tree]))
            assert self.store.get_result(key) == (result if complete else None)


StoreMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=15)
TestStoreAgainstModel = StoreMachine.TestCase


@given(json_values)
def test_any_json_is_a_record_or_refused_as_damaged(value):
    for kind in (ActionResult, LayerRecord):
        try:
            kind.from_dict(value)
        except IntegrityError:
            pass
        else:
            raise AssertionError(value)


entries = st.dictionaries(
    st.lists(names, min_size=1, max_size=3).map("/".join),
    st.one_of(st.just(Directory()), st.builds(Symlink, target=names), contents),
    max_size=8,
)


@given(entries)
def test_a_folder_on_disk_becomes_the_tree_it_was_made_from(wanted):
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary) / "in"
        top.mkdir()
        expected = {}
        for path, entry in sorted(wanted.items()):
            if any(
                str(parent) in expected for parent in Path(path).parents if not isinstance(expected.get(str(parent)), Directory)
            ):
                continue
            if any(other.startswith(f"{path}/") for other in expected):
                continue
            target = top / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(entry, Directory):
                target.mkdir(exist_ok=True)
                expected[path] = entry
            elif isinstance(entry, Symlink):
                target.symlink_to(entry.target)
                expected[path] = entry
            else:
                target.write_bytes(entry)
                target.chmod(0o644)
                expected[path] = File(mode=0o644, size_bytes=len(entry), digest=digest_bytes(entry))
        for folder in top.rglob("*"):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o755)
        store = Store(Path(temporary) / "s", durable=False)
        tree = store.ingest_directory(top)
        assert tree == Tree.of(expected)
        assert store.has_tree(tree.digest)
