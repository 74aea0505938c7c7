"""Single mistakes, made without knowing the rules, are found where they were made; what is missed is on a page that says why."""

import pytest

from tests.property.manifest import mutation
from tests.property.manifest.mutants import FILES, all_mutants, sample

QUICK = 200


def test_mutants_are_the_same_every_time_and_touch_every_document():
    first, second = all_mutants(mutation.SHIPPED), all_mutants(mutation.SHIPPED)
    assert first == second
    assert {mutant.file for mutant in first} == set(FILES)
    originals = {file: (mutation.SHIPPED / file).read_text(encoding="utf-8") for file in FILES}
    assert all(mutant.text != originals[mutant.file] for mutant in first)


def test_a_sample_of_mistakes_is_found_in_the_right_place():
    verdicts = mutation.run(sample(all_mutants(mutation.SHIPPED), QUICK, seed=7))
    mistakes, _, part = mutation.figures(verdicts)
    assert mistakes >= QUICK * 0.9
    # Of 200, one part in twenty missed strays by five points now and then; the test of all 3000 holds the bound of 95 %.
    assert part >= 0.90, [v.mutant.what for v in verdicts if v.outcome in {"survived", "elsewhere"}]
    assert max(v.seconds for v in verdicts) < mutation.LONGEST_S


@pytest.mark.slow
def test_the_page_of_survivors_says_what_happens():
    everything = all_mutants(mutation.SHIPPED)
    verdicts = mutation.run(sample(everything, mutation.SIZE, mutation.SEED))
    mistakes, _, part = mutation.figures(verdicts)
    assert mistakes >= 2000
    assert part >= 0.95
    assert max(v.seconds for v in verdicts) < mutation.LONGEST_S
    expected = mutation.page(verdicts, len(everything))
    command = "python -m tests.property.manifest.mutation"
    assert mutation.PAGE.read_text(encoding="utf-8") == expected, f"{command} writes the page anew"
