"""Read a makefile as make does: in order, with conditionals, includes, immediate and deferred values.

Knows: make's statements. Must not know: which variables matter to whom. Rules are remembered by target and prerequisites only;
recipes are passed over.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from kata_bundle.manifest.upstream.make.functions import FUNCTIONS, call_function
from kata_bundle.manifest.upstream.make.text import (
    closing,
    is_known,
    logical_lines,
    pattern_match,
    strip_comment,
    unknown,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.manifest.upstream.source import Files

__all__ = ["Makefile", "Place", "Target", "Variable", "evaluate"]

_ASSIGNMENT: Final = re.compile(
    r"((?:(?:export|override|private|unexport)\s+)*)"
    r"([^\s:#=?+!()]+|[^\s:#=?+!]*\$[({][^)}]*[)}][^\s:#=?+!]*)"
    r"\s*(\?=|:{1,3}=|\+=|!=|=)(.*)"
)
_DEFINE: Final = re.compile(r"((?:(?:export|override)\s+)*)define\s+(\S+)\s*(\?=|:{1,3}=|\+=|=)?\s*$")
_CONDITION: Final = re.compile(r"(ifeq|ifneq|ifdef|ifndef)\b\s*(.*)")
_CONDITION_QUOTED: Final = re.compile(r"""(?:"([^"]*)"|'([^']*)')\s+(?:"([^"]*)"|'([^']*)')\s*$""")
_INCLUDE: Final = re.compile(r"-?s?include\s+(.*)")
_MAX_DEPTH: Final = 60
_MAX_TEXT: Final = 1 << 20
_MAX_STEPS: Final = 400_000
_MAX_INCLUDES: Final = 50


class Place(NamedTuple):
    """A line of a file of the tree."""

    path: str
    line: int


@dataclass(slots=True)
class Variable:
    """A variable: its text, whether that is expanded on use, and the lines that made it."""

    text: str
    deferred: bool
    rank: int = 0
    """Who gave it: 0 the makefile, 1 the command line, 2 the makefile with ``override``."""
    places: tuple[Place, ...] = ()


@dataclass(slots=True)
class Target:
    """A target of a rule: its prerequisites as they are known when the rule is read, where it stands, its unexpanded recipe."""

    name: str
    prerequisites: tuple[str, ...]
    place: Place
    recipe: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Branch:
    """An open conditional. ``state``: its branch is read ("yes"), is not, was, or may be ("wait", "done", "maybe")."""

    state: str
    place: Place
    reason: str = ""


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
    _locals: list[dict[str, str]] = field(default_factory=list)
    _depth: int = 0
    _steps: int = 0
    _includes: int = 0
    _place: Place = field(default_factory=lambda: Place("", 0))

    # ---- what readers ask ---------------------------------------------------------------------------------------------------

    def get(self, name: str) -> str:
        """Return the value of a variable: empty when it has none, with unknown parts where it depends on what is not known."""
        return self.expand(f"$({name})")

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
        self.stops.append((self._place, message.strip("\"' ")))

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
        return self.expand(variable.text) if variable.deferred else variable.text

    # ---- statements ---------------------------------------------------------------------------------------------------------

    def load(self, name: str) -> bool:
        """Read the makefile ``name`` of the tree; return whether there is one."""
        data = self.files.read(name)
        self._includes += 1
        if data is None or self._includes > _MAX_INCLUDES:
            return False
        _Reader(self, name).read(data.decode("utf-8", "replace"))
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


class _Reader:
    """Reads one file into a :class:`Makefile`."""

    def __init__(self, makefile: Makefile, name: str) -> None:
        self.makefile = makefile
        self.name = name
        self.branches: list[_Branch] = []
        self.in_rule = False
        self.definition: tuple[str, str, int, Place, list[str]] | None = None
        self.nested = 0
        self.last: list[Target] = []

    def read(self, text: str) -> None:
        for number, line in logical_lines(text):
            place = Place(self.name, number)
            self.makefile._place = place
            if self.definition is not None:
                self.define_line(line)
            elif line.startswith("\t") and self.in_rule:
                if self.state() == "yes":
                    for target in self.last:
                        target.recipe.append(line[1:])
            else:
                self.statement(strip_comment(line).strip(" \t") if "#" in line else line.strip(), line, place)

    def statement(self, line: str, raw: str, place: Place) -> None:
        if not line:
            return
        if self.condition(line, place):
            return
        state = self.state()
        definition = _DEFINE.fullmatch(line)
        if definition is not None:
            self.start_definition(definition, place, state)
            return
        if state in {"wait", "done"}:
            return
        include = _INCLUDE.fullmatch(line)
        assignment = _ASSIGNMENT.fullmatch(line)
        if include is not None:
            self.in_rule = False
            self.include(include.group(1), place, optional=line.startswith(("-", "s")))
        elif assignment is not None and not _is_rule(line, assignment):
            self.in_rule = False
            # The blank before a comment belongs to the value.
            value = _ASSIGNMENT.fullmatch(strip_comment(raw).lstrip(" \t"))
            self.assign(value or assignment, place, state)
        elif line.startswith(("export", "unexport", "vpath", "undefine")):
            self.in_rule = False
        elif line.startswith(("$(", "${")) and closing(line, 1) == len(line) - 1:
            self.in_rule = False  # a call for its effect, such as $(error …)
            if not is_known(self.makefile.expand(line)):
                self.note(place, "a statement that depends on something unknown")
        elif ":" in line:
            self.in_rule = True
            self.rule(line, place, state)
        else:
            self.in_rule = False
            if not is_known(self.makefile.expand(line)):
                self.note(place, "a statement that depends on something unknown")

    # ---- conditionals ---------------------------------------------------------------------------------------------------------

    def state(self) -> str:
        states = [branch.state for branch in self.branches]
        for state in ("wait", "done", "maybe"):
            if state in states:
                return state
        return "yes"

    def condition(self, line: str, place: Place) -> bool:
        match = _CONDITION.fullmatch(line)
        if match is not None:
            self.branches.append(self.opened(match, place))
            return True
        if line == "endif":
            if self.branches:
                self.branches.pop()
            else:
                self.note(place, "endif without a condition")
            return True
        if line == "else" or line.startswith(("else ", "else\t")):
            if not self.branches:
                self.note(place, "else without a condition")
                return True
            self.otherwise(line[4:].strip(), place)
            return True
        return False

    def otherwise(self, rest: str, place: Place) -> None:
        branch = self.branches[-1]
        if branch.state == "maybe":
            return
        if branch.state in {"yes", "done"}:
            branch.state = "done"
            return
        match = _CONDITION.fullmatch(rest)
        if rest and match is not None:
            self.branches[-1] = self.opened(match, place, outer=self.branches[:-1])
        else:
            branch.state = "yes"

    def opened(self, match: re.Match[str], place: Place, outer: list[_Branch] | None = None) -> _Branch:
        around = self.branches if outer is None else outer
        if any(branch.state in {"wait", "done"} for branch in around):
            return _Branch("done", place)
        kind, rest = match.groups()
        if kind in {"ifdef", "ifndef"}:
            name = self.makefile.expand(rest.strip())
            holds = bool((self.makefile.value(name) or "").strip()) if is_known(name) else None
            equal = kind == "ifdef"
        else:
            holds = self.compared(rest)
            equal = kind == "ifeq"
        if holds is None:
            self.note(place, f"a condition that depends on something unknown: {kind} {rest}")
            return _Branch("maybe", place)
        return _Branch("yes" if holds == equal else "wait", place)

    def compared(self, rest: str) -> bool | None:
        if rest.startswith("("):
            parts = _two(rest[1 : closing(rest, 0)])
        else:
            match = _CONDITION_QUOTED.fullmatch(rest)
            parts = None if match is None else [next(g for g in pair if g is not None) for pair in _pairs(match.groups())]
        if parts is None:
            return None
        left, right = (self.makefile.expand(part) for part in (parts[0].strip(), parts[1].strip()))
        return left == right if is_known(left) and is_known(right) else None

    # ---- variables ------------------------------------------------------------------------------------------------------------

    def assign(self, match: re.Match[str], place: Place, state: str) -> None:
        modifiers, name, operator, text = match.groups()
        makefile = self.makefile
        name = makefile.expand(name)
        text = text.lstrip(" \t")
        rank = 2 if "override" in modifiers else 0
        if not is_known(name):
            self.note(place, "a variable whose name is unknown")
        elif state == "maybe":
            makefile.set(
                name, unknown(f"set under an unknown condition at {place.path}:{place.line}"), deferred=False, place=place
            )
        elif operator == "+=":
            makefile.append(name, text, rank=rank, place=place)
        elif operator == "?=":
            if name not in makefile.variables:
                makefile.set(name, text, deferred=True, rank=rank, place=place)
        elif operator == "!=":
            makefile.set(name, makefile.shell(makefile.expand(text)), deferred=False, rank=rank, place=place)
        elif operator == "=":
            makefile.set(name, text, deferred=True, rank=rank, place=place)
        else:
            makefile.set(name, makefile.expand(text), deferred=False, rank=rank, place=place)

    def start_definition(self, match: re.Match[str], place: Place, state: str) -> None:
        self.in_rule = False
        modifiers, name, operator = match.groups()
        rank = 2 if "override" in modifiers else 0
        self.definition = (self.makefile.expand(name) if state in {"yes", "maybe"} else "", operator or "=", rank, place, [])
        self.nested = 0

    def define_line(self, line: str) -> None:
        definition = self.definition
        if definition is None:  # pragma: no cover - called inside a definition only
            return
        name, operator, rank, place, lines = definition
        word = line.strip().split(maxsplit=1)[:1]
        if word == ["define"]:
            self.nested += 1
        elif word == ["endef"]:
            if self.nested == 0:
                self.definition = None
                if name:
                    text = "\n".join(lines)
                    simple = operator.startswith(":")
                    self.makefile.set(
                        name, self.makefile.expand(text) if simple else text, deferred=not simple, rank=rank, place=place
                    )
                return
            self.nested -= 1
        lines.append(line)

    # ---- the rest -------------------------------------------------------------------------------------------------------------

    def include(self, text: str, place: Place, *, optional: bool) -> None:
        names = self.makefile.expand(text)
        if not is_known(names):
            self.note(place, "an include whose name is unknown")
            return
        for name in names.split():
            path = posixpath.normpath(posixpath.join(self.makefile.folder, name))
            if not self.makefile.load(path) and not optional:
                self.note(place, f'an include of "{name}", which is not in the tree')

    def rule(self, line: str, place: Place, state: str) -> None:
        self.last = []
        head = line.split(";", 1)[0]
        targets, _, prerequisites = head.partition(":")
        if _ASSIGNMENT.fullmatch(prerequisites.lstrip(":").strip()) or state == "maybe":
            return
        names, needs = self.makefile.expand(targets), self.makefile.expand(prerequisites.lstrip(":"))
        if is_known(names):
            words = tuple(needs.replace("|", " ").split()) if is_known(needs) else ()
            self.last = [Target(name, words, place) for name in names.split()]
            self.makefile.targets += self.last

    def note(self, place: Place, message: str) -> None:
        self.makefile.problems.append((place, message))


def _is_rule(line: str, assignment: re.Match[str]) -> bool:
    """Return whether what looks like an assignment is a rule whose recipe or variable holds an equals sign."""
    name = assignment.group(2)
    return name.endswith(":") or line.startswith("@")


def _two(text: str) -> list[str] | None:
    depth = 0
    for i, c in enumerate(text):
        if c in "({":
            depth += 1
        elif c in ")}":
            depth -= 1
        elif c == "," and depth == 0:
            return [text[:i], text[i + 1 :]]
    return None


def _pairs(groups: tuple[str | None, ...]) -> list[tuple[str | None, str | None]]:
    return [(groups[0], groups[1]), (groups[2], groups[3])]


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
