"""Runs the conformance vectors: facts about the node installer that another implementation's users rely on.

``KATA_BUNDLE_VECTORS`` names another folder of vector files; the default is the copy in ``tests/fixtures/vectors``, whose README
describes every question. A question that nobody answers is a failure, unless its area stands in ``PENDING``.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path

import pytest

from tests.unit.vectors import harness

HERE = Path(__file__).resolve().parent
SHIPPED = HERE.parents[1] / "fixtures" / "vectors"
FOLDER = Path(os.environ.get("KATA_BUNDLE_VECTORS") or SHIPPED)

PENDING: dict[str, str] = {}
"""Areas (``area``) or single questions (``area.kind``) without an implementation, each with the reason; it shrinks to nothing."""

for module in sorted(HERE.glob("answers_*.py")):
    importlib.import_module(f"tests.unit.vectors.{module.stem}")


def pending(area, kind):
    return PENDING.get(area) or PENDING.get(f"{area}.{kind}")


def load():
    return [vector for path in sorted(FOLDER.glob("*.json")) for vector in json.loads(path.read_text())]


def described_questions():
    """Return every (area, kind) that the README's tables describe; a note in brackets ties a kind to one area."""
    found = []
    areas: list[str] = []
    for line in (SHIPPED / "README.md").read_text().splitlines():
        if line.startswith("## "):
            areas = [name.strip() for name in line[3:].split(",")]
        elif row := re.match(r"\| ((?:`\w+`(?: \(\w+\))?(?:, )?)+) \|", line):
            note = re.search(r"\((\w+)\)", row.group(1))
            within = [a for a in areas if not note or a.startswith(note.group(1))]
            found += [(tuple(within), kind) for kind in re.findall(r"`(\w+)`", row.group(1))]
    return found


VECTORS = load()


@pytest.mark.parametrize("vector", VECTORS, ids=[v["id"] for v in VECTORS])
def test_the_installer_agrees_with_the_vector(vector, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    given, expected = vector["given"], vector["expect"]
    answer = harness.answer_for(vector["area"], given["kind"])
    if answer is None:
        if reason := pending(vector["area"], given["kind"]):
            pytest.skip(f"{vector['area']}: {reason}")
        pytest.fail(f"nothing answers {given['kind']} of {vector['area']}")
    arguments = {**given, "tmp_path": tmp_path}
    if "error" not in expected:
        harness.check(answer(arguments), expected)
        return
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the kind is checked below
        answer(arguments)
    harness.check_error(caught.value, expected["error"])


@pytest.mark.parametrize(("areas", "kind"), described_questions(), ids=lambda v: v if isinstance(v, str) else v[0])
def test_every_described_question_has_an_answer(areas, kind):
    reasons = [f"{area}: {reason}" for area in areas if (reason := pending(area, kind))]
    if reasons:
        pytest.skip(reasons[0])
    assert any(harness.answer_for(area, kind) for area in areas), f"nothing answers {kind} of {', '.join(areas)}"


def test_the_folder_holds_vectors():
    assert VECTORS, f"{FOLDER} has no vectors"


def test_vector_names_are_unique():
    names = [vector["id"] for vector in VECTORS]
    assert len(set(names)) == len(names)


def test_what_is_pending_exists_and_has_no_answer_yet():
    described = {(area, kind) for areas, kind in described_questions() for area in areas}
    answered = {f"{area}.{kind}" for area, kind in harness.registered()} | {area for area, _ in harness.registered()}
    assert set(PENDING) <= {area for area, _ in described} | {f"{area}.{kind}" for area, kind in described}
    assert not set(PENDING) & answered, "take what is answered out of PENDING"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"value": 1}, {"value": True}),
        ({"value": "a"}, {"value": None}),
        ({"value": ["a"]}, {"value": ["a", "b"]}),
        ({"toml": {"a": {"b": 1}}}, {"values": {"a.b": 2}}),
        ({"toml": {"a": {"b": 1}}}, {"absent": ["a.b"]}),
        ({"toml": {}}, {"values": {"a.b": 2}}),
        ({"toml": {}}, {"arrays": {"a": ["x"]}}),
        ({"text": "\n\na = 1\n"}, {"no_blank_lines_after_prefix": ""}),
        ({"text": "a = 1\n"}, {"text_count": {"a": 2}}),
        ({"text": "a = 1\n"}, {"text_contains": ["b"]}),
        ({"text": "a = 1\n"}, {"text_not_contains": ["a"]}),
        ({"text": "a = 1\n"}, {"first_nonblank_after_prefix": "["}),
        ({}, {"value": 1}),
        ({"ok": False}, {"ok": True}),
        ({"config": {"a": 1}}, {"config": {"a": 2}}),
    ],
)
def test_the_runner_notices_a_difference(result, expected):
    with pytest.raises(harness.MismatchError):
        harness.check(result, expected)


def test_the_runner_notices_a_differing_tree(tmp_path):
    (tmp_path / "extra").write_text("")
    with pytest.raises(harness.MismatchError):
        harness.check({"directory": tmp_path}, {"tree": {}})


def test_the_runner_notices_a_wrong_error_and_a_missing_mention():
    class WrongError(Exception):
        kind = "b"

    with pytest.raises(harness.MismatchError, match="expected an error of kind no_runtimes"):
        harness.check_error(WrongError("x"), {"kind": "no_runtimes", "mentions": []})
    with pytest.raises(harness.MismatchError, match="expected an error of kind never seen"):
        harness.check_error(WrongError("x"), {"kind": "never seen", "mentions": []})
    with pytest.raises(harness.MismatchError, match="does not mention"):
        harness.check_error(WrongError("x"), {"kind": "b", "mentions": ["SHIMS"]})
