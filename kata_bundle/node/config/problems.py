"""What is wrong with a configuration, collected and reported together.

Must not know what a setting means.
"""

from __future__ import annotations

from kata_bundle.core.errors import UsageError
from kata_bundle.core.record import field, record

__all__ = ["ConfigError", "Problem", "Problems"]


@record
class Problem:
    """One thing wrong. ``kind`` is for programs; ``message`` names the setting, what was found and what is allowed."""

    kind: str
    message: str
    hint: str | None = None


class ConfigError(UsageError):
    """The configuration cannot be used, for every reason in ``problems``; nothing was changed."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        hints = list(dict.fromkeys(problem.hint for problem in problems if problem.hint))
        if len(problems) == 1:
            message = problems[0].message
        else:
            lines = "".join(f"\n  - {problem.message}" for problem in problems)
            message = f"the configuration has {len(problems)} problems:{lines}"
        super().__init__(message, hint="; ".join(hints) or None)


@record(kw_only=False, frozen=False)
class Problems:
    """Problems and warnings in the order found."""

    _problems: list[Problem] = field(default_factory=list)
    _warnings: list[str] = field(default_factory=list)

    def add(self, kind: str, message: str, *, hint: str | None = None) -> None:
        """Record that the configuration cannot be used."""
        problem = Problem(kind=kind, message=message, hint=hint)
        if problem not in self._problems:
            self._problems.append(problem)

    def warn(self, message: str) -> None:
        """Record something that people should know and that stops nothing."""
        if message not in self._warnings:
            self._warnings.append(message)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings, each once."""
        return tuple(self._warnings)

    def raise_if_any(self) -> None:
        """Raise :class:`ConfigError` with every problem found so far."""
        if self._problems:
            raise ConfigError(tuple(self._problems))
