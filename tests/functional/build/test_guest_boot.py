"""The guest boots: emulator, kernel and guest image of an installed bundle, emulated, to a line on its console."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import tomllib

import pytest

from tests.support.verity import fields, root_hash

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the guest and its emulator are for x86_64")


@pytest.fixture(scope="module")
def installed(shared_store, tmp_path_factory):
    from tests.fixtures.cli import run_cli

    folder = tmp_path_factory.mktemp("guest")
    run_cli("bundle", "--shim", "qemu", "--arch", "x86_64", "-o", "bundle", store=shared_store, cwd=folder).ok()
    # A destination that nothing was made for: the emulator has to find its libraries and firmware from there.
    run_cli("install", "bundle", "--arch", "x86_64", "--root", "root", store=shared_store, cwd=folder).ok()
    return folder / "root" / "opt" / "kata"


def console(installed, *arguments: str, append: str) -> str:
    kata = installed / "share" / "kata-containers"
    done = subprocess.run(
        [
            installed / "bin" / "qemu-system-x86_64",
            *("-accel", "tcg", "-m", "512", "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"),
            *("-kernel", kata / "vmlinuz.container", *arguments),
            *("-append", f"console=ttyS0 panic=-1 no_timer_check quiet {append}"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=300,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_kernel_starts_the_installed_initrd(installed):
    initrd = installed / "share" / "kata-containers" / "kata-containers-initrd.img"
    shown = console(installed, "-initrd", str(initrd), append="kata.poweroff")
    release = re.search(r"kata-guest: initrd up, kernel (\S+), x86_64", shown)
    assert release, shown
    assert (installed / "share" / "kata-containers" / f"vmlinuz-{release.group(1)}").is_file()
    assert "Power down" in shown


def test_the_emulator_uses_no_library_of_this_machine(installed):
    done = subprocess.run(
        [installed / "bin" / "qemu-system-x86_64", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LD_DEBUG": "libs"},
    )
    # What is told before the emulator's own linker begins is of the script that starts it.
    _, found, told = done.stderr.partition("/lib/kata-qemu/")
    assert found
    loaded = [path for path in re.findall(r"calling init: (\S+)", told) if not path.startswith("linux-vdso")]
    assert len(loaded) > 10
    assert all("/lib/kata-qemu/" in path for path in loaded), loaded


def test_the_installed_configurations_state_the_hash_of_the_installed_image(installed):
    folder = installed / "share" / "defaults" / "kata-containers"
    values = tomllib.loads((folder / "configuration-qemu.toml").read_text())["hypervisor"]["qemu"]
    stated = values["kernel_verity_params"]
    assert values["image"] == "/opt/kata/share/kata-containers/kata-containers.img"
    image = installed / values["image"].removeprefix("/opt/kata/")
    assert stated == (image.parent / "root_hash_base.txt").read_text().strip()
    parts = fields(stated)
    blocks, size = int(parts["data_blocks"]), int(parts["data_block_size"])
    assert size == int(parts["hash_block_size"]) == 4096
    assert blocks * size < image.stat().st_size  # the tree lies behind the data
    with image.open("rb") as stream:
        assert root_hash(stream, parts["salt"], blocks) == parts["root_hash"]
    if shutil.which("veritysetup"):
        words = ["veritysetup", "verify", "--hash-offset", str(blocks * size), image, image, parts["root_hash"]]
        subprocess.run(words, check=True)
