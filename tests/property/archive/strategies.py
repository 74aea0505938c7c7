"""Trees of any shape a component may have, with the content of their files."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st

from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, Entry, File, Hardlink, Symlink, Tree

NAMES = st.one_of(
    st.sampled_from(
        ["a", "b", "a-b", "a.b", "A", "x" * 255, "é", "tab\t", "new\nline", "\udcff\udcfe", " ", "...", "%", "y" * 101]
    ),
    st.binary(min_size=1, max_size=20)
    .map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_").decode("utf-8", "surrogateescape"))
    .filter(lambda name: name not in {".", ".."}),
)
MODES = st.integers(0, 0o777)
CONTENTS = st.one_of(
    st.binary(max_size=2000),
    st.builds(
        lambda seed, zeros, tail: seed + bytes(zeros) + tail,
        st.binary(max_size=40),
        st.integers(0, 300_000),
        st.binary(max_size=40),
    ),
)


@st.composite
def _links(draw: st.DrawFn, depth: int) -> Symlink:
    up = draw(st.integers(0, depth))
    down = draw(st.lists(NAMES, max_size=3))
    absolute = draw(st.sampled_from([None, None, "/opt/kata", "/opt/katana", "/etc"]))
    if absolute is not None:
        return Symlink(target="/".join([absolute, *down]))
    return Symlink(target="/".join([".."] * up + down) or ".")


@st.composite
def trees(draw: st.DrawFn) -> tuple[Tree, Mapping[Digest, bytes]]:
    """A tree and its content by digest."""
    entries: dict[RelPath, Entry] = {}
    contents: dict[Digest, bytes] = {}
    directories = [""]
    files: list[RelPath] = []
    for _ in range(draw(st.integers(0, 12))):
        parent = draw(st.sampled_from(directories))
        name = draw(NAMES)
        path = RelPath(f"{parent}/{name}" if parent else name)
        if path in entries or len(path) > 3000:
            continue
        kind = draw(st.sampled_from(["directory", "file", "file", "symlink", "hardlink"]))
        if kind == "directory":
            entries[path] = Directory(mode=draw(MODES))
            directories.append(path)
        elif kind == "symlink":
            entries[path] = draw(_links(path.count("/")))
        elif kind == "hardlink" and files:
            entries[path] = Hardlink(target=draw(st.sampled_from(files)))
        else:
            content = draw(CONTENTS)
            digest = digest_bytes(content)
            contents[digest] = content
            entries[path] = File(mode=draw(MODES), size_bytes=len(content), digest=digest)
            files.append(path)
    return Tree.of(entries), contents
