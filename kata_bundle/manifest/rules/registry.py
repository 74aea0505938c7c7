"""The registry of rules: one function, one stable code, one explanation each.

Knows: how rules are declared and run. Must not know: what any rule says. To add a rule, write a generator function in a module of
this package, decorate it with :func:`rule`, and give it a page in ``docs/findings`` and tests.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kata_bundle.core.diagnostics import Finding, Severity
from kata_bundle.manifest.context import Manifests, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath

__all__ = ["REGISTRY", "Found", "Problem", "Rule", "declare", "rule", "run_rules"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that a rule found: a place in a document and a sentence about it."""

    document: Document
    key: KeyPath
    message: str
    hint: str | None = None
    of_key: bool = False
    related: tuple[tuple[Document, KeyPath], ...] = ()
    """Other places that the sentence is about; one that stands in no document is left out."""


class _Check(Protocol):
    def __call__(self, manifests: Manifests, /) -> Iterator[Problem]: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A code and what it stands for. An ``acceptable`` finding may be accepted in ignores.toml: the catalog can still be made."""

    code: str
    title: str
    explanation: str
    severity: Severity = Severity.ERROR
    acceptable: bool = False
    check: _Check | None = None
    """``None`` for what is found while documents are read."""


REGISTRY: dict[str, Rule] = {}


def _register(entry: Rule) -> None:
    if entry.code in REGISTRY:
        msg = f"two rules have the code {entry.code}"
        raise ValueError(msg)
    REGISTRY[entry.code] = entry


def declare(code: str, title: str, explanation: str) -> None:
    """Register a code that reading a document reports."""
    _register(Rule(code=code, title=title, explanation=inspect.cleandoc(explanation)))


def rule(code: str, title: str, *, severity: Severity = Severity.ERROR, acceptable: bool = False) -> Callable[[_Check], _Check]:
    """Return a decorator that registers a rule; its docstring is the explanation that people read."""

    def decorate(check: _Check) -> _Check:
        explanation = inspect.getdoc(check) or ""
        _register(Rule(code=code, title=title, explanation=explanation, severity=severity, acceptable=acceptable, check=check))
        return check

    return decorate


@dataclass(frozen=True, slots=True)
class Found:
    """A problem and the rule that found it. Its place is looked up only when somebody wants to see it."""

    rule: Rule
    problem: Problem
    reason: str | None = None
    """Why it is accepted, where it is."""

    def finding(self) -> Finding:
        """Return it as a finding, with its places."""
        problem = self.problem
        return Finding(
            span=problem.document.span(problem.key, of_key=problem.of_key),
            code=self.rule.code,
            message=problem.message,
            severity=self.rule.severity,
            hint=problem.hint,
            related=tuple(document.span(key, of_key=True) for document, key in problem.related),
        )


def run_rules(manifests: Manifests) -> tuple[list[Found], frozenset[str]]:
    """Run every rule on ``manifests``; return what they find, and the codes of those that could run."""
    found: list[Found] = []
    ran = set()
    for entry in REGISTRY.values():
        if entry.check is None:
            continue
        try:
            found += [Found(entry, problem) for problem in entry.check(manifests)]
        except Unavailable:
            continue
        ran.add(entry.code)
    return found, frozenset(ran)
