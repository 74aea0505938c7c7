"""Names in the expressions of a build workflow: of its matrix, its inputs and the jobs that a job needs.

Format: GitHub workflows, ``${{ matrix.asset }}`` and the like in any text of a job. A matrix or inputs that cannot be known leave
their names unchecked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.upstream.facts import Expression, Item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath

__all__ = ["read_expressions", "read_lone_values"]

_NAMES: Final = re.compile(r"(?<![\w.'])(matrix|inputs?|needs)\.([A-Za-z_][\w-]*)")
_EXPRESSION: Final = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_WHOLE: Final = frozenset({"if"})
"""Keys whose text is an expression without being marked as one."""


def read_expressions(document: Document) -> Iterator[Expression]:
    """Yield the names that expressions of jobs use, with those that are known where they stand."""
    data = document.data if isinstance(document.data, dict) else {}
    inputs = _inputs(data)
    jobs = data.get("jobs")
    for job, table in jobs.items() if isinstance(jobs, dict) else ():
        if not isinstance(table, dict):
            continue
        known = {"matrix": _matrix(table), "inputs": inputs, "needs": _needs(table)}
        for where, key, text in _texts(table, ("jobs", job)):
            parts = [text] if key in _WHOLE else _EXPRESSION.findall(text)
            for kind, name in dict.fromkeys(pair for part in parts for pair in _NAMES.findall(part)):
                names = None if kind == "input" else known[kind]
                if kind == "input" or names is not None:
                    item = Item(f"{kind}.{name}", document.span(where))
                    yield Expression(path=document.path, job=str(job), kind=kind, used=item, known=names or frozenset())


def _inputs(data: dict[str, object]) -> frozenset[str] | None:
    """Return the declared inputs of every way in which the workflow is started."""
    on = data.get("on")
    found: set[str] = set()
    if not isinstance(on, dict):
        return None
    for trigger in on.values():
        inputs = trigger.get("inputs") if isinstance(trigger, dict) else None
        found.update(map(str, inputs) if isinstance(inputs, dict) else ())
    return frozenset(found)


def _matrix(table: dict[str, object]) -> frozenset[str] | None:
    strategy = table.get("strategy")
    if strategy is None:
        return frozenset()
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    if not isinstance(matrix, dict) or isinstance(matrix.get("include"), str):
        return None
    found = {str(key) for key in matrix if key not in ("include", "exclude")}
    for entry in matrix.get("include") or () if isinstance(matrix.get("include"), list) else ():
        found.update(map(str, entry) if isinstance(entry, dict) else ())
    return frozenset(found)


def _needs(table: dict[str, object]) -> frozenset[str]:
    needs = table.get("needs")
    return frozenset([needs] if isinstance(needs, str) else [str(n) for n in needs] if isinstance(needs, list) else ())


def _texts(value: object, where: KeyPath) -> Iterator[tuple[KeyPath, str, str]]:
    """Yield place, key and text of every text below ``value``."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*where, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _texts(inner, (*where, i))
    elif isinstance(value, str) and "." in value:
        yield where, str(where[-1]), value


def read_lone_values(document: Document) -> Iterator[Item]:
    """Yield the keys of matrices whose value is a single one, not a list, and no expression that makes a list."""
    jobs = document.data.get("jobs") if isinstance(document.data, dict) else None
    for job, table in jobs.items() if isinstance(jobs, dict) else ():
        strategy = table.get("strategy") if isinstance(table, dict) else None
        matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
        for key, value in matrix.items() if isinstance(matrix, dict) else ():
            if isinstance(value, str | int | float) and "fromjson" not in str(value).lower() and "needs." not in str(value):
                yield Item(str(key), document.span(("jobs", job, "strategy", "matrix", key)))
