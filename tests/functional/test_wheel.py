"""The wheel carries the catalog, the schemas and the rules, and works without the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_carries_manifests_schemas_and_rules(unpacked):
    data = unpacked / "kata_bundle" / "data"
    for name in ("manifests", "schemas", "buildrules"):
        shipped = {str(p.relative_to(data / name)) for p in (data / name).rglob("*") if p.is_file()}
        ours = {str(p.relative_to(ROOT / name)) for p in (ROOT / name).rglob("*") if p.is_file()}
        assert shipped == ours
        assert shipped


def test_the_wheel_works_away_from_the_checkout(unpacked, tmp_path):
    def run(*argv):
        code = (
            f"import sys; sys.path.insert(0, {str(unpacked)!r}); from kata_bundle.cli import main; sys.exit(main({list(argv)!r}))"
        )
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    check = run("check")
    assert check.returncode == 0, check.stderr
    plan = run("plan", "--shim", "qemu", "--arch", "x86_64", "--json")
    assert '"kernel"' in plan.stdout
    where = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(unpacked)!r}); import kata_bundle; print(kata_bundle.__file__)",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(unpacked))
