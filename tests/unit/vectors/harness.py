"""What the conformance runner and the modules that answer its questions share.

A module ``answers_<topic>.py`` beside this one registers one function per question::

    @answers("section", area="hypervisor_name")
    def section(given):
        return {"value": hypervisor_section(given["shim"])}

The result is compared member by member with what the vector expects. Three members stand for a whole document, from which the
runner takes what it checks: ``toml`` (parsed data, for ``values``, ``absent``, ``arrays``), ``text`` (for ``text_*`` and the
like; it is parsed when there is no ``toml``) and ``directory`` (a path, for ``tree`` and ``same_inode``). A function that has to
fail raises the project's own error; its ``kind`` (or the kinds of its ``problems``), or the table of the module that registers
the function, must give the vector's label. ``given["tmp_path"]`` is an empty directory.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kata_bundle.core.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MismatchError",
    "answer_for",
    "answers",
    "check",
    "check_error",
    "register_errors",
    "registered",
    "toml_lookup",
    "write_tree",
]

_ANSWERS: dict[tuple[str, str], Any] = {}
_ERRORS: dict[str, tuple[type[Exception], ...]] = {}


class MismatchError(AssertionError):
    """The answer is not the expected one."""


def answers(kind: str, *, area: str | tuple[str, ...]) -> Callable[[Any], Any]:
    """Register a function as the answer to ``kind`` in one or more areas."""

    def register(function: Any) -> Any:
        for name in (area,) if isinstance(area, str) else area:
            if (name, kind) in _ANSWERS:
                msg = f"two answers for {kind} in {name}"
                raise RuntimeError(msg)
            _ANSWERS[name, kind] = function
        return function

    return register


def register_errors(kinds: Mapping[str, type[Exception] | tuple[type[Exception], ...]]) -> None:
    """Say which exception types stand for which labels, for errors that carry no ``kind`` of their own."""
    for kind, types in kinds.items():
        found = types if isinstance(types, tuple) else (types,)
        if _ERRORS.setdefault(kind, found) != found:
            msg = f"two meanings of error label {kind}"
            raise RuntimeError(msg)


def registered() -> frozenset[tuple[str, str]]:
    """Return the (area, kind) pairs that have an answer."""
    return frozenset(_ANSWERS)


def answer_for(area: str, kind: str) -> Any | None:
    """Return the function for a question: that of the area, else the only one that any area has for this kind."""
    if (area, kind) in _ANSWERS:
        return _ANSWERS[area, kind]
    others = {function for (_, name), function in _ANSWERS.items() if name == kind}
    return others.pop() if len(others) == 1 else None


def check_error(error: BaseException, expected: Mapping[str, Any]) -> None:
    """Check that ``error`` is of the expected kind and mentions what the operator has to see."""
    kinds = {str(kind) for kind in [getattr(error, "kind", None), *(p.kind for p in getattr(error, "problems", ()))] if kind}
    types = _ERRORS.get(expected["kind"], () if expected["kind"] in _known_labels() else (BundleError,))
    if expected["kind"] not in kinds and not (types and isinstance(error, types)):
        msg = f"expected an error of kind {expected['kind']}, got {type(error).__name__} ({', '.join(sorted(kinds))}): {error}"
        raise MismatchError(msg)
    shown = f"{error}\n{getattr(error, 'hint', None) or ''}"
    for text in expected.get("mentions", ()):
        if text not in shown:
            msg = f"the message does not mention {text!r}: {shown}"
            raise MismatchError(msg)


@cache
def _known_labels() -> frozenset[str]:
    """Return the labels of the shipped vectors. A label that is in none of them is met by any error of the project's own."""
    files = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "vectors").glob("*.json"))
    expected = [vector["expect"].get("error") for path in files for vector in json.loads(path.read_text())]
    return frozenset(error["kind"] for error in expected if error)


def check(result: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Check every member of ``expected`` against ``result``."""
    if "text" in result and "toml" not in result:
        result = {**result, "toml": tomllib.loads(split_template(result["text"])[1])}
    for member, wanted in expected.items():
        checker = _CHECKERS.get(member)
        source = _SOURCES.get(member)
        if member not in result and checker is not None and source in result:
            checker(result[source], wanted)
        elif member == "config":
            for key, value in wanted.items():
                _equal(f"config.{key}", result["config"][key], value)
        elif member == "new_inode":
            _equal("paths with a new inode", sorted(set(wanted) & set(result[member])), sorted(wanted))
        elif member == "ok":
            _equal(member, result.get("ok", True), wanted)
        elif member not in result:
            msg = f"the answer has no {member}: {dict(result)}"
            raise MismatchError(msg)
        elif isinstance(wanted, dict) and isinstance(result[member], dict) and {"absent", "values"} & wanted.keys():
            check(result[member], wanted)
        else:
            _equal(member, result[member], wanted)


def _equal(what: str, found: Any, wanted: Any) -> None:
    if not _same(found, wanted):
        msg = f"{what}: expected {wanted!r}, found {found!r}"
        raise MismatchError(msg)


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and isinstance(found, str):
        return re.sub(r"/+", "/", found) == re.sub(r"/+", "/", wanted) if wanted.startswith("/") else found == wanted
    if isinstance(wanted, list):
        return isinstance(found, list | tuple) and len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, dict):
        # What an answer says beyond the vector is its own business.
        return isinstance(found, dict) and all(k in found and _same(found[k], v) for k, v in wanted.items())
    return type(found) is type(wanted) and bool(found == wanted)


# -- TOML


def split_dotted(path: str) -> list[str]:
    """Return the components of a vector's TOML path."""
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^."]+)', path)]


def toml_lookup(data: Any, path: str) -> Any:
    """Return the value at a vector's TOML path. Raises ``KeyError``."""
    for part in split_dotted(path):
        if not isinstance(data, dict):
            raise KeyError(path)
        data = data[part]
    return data


def _values(data: Any, wanted: dict[str, Any]) -> None:
    for path, value in wanted.items():
        try:
            found = toml_lookup(data, path)
        except KeyError:
            msg = f"{path} is absent, expected {value!r}"
            raise MismatchError(msg) from None
        _equal(path, found, value)


def _arrays(data: Any, wanted: dict[str, Any]) -> None:
    for path, value in wanted.items():
        try:
            found = toml_lookup(data, path)
        except KeyError:
            found = []
        _equal(path, found, value)


def _absent(data: Any, wanted: list[str]) -> None:
    for path in wanted:
        try:
            found = toml_lookup(data, path)
        except KeyError:
            continue
        msg = f"{path} must not exist, found {found!r}"
        raise MismatchError(msg)


# -- text


def _starts_with(text: str, wanted: str) -> None:
    _equal("beginning", text[: len(wanted)], wanted)


def _contains(text: str, wanted: list[str] | str) -> None:
    for part in [wanted] if isinstance(wanted, str) else wanted:
        if part not in text:
            msg = f"{part!r} is not in {text!r}"
            raise MismatchError(msg)


def _contains_not(text: str, wanted: list[str] | str) -> None:
    for part in [wanted] if isinstance(wanted, str) else wanted:
        if part in text:
            msg = f"{part!r} is in {text!r}"
            raise MismatchError(msg)


def _count(text: str, wanted: dict[str, int]) -> None:
    for part, number in wanted.items():
        _equal(f"occurrences of {part!r}", text.count(part), number)


def _after(text: str, prefix: str) -> str:
    _starts_with(text, prefix)
    return text[len(prefix) :]


def _no_blank_lines(text: str, prefix: str) -> None:
    if _after(text, prefix).startswith("\n"):
        msg = f"a blank line follows {prefix!r}: {text!r}"
        raise MismatchError(msg)


def _first_nonblank(text: str, wanted: str) -> None:
    _starts_with(split_template(text)[1].lstrip(), wanted)


def split_template(text: str) -> tuple[str, str]:
    """Return the template line that ``text`` may begin with, and the TOML after it."""
    if not text.startswith("{{"):
        return "", text
    head, newline, body = text.partition("\n")
    return head + newline, body


# -- trees


def write_tree(root: Path, tree: Mapping[str, Any], names: Mapping[str, str] | None = None) -> None:
    """Make the entries of a vector's tree below ``root``; ``names`` replaces ``{SRC}`` and ``{DST}``."""
    for name, entry in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.get("dir"):
            path.mkdir(exist_ok=True)
        elif "symlink" in entry:
            path.symlink_to(_fill(entry["symlink"], names))
        else:
            path.write_text(entry["file"])
            if "mode" in entry:
                path.chmod(int(entry["mode"], 8))


def _fill(text: str, names: Mapping[str, str] | None) -> str:
    for name, value in (names or {}).items():
        text = text.replace(name, value)
    return text


def _tree(directory: Path, wanted: dict[str, Any]) -> None:
    found = set()
    for folder, folders, files in os.walk(directory):
        for name in [*folders, *files]:
            path = Path(folder, name)
            if not stat.S_ISDIR(path.lstat().st_mode):
                found.add(path.relative_to(directory).as_posix())
    _equal("entries", sorted(found), sorted(name for name, entry in wanted.items() if not entry.get("dir")))
    for name, entry in wanted.items():
        path = directory / name
        if entry.get("dir"):
            _equal(f"{name} is a directory", path.is_dir() and not path.is_symlink(), wanted=True)
        elif "symlink" in entry:
            _equal(name, str(path.readlink()), _fill(entry["symlink"], {"{DST}": str(directory)}))
        else:
            _equal(name, path.read_text(), entry["file"])
            if "mode" in entry:
                _equal(f"mode of {name}", f"{stat.S_IMODE(path.stat().st_mode):04o}", entry["mode"])


# -- single texts and exact mappings


def _ends_not(text: str, wanted: str) -> None:
    if text.endswith(wanted):
        msg = f"{text!r} ends in {wanted!r}"
        raise MismatchError(msg)


def _at_most(found: int, wanted: int) -> None:
    if found > wanted:
        msg = f"{found} is more than {wanted}"
        raise MismatchError(msg)


def _exactly(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    _equal("members", sorted(found), sorted(wanted))
    _equal("mapping", found, wanted)


def _same_inode(directory: Path, wanted: list[list[str]]) -> None:
    for group in wanted:
        inodes = {(directory / name).lstat().st_ino for name in group}
        _equal(f"number of files behind {group}", len(inodes), 1)


_SOURCES = {
    "values": "toml",
    "arrays": "toml",
    "absent": "toml",
    "text_starts_with": "text",
    "text_contains": "text",
    "text_not_contains": "text",
    "text_count": "text",
    "no_blank_lines_after_prefix": "text",
    "first_nonblank_after_prefix": "text",
    "tree": "directory",
    "same_inode": "directory",
    "body_contains": "body_text",
    "starts_with": "value",
    "last_character_not": "value",
    "max_length": "longest",
    "updates": "all_updates",
    "set": "all_set",
}
_CHECKERS: dict[str, Any] = {
    "values": _values,
    "arrays": _arrays,
    "absent": _absent,
    "text_starts_with": _starts_with,
    "text_contains": _contains,
    "text_not_contains": _contains_not,
    "text_count": _count,
    "no_blank_lines_after_prefix": _no_blank_lines,
    "first_nonblank_after_prefix": _first_nonblank,
    "tree": _tree,
    "same_inode": _same_inode,
    "body_contains": _contains,
    "starts_with": _starts_with,
    "last_character_not": _ends_not,
    "max_length": _at_most,
    "updates": _exactly,
    "set": _exactly,
}
