"""Turns results into a page: tables and plots in one self-contained HTML file, and the table of goals as Markdown.

Must not know: how anything was measured.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from bench.plot import bars, legend_css, rounds_plot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["goal_rows", "render_page", "render_summary", "render_table"]

Document = dict[str, Any]

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --page: #ffffff; --card: #f6f8fa;
  --ours: #0969da; --peer: #9aa4af; --good: #1a7f37; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa4af; --line: #30363d; --page: #0d1117; --card: #161b22;
  --ours: #4493f8; --peer: #6e7681; --good: #3fb950; --bad: #f85149; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  max-width: 62rem; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; } p { margin: .4rem 0; }
.soft { color: var(--soft); } code { font: .88em ui-monospace, 'DejaVu Sans Mono', monospace; }
table { border-collapse: collapse; width: 100%; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); font-size: .85em; } td.n, th.n { text-align: right; white-space: nowrap; }
.wide { overflow-x: auto; } .met, .missed { white-space: nowrap; }
.met { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
svg { display: block; width: 100%; height: auto; margin: .4rem 0; }
svg text { fill: var(--ink); font: 12px system-ui, 'DejaVu Sans', sans-serif; }
svg text.soft { fill: var(--soft); } svg .ours { fill: var(--ours); } svg .peer { fill: var(--peer); }
svg .axis { stroke: var(--line); } svg .goal { stroke: var(--bad); stroke-dasharray: 4 3; }
svg .dot { fill: var(--ours); opacity: .75; }
details { margin: .3rem 0; } summary { cursor: pointer; color: var(--soft); }
"""

_HOW_TO_READ: Final = (
    "Times are whole processes, contenders in turn; a time ratio is the median of the round-by-round ratios, "
    "<em>peer / ours</em>, more is better. Sizes are <em>ours / peer</em>, less is better. Absolute times move with the "
    "machine's load; ratios are what to read. Memory below 10 MiB cannot be told apart from that of the process which starts "
    "the programs."
)


def goal_rows(document: Document) -> Iterator[tuple[Document, Document]]:
    """Yield (benchmark, ratio) for every figure that has a goal."""
    for bench in document["benches"]:
        for ratio in bench["ratios"]:
            if ratio["goal"] is not None:
                yield bench, ratio


def render_table(document: Document) -> str:
    """Return the goals and what was found as a Markdown table."""
    lines = ["| benchmark | figure | wanted | found | |", "|---|---|---:|---:|---|"]
    for bench, ratio in goal_rows(document):
        goal = ratio["goal"]
        lines.append(
            f"| `{bench['name']}` | {_cell(ratio['name'])} | {_relation(goal)} {goal['value']:g} | {_value(ratio)} | "
            f"{'met' if goal['met'] else '**not met**'} |"
        )
    return "\n".join(lines) + "\n"


def render_summary(document: Document) -> str:
    """Return the goals as a Markdown page that leads to the report."""
    lines = (
        "# Benchmark report",
        "",
        f"{document['date']}: {_machine(document)}.",
        "",
        "What was measured and how: [benchmarks](../reference/benchmarks.md). Everything with plots: [report.html](report.html);",
        "the data: [report.json](report.json). Times are *peer / ours* (more is better), sizes *ours / peer* (less is better).",
        "",
        render_table(document),
        "Made by `python -m bench report`. What the pipeline compares ratios of sizes with: [smoke.json](smoke.json).",
    )
    return "\n".join(lines) + "\n"


def _machine(document: Document) -> str:
    machine = document["machine"]
    return (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"{machine['system']}, {machine['disk']}, CPython {machine['python']}, libzstd {machine['libzstd']}"
    )


def render_page(document: Document) -> str:
    """Return the whole report as HTML."""
    met = sum(ratio["goal"]["met"] for _, ratio in goal_rows(document))
    count = sum(1 for _ in goal_rows(document))
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">', "<title>kata-bundle benchmarks</title>",
        f"<style>{_STYLE}{legend_css()}</style></head><body>", "<h1>kata-bundle against its peers</h1>",
        f'<p class="soft">{_text(document["date"])} · {_text(_machine(document))}</p>',
        f"<p>{met} of {count} goals met. {_HOW_TO_READ}</p>",
        *_goals(document), *_corpus(document),
    ]  # fmt: skip
    for bench in document["benches"]:
        parts += _bench(bench)
    parts += _versions(document)
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _goals(document: Document) -> Iterator[str]:
    yield '<h2>Goals</h2><div class="wide"><table><tr><th>benchmark</th><th>figure</th><th class="n">wanted</th>'
    yield '<th class="n">found</th><th></th></tr>'
    for bench, ratio in goal_rows(document):
        goal = ratio["goal"]
        verdict = '<span class="met">met</span>' if goal["met"] else '<span class="missed">not met</span>'
        yield (
            f'<tr><td><a href="#{bench["name"]}">{_text(bench["title"])}</a>{_place(bench)}</td><td>{_text(ratio["name"])}</td>'
            f'<td class="n">{_relation(goal)} {goal["value"]:g}</td><td class="n">{_value(ratio)}</td><td>{verdict}</td></tr>'
        )
    yield "</table></div>"


def _corpus(document: Document) -> Iterator[str]:
    shape = document.get("shape")
    if not shape:
        return
    yield '<h2>Corpus</h2><div class="wide"><table><tr><th>release</th><th class="n">components</th><th class="n">files</th>'
    yield '<th class="n">unpacked MB</th><th class="n">tarballs MB</th><th class="n">layers MB</th></tr>'
    for row in shape["rows"]:
        figures = "".join(f'<td class="n">{row[key]:.1f}</td>' for key in ("bytes_mb", "tarballs_mb", "layers_mb"))
        yield (
            f'<tr><td>{_text(row["name"])}</td><td class="n">{row["components"]}</td>'
            f'<td class="n">{row["files"]}</td>{figures}</tr>'
        )
    yield "</table></div>"
    yield f'<p class="soft">{_text(shape["note"])}</p>'


def _bench(bench: Document) -> Iterator[str]:
    yield f'<h2 id="{bench["name"]}">{_text(bench["title"])}{_place(bench)}</h2>'
    yield f'<p class="soft"><code>{_text(bench["command"])}</code></p>'
    contenders = bench["contenders"]
    if contenders:
        yield bars({name: one["wall_s"]["median"] for name, one in contenders.items()}, unit="s")
        yield '<div class="wide"><table><tr><th>contender</th><th class="n">median s</th><th class="n">min s</th>'
        yield '<th class="n">CPU s</th><th class="n">peak RSS MiB</th><th class="n">others busy</th></tr>'
        for name, one in contenders.items():
            wall = one["wall_s"]
            yield (
                f'<tr><td>{_text(name)}</td><td class="n">{wall["median"]:.3f}</td><td class="n">{wall["min"]:.3f}</td>'
                f'<td class="n">{one["cpu_s"]:.3f}</td><td class="n">{one["peak_rss_kib"] / 1024:.1f}</td>'
                f'<td class="n">{one["others_busy"]:.0%}</td></tr>'
            )
        yield "</table></div>"
    timed = [ratio for ratio in bench["ratios"] if ratio["rounds"]]
    if timed:
        yield rounds_plot(
            [(ratio["name"], ratio["rounds"], ratio["value"], (ratio["goal"] or {}).get("value")) for ratio in timed]
        )
    sizes = {name.removesuffix(" (MB)"): value for name, value in bench["figures"].items() if name.endswith(" (MB)")}
    if len(sizes) > 1:
        yield bars(sizes, unit="MB")
    rest = {name: value for name, value in bench["figures"].items() if not name.endswith(" (MB)")}
    ratios = [f"{ratio['name']}: {_value(ratio)}" for ratio in bench["ratios"]]
    facts = ratios + [f"{name}: {value:g}" for name, value in rest.items()]
    if facts:
        yield "<p>" + " · ".join(map(_text, facts)) + "</p>"
    for name, reason in bench["skipped"].items():
        yield f'<p class="soft">Left out: {_text(name)} ({_text(reason)}).</p>'


def _versions(document: Document) -> Iterator[str]:
    yield "<h2>Versions</h2><table>"
    for name, version in document["versions"].items():
        yield f"<tr><td>{_text(name)}</td><td>{_text(version)}</td></tr>"
    yield "</table>"


def _relation(goal: Mapping[str, Any]) -> str:
    return {">=": "≥", "<=": "≤"}[goal["relation"]]


def _value(ratio: Mapping[str, Any]) -> str:
    unit = "" if ratio["unit"] == "x" else f" {ratio['unit']}"
    return f"{ratio['value']:.3f}{unit}" if ratio["value"] < 1 else f"{ratio['value']:.2f}{unit}"


def _place(bench: Mapping[str, Any]) -> str:
    return f' <span class="soft">({_text(bench["place"])})</span>' if bench["place"] else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: str) -> str:
    return html.escape(str(text))
