"""A builder tree that is one static program: Debian's busybox with links for its applets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kata_bundle.build.action import Action, Platform
from kata_bundle.build.action.model import ROOT
from kata_bundle.build.sandbox import bubblewrap_problem
from kata_bundle.core.arch import Arch
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Symlink, Tree
from kata_bundle.store import Store

APPLETS = (
    *(
        "sh",
        "cat",
        "ls",
        "echo",
        "id",
        "hostname",
        "env",
        "ps",
        "wget",
        "ping",
        "mount",
        "chmod",
        "cp",
        "date",
        "dd",
        "find",
        "ln",
    ),
    *("mkdir", "mkfifo", "nc", "rm", "sleep", "stat", "test", "touch", "true", "uname", "unshare", "chroot", "kill", "nproc"),
    *("ifconfig", "seq", "wc"),
)


@pytest.fixture(scope="session")
def busybox() -> Path:
    found = shutil.which("busybox")
    if found is None:
        pytest.skip("busybox is not installed (apt-get install busybox-static)")
    return Path(found)


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store", durable=False)


@pytest.fixture
def builder(store, busybox) -> Tree:
    digest, size = store.put_file(busybox)
    entries = {RelPath("bin/busybox"): File(mode=0o755, size_bytes=size, digest=digest)}
    entries |= {RelPath(f"bin/{name}"): Symlink(target="busybox") for name in APPLETS}
    entries |= {RelPath(name): Directory() for name in ("etc", "usr")}
    return Tree.of(entries)


@pytest.fixture
def sandbox():
    problem = bubblewrap_problem()
    if problem is not None:
        pytest.skip(str(problem))


@pytest.fixture
def shell(store, builder):
    """Return an action that runs a line of shell."""

    def make(text: str, *, outputs=("out",), inputs=None, **more) -> Action:
        return Action(
            argv=("/bin/sh", "-ec", text),
            outputs=tuple(RelPath(path) for path in outputs),
            platform=Platform(arch=Arch.X86_64),
            inputs={ROOT: builder, **(inputs or {})},
            env={"PATH": "/bin", **more.pop("env", {})},
            **more,
        )

    return make
