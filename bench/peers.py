"""The programs we are compared with: where they are, which version, and why one is not there. Builds our own serial unpacker."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PEERS", "Peer", "find_peer", "serial_unpack", "versions"]

_SOURCE: Final = Path(__file__).with_name("peer")
_REGISTRY: Final = Path("/usr/share/cargo/registry")


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A program of the distribution; ``package`` has it."""

    program: str
    package: str
    version: tuple[str, ...] = ("--version",)
    suite: str | None = None
    """A later suite that has it, where the machine's own does not."""


PEERS: Final = (
    Peer(program="tar", package="tar"),
    Peer(program="zstd", package="zstd"),
    Peer(program="bsdtar", package="libarchive-tools"),
    Peer(program="casync", package="casync"),
    Peer(program="borg", package="borgbackup"),
    Peer(program="restic", package="restic", version=("version",)),
    Peer(program="desync", package="desync", version=(), suite="sid"),
    Peer(program="skopeo", package="skopeo"),
    Peer(program="docker-registry", package="docker-registry"),
)


def find_peer(name: str, folder: Path) -> str | None:
    """Return the path of a program: the machine's, else one that was unpacked below ``folder`` by :func:`fetch_peer`."""
    found = shutil.which(name)
    if found is not None:
        return found
    unpacked = folder / "peers" / name / "usr/bin" / name
    return str(unpacked) if unpacked.is_file() else None


def fetch_peer(peer: Peer, folder: Path) -> str:
    """Unpack a peer's package beside the corpus, without installing it; return an empty text or why it cannot be had."""
    target = folder / "peers" / peer.program
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return "not installed, and no apt-get to fetch it with"
    if peer.suite is None:
        command = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", peer.package]
        subprocess.run(command, cwd=target, capture_output=True, check=False)
    else:
        _download_from(peer, peer.suite, target)
    archives = list(target.glob("*.deb"))
    if len(archives) != 1:
        shutil.rmtree(target)
        return f"not installed, and package {peer.package} cannot be fetched here"
    subprocess.run(["dpkg-deb", "-x", archives[0], target], check=True)
    archives[0].unlink()
    return "" if (target / "usr/bin" / peer.program).is_file() else f"package {peer.package} has no {peer.program}"


def _download_from(peer: Peer, suite: str, target: Path) -> None:
    from kata_bundle.build.apt import Apt
    from kata_bundle.core.errors import BundleError

    machine = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=False).stdout.strip()
    with contextlib.suppress(BundleError), Apt() as apt:
        found = apt.find(suite, machine, peer.package)
        if found is not None:
            apt.download(suite, machine, peer.package, found.version, target)


def serial_unpack(folder: Path, *, build: bool = False) -> tuple[str | None, str]:
    """Return the path of the serial unpacker written in Rust, and why there is none.

    With ``build`` it is compiled when it is not there yet, from the distribution's own crates, without any network.
    """
    key = hashlib.sha256(b"".join(path.read_bytes() for path in (_SOURCE / "Cargo.toml", _SOURCE / "src/main.rs"))).hexdigest()[
        :16
    ]
    program = folder / "peers" / f"serial-unpack-{key}"
    if program.is_file():
        return str(program), ""
    if not build:
        return None, "not built yet: python -m bench peers"
    # The distribution's compiler, not one of rustup: it is what the distribution's crates are for.
    cargo = next((path for path in ("/usr/bin/cargo", shutil.which("cargo")) if path and os.access(path, os.X_OK)), None)
    missing = [f"lib{crate}" for crate in ("rust-tar-dev", "rust-zstd-dev", "rust-libc-dev") if not _has_crate(crate)]
    if cargo is None or missing:
        wanted = "cargo rustc librust-tar-dev librust-zstd-dev"
        return None, f"the compiler or its crates are not installed: apt-get install {wanted}"
    work = folder / "peers" / f"build-{os.getpid()}"
    shutil.copytree(_SOURCE, work, ignore=shutil.ignore_patterns("target", "Cargo.lock"))
    (work / ".cargo").mkdir()
    (work / ".cargo/config.toml").write_text(
        f'[source.crates-io]\nreplace-with = "distribution"\n[source.distribution]\ndirectory = "{_REGISTRY}"\n'
    )
    print("peers: compiling the serial unpacker (minutes)", flush=True)
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(work), "CARGO_HOME": str(work / "home"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [cargo, "build", "--release", "--offline", "-q"], cwd=work, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        shutil.copy2(work / "target/release/serial-unpack", program)
    shutil.rmtree(work)
    if done.returncode:
        return None, f"it does not compile here: {done.stderr.strip()[-300:]}"
    return str(program), ""


def _has_crate(package: str) -> bool:
    crate = package.removeprefix("rust-").removesuffix("-dev")
    return any(re.fullmatch(rf"{crate}-\d.*", path.name) for path in _REGISTRY.glob(f"{crate}-*"))


def versions(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what is measured with: (program, its version or why it is not there)."""
    for peer in PEERS:
        path = find_peer(peer.program, folder)
        if path is None:
            yield peer.program, f"skipped: not installed (package {peer.package})"
            continue
        if not peer.version:  # it does not say
            yield peer.program, f"of {peer.suite}"
            continue
        done = subprocess.run([path, *peer.version], capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        found = re.search(r"v?\d+(\.\d+)+", said) or re.search(r"\b\d+\b", said)
        yield peer.program, found[0].removeprefix("v") if found else "unknown"
    path, reason = serial_unpack(folder)
    yield "serial-unpack (Rust)", f"{_rustc()}, {_crates()}" if path else f"skipped: {reason}"


def _rustc() -> str:
    done = subprocess.run(["/usr/bin/rustc", "--version"], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split()[:2])


def _crates() -> str:
    return ", ".join(sorted(path.name for name in ("tar", "zstd", "zstd-sys") for path in _REGISTRY.glob(f"{name}-[0-9]*")))
