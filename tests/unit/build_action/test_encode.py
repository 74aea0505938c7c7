"""Actions as messages: golden bytes, nothing that changes them but content, hostile answers refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kata_bundle.build.action import Action, Platform, decode_outputs, encode_action, encode_tree
from kata_bundle.build.action.encode import decode_tree
from kata_bundle.build.action.model import ROOT, normalized
from kata_bundle.build.reapi import remote_execution_pb2 as api
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.core.errors import BuildError, IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink, Tree

HELLO = digest_bytes(b"hello")


def file(mode=0o644, data=b"hello"):
    return File(mode=mode, size_bytes=len(data), digest=digest_bytes(data))


BUILDER = Tree.of({RelPath("usr/bin/sh"): file(0o755), RelPath("bin"): Symlink(target="usr/bin"), RelPath("tmp"): Directory()})
SOURCE = Tree.of({RelPath("a.c"): file(data=b"int a;"), RelPath("é/b"): file(data=b""), RelPath("é/a"): file()})


def action(**changes):
    parts = {
        "argv": ("/bin/sh", "-e", "steps"),
        "outputs": (RelPath("out"),),
        "platform": Platform(arch=Arch.X86_64),
        "inputs": {ROOT: BUILDER, RelPath("build/src"): SOURCE},
        "env": {"PATH": "/usr/bin", "LC_ALL": "C.UTF-8"},
        "salt": "test",
    }
    return Action(**(parts | changes))


def test_the_bytes_are_those_of_the_first_release():
    # Change these only together with the salt of every kind: a cache filled before would be lost, or worse, wrong.
    encoded = encode_action(action())
    assert encoded.messages[encoded.digest].hex() == GOLDEN_ACTION
    assert sorted(hex_part(digest)[:12] for digest in encoded.messages) == GOLDEN_MESSAGES


GOLDEN_ACTION = (
    "0a440a4037323761636366623764663065643565663863313335383934323631666562623438663932666538633266306234386634386634"
    "336435326636333739623563104512450a403763386139376165613933616261396534653433303030623931356162666139316437326430"
    "633432323261376536623433376433653633363066373266636410f7014a047465737452220a0d0a0349534112067838362d36340a110a08"
    "4f5346616d696c7912056c696e7578"
)
GOLDEN_MESSAGES = [
    "1d107d8667b3",
    "3d2165ad44ae",
    "61546eb11deb",
    "727accfb7df0",
    "7c8a97aea93a",
    "acf6a4f06263",
    "e3b0c44298fc",
    "e7a70cdd85b1",
    "ec28eadf81ba",
]


def test_order_of_inputs_and_variables_changes_nothing():
    turned = action(
        inputs={RelPath("build/src"): SOURCE, ROOT: Tree.of(dict(reversed(BUILDER.entries.items())))},
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin"},
    )
    assert encode_action(turned).digest == encode_action(action()).digest


def test_name_and_time_limit_change_nothing():
    assert encode_action(action(name="other", timeout_s=1.0)).digest == encode_action(action()).digest


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ("/bin/sh", "steps")},
        {"outputs": (RelPath("out"), RelPath("more"))},
        {"platform": Platform(arch=Arch.AARCH64)},
        {"inputs": {ROOT: BUILDER}},
        {"inputs": {ROOT: BUILDER, RelPath("build/source"): SOURCE}},
        {"inputs": {ROOT: BUILDER, RelPath("build/src"): Tree.of({**SOURCE.entries, RelPath("a.c"): file(0o755, b"int a;")})}},
        {"env": {"PATH": "/usr/bin"}},
        {"salt": "other"},
    ],
    ids=["argv", "outputs", "platform", "input gone", "input moved", "mode", "environment", "salt"],
)
def test_everything_that_can_change_the_result_changes_the_digest(changes):
    assert encode_action(action(**changes)).digest != encode_action(action()).digest


def test_of_modes_only_the_executable_bit_is_kept():
    odd = Tree.of({RelPath("d"): Directory(mode=0o700), RelPath("d/f"): file(0o4711), RelPath("d/g"): file(0o600)})
    plain = Tree.of({RelPath("d/f"): file(0o755), RelPath("d/g"): file(0o644)})
    first: dict = {}
    second: dict = {}
    assert encode_tree(odd, first) == encode_tree(plain, second)
    assert first == second


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"argv": ()}, "absolute path"),
        ({"argv": ("sh",)}, "absolute path"),
        ({"argv": ("/bin/sh", "a\0b")}, "NUL"),
        ({"env": {"A B": "1"}}, "environment variable"),
        ({"outputs": ()}, "no outputs"),
        ({"outputs": (RelPath("src"),)}, "also an input"),
        ({"inputs": {RelPath("etc"): SOURCE}}, "not at"),
    ],
)
def test_what_no_sandbox_could_run_is_refused(changes, message):
    with pytest.raises(BuildError, match=message):
        action(**changes)


def test_two_inputs_with_one_path_are_refused():
    inside = Tree.of({RelPath("build/src/a.c"): file()})
    with pytest.raises(BuildError, match=r"two inputs have \"/build/src/a.c\""):
        encode_action(action(inputs={ROOT: inside, RelPath("build/src"): SOURCE}))


def test_a_name_that_is_no_utf8_is_refused():
    with pytest.raises(IntegrityError, match="no UTF-8"):
        encode_tree(Tree.of({RelPath("a\udcff"): file()}), {})


names = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in {".", ".."}
)


@st.composite
def trees(draw):
    entries = {}
    for path in draw(st.lists(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=8, unique=True)):
        if any(path.startswith(f"{p}/") or p.startswith(f"{path}/") for p in entries):
            continue
        entries[RelPath(path)] = draw(
            st.sampled_from([file(), file(0o755), file(0o640, b"other"), Directory(), Symlink(target="a"), Directory(mode=0o700)])
        )
    files = [path for path, entry in entries.items() if isinstance(entry, File)]
    if files and "zz" not in entries:
        entries[RelPath("zz")] = Hardlink(target=files[0])
    return Tree.of(entries)


@given(trees())
def test_a_tree_comes_back_as_it_crossed_the_border(tree):
    messages: dict = {}
    root, files = encode_tree(tree, messages)
    assert decode_tree(messages[root], lambda digest, size: messages[digest]) == normalized(tree)
    assert files == {entry.digest: entry.size_bytes for entry in normalized(tree).entries.values() if isinstance(entry, File)}


@given(st.binary(max_size=200))
def test_no_bytes_of_a_server_crash_it(data):
    with contextlib.suppress(IntegrityError):
        decode_tree(data, lambda digest, size: data)


def node(name):
    return api.FileNode(name=name, digest=api.Digest(hash="0" * 64, size_bytes=1))


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        (api.Directory(files=[node("a/b")]), "member named"),
        (api.Directory(files=[node("")]), "member named"),
        (api.Directory(files=[node("..")]), r'contains "\.\."'),
        (api.Directory(files=[node("a"), node("a")]), "two members"),
        (api.Directory(files=[api.FileNode(name="a", digest=api.Digest(hash="xyz", size_bytes=1))]), "not a sha256 digest"),
        (api.Directory(files=[api.FileNode(name="a", digest=api.Digest(hash="0" * 64, size_bytes=-1))]), "length of -1"),
    ],
)
def test_directories_that_no_tree_can_be_are_refused(directory, message):
    with pytest.raises(IntegrityError, match=message):
        decode_tree(directory.SerializeToString(), lambda digest, size: b"")


def test_a_directory_that_holds_itself_ends():
    # Nobody can make one by digest; a server that does not check digests could send it.
    loop = api.Directory(
        directories=[api.DirectoryNode(name="d", digest=api.Digest(hash="0" * 64, size_bytes=1))]
    ).SerializeToString()
    with pytest.raises(IntegrityError):
        decode_tree(loop, lambda digest, size: loop)


def test_outputs_come_back_with_the_names_that_the_action_gave_them():
    child = api.Directory(
        files=[api.FileNode(name="f", digest=api.Digest(hash=hex_part(HELLO), size_bytes=5), is_executable=True)]
    )
    data = child.SerializeToString()
    root = api.Directory(
        directories=[api.DirectoryNode(name="d", digest=api.Digest(hash=hex_part(digest_bytes(data)), size_bytes=len(data)))]
    )
    tree = api.Tree(root=root, children=[child]).SerializeToString()
    result = api.ActionResult(
        output_files=[api.OutputFile(path="log", digest=api.Digest(hash=hex_part(HELLO), size_bytes=5))],
        output_directories=[
            api.OutputDirectory(path="out", tree_digest=api.Digest(hash=hex_part(digest_bytes(tree)), size_bytes=len(tree)))
        ],
        output_symlinks=[api.OutputSymlink(path="link", target="log")],
    )
    assert decode_outputs(result, lambda digest, size: tree) == Tree.of(
        {RelPath("log"): file(), RelPath("out/d/f"): file(0o755), RelPath("link"): Symlink(target="log")}
    )
    with pytest.raises(IntegrityError, match="not in the tree that names it"):
        decode_outputs(result, lambda digest, size: api.Tree(root=root).SerializeToString())
