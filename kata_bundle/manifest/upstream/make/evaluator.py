"""Read a makefile as make does: in order, with conditionals, includes, immediate and deferred values.

Knows: variables, and how values are expanded. Must not know: which variables matter to whom. Recipes are kept, never run.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.upstream.make.functions import FUNCTIONS, call_function
from kata_bundle.manifest.upstream.make.statements import Reader
from kata_bundle.manifest.upstream.make.text import closing, is_known, pattern_match, unknown
from kata_bundle.manifest.upstream.make.values import Place, Target, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.manifest.upstream.source import Files

__all__ = ["Makefile", "evaluate"]

_MAX_DEPTH: Final = 60
_MAX_TEXT: Final = 1 << 20
_MAX_STEPS: Final = 400_000
_MAX_INCLUDES: Final = 50


@dataclass(kw_only=True, slots=True)
class Makefile:
    """The result of reading a makefile, and what can be asked of it."""

    files: Files
    folder: str
    outputs: Mapping[str, str]
    variables: dict[str, Variable] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    """What was not understood."""
    stops: list[tuple[Place, str]] = field(default_factory=list)
    """Errors with which make would have stopped. Reading goes on behind them."""
    said: Mapping[str, str] = field(default_factory=dict)
    """What make itself says of variables, where it was asked."""
    _locals: list[dict[str, str]] = field(default_factory=list)
    _expanding: set[str] = field(default_factory=set)
    _depth: int = 0
    _steps: int = 0
    _includes: int = 0
    place: Place = field(default_factory=lambda: Place("", 0))
    """The statement that is being read."""

    # ---- what readers ask ---------------------------------------------------------------------------------------------------

    def get(self, name: str) -> str:
        """Return the value of a variable: empty when it has none, with unknown parts where it depends on what is not known.

        Where make itself was asked, its answer is returned.
        """
        return self.said[name] if name in self.said else self.expand(f"$({name})")

    def places(self, name: str) -> tuple[Place, ...]:
        """Return the lines that gave ``name`` its value, in order."""
        variable = self.variables.get(name)
        return () if variable is None else variable.places

    # ---- for functions ------------------------------------------------------------------------------------------------------

    def expand(self, text: str) -> str:
        """Return ``text`` with variables and functions expanded."""
        if "$" not in text:
            return text
        self._steps += 1
        if self._depth >= _MAX_DEPTH or self._steps > _MAX_STEPS:
            return unknown("a value that refers to itself, or to too much")
        self._depth += 1
        try:
            return self._expanded(text)
        finally:
            self._depth -= 1

    def expand_with(self, text: str, values: dict[str, str]) -> str:
        """Return ``text`` expanded while ``values`` are set."""
        self._locals.append(values)
        try:
            return self.expand(text)
        finally:
            self._locals.pop()

    def value(self, name: str) -> str | None:
        """Return the unexpanded value of a variable."""
        variable = self.variables.get(name)
        return None if variable is None else variable.text

    def shell(self, command: str) -> str:
        """Return the known output of ``command``."""
        words = " ".join(command.split())
        if words in self.outputs:
            return self.outputs[words]
        if words.startswith("cat ") and is_known(words):
            name = posixpath.normpath(posixpath.join(self.folder, words.removeprefix("cat ")))
            data = self.files.read(name)
            if data is not None:
                return " ".join(data.decode("utf-8", "replace").split())
        return unknown(f"the output of a program: {words[:60]}")

    def exists(self, name: str) -> bool:
        """Return whether the tree has a file or folder of that name."""
        names = self.files.names
        return name in names or any(other.startswith(f"{name}/") for other in names)

    def matching(self, pattern: str) -> list[str]:
        """Return the files of the tree that match ``pattern``."""
        parts = pattern.count("/")
        return sorted(n for n in self.files.names if n.count("/") == parts and fnmatch.fnmatchcase(n, pattern))

    def fail(self, message: str) -> None:
        """Note that make would stop here."""
        self.stops.append((self.place, message.strip("\"' ")))

    # ---- expansion ----------------------------------------------------------------------------------------------------------

    def _expanded(self, text: str) -> str:
        out: list[str] = []
        at, size = 0, 0
        while at < len(text):
            dollar = text.find("$", at)
            if dollar < 0 or dollar + 1 >= len(text):
                out.append(text[at:])
                break
            out.append(text[at:dollar])
            c = text[dollar + 1]
            if c == "$":
                out.append("$")
                at = dollar + 2
                continue
            if c in "({":
                end = closing(text, dollar + 1)
                out.append(self._reference(text[dollar + 2 : end]))
                at = end + 1
            else:
                out.append(self._variable(c))
                at = dollar + 2
            size += len(out[-1])
            if size > _MAX_TEXT:
                return unknown("a value that is too long")
        return "".join(out)

    def _reference(self, inside: str) -> str:
        head = re.match(r"([a-z-]+)(?:\s+|$)", inside)
        if head is not None and head.group(1) in FUNCTIONS and head.end() > head.end(1):
            return call_function(self, head.group(1), inside[head.end() :])
        substitution = re.fullmatch(r"([^:=$]+):([^=]*)=(.*)", inside, re.DOTALL)
        if substitution is not None:
            name, old, new = (self.expand(part) for part in substitution.groups())
            return self._substituted(self._variable(name), old, new)
        return self._variable(self.expand(inside))

    def _substituted(self, value: str, old: str, new: str) -> str:
        if not is_known(value):
            return value
        if "%" not in old:
            old, new = f"%{old}", f"%{new}"
        words = []
        for word in value.split():
            stem = pattern_match(old, word)
            words.append(word if stem is None else new.replace("%", stem, 1))
        return " ".join(words)

    def _variable(self, name: str) -> str:
        for values in reversed(self._locals):
            if name in values:
                return values[name]
        variable = self.variables.get(name)
        if variable is None:
            return ""
        if not variable.deferred:
            return variable.text
        if name in self._expanding:  # an error in make as well
            return unknown(f"{name}, which refers to itself")
        self._expanding.add(name)
        try:
            return self.expand(variable.text)
        finally:
            self._expanding.discard(name)

    # ---- statements ---------------------------------------------------------------------------------------------------------

    def load(self, name: str) -> bool:
        """Read the makefile ``name`` of the tree; return whether there is one."""
        data = self.files.read(name)
        self._includes += 1
        if data is None or self._includes > _MAX_INCLUDES:
            return False
        Reader(self, name).read(data.decode("utf-8", "replace"))
        return True

    def set(self, name: str, text: str, *, deferred: bool, rank: int = 0, place: Place | None = None) -> None:
        """Give ``name`` a value, unless who gave the present one ranks higher."""
        old = self.variables.get(name)
        if old is not None and old.rank > rank:
            return
        self.variables[name] = Variable(text, deferred, rank, () if place is None else (place,))

    def append(self, name: str, text: str, *, rank: int, place: Place) -> None:
        """Add to the value of ``name``."""
        old = self.variables.get(name)
        if old is None:
            self.set(name, text, deferred=True, rank=rank, place=place)
        elif old.rank <= rank:
            added = text if old.deferred else self.expand(text)
            old.text = f"{old.text} {added}" if old.text else added
            old.rank = rank
            old.places = (*old.places, place)


def evaluate(
    files: Files,
    name: str,
    *,
    command_line: Mapping[str, str],
    environment: Mapping[str, str],
    outputs: Mapping[str, str],
) -> Makefile | None:
    """Return the makefile ``name`` of the tree as make reads it in its folder, ``None`` when there is no such file.

    ``command_line`` and ``environment`` are variables given from outside; ``outputs`` are the programs whose output is known, by
    command.
    """
    makefile = Makefile(files=files, folder=posixpath.dirname(name), outputs=outputs)
    for key, text in environment.items():
        makefile.set(key, text, deferred=False)
    for key, text in command_line.items():
        makefile.set(key, text, deferred=False, rank=1)
    makefile.set("CURDIR", f"/{makefile.folder}", deferred=False)
    makefile.set("MAKEFILE_LIST", name.rsplit("/", 1)[-1], deferred=False)
    return makefile if makefile.load(name) else None
