"""Real servers for tests, taken from Debian packages and unpacked beside the tests: nothing is installed, no service started."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def unpacked_package(cache: Path, package: str, program: str) -> Path:
    """Return the path of ``program`` of a Debian package; it is downloaded once. Skips the test where that is not possible."""
    found = shutil.which(program)
    if found:
        return cache / found  # an absolute path replaces the folder
    tree = cache / package
    path = tree / "usr" / "bin" / program
    if path.exists():
        return path
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            pytest.skip(f"{program} is not installed and there is no {tool} to get it with")
    work = cache / f"{package}.tmp-{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for attempt in ([], ["update"]):
        if attempt:
            subprocess.run(["apt-get", "-qq", "update"], capture_output=True, check=False, timeout=300)
        done = subprocess.run(
            ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package],
            cwd=work,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode == 0:
            break
    else:
        pytest.skip(f"apt-get download {package}: {done.stderr.strip()[-200:]}")
    (archive,) = work.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, work / "tree"], check=True, timeout=300)
    shutil.rmtree(tree, ignore_errors=True)
    (work / "tree").rename(tree)
    shutil.rmtree(work)
    assert path.exists(), path
    return path


@contextlib.contextmanager
def running_server(argv: list[str | Path], log: Path, ready: bytes, timeout_s: float = 60) -> Iterator[re.Match[bytes]]:
    """Run a server until the context is left; yields the match of ``ready`` in what it logs, once that appears."""
    # To a file, not a pipe: a server whose pipe nobody empties stops.
    with log.open("wb") as sink, subprocess.Popen(argv, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL) as server:
        try:
            end = time.monotonic() + timeout_s
            while (found := re.search(ready, log.read_bytes())) is None:
                if server.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"{argv[0]} did not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.02)
            yield found
        finally:
            server.kill()
