"""``kata-bundle check --weigh``: a bundle that was really written, against budgets that it keeps and one that it does not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.resources import shipped
from tests.fixtures.cli import call_cli
from tests.support.bundles import Sample, sample_bundle


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample_bundle(tmp_path_factory.mktemp("weighed"), (Arch.X86_64,))


def test_a_bundle_within_the_budgets_has_no_findings(sample: Sample) -> None:
    found = json.loads(call_cli("check", "--weigh", str(sample.directory), "--json").ok())
    assert found["findings"] == []


def test_a_component_above_its_budget_is_found(sample: Sample, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    shutil.copytree(shipped("manifests"), folder)
    components = folder / "components.toml"
    components.write_text(re.sub(r"(?m)^size_budget_bytes = \d+$", "size_budget_bytes = 1", components.read_text()))
    done = call_cli("check", "--manifests", str(folder), "--weigh", str(sample.directory), "--json")
    assert done.code == 3
    found = [f for f in json.loads(done.stdout)["findings"] if f["code"] == "KB283"]
    packed = {name: layer.packed_size_bytes for name, layer in sample.indexes[Arch.X86_64].layers.items()}
    known = {name for name in packed if f"[components.{name}]" in components.read_text()}
    assert known
    assert {re.findall(r'^"([^"]+)"', f["message"])[0] for f in found if f["message"].startswith('"')} == known
    assert all(f["path"].endswith("components.toml") for f in found)


@pytest.mark.parametrize("others", [("--upstream", "."), ("--upstream", "--git", ".")])
def test_an_upstream_tree_is_not_weighed(sample: Sample, others: tuple[str, ...]) -> None:
    assert call_cli("check", *others, "--weigh", str(sample.directory)).code == 2


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    done = call_cli("check", "--weigh", str(tmp_path))
    assert done.code not in (0, 1, 3)
    assert "Traceback" not in done.stderr
