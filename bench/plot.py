"""Plots as SVG text: bars of values, and the rounds of ratios as dots around their median. Colours come from the page's style."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["bars", "legend_css", "rounds_plot"]

_WIDTH: Final = 900
_LABEL: Final = 290
_ROW: Final = 26
_END: Final = 90


def legend_css() -> str:
    """Return style rules that only plots need."""
    return "svg .value { font-variant-numeric: tabular-nums; } svg .median { stroke: var(--ours); stroke-width: 2.5; }"


def bars(values: Mapping[str, float], *, unit: str) -> str:
    """Return a bar for each value; ours are those whose name begins with kata-bundle."""
    top = max(values.values(), default=0.0) or 1.0
    height = _ROW * len(values) + 8
    parts = [_open(height, f"bars, {unit}")]
    for row, (name, value) in enumerate(values.items()):
        y = row * _ROW + 4
        length = max((_WIDTH - _LABEL - _END) * value / top, 1.0)
        kind = "ours" if name.startswith(("kata-bundle", "our")) or name.endswith(("delta", "layers")) else "peer"
        parts += [
            f'<text x="{_LABEL - 10}" y="{y + 15}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect class="{kind}" x="{_LABEL}" y="{y + 2}" width="{length:.1f}" height="{_ROW - 8}" rx="2"/>',
            f'<text class="value" x="{_LABEL + length + 6:.1f}" y="{y + 15}">{_number(value)} {unit}</text>',
        ]
    return "".join(parts) + "</svg>"


def rounds_plot(ratios: Sequence[tuple[str, Sequence[float], float, float | None]]) -> str:
    """Return a row for each (name, rounds, median, goal): dots, a line at the median, a dashed one at the goal; 1 is marked."""
    top = max([1.0, *(max(rounds) for _, rounds, _, _ in ratios), *(goal or 0 for *_, goal in ratios)]) * 1.05
    height = _ROW * len(ratios) + 26
    scale = (_WIDTH - _LABEL - _END) / top
    one = _LABEL + scale
    parts = [
        _open(height, "ratios by round"),
        f'<line class="axis" x1="{one:.1f}" y1="0" x2="{one:.1f}" y2="{height - 18}"/>',
        f'<text class="soft" x="{one:.1f}" y="{height - 5}" text-anchor="middle">1 = as fast as the peer</text>',
    ]
    for row, (name, rounds, median, goal) in enumerate(ratios):
        y = row * _ROW + _ROW / 2
        parts.append(f'<text x="{_LABEL - 10}" y="{y + 4:.1f}" text-anchor="end">{html.escape(name)}</text>')
        parts += [f'<circle class="dot" cx="{_LABEL + value * scale:.1f}" cy="{y:.1f}" r="3.5"/>' for value in rounds]
        x = _LABEL + median * scale
        parts.append(f'<line class="median" x1="{x:.1f}" y1="{y - 9:.1f}" x2="{x:.1f}" y2="{y + 9:.1f}"/>')
        if goal is not None:
            at = _LABEL + goal * scale
            parts.append(f'<line class="goal" x1="{at:.1f}" y1="{y - 11:.1f}" x2="{at:.1f}" y2="{y + 11:.1f}"/>')
        wanted = "" if goal is None else f" (≥ {goal:g})"
        parts.append(f'<text class="value" x="{_WIDTH - _END + 4}" y="{y + 4:.1f}">{_number(median)}{wanted}</text>')
    return "".join(parts) + "</svg>"


def _open(height: float, title: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{html.escape(title)}">'


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"
