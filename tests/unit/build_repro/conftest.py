"""The builder tree of one static program, and beside it the machine's own ``date``, which asks the C library for the time."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from kata_bundle.build.action.model import ROOT
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from tests.unit.build_sandbox.conftest import builder, busybox, sandbox, shell, store

__all__ = ["builder", "busybox", "dated", "sandbox", "shell", "store"]


@pytest.fixture
def dated(store, shell):
    """Return an action that runs a line of shell in a tree where ``/dynamic/date`` is a dynamic program."""
    listed = subprocess.run(["ldd", "/bin/date"], capture_output=True, text=True, check=True).stdout
    files = {RelPath("dynamic/date"): Path("/bin/date")}
    files |= {RelPath(path.lstrip("/")): Path(path) for path in re.findall(r"(/[^ ]+) \(0x", listed)}
    entries = {}
    for at, path in files.items():
        digest, size = store.put_file(path.resolve())
        entries[at] = File(mode=0o755, size_bytes=size, digest=digest)
    for needed in ("libdl.so.2", "libpthread.so.0", "librt.so.1", "libm.so.6"):  # what the clock's library is linked with
        found = Path(next(str(at) for at in files if "libc.so.6" in at)).parent / needed
        if Path("/", found).exists():
            digest, size = store.put_file(Path("/", found).resolve())
            entries[RelPath(str(found))] = File(mode=0o755, size_bytes=size, digest=digest)

    def make(text: str, **more):
        action = shell(text, **more)
        root = Tree.of({**action.inputs[ROOT].entries, **entries})
        return shell(text, inputs={**action.inputs, ROOT: root}, **more)

    return make
