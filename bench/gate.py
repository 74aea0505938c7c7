"""Compares the ratios of two reports and says what became worse. Must not know: how anything was measured.

Ratios only: both sides of one stood side by side on one machine, so it carries over to another; absolute times do not. Ratios of
times from a run with few rounds, or from a machine that others kept busy, move by themselves, so by default they are judged only
between full runs; ratios of sizes always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TOLERANCE", "Verdict", "compare"]

TOLERANCE: Final = 0.15
"""How much worse a ratio may be than in the last committed report."""

Document = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One ratio in both reports; ``change`` is positive when it became worse."""

    bench: str
    ratio: str
    before: float
    after: float | None
    change: float
    is_failure: bool
    reason: str


def compare(old: Document, new: Document, *, times: bool, tolerance: float = TOLERANCE) -> Iterator[Verdict]:
    """Yield a verdict for each ratio of ``old``; one that ``new`` measured and lost is a failure, a bench left out is not."""
    found = {(bench["name"], ratio["name"]): ratio for bench in new["benches"] for ratio in bench["ratios"]}
    ran = {bench["name"] for bench in new["benches"]}
    for bench in old["benches"]:
        for ratio in bench["ratios"]:
            if ratio["kind"] == "time" and not times:
                continue
            yield _judge(bench["name"], ratio, found.get((bench["name"], ratio["name"])), bench["name"] in ran, tolerance)


def _judge(bench: str, old: Document, new: Document | None, ran: bool, tolerance: float) -> Verdict:
    before = float(old["value"])
    if new is None:
        reason = "no longer measured" if ran else "not run"
        return Verdict(bench=bench, ratio=old["name"], before=before, after=None, change=0.0, is_failure=ran, reason=reason)
    after = float(new["value"])
    # Of times more is better, of sizes less.
    change = before / after - 1 if old["kind"] == "time" else after / before - 1
    worse = change > tolerance
    reason = f"{abs(change):.0%} {'worse' if change > 0 else 'better'}" + (f", more than {tolerance:.0%}" if worse else "")
    return Verdict(bench=bench, ratio=old["name"], before=before, after=after, change=change, is_failure=worse, reason=reason)
