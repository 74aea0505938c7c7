"""Facts about the project itself that must be stated once or not at all."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked() -> list[str]:
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_python_floor_stands_in_one_place():
    floor = PYPROJECT["project"]["requires-python"].removeprefix(">=")
    versions = sorted(
        (c.rsplit(" ", 1)[1] for c in PYPROJECT["project"]["classifiers"] if re.search(r"Python :: 3\.\d+$", c)),
        key=lambda v: int(v.split(".")[1]),
    )
    assert versions[0] == floor
    assert versions[-1] == "3.14"
    assert "target-version" not in PYPROJECT["tool"]["ruff"], "ruff reads requires-python"
    assert "python_version" not in PYPROJECT["tool"]["mypy"]


def test_there_is_exactly_one_dependency_lock():
    known = {"uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "requirements.txt", "package-lock.json"}
    locks = [n for n in tracked() if Path(n).name in known or re.search(r"requirements.*\.(txt|lock|in)$|pylock\..*toml$", n)]
    assert locks == ["requirements.lock"]


def test_the_lock_is_hash_pinned_covers_the_dependencies_and_names_no_index():
    text = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    names = set()
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry
        names.add(entry.split("==")[0])
    assert not re.search(r"https?://|--index|--find-links|--extra-index", text)
    wanted = [
        *PYPROJECT["project"]["dependencies"],
        *PYPROJECT["dependency-groups"]["dev"],
        *PYPROJECT["build-system"]["requires"],
    ]
    assert {re.split(r"[>=<\[ ]", w)[0].lower() for w in wanted} <= names


def test_every_dependency_has_a_reason():
    record = (ROOT / "docs/decisions/001-dependencies.md").read_text()
    for wanted in [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]:
        name = re.split(r"[>=<\[ ]", wanted)[0]
        if name.startswith("types-"):
            name = "its stubs"
        assert name in record, f"docs/decisions/001-dependencies.md does not say why {name}"


def test_the_readme_starts_with_the_two_commands():
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    assert commands[0].split("#")[0].strip() == "./dev demo"
    assert commands[1].split("#")[0].strip() == "./dev test"
    assert "./dev ci" in (ROOT / ".ci/run").read_text()


def test_no_module_outgrows_a_few_screens():
    long = {n: c for n in tracked() if n.startswith("kata_bundle/") and n.endswith(".py") and (c := lines(n)) > 600}
    assert not long


def lines(name: str) -> int:
    return len((ROOT / name).read_text().splitlines())
