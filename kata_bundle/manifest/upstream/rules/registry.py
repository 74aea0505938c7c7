"""The registry of rules for upstream trees: one function, one stable code (KB6xx), one explanation each.

Knows: how rules are declared and run. Must not know: what any rule says. Kept apart from the rules for our own manifests, since
the two look at different things; ``check --explain`` asks both.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.core.diagnostics import Finding, Severity
from kata_bundle.manifest.rules.registry import Rule
from kata_bundle.manifest.upstream import codes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.core.diagnostics import Report, Span
    from kata_bundle.manifest.upstream.facts import UpstreamTree

__all__ = ["TREE_RULES", "Problem", "run_tree_rules", "tree_rule"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that a rule found: a place and a sentence about it."""

    span: Span
    message: str
    hint: str | None = None
    related: tuple[Span, ...] = ()
    """Other places that it is about."""


class _Check(Protocol):
    def __call__(self, tree: UpstreamTree, /) -> Iterator[Problem]: ...


TREE_RULES: Final[dict[str, Rule]] = {}
_CHECKS: Final[dict[str, _Check]] = {}


def tree_rule(code: str, title: str, *, severity: Severity = Severity.ERROR) -> Callable[[_Check], _Check]:
    """Return a decorator that registers a rule for upstream trees; its docstring is the explanation that people read."""

    def decorate(check: _Check) -> _Check:
        _declare(code, title, inspect.getdoc(check) or "", severity)
        _CHECKS[code] = check
        return check

    return decorate


def _declare(code: str, title: str, explanation: str, severity: Severity) -> None:
    if code in TREE_RULES:
        msg = f"two rules have the code {code}"
        raise ValueError(msg)
    TREE_RULES[code] = Rule(code=code, title=title, explanation=inspect.cleandoc(explanation), severity=severity)


def run_tree_rules(tree: UpstreamTree, report: Report) -> None:
    """Run every rule on ``tree`` and add what they find to ``report``."""
    for code, check in _CHECKS.items():
        severity = TREE_RULES[code].severity
        for problem in check(tree):
            finding = Finding(
                span=problem.span,
                code=code,
                message=problem.message,
                severity=severity,
                hint=problem.hint,
                related=tuple(dict.fromkeys(span for span in problem.related if span != problem.span)),
            )
            report.add(finding)


_declare(
    codes.MISSING,
    "not understood: a file is missing",
    """
    A file that upstream trees of every year have was not found, neither where it is today nor where it was before. What is
    declared in it was not checked. Either the tree is not whole, or the file has moved.

    Repair: check the whole tree; if a file moved, this program has to learn its new place.

    False alarm: a tree from before the file came, or after it went.
    """,
    Severity.WARNING,
)
_declare(
    codes.SHAPE,
    "not understood: a file has an unknown shape",
    """
    The file was found, but something in it is not written in any of the ways that are known. What is declared there was not
    checked, so the absence of other findings proves nothing about it.

    Repair: read the file by hand; this program has to learn the new form.

    False alarm: none; what is written there may be right.
    """,
    Severity.WARNING,
)
_declare(
    codes.MAKE,
    "not understood: a value of a makefile",
    """
    A value that a configuration needs depends on something that is not computed here: the output of a program, or a function of
    make without a model. What is made of it was not checked. With --eval-make: make itself said nothing, or something else.

    Repair: read the value by hand.

    False alarm: none; what is written there may be right.
    """,
    Severity.WARNING,
)
_declare(
    codes.ABSENT,
    "not understood: a file has no content",
    """
    The file is listed in the tree, but its content is not there, or longer than 4 MiB: a partial clone, or a large file kept
    elsewhere. What is declared in it was not checked.

    Repair: fetch the content.

    False alarm: none.
    """,
    Severity.WARNING,
)
