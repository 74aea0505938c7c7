"""Builds with nothing to do: keys and look-ups for 100, 1,000 and 10,000 actions, and the whole command on the shipped rules.

The actions are recipes of programs with parents, ten of which share one; rulebook, scheduler and store are the real ones, and the
store has all results. With ``--benchmark-disable`` there are a twenty-fifth of them, to see that everything still runs.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kata_bundle.build import Rulebook, Target, build_plan
from kata_bundle.build.actionrules import ActionRecipe, WorkFolder
from kata_bundle.build.deblock import DebLock, DebPin
from kata_bundle.build.rules import Kind, Rule
from kata_bundle.build.toolchain import PinnedToolchain, Toolchain
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.manifest import load_catalog
from kata_bundle.store import ActionResult, Store

SIZES = (100, 1_000, 10_000)
PINS = 80
"""Packages of the toolchain, as many as the shipped one for C has."""
SCRIPT = str(Path(sys.executable).parent / "kata-bundle")


def synthetic(count: int) -> tuple[Rulebook, list[Target]]:
    """Return a rulebook of ``count`` actions, nothing of it computed yet, and all its targets."""
    catalog, _ = load_catalog()
    assert catalog is not None
    arch = Arch.X86_64
    model = catalog.components["nydus"]
    names = [f"action-{number:05}" for number in range(count)]
    components = {name: dataclasses.replace(model, name=name, outputs={arch: (f"bin/{name}",)}) for name in names}
    rules = {
        name: Rule(
            component=name,
            recipes={
                arch: ActionRecipe(
                    kind=Kind.SCRIPT, toolchain="tools", machine=arch, version="1", sources=(),
                    needs=() if number == 0 else (names[(number - 1) // 10],),
                    steps=(("cp", "{deps}/x", f"{{out}}/bin/{name}"),) * 4,
                    env=(), work=WorkFolder.EMPTY, image=None, links=(), notes="",
                )
            },
        )
        for number, name in enumerate(names)
    }  # fmt: skip
    pins = tuple(
        DebPin(
            suite="trixie", name=f"package-{i}", package=f"package-{i}", architecture="amd64", version="1", size_bytes=1,
            digest=digest_bytes(str(i).encode()),
        )
        for i in range(PINS)
    )  # fmt: skip
    toolchain = Toolchain(name="tools", arches=(arch,), suite="trixie", packages=("package-0",), links=(), notes="")
    pinned = PinnedToolchain(name="tools", arch=arch, pins=pins, tree=None)
    book = Rulebook(
        dataclasses.replace(catalog, components={**catalog.components, **components}),
        rules, DebLock(()), toolchains={"tools": toolchain}, pinned={("tools", arch): pinned},
    )  # fmt: skip
    return book, [Target(arch=arch, component=name) for name in names]


def filled(root: Path, book: Rulebook, targets: list[Target]) -> Store:
    """Return a store that has the result of every target."""
    store = Store(root, durable=False)
    for target in targets:
        data = target.component.encode()
        tree = Tree.of({RelPath(f"bin/{target.component}"): File(mode=0o755, size_bytes=len(data), digest=store.put_bytes(data))})
        store.put_tree(tree)
        result = ActionResult(tree=tree.digest, origin="script", version="1", hermetic=True, ingredients=book.ingredients(target))
        store.put_result(book.key(target), result)
    return store


def cpu_s(function, *arguments) -> float:
    """Return the seconds of processor time that ``function`` takes, collections left out."""
    gc.collect()
    gc.disable()
    began = time.process_time()
    function(*arguments)
    gc.enable()
    return time.process_time() - began


def keys(book: Rulebook) -> None:
    for component in book.rules:
        book.key(Target(arch=Arch.X86_64, component=component))


def build_all(book: Rulebook, store: Store, targets: list[Target]) -> None:
    assert all(one.is_cached for one in build_plan(book, store, targets, jobs=2))


@pytest.fixture
def sizes(benchmark):
    return tuple(size // 25 for size in SIZES) if benchmark.disabled else SIZES


def test_keys_and_builds_without_work_grow_with_the_actions(benchmark, tmp_path, sizes):
    """The figures are ``keys_ms`` and ``build_ms`` of each size, processor time; twice the actions should take twice as long."""
    took = {}
    for size in sizes:
        book, targets = synthetic(size)
        store = filled(tmp_path / str(size), book, targets)
        # Three rulebooks that know no key yet: making them is no part of the figures.
        fresh = [synthetic(size) for _ in range(3)]
        rows = [(cpu_s(keys, book), cpu_s(build_all, book, store, targets)) for book, targets in fresh]
        took[size] = (min(row[0] for row in rows), min(row[1] for row in rows))
    benchmark.pedantic(lambda: None)
    for size, (keys_s, build_s) in took.items():
        benchmark.extra_info[f"{size} actions"] = f"keys {keys_s * 1000:.0f} ms, build {build_s * 1000:.0f} ms"
        print(
            f"\n{size:>6} actions: keys {keys_s * 1000:7.1f} ms, {keys_s / size * 1e6:5.0f} µs each; "
            f"build {build_s * 1000:8.1f} ms, {build_s / size * 1e6:5.0f} µs each",
            end="",
        )
    print()


def test_the_whole_command_without_work(benchmark, tmp_path):
    """``kata-bundle build`` of what can be made without a network, when all of it is there: wall time of the process."""
    environment = {**os.environ, "KATA_BUNDLE_STORE": str(tmp_path / "store"), "KATA_BUNDLE_PROFILE": "packages"}
    argv = [SCRIPT, "build", "--arch", "s390x,ppc64le", "--quiet"]
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, env=environment)
    benchmark.pedantic(
        lambda: subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, env=environment), rounds=10, warmup_rounds=1
    )
