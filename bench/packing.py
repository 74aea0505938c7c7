"""Benchmarks of packing and sharing: time and size of packing, two releases together, and of memory."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.measure import Contender, compete
from bench.peers import find_peer
from bench.room import DRIVE, KATA_BUNDLE, Ratio, Result, at_least, at_most, has_command, size_ratio, time_ratio
from bench.unpacking import QEMU, install_argv

if TYPE_CHECKING:
    from pathlib import Path

    from bench.room import Room

__all__ = ["BENCHES"]


def pack(room: Room) -> Result:
    """Pack the qemu set at level 10."""
    components = room.set_of(QEMU)
    result = Result(name="pack", title="Pack the qemu set at level 10", place="disk")
    trees = [room.corpus.tree("r1", room.arch, name) for name in components]
    script = "set -e; mkdir -p $0; " + "; ".join(
        f"tar --sort=name -C {shlex.quote(str(tree))} -cf - ./opt | zstd -10 -q -c > $0/{tree.name}.tar.zst" for tree in trees
    )
    two = script.replace("zstd -10", "zstd -10 -T2")
    contenders = [
        Contender(name="tar | zstd -10", argv=lambda to: ["sh", "-c", script, str(to)]),
        Contender(name="kata-bundle pack", argv=lambda to: [*DRIVE, "pack", to, *trees]),
        Contender(name="tar | zstd -10 -T2", argv=lambda to: ["sh", "-c", two, str(to)]),
    ]
    inputs = [path for tree in trees for path in tree.rglob("*") if path.is_file()]
    rounds = min(room.rounds, 3)
    result.samples = compete(contenders, room.launcher, room.disk, rounds=rounds, patience_s=room.patience_s, inputs=inputs)
    time_ratio("vs tar | zstd -10", result, "tar | zstd -10", "kata-bundle pack", at_least(1.9))
    time_ratio("vs tar | zstd -10 -T2", result, "tar | zstd -10 -T2", "kata-bundle pack")
    shape = room.corpus.shape()["releases"]["r1"][room.arch]
    peers = sum(shape[name]["tarball_bytes"] for name in components)
    ours = sum(shape[name]["layer_bytes"] for name in components)
    size_ratio("packed size, qemu set", result, ours, peers, at_most(1.02))
    size_ratio("packed size, all components", result, *_totals(shape))
    result.figures |= {"qemu set, tarballs (MB)": peers / 1e6, "qemu set, layers (MB)": ours / 1e6}
    return result


def _totals(shape: dict[str, dict[str, int]]) -> tuple[int, int]:
    return sum(one["layer_bytes"] for one in shape.values()), sum(one["tarball_bytes"] for one in shape.values())


def shared_layers(room: Room) -> Result:
    """Seven shims' payloads as shared layers against one payload each."""
    result = Result(name="shared-layers", title="Seven shims: shared layers against a payload each")
    shape = room.corpus.shape()["releases"]["r1"][room.arch]
    shims = room.corpus.shims(room.arch)
    every = [name for components in shims.values() for name in components]
    shared = sum(shape[name]["layer_bytes"] for name in set(every))
    separate = sum(shape[name]["layer_bytes"] for name in every)
    tarballs = sum(shape[name]["tarball_bytes"] for name in every)
    size_ratio("shared layers vs a payload of layers each", result, shared, separate, at_most(0.41))
    size_ratio("shared layers vs upstream's tarballs each", result, shared, tarballs)
    result.figures |= {
        "a payload each (MB)": separate / 1e6, "upstream's tarballs each (MB)": tarballs / 1e6,
        "shared layers (MB)": shared / 1e6, "shims": len(shims),
    }  # fmt: skip
    return result


def two_releases(room: Room) -> Result:
    """Two releases kept together, by us and by programs made for that."""
    result = Result(name="two-releases", title="Two releases kept together")
    shape = room.corpus.shape()["releases"]
    tarballs = sum(one["tarball_bytes"] for release in shape.values() for one in release[room.arch].values())
    result.figures["tarballs (MB)"] = tarballs / 1e6
    ours = _medium(room, result)
    peers: dict[str, int] = {}
    for name, make in (("casync", _casync_store), ("borg", _borg_store), ("restic", _restic_store), ("desync", _desync_store)):
        program = find_peer(name, room.folder)
        if program is None:
            result.skipped[name] = f"{name} is not installed"
            continue
        peers[name] = _remembered(room, name, lambda m=make, p=program: m(room, p))  # type: ignore[misc]
        result.figures[f"{name} (MB)"] = peers[name] / 1e6
    if ours is not None:
        result.figures["kata-bundle medium (MB)"] = ours / 1e6
        size_ratio("vs tarballs", result, ours, tarballs, at_most(0.60))
        if peers:
            best = min(peers, key=lambda name: peers[name])
            size_ratio("vs the best of casync, borg, restic, desync", result, ours, peers[best], at_most(0.88))
    return result


def _medium(room: Room, result: Result) -> int | None:
    if not has_command("media"):
        result.skipped["kata-bundle medium"] = "there is no command `kata-bundle media`"
        return None
    target = room.disk / "medium"
    shutil.rmtree(target, ignore_errors=True)
    bundles = [f"{release}={room.corpus.bundle(release)}" for release in ("r1", "r2")]
    argv = [*KATA_BUNDLE, "media", "export", "--arch", "x86_64", "-o", target, *bundles]
    result.samples["kata-bundle media export"] = [room.launcher.run(argv)]
    size = _size_of(target)
    shutil.rmtree(target)
    return size


def _remembered(room: Room, name: str, make: object) -> int:
    """Return what ``make`` returned for this corpus and this program, made once: peers take minutes for it."""
    assert callable(make)
    place = room.folder / "prepared" / f"{name}-{room.corpus.kind}.json"
    key = (room.corpus.root / "made" / "r2-amd64-trees").read_text() + str(find_peer(name, room.folder))
    if place.is_file():
        known = json.loads(place.read_text())
        if known["key"] == key:
            return int(known["bytes"])
    print(f"  {name}: storing both releases", flush=True)
    size = int(make())
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"key": key, "bytes": size}))
    return size


def _trees(room: Room) -> list[Path]:
    return [room.corpus.root / release / room.arch / "trees" for release in ("r1", "r2")]


def _casync_store(room: Room, program: str) -> int:
    work = room.disk / "casync"
    work.mkdir()
    for number, tree in enumerate(_trees(room)):
        index = work / f"{number}.caidx"
        subprocess.run([program, "make", f"--store={work}/store.castr", index, tree], check=True, capture_output=True)
    size = _size_of(work)
    shutil.rmtree(work)
    return size


def _desync_store(room: Room, program: str) -> int:
    work = room.disk / "desync"
    (work / "store").mkdir(parents=True)
    for number, tree in enumerate(_trees(room)):
        argv = [program, "tar", "-i", "-s", work / "store", work / f"{number}.caidx", tree]
        subprocess.run(argv, check=True, capture_output=True)
    size = _size_of(work)
    shutil.rmtree(work)
    return size


def _borg_store(room: Room, program: str) -> int:
    work = room.disk / "borg"
    env = {**os.environ, "BORG_BASE_DIR": str(room.disk / "borg-home"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
           "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}  # fmt: skip
    subprocess.run([program, "init", "-e", "none", work], check=True, env=env, capture_output=True)
    for number, tree in enumerate(_trees(room)):
        argv = [program, "create", "-C", "zstd,10", f"{work}::{number}", "."]
        subprocess.run(argv, check=True, env=env, cwd=tree, capture_output=True)
    size = _size_of(work)
    shutil.rmtree(work)
    shutil.rmtree(room.disk / "borg-home", ignore_errors=True)
    return size


def _restic_store(room: Room, program: str) -> int:
    work = room.disk / "restic"
    env = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(room.disk / "restic-cache")}
    subprocess.run([program, "-r", work, "init"], check=True, env=env, capture_output=True)
    for tree in _trees(room):
        argv = [program, "-r", work, "backup", "--compression", "max", "."]
        subprocess.run(argv, check=True, env=env, cwd=tree, capture_output=True)
    size = _size_of(work)
    shutil.rmtree(work)
    shutil.rmtree(room.disk / "restic-cache", ignore_errors=True)
    return size


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def memory(room: Room) -> Result:
    """Peak memory of an install whose one file is 100 MB to 10 GB."""
    result = Result(name="memory", title="Peak memory of an install by the size of its largest file", place="disk")
    sizes = {"100 MB": 100_000_000, "1 GB": 1_000_000_000, "10 GB": 10_000_000_000}
    if room.is_smoke:
        sizes = {"10 MB": 10_000_000, "50 MB": 50_000_000}
    peaks = []
    for label, size in sizes.items():
        layout = _huge_bundle(room, size)
        target = room.disk / "huge"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        sample = room.launcher.run(install_argv(layout, target))
        result.samples[label] = [sample]
        peaks.append(sample.rss_kib / 1024)
        result.figures[f"peak RSS, {label} (MiB)"] = peaks[-1]
        shutil.rmtree(target)
    result.ratios.append(Ratio(name="peak RSS (MiB)", value=max(peaks), is_time=False, goal=at_most(48), unit="MiB"))
    size_ratio("growth from the smallest to the largest", result, peaks[-1], peaks[0], at_most(1.15))
    return result


def _huge_bundle(room: Room, size: int) -> Path:
    """Return a bundle with one file of ``size`` bytes, which compresses well but is no hole."""
    layout = room.folder / "prepared" / f"huge-{size}"
    marker = layout / "oci-layout"
    from bench.corpus import _packing_key
    from bench.huge import make_bundle

    key = layout.with_suffix(".key")
    if not marker.is_file() or not key.is_file() or key.read_text() != _packing_key("smoke"):
        shutil.rmtree(layout, ignore_errors=True)
        make_bundle(layout, size)
        key.write_text(_packing_key("smoke"))
    return layout


BENCHES = {
    "pack": pack,
    "shared-layers": shared_layers,
    "two-releases": two_releases,
    "memory": memory,
}
