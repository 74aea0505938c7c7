"""The version file and the scripts that read it.

Formats: versions.yaml; reads are texts like ``.assets.kernel.version`` in shell scripts, makefiles, Dockerfiles and workflows.
Parts that only the script knows (``${variable}``) may be anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.diagnostics import Span
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Item, VersionRead, Versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["PATH", "is_wanted", "read_versions"]

PATH: Final = "versions.yaml"
_READERS: Final = re.compile(
    r"(?:.*\.(?:sh|bash|mk|bats|py|ya?ml|rs|toml|gradle|just)|(?:.*/)?(?:Makefile|Dockerfile|justfile|Justfile|PKGBUILD)[^/]*)"
)
_CALL: Final = re.compile(
    r"\b(?:get_from_kata_deps|get_version|get_dep_from_yaml_db|get_package_version_from_kata_yaml|get_test_version)"
    r"[ \t]+[\"']?\.?([A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_${}-]+)+)"
)
_YQ: Final = re.compile(r"\byq\b[^\n|]*?[\"' ]\.?([a-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_${}-]+)+)[^\n|]*versions\.yaml")
_MOVED_TESTS: Final = ("tests/integration/cri-containerd/", "tests/integration/nydus/", "tests/functional/")
"""Tests that were elsewhere until the summer of 2023, and read the file there."""
_MAX_READERS: Final = 6000


def is_wanted(name: str) -> bool:
    """Return whether ``name`` may be a script that reads the version file."""
    if name.startswith(("docs/", "src/runtime/vendor/")) or "/vendor/" in name or "/testdata/" in name:
        return False
    if name.endswith((".yaml", ".yml")):
        return name.startswith(".github/")
    if name.endswith((".rs", ".toml", ".py")):
        return name.startswith(("tools/", "ci/")) and "Cargo" not in name
    return _READERS.fullmatch(name) is not None


def read_versions(reading: Reading) -> Versions | None:
    """Return keys and reads, ``None`` when the tree has no version file that can be read."""
    document = reading.document(PATH)
    if document is None:
        if PATH not in reading.files.names:
            reading.not_understood(Span(path=PATH), "the version file was not found", code=codes.MISSING)
        return None
    if not isinstance(document.data, dict):
        reading.not_understood(document.span(()), "expected a table of versions")
        return None
    values: dict[tuple[str, ...], Span] = {}
    groups: dict[tuple[str, ...], Span] = {}
    _walk(document, (), document.data, values, groups)
    tops = sorted(str(key) for key, value in document.data.items() if isinstance(value, dict))
    reads: list[VersionRead] = []
    for name in [n for n in sorted(reading.files.names) if is_wanted(n)][:_MAX_READERS]:
        if name == PATH:
            continue
        data = reading.files.read(name)
        if data is None or not any(f"{top}.".encode() in data for top in tops):
            continue
        text = reading.text(name)
        if text is not None:
            reads += _reads(text, tops)
    words = _words(reading, {group[-1] for group in groups if len(group) > 1})
    has_tests = any(name.startswith(_MOVED_TESTS) for name in reading.files.names)
    return Versions(
        path=PATH, values=values, groups=groups, reads=tuple(reads), has_tests=has_tests, words=words, texts=_texts(document)
    )


def _texts(document: Document) -> dict[tuple[str, ...], Item]:
    """Return every value that is a text, and where it stands."""
    found: dict[tuple[str, ...], Item] = {}

    def walk(where: KeyPath, value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk((*where, key), item)
        elif isinstance(value, str):
            found[tuple(str(part) for part in where)] = Item(value, document.span(where))

    walk((), document.data)
    return found


def _words(reading: Reading, names: set[str]) -> frozenset[str]:
    """Return which of ``names`` are words of a file that may read the version file, alone and not as part of a path."""
    found: set[str] = set()
    wanted = {name: re.compile(rb"(?<![\w/.-])" + re.escape(name.encode()) + rb"(?![\w/-])") for name in names}
    for name in [n for n in sorted(reading.files.names) if is_wanted(n)][:_MAX_READERS]:
        data = None if name == PATH else reading.files.read(name)
        for word in wanted.keys() - found if data is not None else ():
            if word.encode() in (data or b"") and wanted[word].search(data or b""):
                found.add(word)
    return frozenset(found)


def _walk(
    document: Document,
    where: KeyPath,
    value: object,
    values: dict[tuple[str, ...], Span],
    groups: dict[tuple[str, ...], Span],
) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            below = (*where, key)
            path = tuple(str(part) for part in below)
            (groups if isinstance(item, dict) else values)[path] = document.span(below, of_key=True)
            _walk(document, below, item, values, groups)


def _reads(text: Text, tops: list[str]) -> Iterator[VersionRead]:
    required: set[int] = set()
    for pattern in (_CALL, _YQ):
        for match in pattern.finditer(text.text):
            line = text.text[text.text.rfind("\n", 0, match.start()) + 1 : match.start()]
            if not line.lstrip().startswith("#"):
                required.add(match.start(1))
    any_key = re.compile(r"(?<![\w/.:-])\.?((?:" + "|".join(re.escape(top) for top in tops) + r")(?:\.[A-Za-z0-9_${}-]+)+)")
    seen: set[int] = set()
    for match in any_key.finditer(text.text):
        seen.add(match.start(1))
        yield _read(text, match, required=match.start(1) in required)
    for pattern in (_CALL, _YQ):
        for match in pattern.finditer(text.text):
            if match.start(1) in required and match.start(1) not in seen:
                yield _read(text, match, required=True)


def _read(text: Text, match: re.Match[str], *, required: bool) -> VersionRead:
    name = match.group(1).rstrip(".")
    key = tuple("*" if "$" in part or "{" in part else part for part in name.split("."))
    return VersionRead(key, text.span(match.start(1), match.start(1) + len(name)), required)
