"""Benchmarks of moving: upgrades by delta, on paper and from a real registry, and whole bundles to a registry and back."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Final

from bench.measure import Contender, compete
from bench.peers import find_peer
from bench.room import KATA_BUNDLE, Result, at_most, has_command, help_text, size_ratio, time_ratio
from bench.unpacking import QEMU

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.room import Room

__all__ = ["BENCHES"]

INITRD: Final = "rootfs-initrd"


def upgrade(room: Room) -> Result:
    """What an upgrade has to move."""
    result = Result(name="upgrade-transfer", title="Bytes to move for the upgrade from r1 to r2, delta against full layers")
    if not has_command("delta"):
        result.skipped["all"] = "there is no command `kata-bundle delta`"
        return result
    work = room.disk / "delta"
    _linked_copy(room.corpus.bundle("r2"), work)
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
    _upgrade_from_registry(room, result, work, sum(delta.values()), sum(full.values()))
    return result


def _linked_copy(layout: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(layout, target, copy_function=os.link)
    index = target / "index.json"  # the only file of a layout that is written again
    text = index.read_bytes()
    index.unlink()
    index.write_bytes(text)


def _upgrade_from_registry(room: Room, result: Result, new: Path, stated: int, full: int) -> None:
    """Count what a registry sends to a node that has r1 and installs r2, deltas being attached to it."""
    if "--referrers" not in help_text("push"):
        result.skipped["upgrade from a registry"] = "push does not know deltas"
        return
    root = room.disk / "node"
    root.mkdir()
    with loopback_registry(room) as address:
        if address is None:
            result.skipped["upgrade from a registry"] = "docker-registry is not installed or did not start"
            return
        name = f"{address}/kata"
        for layout, tag in ((room.corpus.bundle("r1"), "r1"), (new, "r2")):
            subprocess.run([*KATA_BUNDLE, "push", "--referrers", "--quiet", layout, f"{name}:{tag}"], check=True)
        common = ["--root", root, "--shim", QEMU, "--arch", "x86_64", "--payload-only", "--quiet"]
        subprocess.run([*KATA_BUNDLE, "install", f"{name}:r1", *common], check=True)
        before = _sent(room)
        result.samples["install r2 from a registry, by deltas"] = [
            room.launcher.run([*KATA_BUNDLE, "install", f"{name}:r2", *common])
        ]
        moved = _sent(room) - before
    result.figures |= {"deltas as stated (MB)": stated / 1e6, "sent by the registry (MB)": moved / 1e6}
    size_ratio("sent by the registry vs full layers", result, moved, full)
    size_ratio("sent by the registry vs deltas as stated", result, moved, stated)
    shutil.rmtree(root)


def _sent(room: Room) -> int:
    """Return the bytes of all answers that the registry has logged."""
    log = (room.disk / "registry.log").read_text(errors="replace")
    return sum(int(size) for size in re.findall(r'msg="response completed".*?http\.response\.written=(\d+)', log))


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
    ours = has_command("push") and has_command("pull")
    if not ours:
        result.skipped["kata-bundle push, pull"] = "there are no such commands"
    if skopeo is None:
        result.skipped["skopeo"] = "skopeo is not installed"
    layout = room.corpus.bundle("r1")
    with loopback_registry(room) as address:
        if address is None:
            result.skipped["all"] = "docker-registry is not installed or did not start"
            return result
        name = f"{address}/bench:v1"
        push, pull = [], []

        def emptied(_to: Path) -> None:
            # skopeo remembers where a blob was and has it mounted from there: what is timed is sending.
            shutil.rmtree(room.disk / "registry/docker", ignore_errors=True)

        if skopeo is not None:
            common = [skopeo, "--insecure-policy", "copy", "--quiet", "--all"]
            send = [*common, "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{name}"]
            receive = [*common, "--src-tls-verify=false", f"docker://{name}"]
            push.append(Contender(name="skopeo, push", argv=lambda _to: send, prepare=emptied))
            pull.append(Contender(name="skopeo, pull", argv=lambda to: [*receive, f"oci:{to}:latest"]))
        if ours:
            ours_send = [*KATA_BUNDLE, "push", layout, name]
            push.append(Contender(name="kata-bundle push", argv=lambda _to: ours_send, prepare=emptied))
            pull.append(Contender(name="kata-bundle pull", argv=lambda to: [*KATA_BUNDLE, "pull", name, "-o", to]))
        rounds = min(room.rounds, 3)
        for contenders in (push, pull):  # what was pushed last is pulled
            result.samples |= compete(contenders, room.launcher, room.disk, rounds=rounds, patience_s=room.patience_s)
    time_ratio("push vs skopeo", result, "skopeo, push", "kata-bundle push")
    time_ratio("pull vs skopeo", result, "skopeo, pull", "kata-bundle pull")
    return result


BENCHES = {"upgrade-transfer": upgrade, "transfer": transfer}
