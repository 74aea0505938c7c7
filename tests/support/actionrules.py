"""Rules that run programs, for the command line: a toolchain that is the machine's busybox, so that nothing is fetched.

The toolchain's one package is made up. What it would make lies in the store already, under the key that the program computes
itself; so the program believes that it unpacked it before.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from kata_bundle.build.sandbox import bubblewrap_problem
from kata_bundle.build.toolchain import (
    FILE_NAME,
    FOLDER,
    LOCK_NAME,
    load_toolchain_lock,
    load_toolchains,
    toolchain_ingredients,
    toolchain_key,
)
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import hex_part
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Symlink, Tree
from kata_bundle.store import ActionResult, Store

__all__ = ["OUTPUTS", "Rules", "walls"]

OUTPUTS = {
    "agent-ctl": "bin/kata-agent-ctl",
    "cloud-hypervisor": "bin/cloud-hypervisor",
    "kata-ctl": "bin/kata-ctl",
    "nydus": "libexec/nydusd",
    "openvmm": "bin/openvmm",
    "trace-forwarder": "bin/kata-trace-forwarder",
    "virtiofsd": "libexec/virtiofsd",
}
"""Components of the shipped catalog with what they have to have."""
_APPLETS = (
    "sh",
    "cat",
    "chmod",
    "cp",
    "dd",
    "echo",
    "env",
    "false",
    "head",
    "ln",
    "mkdir",
    "nproc",
    "rm",
    "seq",
    "sleep",
    "touch",
    "id",
    "ls",
    "stat",
)
_TOOLCHAINS = """\
version = 1

[toolchains.busybox]
notes = "The machine's own."
arches = ["x86_64"]
suite = "trixie"
packages = ["busybox-static"]
"""
_HEAD = """\
version = 1

[[recipes]]
kind = "script"
arches = ["x86_64"]
notes = "Made by a test."
toolchain = "busybox"
version = "1"
work = "empty"
"""


@pytest.fixture(autouse=True)
def walls():
    """Skip the tests of a module that imports this where programs cannot be walled in, and say why."""
    if (problem := bubblewrap_problem()) is not None:
        pytest.skip(str(problem))


@dataclass(frozen=True)
class Rules:
    """A folder of rules, and a way to have a store know their toolchain."""

    folder: Path
    busybox: Path

    @classmethod
    def make(cls, folder: Path) -> Rules:
        found = shutil.which("busybox")
        if found is None:
            pytest.skip("busybox is not installed (apt-get install busybox-static)")
        rules = cls(folder, Path(found))
        (folder / FOLDER).mkdir(parents=True)
        (folder / FOLDER / FILE_NAME).write_text(_TOOLCHAINS)
        (folder / FOLDER / LOCK_NAME).write_text(
            'version = 1\n\n[[toolchains]]\nname = "busybox"\narch = "x86_64"\nsuite = "trixie"\n'
            f'packages = [\n    "busybox-static amd64 0 1 {"0" * 64}",\n]\n'
        )
        return rules

    def add(self, component: str, *steps: str, needs: tuple[str, ...] = (), more: str = "") -> None:
        """Write a rule of shell lines that run in order; ``$OUT`` is where the component's files go."""
        vectors = [["sh", "-ec", f"OUT=$1; shift; {line}", "sh", "{out}", "{deps}", "{src}"] for line in steps]
        text = f"{_HEAD}needs = {json.dumps(needs)}\nsteps = {json.dumps(vectors)}\n{more}"
        (self.folder / f"{component}.toml").write_text(text)

    def simple(self, component: str, *, text: str = "", before: str = ":", needs: tuple[str, ...] = (), more: str = "") -> None:
        """Write a rule that makes the component's one file, of ``text`` and of what it needs."""
        path = OUTPUTS[component]
        inside = " ".join(f"$1/{name}/{OUTPUTS[name]}" for name in needs)
        target = f"$OUT/{path}"
        line = f"mkdir -p $OUT/{path.rpartition('/')[0]}; echo {component} {text} | cat - {inside} > {target}; chmod 755 {target}"
        self.add(component, before, line, needs=needs, more=more)

    def seed(self, root: Path) -> Store:
        """Make a store that has the toolchain's tree."""
        store = Store(root, durable=False)
        (toolchain,) = load_toolchains(self.folder).values()
        pinned = load_toolchain_lock(self.folder)["busybox", Arch.X86_64]
        digest, size = store.put_file(self.busybox)
        entries = {RelPath("bin/busybox"): File(mode=0o755, size_bytes=size, digest=digest)}
        entries |= {RelPath(f"bin/{name}"): Symlink(target="busybox") for name in _APPLETS}
        entries |= {RelPath(name): Directory() for name in ("bin", "dev", "etc", "proc", "tmp", "usr")}
        tree = Tree.of(entries)
        store.put_tree(tree)
        result = ActionResult(
            tree=tree.digest,
            origin="toolchain",
            version="0",
            hermetic=True,
            ingredients=toolchain_ingredients(toolchain, pinned),
        )
        store.put_result(toolchain_key(toolchain, pinned), result)
        return store

    @staticmethod
    def key_file(store: Path, key: str) -> Path:
        """Return the record of a result."""
        return store / "actions" / hex_part(key)
