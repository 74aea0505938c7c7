"""What a makefile is made of once it was read: variables, targets, and the lines they come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Place", "Target", "Variable"]


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
