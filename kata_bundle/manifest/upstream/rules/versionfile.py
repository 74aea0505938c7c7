"""Rules about the version file: every key that a script reads exists, every entry has a reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.upstream.facts import UpstreamTree

__all__ = ["missing_versions", "misspelt_keys", "other_majors", "unread_versions"]


def _matches(pattern: tuple[str, ...], key: tuple[str, ...]) -> bool:
    return len(pattern) == len(key) and all(p in {"*", k} for p, k in zip(pattern, key, strict=True))


@tree_rule("KB671", "a version that does not exist")
def missing_versions(tree: UpstreamTree) -> Iterator[Problem]:
    """A script reads a key that the version file does not have, so it goes on with an empty text, or stops.

    Parts of the key that only the script knows may be anything; the finding means that no key fits at all.

    Repair: correct the key, or add it to the file.

    False alarm: a script that treats a missing key as an option.
    """
    versions = tree.versions
    if versions is None:
        return
    known = {**versions.values, **versions.groups}
    by_length: dict[int, list[tuple[str, ...]]] = {}
    for key in known:
        by_length.setdefault(len(key), []).append(key)
    for read in versions.reads:
        if not read.required or read.key in known:
            continue
        if "*" in read.key and (read.key[0] == "*" or any(_matches(read.key, key) for key in by_length.get(len(read.key), ()))):
            continue
        name = ".".join(read.key)
        hint = did_you_mean(name, (".".join(key) for key in versions.values))
        yield Problem(span=read.span, message=f'{versions.path} has no "{name}"', hint=hint)


@tree_rule("KB672", "an entry of the version file that nothing reads", severity=Severity.WARNING)
def unread_versions(tree: UpstreamTree) -> Iterator[Problem]:
    """No script, makefile, image or workflow names a group of the version file, nor anything in it.

    It is a left-over of what was removed, or is read under a misspelt name. Only groups are reported, not single values such as a
    description, and only the outermost one.

    Repair: remove the entry, or correct the name where it is read.

    False alarm: an entry for a tool outside of the tree.
    """
    versions = tree.versions
    if versions is None or not versions.reads or not versions.has_tests:
        return
    patterns = {read.key for read in versions.reads}
    reported: set[tuple[str, ...]] = set()
    for group, span in sorted(versions.groups.items()):
        if len(group) < 2 or any(group[:i] in reported for i in range(1, len(group))) or group[-1] in _ANNOTATIONS:
            continue
        if not _is_read(group, patterns, versions.words):
            reported.add(group)
            yield Problem(span=span, message=f'nothing reads "{".".join(group)}" or anything in it')


@tree_rule("KB673", "a key that is spelt as on no other architecture", severity=Severity.WARNING)
def misspelt_keys(tree: UpstreamTree) -> Iterator[Problem]:
    """Below "architecture", one architecture has a key that no other one has, and lacks one that looks like it.

    Scripts put the key together from the architecture and what they build, and find nothing under the other name.

    Repair: spell the key as the other architectures do.

    False alarm: a variant for one architecture whose name is much like another's that is not for it.
    """
    if tree.versions is None:
        return
    below: dict[tuple[str, ...], dict[str, dict[str, Span]]] = {}
    for path, span in {**tree.versions.groups, **tree.versions.values}.items():
        if len(path) > 2 and path[-3] == "architecture":
            below.setdefault(path[:-2], {}).setdefault(path[-2], {})[path[-1]] = span
    for arches in below.values():
        for arch, keys in arches.items():
            others = {key for other, names in arches.items() if other != arch for key in names}
            for key, span in keys.items():
                hint = None if key in others else did_you_mean(key, sorted(others - keys.keys()))
                if hint is not None:
                    yield Problem(span=span, message=f'no other architecture has "{key}", as {arch} has here', hint=hint)


@tree_rule("KB678", "an address of another major version")
def other_majors(tree: UpstreamTree) -> Iterator[Problem]:
    """The address of an entry of the version file has the folder of one major version ("v5.x"), its version is of another.

    Downloading stops with "not found". Most often the version was raised and the address was not.

    Repair: correct the address.

    False alarm: none.
    """
    texts = {} if tree.versions is None else tree.versions.texts
    for key, item in texts.items():
        folder = _MAJOR_FOLDER.search(item.name) if key[-1] == "url" else None
        version = texts.get((*key[:-1], "version"))
        major = None if version is None else _MAJOR.match(version.name)
        if folder is not None and version is not None and major is not None and folder.group(1) != major.group(1):
            name = ".".join(key[:-1])
            message = f'"{name}" has the version {version.name}, but its address has a folder "v{folder.group(1)}.x"'
            yield Problem(span=item.span, message=message, related=(version.span,))


_MAJOR_FOLDER = re.compile(r"/v(\d+)\.x(?:/|$)")
_MAJOR = re.compile(r"v?(\d+)\.\d")
_ENTRY = 2
"""Parts of the key of an entry, such as "externals.gperf"."""
_ANNOTATIONS = frozenset({"meta"})
"""Groups that hold remarks for people and tools that are not in the tree."""


def _is_read(group: tuple[str, ...], patterns: Iterable[tuple[str, ...]], words: frozenset[str]) -> bool:
    for pattern in patterns:
        size = min(len(pattern), len(group))
        # Reading what is above reads the group too; the top alone ("assets") is a word, not a read.
        if size >= 2 and all(p in {"*", g} for p, g in zip(pattern[:size], group[:size], strict=True)):
            # A script that is told the name has to be told it by another one. Names of several words may be put together.
            named = size < len(group) or pattern[size - 1] != "*" or len(group) != _ENTRY or "-" in group[-1]
            if named or group[-1] in words:
                return True
    return False
