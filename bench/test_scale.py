"""Checking and planning up to 500 shims, 4 architectures and 10,000 components: the effort grows with the size, no faster.

Each catalog is the shipped one with shims and components added that no rule finds fault with, as the check of each size proves.
With ``--benchmark-disable`` the sizes are a twenty-fifth, to see that everything still runs.
"""

from __future__ import annotations

import gc
import json
import shutil
import time
from pathlib import Path

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.load import load_manifests
from kata_bundle.plan.closure import plan_closure
from kata_bundle.plan.selection import ALL, Selection

SHIPPED = Path(__file__).parents[1] / "manifests"
ARCHES = '["x86_64", "aarch64", "s390x", "ppc64le"]'
SIZES = (125, 250, 500)
COMPONENTS_EACH = 20


def write_catalog(folder: Path, shims: int) -> None:
    """Write the shipped manifests with ``shims`` more shims, each with twenty components of its own on four architectures."""
    shutil.copytree(SHIPPED, folder)
    names = [f"bulk-{i}" for i in range(shims)]
    parts = {
        name: [f"{name}-{kind}" for kind in ("kernel", "image", *(f"ext{i}" for i in range(COMPONENTS_EACH - 2)))]
        for name in names
    }
    path = folder / "components.toml"
    # Ten thousand components fit into no release: without budgets, none of them needs one.
    kept = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if not line.startswith("size_budget")]
    path.write_text("".join(kept), encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(
            f'\n[groups.bulk]\nkind = "shipped"\njob = "build-asset"\narches = {ARCHES}\nlicence = "MIT"\nmethod = "source"\n'
            'scripts = ["tools/packaging/static-build/busybox"]\nversion_keys = ["externals.busybox.version"]\n'
            f'cache_key = ["externals.busybox.version"]\nrelease = {{ go = {ARCHES} }}\n'
            '\n[components.bulk-vmm]\ngroups = ["bulk"]\noutputs = ["bin/bulk-vmm"]\npaths = ["bin/bulk-vmm"]\n'
        )
        for name in (part for each in parts.values() for part in each):
            path = f'["share/bulk/{name}"]'
            file.write(f'\n[components.{name}]\ngroups = ["bulk"]\noutputs = {path}\npaths = {path}\n')
    with (folder / "shims.toml").open("a", encoding="utf-8") as file:
        file.write('\n[hypervisors.bulk]\nbinary = "bulk-vmm"\n')
        for name, (kernel, image, *extensions) in parts.items():
            images = json.dumps([f"share/bulk/{extension}" for extension in extensions])
            file.write(
                f'\n[shims.{name}]\nfamily = "go"\nhypervisor = "bulk"\nconfigured_on = {ARCHES}\n[shims.{name}.config]\n'
                f'kernel = "share/bulk/{kernel}"\nimage = "share/bulk/{image}"\nguest_extension_images = {images}\n'
            )
    with (folder / "runtimeclasses.toml").open("a", encoding="utf-8") as file:
        file.writelines(f'\n[classes.{n}]\noverhead = {{ memory = "130Mi", cpu = "250m", source = "chart" }}\n' for n in names)
    path = folder / "shim-components.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    for name in names:
        document["shims"][name] = {arch.value: ["shim-v2-go", "bulk-vmm", "virtiofsd", *parts[name]] for arch in Arch}
    path.write_text(json.dumps(document), encoding="utf-8")
    for arch in Arch:
        path = folder / f"arches/{arch}.toml"
        more = "".join(f'    "{name}",\n' for name in names)
        path.write_text(
            path.read_text(encoding="utf-8").replace("default_shims = [\n", f"default_shims = [\n{more}"), encoding="utf-8"
        )


def check(folder: Path) -> object:
    """Return the catalog, after a check without findings."""
    loaded = load_manifests(folder)
    assert [str(finding) for finding in loaded.report][:3] == []
    return loaded.catalog


def cpu_s(function, *arguments):
    """Return what ``function`` returns, and the processor time that it took."""
    began = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - began


@pytest.fixture
def sizes(benchmark):
    return tuple(size // 25 for size in SIZES) if benchmark.disabled else SIZES


def test_checking_and_planning_grow_with_the_catalog(benchmark, tmp_path, sizes):
    took: dict[int, tuple[float, float]] = {}
    for size in sizes:
        folder = tmp_path / str(size)
        write_catalog(folder, size)
        catalog, checking = cpu_s(check, folder)
        assert len(catalog.components) >= size * COMPONENTS_EACH
        gc.collect()
        gc.disable()  # a collection during one of the short runs would look like growth
        tries = [cpu_s(plan_closure, catalog, Selection(shims=(ALL,), arches=tuple(Arch))) for _ in range(5)]
        gc.enable()
        plan, planning = min(tries, key=lambda result: result[1])
        assert len(plan.components) >= size * COMPONENTS_EACH * len(Arch)
        took[size] = (checking, planning)
        benchmark.extra_info[f"{size} shims"] = f"check {checking:.2f} s, plan {planning:.3f} s"
    benchmark.pedantic(lambda: None)
    print("".join(f"\n{size:>4} shims: check {c:6.2f} s, plan {p:6.3f} s" for size, (c, p) in took.items()))
