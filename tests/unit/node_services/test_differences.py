"""The list of differences from the reference installer names a test for each of its known defects, and these tests exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/reference/differences.md"
ROW = re.compile(r"^\| D(\d+) \| .+ \| `([^:`]+)::(\w+)` \|$", re.MULTILINE)


def test_every_known_defect_is_answered_by_a_test_that_exists():
    rows = ROW.findall(PAGE.read_text())
    assert [int(number) for number, _, _ in rows] == list(range(1, 43))
    missing = [f"{path}::{name}" for _, path, name in rows if f"def {name}(" not in (ROOT / path).read_text()]
    assert not missing
