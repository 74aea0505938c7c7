"""The functions of make that compute text from text.

Knows: words, patterns, names of files. Must not know: makefiles, and how variables get their values: that is behind
:class:`Context`. A function without an entry in :data:`PURE` or :data:`SPECIAL` is unknown.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.manifest.upstream.make.text import is_known, pattern_match, split_arguments, unknown

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FUNCTIONS", "Context", "call_function"]


class Context(Protocol):
    """What functions need of the evaluator."""

    folder: str
    """Where make would run, relative to the tree."""

    def expand(self, text: str) -> str:
        """Return ``text`` with variables and functions expanded."""

    def expand_with(self, text: str, values: dict[str, str]) -> str:
        """Return ``text`` expanded while ``values`` are set."""

    def value(self, name: str) -> str | None:
        """Return the unexpanded value of a variable, ``None`` when it has none."""

    def shell(self, command: str) -> str:
        """Return the output of a program where it is known, else an unknown."""

    def exists(self, name: str) -> bool:
        """Return whether the tree has a file ``name``, relative to the tree."""

    def matching(self, pattern: str) -> list[str]:
        """Return the files of the tree that match ``pattern``, relative to the tree."""

    def fail(self, message: str) -> None:
        """Note that make would stop here."""


def call_function(context: Context, name: str, text: str) -> str:
    """Return the result of function ``name`` with the unexpanded arguments ``text``."""
    special = _SPECIAL.get(name)
    if special is not None:
        return special(context, text)
    arguments, function = _PURE[name]
    parts = split_arguments(text, arguments)
    if len(parts) < arguments:
        return unknown(f"$({name} …) with {len(parts)} arguments")
    values = [context.expand(part) for part in parts]
    if not all(is_known(value) for value in values):
        return unknown(f"$({name} …) of something unknown")
    return function(*values)


# ---- pure functions: number of arguments, and what they do with them ----------------------------------------------------------


def _each(function: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: " ".join(function(word) for word in text.split())


def _filtered(patterns: str, text: str, *, keep: bool) -> str:
    known = patterns.split()
    return " ".join(w for w in text.split() if any(pattern_match(p, w) is not None for p in known) == keep)


def _patsubst(pattern: str, replacement: str, text: str) -> str:
    words = []
    for word in text.split():
        stem = pattern_match(pattern.strip(), word)
        words.append(word if stem is None else replacement.replace("%", stem, 1) if "%" in pattern else replacement)
    return " ".join(words)


def _nth(index: str, text: str) -> str:
    words = text.split()
    number = int(index) if index.strip().isdigit() else 0
    return words[number - 1] if 0 < number <= len(words) else ""


def _word_list(first: str, last: str, text: str) -> str:
    if not (first.strip().isdigit() and last.strip().isdigit()):
        return ""
    return " ".join(text.split()[max(int(first) - 1, 0) : int(last)])


def _dir(word: str) -> str:
    return word[: word.rfind("/") + 1] or "./"


def _suffix(text: str) -> str:
    return " ".join(s for s in (posixpath.splitext(word)[1] for word in text.split()) if s)


def _join(first: str, second: str) -> str:
    left, right = first.split(), second.split()
    size = max(len(left), len(right))
    pairs = zip([*left, *[""] * (size - len(left))], [*right, *[""] * (size - len(right))], strict=True)
    return " ".join(a + b for a, b in pairs)


_PURE: Final[dict[str, tuple[int, Callable[..., str]]]] = {
    "addprefix": (2, lambda prefix, text: " ".join(prefix + word for word in text.split())),
    "addsuffix": (2, lambda suffix, text: " ".join(word + suffix for word in text.split())),
    "basename": (1, _each(lambda word: posixpath.splitext(word)[0])),
    "dir": (1, _each(_dir)),
    "filter": (2, lambda patterns, text: _filtered(patterns, text, keep=True)),
    "filter-out": (2, lambda patterns, text: _filtered(patterns, text, keep=False)),
    "findstring": (2, lambda part, text: part if part in text else ""),
    "firstword": (1, lambda text: (text.split() or [""])[0]),
    "join": (2, _join),
    "lastword": (1, lambda text: (text.split() or [""])[-1]),
    "notdir": (1, _each(lambda word: word[word.rfind("/") + 1 :])),
    "patsubst": (3, _patsubst),
    "sort": (1, lambda text: " ".join(sorted(set(text.split())))),
    "strip": (1, lambda text: " ".join(text.split())),
    "subst": (3, lambda old, new, text: text.replace(old, new) if old else text + new),
    "suffix": (1, _suffix),
    "word": (2, _nth),
    "wordlist": (3, _word_list),
    "words": (1, lambda text: str(len(text.split()))),
}


# ---- functions that expand their arguments themselves, or look at the tree ----------------------------------------------------


def _if(context: Context, text: str) -> str:
    parts = split_arguments(text, 3)
    condition = context.expand(parts[0].strip())
    if not is_known(condition):
        return unknown("$(if …) on something unknown")
    if condition:
        return context.expand(parts[1]) if len(parts) > 1 else ""
    return context.expand(parts[2]) if len(parts) > 2 else ""


def _or(context: Context, text: str) -> str:
    for part in split_arguments(text):
        value = context.expand(part.strip())
        if value:
            return value
    return ""


def _and(context: Context, text: str) -> str:
    value = ""
    for part in split_arguments(text):
        value = context.expand(part.strip())
        if not value:
            return ""
    return value


def _foreach(context: Context, text: str) -> str:
    parts = split_arguments(text, 3)
    if len(parts) < 3:
        return unknown("$(foreach …) with too few arguments")
    name, words = context.expand(parts[0]).strip(), context.expand(parts[1])
    if not is_known(words):
        return unknown("$(foreach …) over something unknown")
    return " ".join(context.expand_with(parts[2], {name: word}) for word in words.split())


def _call(context: Context, text: str) -> str:
    parts = split_arguments(text)
    name = context.expand(parts[0]).strip()
    values = {str(i): context.expand(part) for i, part in enumerate(parts[1:], 1)}
    if name in FUNCTIONS:
        return unknown(f"$(call {name},…) of a built-in function")
    body = context.value(name)
    if body is None:
        return ""
    return context.expand_with(body, {"0": name, **{str(i): "" for i in range(len(parts), 10)}, **values})


def _paths(context: Context, text: str) -> list[str] | None:
    value = context.expand(text)
    return value.split() if is_known(value) else None


def _absolute(context: Context, word: str) -> str:
    return word if word.startswith("/") else posixpath.join("/", context.folder, word)


def _abspath(context: Context, text: str) -> str:
    words = _paths(context, text)
    if words is None:
        return unknown("$(abspath …) of something unknown")
    return " ".join(posixpath.normpath(_absolute(context, word)).replace("//", "/") for word in words)


def _realpath(context: Context, text: str) -> str:
    words = _paths(context, text)
    if words is None:
        return unknown("$(realpath …) of something unknown")
    found = [posixpath.normpath(_absolute(context, word)) for word in words if not word.startswith("/")]
    return " ".join(path for path in found if context.exists(path.lstrip("/")))


def _wildcard(context: Context, text: str) -> str:
    words = _paths(context, text)
    if words is None or any(word.startswith("/") for word in words):
        return unknown("$(wildcard …) outside the tree")
    found: list[str] = []
    for word in words:
        top = posixpath.normpath(posixpath.join(context.folder, word))
        found += [posixpath.relpath(name, context.folder) for name in context.matching(top)]
    return " ".join(found)


def _shell(context: Context, text: str) -> str:
    return context.shell(context.expand(text).strip())


def _silent(context: Context, text: str) -> str:
    context.expand(text)
    return ""


def _error(context: Context, text: str) -> str:
    context.fail(context.expand(text).strip())
    return ""


def _value(context: Context, text: str) -> str:
    return context.value(context.expand(text).strip()) or ""


_SPECIAL: Final[dict[str, Callable[[Context, str], str]]] = {
    "abspath": _abspath,
    "and": _and,
    "call": _call,
    "error": _error,
    "eval": lambda _context, _text: unknown("$(eval …)"),
    "file": lambda _context, _text: unknown("$(file …)"),
    "flavor": lambda _context, _text: unknown("$(flavor …)"),
    "foreach": _foreach,
    "guile": lambda _context, _text: unknown("$(guile …)"),
    "if": _if,
    "info": _silent,
    "let": lambda _context, _text: unknown("$(let …)"),
    "or": _or,
    "origin": lambda _context, _text: unknown("$(origin …)"),
    "realpath": _realpath,
    "shell": _shell,
    "value": _value,
    "warning": _silent,
    "wildcard": _wildcard,
}

FUNCTIONS: Final = frozenset(_PURE) | frozenset(_SPECIAL)
"""Names that make treats as functions, whether they can be computed here or not."""
