"""Programs and firmware compiled from the distribution's sources run, and on nothing of this machine.

Compiling them takes half an hour, so all of this runs on demand only: ``./dev test -m slow tests/functional/build``.
"""

from __future__ import annotations

import json
import platform
import subprocess

import pytest

from kata_bundle.core.digest import parse_digest
from kata_bundle.core.tree import File, Symlink
from kata_bundle.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="what is compiled is for x86_64"),
]

PROGRAM_HEADER_OF_AN_INTERPRETER = 3


@pytest.fixture
def place(shared_store, tmp_path):
    """Return a function that makes a component and lays its files out."""
    from tests.fixtures.cli import run_cli

    def make(component: str, profile: str = "source"):
        said = run_cli("build", component, "--arch", "x86_64", "--profile", profile, "--json", store=shared_store).ok()
        (made,) = json.loads(said)["components"]
        assert (made["real"], made["hermetic"]) == (True, True)
        store = Store(shared_store)
        for name, entry in store.get_tree(parse_digest(made["tree"])).entries.items():
            path = tmp_path / component / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(entry, Symlink):
                path.symlink_to(entry.target)
            elif isinstance(entry, File):
                with store.open(entry.digest) as stream, path.open("wb") as file:
                    while chunk := stream.read(1 << 20):
                        file.write(chunk)
                path.chmod(entry.mode)
        return tmp_path / component

    return make


def segments(program) -> set[int]:
    """Return the kinds of the segments of a 64-bit little-endian ELF file (elf(5))."""
    data = program.read_bytes()
    assert data[:6] == b"\x7fELF\x02\x01"
    table, size = int.from_bytes(data[32:40], "little"), int.from_bytes(data[54:56], "little")
    starts = range(table, table + size * int.from_bytes(data[56:58], "little"), size)
    return {int.from_bytes(data[start : start + 4], "little") for start in starts}


def run(*command) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, env={}, timeout=60).stdout


def test_virtiofsd_runs_without_a_library_of_the_machine(place):
    program = place("virtiofsd") / "libexec" / "virtiofsd"
    assert PROGRAM_HEADER_OF_AN_INTERPRETER not in segments(program)
    assert run(program, "--version").startswith("virtiofsd 1.")
    assert "--shared-dir" in run(program, "--help")


def test_busybox_has_the_applets_that_the_guest_calls(place):
    folder = place("busybox")
    assert PROGRAM_HEADER_OF_AN_INTERPRETER not in segments(folder / "bin" / "busybox")
    assert {"sh", "grep", "mount", "poweroff", "uname"} <= set(run(folder / "bin" / "busybox", "--list").split())
    assert run(folder / "bin" / "sh", "-c", "echo $((6 * 7)) | grep 42") == "42\n"


def test_the_firmware_starts_its_shell(place):
    firmware = place("ovmf") / "share" / "ovmf" / "OVMF.fd"
    emulator = place("qemu", "packages") / "bin" / "qemu-system-x86_64"
    machine = ("-machine", "q35", "-accel", "tcg", "-m", "256", "-nodefaults", "-nographic", "-serial", "stdio")
    with subprocess.Popen(
        [emulator, *machine, "-bios", firmware],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin"},
    ) as guest:
        said = b""
        try:
            while b"UEFI Interactive Shell" not in said and (chunk := guest.stdout.read1(65536)):
                said += chunk
        finally:
            guest.kill()
    assert b"UEFI Interactive Shell" in said, said.decode("utf-8", "replace")
