"""The compiled kernel of an installed bundle, emulated: it starts the initrd, and the disk image with and without checks.

Compiling a kernel takes half an hour, so that is done on demand only: ``./dev test -m slow`` with this file's name. Where the
tests' store has the kernel, it is started from then on; an image with systemd takes most of a minute, so that is on demand too.
"""

from __future__ import annotations

import json
import platform
import re
import selectors
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import kata_bundle
from kata_bundle.core.resources import shipped

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the guest and its emulator are for x86_64")

ARGUMENTS = ("--arch", "x86_64", "--profile", "source")
DEADLINE_S = 600
SECTOR = 512


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the program and rules of which only the kernel's are marked, so that nothing else is compiled.

    Run there, the program takes these rules for the shipped ones.
    """
    folder = tmp_path_factory.mktemp("source-kernel")
    shutil.copytree(Path(kata_bundle.__file__).parent, folder / "kata_bundle", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("manifests", "schemas", "buildrules"):
        shutil.copytree(shipped(name), folder / name)
    for path in (folder / "buildrules").glob("*.toml"):
        if path.name != "kernel.toml" and not path.name.endswith(".lock.toml"):
            head, *recipes = re.split(r"^(?=\[\[recipes\]\]$)", path.read_text(), flags=re.MULTILINE)
            kept = [recipe for recipe in recipes if not re.search(r'^profile = "', recipe, re.MULTILINE)]
            if kept:
                path.write_text(head + "".join(kept))
            else:
                path.unlink()
    return folder


@pytest.mark.slow
def test_the_kernel_is_compiled_and_is_what_was_asked_for(shared_store, place):
    from tests.fixtures.cli import run_cli

    made = json.loads(run_cli("build", "kernel", *ARGUMENTS, "--json", store=shared_store, cwd=place).ok())
    (kernel,) = made["components"]
    assert (kernel["origin"], kernel["real"], kernel["hermetic"]) == ("make", True, True)


@pytest.fixture(scope="module")
def installed(shared_store, place):
    from tests.fixtures.cli import run_cli

    asked = run_cli("build", "kernel", *ARGUMENTS, "--dry-run", "--json", store=shared_store, cwd=place).ok()
    if not all(component["cached"] for component in json.loads(asked)["components"]):
        pytest.skip("the tests' store has no compiled kernel of these rules; ./dev test -m slow compiles it, which takes long")
    run_cli("bundle", "--shim", "qemu", *ARGUMENTS, "-o", "bundle", store=shared_store, cwd=place).ok()
    run_cli("install", "bundle", "--arch", "x86_64", "--root", "root", store=shared_store, cwd=place).ok()
    return place / "root" / "opt" / "kata"


def boot(installed, *arguments: str, append: str, until: str) -> str:
    """Return what the guest says on its console up to the line that has ``until``, or all of it if the guest ends before."""
    kata = installed / "share" / "kata-containers"
    command = [
        installed / "bin" / "qemu-system-x86_64",
        *("-accel", "tcg", "-m", "512", "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"),
        *("-kernel", kata / "vmlinuz.container", *arguments),
        *("-append", f"console=ttyS0 panic=-1 no_timer_check quiet {append}"),
    ]
    said = b""
    end = time.monotonic() + DEADLINE_S
    with (
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={"PATH": "/usr/bin:/bin"}
        ) as guest,
        selectors.DefaultSelector() as ready,
    ):
        ready.register(guest.stdout, selectors.EVENT_READ)
        try:
            while until.encode() not in said and time.monotonic() < end:
                if ready.select(timeout=1):
                    chunk = guest.stdout.read1(65536)
                    if not chunk:
                        break
                    said += chunk
        finally:
            guest.kill()
    return said.decode("utf-8", "replace")


def release_of(installed) -> str:
    return (installed / "share" / "kata-containers" / "vmlinuz.container").readlink().name.removeprefix("vmlinuz-")


def disk(installed) -> tuple[str, ...]:
    image = (installed / "share" / "kata-containers" / "kata-containers.img").resolve()
    return ("-drive", f"file={image},if=none,id=root,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=root")


def test_it_starts_the_initrd(installed):
    initrd = installed / "share" / "kata-containers" / "kata-containers-initrd.img"
    shown = boot(installed, "-initrd", str(initrd), append="kata.poweroff", until="Power down")
    assert f"kata-guest: initrd up, kernel {release_of(installed)}, x86_64" in shown, shown
    assert "Power down" in shown, shown


@pytest.mark.slow
def test_it_starts_the_image_from_a_disk(installed):
    up = f"kata-guest: image up, kernel {release_of(installed)}, x86_64"
    append = "root=/dev/vda rootfstype=ext4 ro systemd.unit=kata-containers.target"
    assert up in boot(installed, *disk(installed), append=append, until=up)


def verity(installed, *, root_hash: str = "") -> str:
    """Return what the kernel's command line says for a root that is checked, from the line beside the image."""
    text = (installed / "share" / "kata-containers" / "root_hash_base.txt").read_text()
    stated = dict(pair.split("=") for pair in text.strip().split(","))
    blocks, size = int(stated["data_blocks"]), int(stated["data_block_size"])
    # One block of the hash tree's own header lies between the data and the hashes.
    table = f"verity 1 /dev/vda /dev/vda {size} {stated['hash_block_size']} {blocks} {blocks + 1} sha256"
    words = f"{table} {root_hash or stated['root_hash']} {stated['salt']}"
    return f'dm-mod.create="root,,,ro,0 {blocks * size // SECTOR} {words}" root=/dev/dm-0 rootfstype=ext4 ro'


@pytest.mark.slow
def test_it_checks_the_image_against_the_recorded_root_hash(installed):
    up = f"kata-guest: image up, kernel {release_of(installed)}, x86_64"
    append = f"{verity(installed)} systemd.unit=kata-containers.target"
    assert up in boot(installed, *disk(installed), append=append, until=up)


def test_an_image_with_another_root_hash_does_not_start(installed):
    shown = boot(installed, *disk(installed), append=verity(installed, root_hash="0" * 64), until="Kernel panic")
    assert "Kernel panic" in shown, shown
    assert "kata-guest" not in shown
