"""Benchmarks of packing, sharing and moving: time and size of packing, two releases together, upgrades, memory, registries."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Final

from bench.measure import Contender, compete
from bench.peers import find_peer
from bench.room import DRIVE, KATA_BUNDLE, Result, at_least, at_most, size_ratio, time_ratio
from bench.unpacking import QEMU, install_argv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.room import Room

__all__ = ["BENCHES"]

INITRD: Final = "rootfs-initrd"


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
    separate = sum(shape[name]["tarball_bytes"] for components in shims.values() for name in components)
    shared = sum(shape[name]["layer_bytes"] for name in {name for components in shims.values() for name in components})
    size_ratio("shared layers vs separate payloads", result, shared, separate, at_most(0.41))
    result.figures |= {"separate (MB)": separate / 1e6, "shared (MB)": shared / 1e6, "shims": len(shims)}
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
    if not _has_command("media"):
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


def _has_command(name: str, *more: str) -> bool:
    done = subprocess.run([*KATA_BUNDLE, name, *more, "--help"], capture_output=True, check=False)
    return done.returncode == 0


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
    from bench.room import Ratio

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


def upgrade(room: Room) -> Result:
    """What an upgrade has to move."""
    result = Result(name="upgrade-transfer", title="Bytes to move for the upgrade from r1 to r2, delta against full layers")
    if not _has_command("delta"):
        result.skipped["all"] = "there is no command `kata-bundle delta`"
        return result
    work = room.disk / "delta"
    shutil.rmtree(work, ignore_errors=True)
    components = room.set_of(QEMU)
    argv = [*KATA_BUNDLE, "delta", room.corpus.bundle("r1"), room.corpus.bundle("r2"), "--arch", "x86_64",
            "--component", ",".join(components), "-o", work, "--json"]  # fmt: skip
    result.samples["kata-bundle delta"] = [room.launcher.run(argv)]
    document = json.loads((room.launcher.folder / "stdout").read_text())
    moved = {one["component"]: one["transfer_bytes"] for one in document["components"]}
    shape = room.corpus.shape()["releases"]["r2"][room.arch]
    old = room.corpus.shape()["releases"]["r1"][room.arch]
    # What is equal in both releases is not moved at all, and counts with its full size for the whole.
    full = {name: shape[name]["layer_bytes"] for name in components}
    delta = {name: moved.get(name, 0) for name in components}
    for name in components:
        result.figures[f"{name}, full (MB)"] = full[name] / 1e6
        result.figures[f"{name}, delta (MB)"] = delta[name] / 1e6
    size_ratio("rootfs image", result, delta["rootfs-image"], full["rootfs-image"], at_most(0.06))
    without = [name for name in components if name != INITRD]
    partly = sum(delta[name] for name in without)
    size_ratio("qemu set without the initrd", result, partly, sum(full[name] for name in without), at_most(0.18))
    size_ratio("qemu set", result, sum(delta.values()), sum(full.values()))
    size_ratio("qemu set, by whole layers that changed", result, _changed(full, old, shape), sum(full.values()))
    return result


def _changed(full: dict[str, int], old: dict[str, dict[str, int]], new: dict[str, dict[str, int]]) -> int:
    return sum(size for name, size in full.items() if old[name] != new[name])


@contextlib.contextmanager
def loopback_registry(room: Room) -> Iterator[str | None]:
    """Run a registry on a free port of the loopback address with storage below the disk folder; yields ``address:port``."""
    program = find_peer("docker-registry", room.folder)
    if program is None:
        yield None
        return
    storage = room.disk / "registry"
    shutil.rmtree(storage, ignore_errors=True)
    storage.mkdir()
    config = room.disk / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {level: info}\n"
        f"storage: {{filesystem: {{rootdirectory: {storage}}}, delete: {{enabled: true}}}}\n"
        "http: {addr: '127.0.0.1:0'}\n"
    )
    log = room.disk / "registry.log"
    with log.open("wb") as sink, subprocess.Popen([program, "serve", config], stdout=sink, stderr=sink) as server:
        try:
            address = None
            end = time.monotonic() + 30
            while address is None and time.monotonic() < end and server.poll() is None:
                found = re.search(rb"listening on (127\.0\.0\.1:\d+)", log.read_bytes())
                address = found[1].decode() if found else None
                time.sleep(0.05)
            yield address
        finally:
            server.kill()
    shutil.rmtree(storage, ignore_errors=True)


def transfer(room: Room) -> Result:
    """Push a bundle to a registry and pull it back."""
    result = Result(name="transfer", title="Push a bundle to a registry over loopback and pull it back", place="disk")
    skopeo = find_peer("skopeo", room.folder)
    ours = _has_command("push") and _has_command("pull")
    if not ours:
        result.skipped["kata-bundle push, pull"] = "there are no such commands"
    if skopeo is None:
        result.skipped["skopeo"] = "skopeo is not installed"
    layout = room.corpus.bundle("r1")
    with loopback_registry(room) as address:
        if address is None:
            result.skipped["all"] = "docker-registry is not installed or did not start"
            return result
        counter = iter(range(10_000))
        push, pull = [], []
        if skopeo is not None:
            common = [skopeo, "--insecure-policy", "copy", "--quiet", "--all"]
            push.append(
                Contender(
                    name="skopeo, push",
                    argv=lambda _to: [
                        *common,
                        "--dest-tls-verify=false",
                        f"oci:{layout}:latest",
                        f"docker://{address}/skopeo{next(counter)}:v1",
                    ],
                )
            )
            subprocess.run(
                [*common, "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{address}/bench:v1"], check=True
            )
            pull.append(Contender(name="skopeo, pull", argv=lambda to: [
                *common, "--src-tls-verify=false", f"docker://{address}/bench:v1", f"oci:{to}:latest"]))  # fmt: skip
        if ours:
            plain = ["--plain-http"] if "--plain-http" in _help_text("push") else []
            push.append(
                Contender(
                    name="kata-bundle push",
                    argv=lambda _to: [*KATA_BUNDLE, "push", *plain, layout, f"{address}/ours{next(counter)}:v1"],
                )
            )
            subprocess.run([*KATA_BUNDLE, "push", *plain, layout, f"{address}/bench:v1"], check=True, capture_output=True)
            pull.append(Contender(name="kata-bundle pull", argv=lambda to: [
                *KATA_BUNDLE, "pull", *plain, f"{address}/bench:v1", "-o", to]))  # fmt: skip
        rounds = min(room.rounds, 3)
        for contenders in (push, pull):
            result.samples |= compete(contenders, room.launcher, room.disk, rounds=rounds, patience_s=room.patience_s)
    time_ratio("push vs skopeo", result, "skopeo, push", "kata-bundle push")
    time_ratio("pull vs skopeo", result, "skopeo, pull", "kata-bundle pull")
    return result


def _help_text(command: str) -> str:
    return subprocess.run([*KATA_BUNDLE, command, "--help"], capture_output=True, text=True, check=False).stdout


BENCHES = {
    "pack": pack,
    "shared-layers": shared_layers,
    "two-releases": two_releases,
    "upgrade-transfer": upgrade,
    "memory": memory,
    "transfer": transfer,
}
