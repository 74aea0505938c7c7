"""Runs the benchmarks and writes what they found as one JSON document. Must not know: what one does, how a report looks."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import moving, packing, unpacking
from bench.corpus import default_folder, ensure_corpus
from bench.debs import SUITE
from bench.measure import Launcher
from bench.peers import versions
from bench.room import Room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.corpus import Corpus
    from bench.room import Result

__all__ = ["BENCHES", "SCHEMA", "run"]

SCHEMA: Final = 1
BENCHES: Final[dict[str, Callable[[Room], Result]]] = {**unpacking.BENCHES, **packing.BENCHES, **moving.BENCHES}
_MEMORY_NEEDED: Final = {"full": 3 << 30, "smoke": 200 << 20}


def run(kind: str, names: Sequence[str], output: Path, *, folder: Path | None, rounds: int, patience_s: float, nice: int) -> int:
    """Run the named benchmarks, write ``output``, and return how many of them failed.

    What ``output`` already has of other benchmarks of the same corpus and machine stays in it, so a run can be made in parts.
    """
    _compile()
    corpus = ensure_corpus(kind, folder)
    place = folder or default_folder()
    document = _begin(corpus, place, output)
    failed = 0
    with _folders(corpus.root, kind) as (disk, memory, scratch), Launcher(folder=scratch, nice=nice) as launcher:
        room = Room(
            corpus=corpus, folder=place, disk=disk, memory=memory, launcher=launcher, rounds=rounds, patience_s=patience_s,
            is_smoke=kind == "smoke",
        )  # fmt: skip
        for name in names:
            print(f"{name}: {BENCHES[name].__doc__}", flush=True)
            started = time.monotonic()
            try:
                result = BENCHES[name](room)
            except Exception:
                failed += 1
                print(traceback.format_exc(), file=sys.stderr, flush=True)
                continue
            finally:
                for one in (disk, memory):
                    if one is not None:
                        _empty(one)
            _tell(result, time.monotonic() - started)
            found = {**result.to_dict(), "command": f"python -m bench run --{kind} --only {name}"}
            document["benches"] = [one for one in document["benches"] if one["name"] != name] + [found]
            document["benches"].sort(key=lambda one: list(BENCHES).index(one["name"]))
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(document, indent=1) + "\n")
    return failed


def _compile() -> None:
    """Make this program's bytecode, as installing a package does: where Python may not write it, each start compiles anew."""
    import compileall

    import kata_bundle

    compileall.compile_dir(Path(kata_bundle.__file__).parent, quiet=1)


def _begin(corpus: Corpus, place: Path, output: Path) -> dict[str, Any]:
    kind = corpus.kind
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "corpus": kind,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": _machine(place),
        "versions": {"kata-bundle": _own_version(), **dict(versions(place))},
        "shape": _shape(corpus),
        "benches": [],
    }
    if output.is_file():
        with contextlib.suppress(ValueError, KeyError):
            before = json.loads(output.read_text())
            if before["schema"] == SCHEMA and before["corpus"] == kind and before["machine"] == document["machine"]:
                document["benches"] = before["benches"]
    return document


def _shape(corpus: Corpus) -> dict[str, Any]:
    """Return a row for each release and architecture, and what the releases differ in."""
    shape = corpus.shape()
    rows = [
        {
            "name": f"{release} {arch}", "components": len(components), "files": sum(one["files"] for one in components.values()),
            "bytes_mb": sum(one["bytes"] for one in components.values()) / 1e6,
            "tarballs_mb": sum(one["tarball_bytes"] for one in components.values()) / 1e6,
            "layers_mb": sum(one["layer_bytes"] for one in components.values()) / 1e6,
        }
        for release, arches in shape["releases"].items()
        for arch, components in arches.items()
    ]  # fmt: skip
    packages = shape.get("packages")
    if packages is None:
        return {"rows": rows, "note": "A small made-up corpus: its figures say that everything works, and nothing else."}
    differences = ", ".join(f"{one['changed']} of {one['all']} packages on {arch}" for arch, one in packages.items())
    note = f"Made of Debian {SUITE} packages; r1 has the oldest, r2 the newest point update: they differ in {differences}."
    return {"rows": rows, "note": note}


def _own_version() -> str:
    from kata_bundle import __version__

    return __version__


def _machine(place: Path) -> dict[str, Any]:
    """Return what a figure depends on, without naming the machine."""
    import zstandard

    processor = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")) and not processor:
            processor = line.partition(":")[2].strip()
    os_release = dict(
        line.partition("=")[::2] for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )  # fmt: skip
    return {
        "processor": processor,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)),
        "kernel": platform.release().partition("-")[0],
        "system": os_release.get("PRETTY_NAME", "").strip('"'),
        "disk": _file_system(place),
        "python": platform.python_version(),
        "libzstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
    }


def _file_system(place: Path) -> str:
    where = os.path.realpath(place)
    best = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, at, kind, *_rest = line.split()
        if (where == at or where.startswith(at.rstrip("/") + "/")) and len(at) >= len(best[0]):
            best = (at, kind)
    return best[1]


@contextmanager
def _folders(root: Path, kind: str) -> Iterator[tuple[Path, Path | None, Path]]:
    disk = Path(tempfile.mkdtemp(prefix="run-", dir=root))
    scratch = Path(tempfile.mkdtemp(prefix="kata-bundle-bench-"))
    memory = None
    with contextlib.suppress(OSError):
        free = os.statvfs("/dev/shm")
        if free.f_bavail * free.f_frsize > _MEMORY_NEEDED[kind]:
            memory = Path(tempfile.mkdtemp(prefix="kata-bundle-bench-", dir="/dev/shm"))
    try:
        yield disk, memory, scratch
    finally:
        for one in (disk, memory, scratch):
            if one is not None:
                shutil.rmtree(one, ignore_errors=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _tell(result: Result, seconds: float) -> None:
    document = result.to_dict()
    for name, one in document["contenders"].items():
        print(f"  {name:44} {one['wall_s']['median'] * 1000:9.1f} ms  cpu {one['cpu_s'] * 1000:8.1f} ms  "
              f"rss {one['peak_rss_kib'] / 1024:6.1f} MiB  others {one['others_busy']:.0%}")  # fmt: skip
    for name, value in document["figures"].items():
        print(f"  {name:44} {value:9.2f}")
    for ratio in document["ratios"]:
        goal = ratio["goal"]
        wanted = f"  goal {goal['relation']} {goal['value']}: {'met' if goal['met'] else 'NOT MET'}" if goal else ""
        print(f"  {ratio['name']:44} {ratio['value']:9.3f} {ratio['unit']}{wanted}")
    for name, reason in document["skipped"].items():
        print(f"  skipped {name}: {reason}")
    print(f"  took {seconds:.0f} s", flush=True)
