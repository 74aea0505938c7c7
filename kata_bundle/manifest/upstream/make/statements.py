"""The statements of a makefile, one after the other: conditionals, assignments, definitions, includes, rules.

Knows: what each statement does to a :class:`Makefile`. Must not know: how values are expanded.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.upstream.make.text import closing, is_known, logical_lines, strip_comment, unknown
from kata_bundle.manifest.upstream.make.values import Place, Target

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.make.evaluator import Makefile

__all__ = ["Reader"]

_ASSIGNMENT: Final = re.compile(
    r"((?:(?:export|override|private|unexport)\s+)*)"
    r"([^\s:#=?+!()]+|[^\s:#=?+!]*\$[({][^)}]*[)}][^\s:#=?+!]*)"
    r"\s*(\?=|:{1,3}=|\+=|!=|=)(.*)"
)
_DEFINE: Final = re.compile(r"((?:(?:export|override)\s+)*)define\s+(\S+)\s*(\?=|:{1,3}=|\+=|=)?\s*$")
_CONDITION: Final = re.compile(r"(ifeq|ifneq|ifdef|ifndef)\b\s*(.*)")
_CONDITION_QUOTED: Final = re.compile(r"""(?:"([^"]*)"|'([^']*)')\s+(?:"([^"]*)"|'([^']*)')\s*$""")
_INCLUDE: Final = re.compile(r"-?s?include\s+(.*)")


@dataclass(slots=True)
class _Branch:
    """An open conditional. ``state``: its branch is read ("yes"), is not, was, or may be ("wait", "done", "maybe")."""

    state: str
    place: Place
    reason: str = ""


class Reader:
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
        """Take in all statements of ``text``."""
        for number, line in logical_lines(text):
            place = Place(self.name, number)
            self.makefile.place = place
            if self.definition is not None:
                self._define_line(line)
            elif line.startswith("\t") and self.in_rule:
                if self._state() == "yes":
                    for target in self.last:
                        target.recipe.append(line[1:])
            else:
                self._statement(strip_comment(line).strip(" \t") if "#" in line else line.strip(), line, place)

    def _statement(self, line: str, raw: str, place: Place) -> None:
        if not line:
            return
        if self._condition(line, place):
            return
        state = self._state()
        definition = _DEFINE.fullmatch(line)
        if definition is not None:
            self._start_definition(definition, place, state)
            return
        if state in {"wait", "done"}:
            return
        include = _INCLUDE.fullmatch(line)
        assignment = _ASSIGNMENT.fullmatch(line)
        if include is not None:
            self.in_rule = False
            self._include(include.group(1), place, optional=line.startswith(("-", "s")))
        elif assignment is not None and not _is_rule(line, assignment):
            self.in_rule = False
            # The blank before a comment belongs to the value.
            value = _ASSIGNMENT.fullmatch(strip_comment(raw).lstrip(" \t"))
            self._assign(value or assignment, place, state)
        elif line.startswith(("export", "unexport", "vpath", "undefine")):
            self.in_rule = False
        elif line.startswith(("$(", "${")) and closing(line, 1) == len(line) - 1:
            self.in_rule = False  # a call for its effect, such as $(error …)
            if not is_known(self.makefile.expand(line)):
                self._note(place, "a statement that depends on something unknown")
        elif ":" in line:
            self.in_rule = True
            self._rule(line, place, state)
        else:
            self.in_rule = False
            if not is_known(self.makefile.expand(line)):
                self._note(place, "a statement that depends on something unknown")

    # ---- conditionals ---------------------------------------------------------------------------------------------------------

    def _state(self) -> str:
        states = [branch.state for branch in self.branches]
        for state in ("wait", "done", "maybe"):
            if state in states:
                return state
        return "yes"

    def _condition(self, line: str, place: Place) -> bool:
        match = _CONDITION.fullmatch(line)
        if match is not None:
            self.branches.append(self._opened(match, place))
            return True
        if line == "endif":
            if self.branches:
                self.branches.pop()
            else:
                self._note(place, "endif without a condition")
            return True
        if line == "else" or line.startswith(("else ", "else\t")):
            if not self.branches:
                self._note(place, "else without a condition")
                return True
            self._otherwise(line[4:].strip(), place)
            return True
        return False

    def _otherwise(self, rest: str, place: Place) -> None:
        branch = self.branches[-1]
        if branch.state == "maybe":
            return
        if branch.state in {"yes", "done"}:
            branch.state = "done"
            return
        match = _CONDITION.fullmatch(rest)
        if rest and match is not None:
            self.branches[-1] = self._opened(match, place, outer=self.branches[:-1])
        else:
            branch.state = "yes"

    def _opened(self, match: re.Match[str], place: Place, outer: list[_Branch] | None = None) -> _Branch:
        around = self.branches if outer is None else outer
        if any(branch.state in {"wait", "done"} for branch in around):
            return _Branch("done", place)
        kind, rest = match.groups()
        if kind in {"ifdef", "ifndef"}:
            name = self.makefile.expand(rest.strip())
            holds = bool((self.makefile.value(name) or "").strip()) if is_known(name) else None
            equal = kind == "ifdef"
        else:
            holds = self._compared(rest)
            equal = kind == "ifeq"
        if holds is None:
            self._note(place, f"a condition that depends on something unknown: {kind} {rest}")
            return _Branch("maybe", place)
        return _Branch("yes" if holds == equal else "wait", place)

    def _compared(self, rest: str) -> bool | None:
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

    def _assign(self, match: re.Match[str], place: Place, state: str) -> None:
        modifiers, name, operator, text = match.groups()
        makefile = self.makefile
        name = makefile.expand(name)
        text = text.lstrip(" \t")
        rank = 2 if "override" in modifiers else 0
        if not is_known(name):
            self._note(place, "a variable whose name is unknown")
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

    def _start_definition(self, match: re.Match[str], place: Place, state: str) -> None:
        self.in_rule = False
        modifiers, name, operator = match.groups()
        rank = 2 if "override" in modifiers else 0
        self.definition = (self.makefile.expand(name) if state in {"yes", "maybe"} else "", operator or "=", rank, place, [])
        self.nested = 0

    def _define_line(self, line: str) -> None:
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

    def _include(self, text: str, place: Place, *, optional: bool) -> None:
        names = self.makefile.expand(text)
        if not is_known(names):
            self._note(place, "an include whose name is unknown")
            return
        for name in names.split():
            path = posixpath.normpath(posixpath.join(self.makefile.folder, name))
            if not self.makefile.load(path) and not optional:
                self._note(place, f'an include of "{name}", which is not in the tree')

    def _rule(self, line: str, place: Place, state: str) -> None:
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

    def _note(self, place: Place, message: str) -> None:
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
