"""The page: every benchmark, ratio, goal and omission is on it, as text, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bench.measure import Sample, median_ratio
from bench.plot import bars, rounds_plot
from bench.report import render_page, render_summary, render_table
from bench.room import Result, at_least, at_most, size_ratio, time_ratio


def sample(wall_s):
    return Sample(wall_s=wall_s, cpu_s=wall_s, rss_kib=20_000, busy=0.05)


def document():
    timed = Result(name="unpack-disk", title="Unpack <everything>", place="disk")
    timed.samples = {"peer": [sample(2.0), sample(3.0), sample(8.0)], "ours": [sample(1.0), sample(1.0), sample(2.0)]}
    time_ratio("ours vs peer", timed, "peer", "ours", at_least(2.5))
    time_ratio("ours vs absent", timed, "absent", "ours", at_least(1.0))
    sized = Result(name="pack", title="Pack")
    sized.figures = {"tarballs (MB)": 10.0, "layers (MB)": 10.1}
    size_ratio("a | b", sized, 10.1, 10.0, at_most(1.0))
    machine = dict.fromkeys(("processor", "kernel", "system", "disk", "python", "libzstd"), "x") | {"cores": 2, "memory_gib": 4}
    rows = [{"name": "r1 amd64", "components": 1, "files": 2, "bytes_mb": 3.0, "tarballs_mb": 1.0, "layers_mb": 1.1}]
    return {
        "schema": 1, "corpus": "full", "date": "2026-01-01", "machine": machine, "versions": {"tar": "1.34"},
        "shape": {"rows": rows, "note": "made up"},
        "benches": [one.to_dict() | {"command": f"bench {one.name}"} for one in (timed, sized)],
    }  # fmt: skip


def test_the_median_is_that_of_the_rounds_not_of_the_times():
    value, rounds = median_ratio([sample(2.0), sample(3.0), sample(8.0)], [sample(1.0), sample(1.0), sample(2.0)])
    assert (value, rounds) == (3.0, [2.0, 3.0, 4.0])


def test_everything_is_on_the_page():
    page = render_page(document())
    for text in ("Unpack &lt;everything&gt;", "1 of 2 goals met", "≥ 2.5", "3.00", "not met", "1.34", "made up"):
        assert text in page, text
    assert "Left out: ours vs absent (needs absent and ours)" in page
    assert not re.search(r'(src|href)="(?!#)', page)


def test_the_table_is_markdown():
    lines = render_table(document()).splitlines()
    assert "| `unpack-disk` | ours vs peer | ≥ 2.5 | 3.00 | met |" in lines
    assert "| `pack` | a \\| b | ≤ 1 | 1.01 | **not met** |" in lines


def test_the_summary_leads_to_the_page_and_the_data():
    summary = render_summary(document())
    assert render_table(document()) in summary
    assert {"(report.html)", "(report.json)", "(smoke.json)"} <= set(re.findall(r"\([^) ]+\)", summary))


def test_plots_are_well_formed_whatever_the_names():
    for svg in (bars({"a<b": 1.0, "kata-bundle": 0.0}, unit="s"), rounds_plot([("x & y", [1.0, 2.0], 1.5, None)])):
        ElementTree.fromstring(svg)
