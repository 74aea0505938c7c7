"""Benchmarks of unpacking and installing: on disk and tmpfs, warm and cold, durable, one huge image, nothing to do."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.measure import Contender, allocated_bytes, compete
from bench.peers import find_peer, serial_unpack
from bench.room import DRIVE, KATA_BUNDLE, Result, at_least, at_most, help_text, size_ratio, time_ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bench.room import Goal, Room

__all__ = ["BENCHES"]

RUST, EXTRACTOR, COMMAND = "Rust, serial", "kata-bundle extractor", "kata-bundle install"
QEMU, BIG = "qemu", "qemu-nvidia-gpu"


def _rust(room: Room, components: Sequence[str], release: str = "r1", *flags: str, layers: bool = False) -> Contender | str:
    program, reason = serial_unpack(room.folder)
    if program is None:
        return reason
    folder = (room.corpus.layers if layers else room.corpus.tarballs)(release, room.arch)
    paths = room.inputs(folder, components)
    return Contender(name=RUST, argv=lambda to: [program, *flags, to, *paths])


def _shell(name: str, program: str, script: str, folder: Path, components: Sequence[str], room: Room) -> Contender | str:
    """Return a contender that runs ``script`` with ``$f`` set to each tarball in turn, ``$to`` being the destination."""
    found = find_peer(program, room.folder)
    if found is None:
        return f"{program} is not installed"
    paths = " ".join(shlex.quote(str(path)) for path in room.inputs(folder, components))
    line = f"set -e; mkdir -p {{to}}; to={{to}}; for f in {paths}; do {script}; done"
    return Contender(name=name, argv=lambda to: ["sh", "-c", line.replace("{to}", shlex.quote(str(to)))])


def _extractor(room: Room, components: Sequence[str], *flags: str, name: str = EXTRACTOR) -> Contender:
    from kata_bundle.core.arch import Arch
    from kata_bundle.oci import open_bundle

    bundle = open_bundle(room.corpus.bundle("r1"))
    layers = bundle.index(Arch.X86_64).layers
    rows = []
    for component in components:
        table = layers[component].table
        if table is None:
            msg = f"the layer of {component} has no table of contents"
            raise RuntimeError(msg)
        path = os.path.abspath(bundle.layer_path(Arch.X86_64, component))
        rows.append((component, path, table.digest, table.offset, table.size_bytes))
    jobs = room.launcher.folder / f"jobs-{len(components)}.json"
    jobs.write_text(json.dumps(rows))
    return Contender(name=name, argv=lambda to: [*DRIVE, "extract", *flags, jobs, to])


def install_argv(layout: Path, root: Path, shim: str = QEMU, *flags: str) -> list[str | Path]:
    """Return the whole command that installs a shim of a bundle below ``root``."""
    common = ["--shim", shim, "--arch", "x86_64", "--payload-only", "--quiet"]
    return [*KATA_BUNDLE, "install", layout, "--root", root, *common, *flags]


def _command(room: Room, shim: str = QEMU, *flags: str, source: Path | None = None, name: str = COMMAND) -> Contender:
    layout = source or room.corpus.bundle("r1")
    return Contender(name=name, argv=lambda to: install_argv(layout, to, shim, *flags), prepare=_empty)


def _empty(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)


def _check_rust(contender: Contender, room: Room, components: Sequence[str]) -> Contender:
    return _with_check(contender, lambda to: _same_files(room, components, to, to))


def _with_check(contender: Contender, check: Callable[[Path], None]) -> Contender:
    return Contender(name=contender.name, argv=contender.argv, prepare=contender.prepare, check=check, is_kept=contender.is_kept)


def _same_files(room: Room, components: Sequence[str], target: Path, where: Path) -> None:
    """Raise unless every file of the components is below ``where`` with the same content."""
    for component in components:
        tree = room.corpus.tree("r1", room.arch, component) / "opt/kata"
        for path in tree.rglob("*"):
            if path.is_file() and not path.is_symlink():
                made = where / path.relative_to(tree)
                if not made.is_file() or subprocess.run(["cmp", "-s", path, made], check=False).returncode:
                    msg = f"{made.relative_to(target)} is missing or differs"
                    raise RuntimeError(msg)


def _enter(result: Result, contenders: list[Contender], found: Contender | str, name: str) -> None:
    if isinstance(found, str):
        result.skipped[name] = found
    else:
        contenders.append(found)


def _everybody(room: Room, result: Result, components: Sequence[str], shim: str) -> list[Contender]:
    """Return the contenders for unpacking from nothing: peers read upstream's tarballs, we read our layers, authenticated."""
    folder = room.corpus.tarballs("r1", room.arch)
    contenders: list[Contender] = []
    _enter(result, contenders, _rust(room, components), RUST)
    contenders += [_extractor(room, components), _command(room, shim)]
    scripts = {
        "GNU tar --zstd": ("tar", 'tar --zstd -xf "$f" -C "$to"'),
        "zstd -d | tar": ("zstd", 'zstd -dqc "$f" | tar -xf - -C "$to"'),
        "bsdtar": ("bsdtar", 'bsdtar -xf "$f" -C "$to"'),
    }
    for name, (program, script) in scripts.items():
        _enter(result, contenders, _shell(name, program, script, folder, components, room), name)
    contenders.append(Contender(name="Python tarfile", argv=lambda to: [*DRIVE, "tarfile", folder, to, *components]))
    for one in list(contenders):
        where = {RUST: ".", EXTRACTOR: "."}.get(one.name, "opt/kata")
        contenders[contenders.index(one)] = _with_check(one, lambda to, w=where: _same_files(room, components, to, to / w))  # type: ignore[misc]
    return contenders


def _unpack(room: Room, name: str, title: str, place: Path, kind: str, goals: dict[str, Goal], *, cold: bool = False) -> Result:
    components = room.set_of(QEMU)
    result = Result(name=name, title=title, place=kind)
    contenders = _everybody(room, result, components, QEMU)
    if not cold:
        _enter(result, contenders, _casync(room, components), "casync extract")
    inputs = [
        *room.inputs(room.corpus.tarballs("r1", room.arch), components),
        *room.inputs(room.corpus.layers("r1", room.arch), components),
    ]
    sizes: dict[str, int] = {}

    def weighed(one: Contender) -> Contender:
        def check(target: Path) -> None:
            if one.check is not None:
                one.check(target)
            sizes[one.name] = allocated_bytes(target)

        return _with_check(one, check)

    contenders = [weighed(one) if one.name in {RUST, EXTRACTOR, COMMAND} else one for one in contenders]
    result.samples = compete(
        contenders, room.launcher, place, rounds=room.rounds, patience_s=room.patience_s, inputs=inputs, cold=cold
    )
    time_ratio("extractor vs Rust", result, RUST, EXTRACTOR, goals.get("extractor"))
    time_ratio("install command vs Rust", result, RUST, COMMAND, goals.get("command"))
    time_ratio("extractor vs bsdtar", result, "bsdtar", EXTRACTOR, goals.get("bsdtar"))
    time_ratio("extractor vs GNU tar", result, "GNU tar --zstd", EXTRACTOR, goals.get("tar"))
    time_ratio("extractor vs Python tarfile", result, "Python tarfile", EXTRACTOR)
    time_ratio("extractor vs casync", result, "casync extract", EXTRACTOR)
    if RUST in sizes and kind == "disk" and not cold:
        size_ratio("allocated bytes after install vs Rust", result, sizes[EXTRACTOR], sizes[RUST], at_most(0.81))
        result.figures |= {f"allocated by {who} (MB)": size / 1e6 for who, size in sizes.items()}
    return result


def unpack_disk(room: Room) -> Result:
    """Unpack the qemu set, every byte authenticated, on disk."""
    goals = {"extractor": at_least(2.2), "command": at_least(2.0), "bsdtar": at_least(1.6), "tar": at_least(2.3)}
    return _unpack(room, "unpack-disk", "Unpack the qemu set, every byte authenticated", room.disk, "disk", goals)


def unpack_tmpfs(room: Room) -> Result:
    """Unpack the qemu set on a tmpfs."""
    title = "Unpack the qemu set, every byte authenticated"
    if room.memory is None:
        return Result(name="unpack-tmpfs", title=title, place="tmpfs", skipped={"all": "there is no tmpfs with room"})
    goals = {"extractor": at_least(1.65), "command": at_least(1.5)}
    return _unpack(room, "unpack-tmpfs", title, room.memory, "tmpfs", goals)


def unpack_cold(room: Room) -> Result:
    """Unpack the qemu set on disk with its files not in the page cache."""
    return _unpack(
        room, "unpack-cold", "Unpack the qemu set, archives not in the page cache", room.disk, "disk, cold", {}, cold=True
    )


def _casync(room: Room, components: Sequence[str]) -> Contender | str:
    program = find_peer("casync", room.folder)
    if program is None:
        return "casync is not installed"
    store = room.folder / "prepared" / f"casync-{room.corpus.kind}"
    indexes = [store / f"{name}.caidx" for name in components]
    if not all(path.is_file() for path in indexes):
        shutil.rmtree(store, ignore_errors=True)
        store.mkdir(parents=True)
        for name, index in zip(components, indexes, strict=True):
            tree = room.corpus.tree("r1", room.arch, name)
            subprocess.run([program, "make", f"--store={store}/chunks.castr", index, tree], check=True, capture_output=True)
    script = " && ".join(f"{program} extract --store={store}/chunks.castr --seed-output=no {index} $0" for index in indexes)
    return Contender(name="casync extract", argv=lambda to: ["sh", "-ec", script, str(to)])


def single_frame(room: Room) -> Result:
    """Unpack upstream's own tarballs, unverified."""
    components = room.set_of(QEMU)
    folder = room.corpus.tarballs("r1", room.arch)
    result = Result(name="single-frame", title="Unpack upstream's single-frame tarballs, unverified", place="disk")
    contenders: list[Contender] = []
    _enter(result, contenders, _rust(room, components), RUST)
    ours = Contender(
        name="kata-bundle extractor, unverified", argv=lambda to: [*DRIVE, "tarballs", folder, to, *components],
        check=lambda to: _same_files(room, components, to, to),
    )  # fmt: skip
    contenders += [ours, _command(room, QEMU, source=folder, name="kata-bundle install of tarballs, identified")]
    inputs = room.inputs(folder, components)
    result.samples = compete(contenders, room.launcher, room.disk, rounds=room.rounds, patience_s=room.patience_s, inputs=inputs)
    time_ratio("extractor vs Rust", result, RUST, ours.name, at_least(2.2))
    time_ratio("install command vs Rust", result, RUST, contenders[-1].name)
    return result


def one_big(room: Room) -> Result:
    """Unpack a set that one big image dominates."""
    components = room.set_of(BIG)
    result = Result(name="one-big-image", title="Unpack the nvidia set, of which one image is four fifths", place="disk")
    contenders: list[Contender] = []
    _enter(result, contenders, _rust(room, components), RUST)
    contenders += [_extractor(room, components), _command(room, BIG)]
    contenders[-2] = _with_check(contenders[-2], lambda to: _same_files(room, components, to, to))
    program, _ = serial_unpack(room.folder)
    if program is not None:
        contenders.append(_rust_parallel(room, components, program))
    inputs = [p for f in (room.corpus.tarballs, room.corpus.layers) for p in room.inputs(f("r1", room.arch), components)]
    result.samples = compete(contenders, room.launcher, room.disk, rounds=room.rounds, patience_s=room.patience_s, inputs=inputs)
    time_ratio("extractor vs Rust", result, RUST, EXTRACTOR, at_least(2.5))
    time_ratio("install command vs Rust", result, RUST, COMMAND)
    time_ratio("extractor vs 2 Rust processes", result, "Rust, 2 processes", EXTRACTOR)
    return result


def _rust_parallel(room: Room, components: Sequence[str], program: str) -> Contender:
    """Return two serial unpackers side by side, components dealt longest first."""
    shape = room.corpus.shape()["releases"]["r1"][room.arch]
    hands: list[list[str]] = [[], []]
    weights = [0, 0]
    for name in sorted(components, key=lambda one: -shape[one]["bytes"]):
        lighter = weights.index(min(weights))
        hands[lighter].append(name)
        weights[lighter] += shape[name]["bytes"]
    folder = room.corpus.tarballs("r1", room.arch)
    lines = [" ".join([program, "$0", *(shlex.quote(str(p)) for p in room.inputs(folder, hand))]) for hand in hands]
    return Contender(name="Rust, 2 processes", argv=lambda to: ["sh", "-c", f"{lines[0]} & {lines[1]} && wait $!", str(to)])


def durable(room: Room) -> Result:
    """Unpack with everything on the disk at the end."""
    components = room.set_of(QEMU)
    result = Result(name="durable", title="Unpack the qemu set and flush it to the disk", place="disk")
    contenders: list[Contender] = []
    rust = _rust(room, components, "r1", "--syncfs")
    _enter(result, contenders, rust, RUST)
    contenders.append(_extractor(room, components, "--durable", name="kata-bundle extractor, durable"))
    flags = ["--durable"] if "--durable" in help_text("install") else []
    contenders.append(_command(room, QEMU, *flags, name="kata-bundle install, durable"))
    inputs = [p for f in (room.corpus.tarballs, room.corpus.layers) for p in room.inputs(f("r1", room.arch), components)]
    result.samples = compete(contenders, room.launcher, room.disk, rounds=room.rounds, patience_s=room.patience_s, inputs=inputs)
    time_ratio("extractor vs Rust + syncfs", result, RUST, "kata-bundle extractor, durable", at_least(1.6))
    time_ratio("install command vs Rust + syncfs", result, RUST, "kata-bundle install, durable")
    return result


def readers(room: Room) -> Result:
    """Other programs read our layers: the same tree, and never slower than from single-frame tarballs."""
    components = room.set_of(QEMU)
    result = Result(name="readers", title="Other programs unpack our layers", place="disk")
    contenders: list[Contender] = []
    for kind, folder in (("tarballs", room.corpus.tarballs), ("our layers", room.corpus.layers)):
        where = folder("r1", room.arch)
        scripts = {
            "GNU tar": ("tar", 'tar --zstd -xf "$f" -C "$to"'),
            "bsdtar": ("bsdtar", 'bsdtar -xf "$f" -C "$to"'),
        }
        for name, (program, script) in scripts.items():
            found = _shell(f"{name}, {kind}", program, script, where, components, room)
            if isinstance(found, Contender):
                found = _with_check(found, lambda to: _same_files(room, components, to, to / "opt/kata"))
            _enter(result, contenders, found, f"{name}, {kind}")
        rust = _rust(room, components, layers=kind != "tarballs")
        if isinstance(rust, Contender):
            rust = Contender(
                name=f"Rust, {kind}", argv=rust.argv, check=lambda to: _same_files(room, components, to, to)
            )  # fmt: skip
        _enter(result, contenders, rust, f"Rust, {kind}")
    inputs = [p for f in (room.corpus.tarballs, room.corpus.layers) for p in room.inputs(f("r1", room.arch), components)]
    result.samples = compete(contenders, room.launcher, room.disk, rounds=room.rounds, patience_s=room.patience_s, inputs=inputs)
    for name in ("GNU tar", "bsdtar", "Rust"):
        time_ratio(f"{name}: single frame vs our layers", result, f"{name}, tarballs", f"{name}, our layers", at_least(1.0))
    return result


def no_op(room: Room) -> Result:
    """Install again what is installed."""
    components = room.set_of(QEMU)
    result = Result(name="no-op", title="Install again with nothing to do", place="disk")
    contenders: list[Contender] = []
    rust = _rust(room, components)
    if isinstance(rust, Contender):
        again = rust.argv
        rust = Contender(name="Rust, full reinstall", argv=again, prepare=_once(again), is_kept=True)
    _enter(result, contenders, rust, RUST)
    layout = room.corpus.bundle("r1")

    def ours(to: Path) -> list[str | Path]:
        return install_argv(layout, to)

    contenders.append(Contender(name="kata-bundle install, nothing to do", argv=ours, prepare=_once(ours), is_kept=True))
    rounds = max(room.rounds, 1 if room.is_smoke else 11)
    result.samples = compete(contenders, room.launcher, room.disk, rounds=rounds, patience_s=room.patience_s)
    time_ratio("vs a full Rust reinstall", result, "Rust, full reinstall", contenders[-1].name, at_least(15))
    walls = sorted(one.wall_s for one in result.samples[contenders[-1].name])
    result.figures["median (ms)"] = walls[len(walls) // 2] * 1000
    result.figures["minimum (ms)"] = walls[0] * 1000
    return result


def _once(argv: Callable[[Path], Sequence[str | os.PathLike[str]]]) -> Callable[[Path], None]:
    """Return a preparation that runs the program when the destination is not there yet."""

    def prepare(target: Path) -> None:
        if not target.is_dir():
            target.mkdir(parents=True)
            subprocess.run(argv(target), check=True, stdout=subprocess.DEVNULL)

    return prepare


def _fresh(argv: Callable[[Path], Sequence[str | os.PathLike[str]]]) -> Callable[[Path], None]:
    """Return a preparation that runs the program into an empty destination, each time."""

    def prepare(target: Path) -> None:
        _empty(target)
        subprocess.run(argv(target), check=True, stdout=subprocess.DEVNULL)

    return prepare


def _over(room: Room, name: str, title: str, changed: Sequence[str] | None, goal: Goal | None) -> Result:
    """Measure an upgrade from r1 to the bundle in which ``changed`` (``None``: all) components are those of r2."""
    components = room.set_of(QEMU)
    result = Result(name=name, title=title, place="disk")
    new = room.corpus.bundle("r2") if changed is None else mixed_bundle(room, changed)
    contenders: list[Contender] = []
    program, reason = serial_unpack(room.folder)
    if program is None:
        result.skipped[RUST] = reason
    else:
        old_paths = room.inputs(room.corpus.tarballs("r1", room.arch), components)
        new_paths = [
            room.inputs(room.corpus.tarballs("r2" if changed is None or one in changed else "r1", room.arch), [one])[0]
            for one in components
        ]
        contenders.append(
            Contender(
                name="Rust, full reinstall",
                argv=lambda to: [program, to, *new_paths],
                prepare=_fresh(lambda to: [program, to, *old_paths]),
            )
        )
    old = room.corpus.bundle("r1")
    contenders.append(
        Contender(name=COMMAND, argv=lambda to: install_argv(new, to), prepare=_fresh(lambda to: install_argv(old, to)))
    )
    inputs = [
        p
        for f in (room.corpus.tarballs, room.corpus.layers)
        for r in ("r1", "r2")
        for p in room.inputs(f(r, room.arch), components)
    ]
    result.samples = compete(contenders, room.launcher, room.disk, rounds=room.rounds, patience_s=room.patience_s, inputs=inputs)
    time_ratio("vs a full Rust reinstall", result, "Rust, full reinstall", COMMAND, goal)
    return result


def one_changed(room: Room) -> Result:
    """Upgrade where one component of about 100 MB changed."""
    title = "Upgrade in which one component of about 100 MB changed"
    return _over(room, "one-changed", title, ("shim-v2-go",), at_least(4.5))


def all_changed(room: Room) -> Result:
    """Upgrade where everything changed."""
    return _over(room, "all-changed", "Upgrade from release r1 to r2, full layers", None, None)


def mixed_bundle(room: Room, changed: Sequence[str]) -> Path:
    """Return a bundle of r1 in which some components are those of r2."""
    from kata_bundle.core.arch import Arch
    from kata_bundle.oci import BundleIndex, open_bundle, write_bundle

    old, new = open_bundle(room.corpus.bundle("r1")), open_bundle(room.corpus.bundle("r2"))
    index, other = old.index(Arch.X86_64), new.index(Arch.X86_64)
    layers = {name: (other if name in changed else index).layers[name] for name in room.set_of(QEMU)}
    paths = {
        layers[name].packed: (new if name in changed else old).layer_path(Arch.X86_64, name) for name in layers
    }  # fmt: skip
    mixed = BundleIndex(
        arch=Arch.X86_64, shims={QEMU: room.set_of(QEMU)}, layers=layers, default_shim=QEMU, default_shims=(QEMU,)
    )
    target = room.disk / "mixed"
    shutil.rmtree(target, ignore_errors=True)
    write_bundle(target, {Arch.X86_64: mixed}, paths.__getitem__, created=0)
    return target


BENCHES = {
    "unpack-disk": unpack_disk,
    "unpack-tmpfs": unpack_tmpfs,
    "unpack-cold": unpack_cold,
    "single-frame": single_frame,
    "one-big-image": one_big,
    "durable": durable,
    "readers": readers,
    "no-op": no_op,
    "one-changed": one_changed,
    "all-changed": all_changed,
}
