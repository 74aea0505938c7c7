"""Where a run happens and what it hands on: the corpus, places to unpack to, the launcher, and results as values."""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.measure import median_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.corpus import Corpus
    from bench.measure import Launcher, Sample

__all__ = [
    "DRIVE",
    "KATA_BUNDLE",
    "Goal",
    "Ratio",
    "Result",
    "Room",
    "at_least",
    "at_most",
    "has_command",
    "help_text",
    "size_ratio",
    "time_ratio",
]

DRIVE: Final = (sys.executable, "-P", str(Path(__file__).with_name("drive.py")))
KATA_BUNDLE: Final = (str(Path(sys.executable).with_name("kata-bundle")),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """What a figure has to be: ``>=`` or ``<=`` a value."""

    relation: str
    value: float

    def is_met(self, value: float) -> bool:
        """Whether ``value`` is as wanted."""
        return value >= self.value if self.relation == ">=" else value <= self.value


def at_least(value: float) -> Goal:
    """Return the goal of being ``value`` or more."""
    return Goal(relation=">=", value=value)


def at_most(value: float) -> Goal:
    """Return the goal of being ``value`` or less."""
    return Goal(relation="<=", value=value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """A figure that is compared from report to report: times as *peer / ours* (more is better), sizes as *ours / peer*."""

    name: str
    value: float
    is_time: bool
    rounds: tuple[float, ...] = ()
    goal: Goal | None = None
    unit: str = "x"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        goal = None if self.goal is None else {"relation": self.goal.relation, "value": self.goal.value,
                                               "met": self.goal.is_met(round(self.value, 4))}  # fmt: skip
        return {
            "name": self.name, "value": round(self.value, 4), "kind": "time" if self.is_time else "size", "unit": self.unit,
            "rounds": [round(one, 4) for one in self.rounds], "goal": goal,
        }  # fmt: skip


@dataclass(kw_only=True, slots=True)
class Result:
    """What one benchmark found."""

    name: str
    title: str
    place: str = ""
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    """Further facts by name, the unit in the name."""
    ratios: list[Ratio] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """What was left out, and why."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "title": self.title,
            "place": self.place,
            "contenders": {name: _summary(samples) for name, samples in self.samples.items() if samples},
            "figures": {name: round(value, 4) for name, value in self.figures.items()},
            "ratios": [one.to_dict() for one in self.ratios],
            "skipped": self.skipped,
        }


def _summary(samples: Sequence[Sample]) -> dict[str, Any]:
    walls = [round(s.wall_s, 4) for s in samples]
    return {
        "wall_s": {"median": round(statistics.median(walls), 4), "min": min(walls), "rounds": walls},
        "cpu_s": round(statistics.median(s.cpu_s for s in samples), 4),
        "peak_rss_kib": max(s.rss_kib for s in samples),
        "others_busy": round(statistics.median(s.busy for s in samples), 3),
    }  # fmt: skip


def time_ratio(name: str, result: Result, peer: str, ours: str, goal: Goal | None = None) -> None:
    """Add *peer's time / our time* to ``result``, when both were measured."""
    if result.samples.get(peer) and result.samples.get(ours):
        value, rounds = median_ratio(result.samples[peer], result.samples[ours])
        result.ratios.append(Ratio(name=name, value=value, is_time=True, rounds=tuple(rounds), goal=goal))
    elif goal is not None:
        result.skipped[name] = f"needs {peer} and {ours}"


def size_ratio(name: str, result: Result, ours: float, peer: float, goal: Goal | None = None) -> None:
    """Add *our size / peer's size* to ``result``."""
    result.ratios.append(Ratio(name=name, value=ours / peer, is_time=False, goal=goal))


def help_text(command: str) -> str:
    """Return what our program says to ``COMMAND --help``: empty when there is no such command."""
    return subprocess.run([*KATA_BUNDLE, command, "--help"], capture_output=True, text=True, check=False).stdout


def has_command(name: str) -> bool:
    """Whether our program has a command."""
    return bool(help_text(name))


@dataclass(kw_only=True, slots=True)
class Room:
    """Everything a benchmark gets."""

    corpus: Corpus
    folder: Path
    """Where peers and prepared inputs are kept, beside the corpus."""
    disk: Path
    """An empty folder on the corpus' file system."""
    memory: Path | None
    """An empty folder on a tmpfs."""
    launcher: Launcher
    rounds: int
    patience_s: float
    is_smoke: bool

    @property
    def arch(self) -> str:
        """The architecture that is measured."""
        return "amd64"

    def set_of(self, shim: str) -> tuple[str, ...]:
        """Return the components of a shim."""
        return self.corpus.shims(self.arch)[shim]

    def inputs(self, folder: Path, components: Sequence[str]) -> list[Path]:
        """Return the tarballs of components in a folder."""
        return [folder / f"kata-static-{name}.tar.zst" for name in components]
