"""Every rule for upstream trees: mistakes that it finds at their place, and look-alikes that it leaves alone."""

from __future__ import annotations

import pytest

from kata_bundle.manifest.upstream.rules import TREE_RULES
from tests.fixtures.upstreamtrees import UpstreamFiles
from tests.unit.upstream.cases import BAD, FALSE_ALARMS, GO, MAP, OTHERS, SNP, Case


def _name(case: Case) -> str:
    where = f"{case.at[0]}" if case.at else "nothing"
    return f"{case.code}-{case.tree}-{where.rsplit('/', 1)[-1]}-{len(case.changes)}"


@pytest.mark.parametrize("tree", ["today", "shell"])
def test_trees_without_mistakes_have_no_findings(tree: str) -> None:
    assert UpstreamFiles(tree).findings() == []


@pytest.mark.parametrize("case", BAD, ids=_name)
def test_a_mistake_is_found_at_its_place(case: Case) -> None:
    files = case.build()
    found = files.findings(case.code)
    assert case.at is not None
    path, text = case.at
    assert found, sorted({finding.code for finding in files.findings()})
    places = [(finding.span.path, finding.span.line) for finding in found]
    lines = [n for n, line in enumerate(files.text(path).split("\n"), 1) if text in line]
    matching = [f for f in found if f.span.path == files.path(path) and f.span.line in lines] or (
        # A list is shown by its head, which need not be the line of the text.
        [f for f in found if f.span.path == files.path(path)] if case.code == "KB643" else []
    )
    assert matching, (places, lines)
    assert any(all(word in finding.message for word in case.says) for finding in matching), [f.message for f in matching]


@pytest.mark.parametrize("case", FALSE_ALARMS, ids=_name)
def test_what_only_looks_like_a_mistake_is_left_alone(case: Case) -> None:
    assert case.build().findings(case.code) == []


def test_every_rule_has_a_mistake_that_it_finds() -> None:
    tried = {case.code for case in BAD}
    reported_by_readers = {code for code in TREE_RULES if code.startswith("KB9")}
    assert set(TREE_RULES) - reported_by_readers - tried - set(OTHERS) == set()


def test_a_configuration_that_no_list_knows_is_found() -> None:
    tree, change, _ = OTHERS["KB605"]
    (found,) = change(UpstreamFiles(tree)).findings("KB605")
    assert found.span.path == GO
    assert '"fc"' in found.message


def test_workflows_that_build_for_themselves_are_compared() -> None:
    tree, change, _ = OTHERS["KB650"]
    (found,) = change(UpstreamFiles(tree)).findings("KB650")
    assert found.span.path == ".github/workflows/release.yaml"
    assert '"kernel"' in found.message


def test_explanations_say_what_happens_what_to_do_and_when_it_is_no_mistake() -> None:
    for rule in TREE_RULES.values():
        assert rule.title
        what, repair, alarm = rule.explanation.split("\n\n")[0], *rule.explanation.split("\n\n")[-2:]
        assert len(what) > 40, rule.code
        assert repair.startswith("Repair: "), rule.code
        assert alarm.startswith("False alarm: "), rule.code


def test_findings_name_the_other_side_of_a_contradiction(today: UpstreamFiles) -> None:
    today.replace(MAP, '"qemu-snp-experimental", ', "")
    (found,) = [f for f in today.findings("KB625") if "qemu-snp-experimental" in f.message]
    assert found.span.path == today.path(MAP)
    assert [(place.path, place.line) for place in found.related] == [(today.path(SNP), today.line(SNP, "path ="))]
