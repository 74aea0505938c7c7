"""The packaged components from the real mirror."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from kata_bundle.build import load_deb_lock
from kata_bundle.build.debfile import open_data
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.resources import shipped
from kata_bundle.core.tree import File, Symlink
from kata_bundle.store import Store

pytestmark = pytest.mark.net

REAL = ("kernel", "qemu", "virtiofsd", "ovmf")
MACHINES = {"x86_64": 62, "aarch64": 183}
"""ELF machine numbers."""


@pytest.fixture(scope="module")
def made(shared_store):
    from tests.fixtures.cli import run_cli

    done = run_cli("build", *REAL, "--arch", "x86_64,aarch64", "--json", store=shared_store)
    assert done.stderr == "", "the second run does nothing"
    return {(c["component"], c["arch"]): c for c in json.loads(done.ok())["components"]}


def content(store: Store, made, component: str, arch: str, path: str) -> bytes:
    tree = store.get_tree(made[component, arch]["tree"])
    entry = tree.entries[RelPath(path)]
    if isinstance(entry, Symlink):
        entry = tree.entries[RelPath(f"{path.rpartition('/')[0]}/{entry.target}")]
    assert isinstance(entry, File)
    return store.read(entry.digest)


def test_all_are_real_and_up_to_date(made):
    assert len(made) == 8
    assert all(c["real"] and c["cached"] and c["hermetic"] for c in made.values())
    assert {c["component"]: c["origin"] for c in made.values()} == {
        "kernel": "deb",
        "ovmf": "deb",
        "qemu": "script",
        "virtiofsd": "deb",
    }


@pytest.mark.parametrize("arch", MACHINES)
@pytest.mark.parametrize(("component", "path"), [("qemu", "lib/kata-qemu/qemu-system-{}"), ("virtiofsd", "libexec/virtiofsd")])
def test_programs_are_of_the_right_machine(shared_store, made, arch, component, path):
    data = content(Store(shared_store), made, component, arch, path.format(arch))
    assert data.startswith(b"\x7fELF")
    assert struct.unpack_from("<H", data, 18)[0] == MACHINES[arch]


def test_kernels_are_what_their_names_say(shared_store, made):
    store = Store(shared_store)
    folder = "share/kata-containers"
    unpacked = content(store, made, "kernel", "x86_64", f"{folder}/vmlinux.container")
    assert struct.unpack_from("<H", unpacked, 18)[0] == MACHINES["x86_64"]
    assert b"Linux version " in unpacked
    assert content(store, made, "kernel", "x86_64", f"{folder}/vmlinuz.container")[0x202:0x206] == b"HdrS"
    image = content(store, made, "kernel", "aarch64", f"{folder}/vmlinux.container")
    assert image[0x38:0x3C] == b"ARM\x64"


def test_firmware_has_a_volume_header(shared_store, made):
    store = Store(shared_store)
    for arch, path in (("x86_64", "share/ovmf/OVMF.fd"), ("aarch64", "share/aavmf/AAVMF_CODE.fd")):
        assert b"_FVH" in content(store, made, "ovmf", arch, path)
    assert len(content(store, made, "ovmf", "aarch64", "share/aavmf/AAVMF_VARS.fd")) == 64 << 20


def test_packages_read_the_same_as_with_dpkg(shared_store, made):
    """Our reader against dpkg's, on every pinned package."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    import hashlib
    import tarfile

    store = Store(shared_store)
    # Of the others nothing was fetched: they are sources, which only compiled components need.
    pins = [pin for pin in load_deb_lock().pins if store.size(pin.digest) is not None and "source" not in pin.name]
    assert len(pins) >= 6
    for pin in pins:
        ours = {}
        with store.open(pin.digest) as stream, open_data(stream, what=pin.package) as reader:
            for member in reader:
                state = hashlib.sha256()
                for chunk in reader.chunks():
                    state.update(chunk)
                ours[member.name.rstrip("/")] = (member.mode, member.target, state.hexdigest())
        with (
            subprocess.Popen(["dpkg-deb", "--fsys-tarfile", store.path(pin.digest)], stdout=subprocess.PIPE) as process,
            tarfile.open(fileobj=process.stdout, mode="r|") as archive,
        ):
            theirs = {}
            for info in archive:
                data = archive.extractfile(info) if info.isreg() else None
                digest = hashlib.sha256(data.read() if data else b"").hexdigest()
                theirs[info.name if info.name.startswith(".") else f"./{info.name}"] = (info.mode, info.linkname, digest)
        assert ours == theirs, pin.package


def test_a_pin_that_the_mirror_lost_stops_with_the_command_that_replaces_only_it(cli, tmp_path):
    rules = tmp_path / "rules"
    shutil.copytree(shipped("buildrules"), rules)
    lock = rules / "debian.lock.toml"
    good = lock.read_text()
    old = re.sub(
        r'(name = "virtiofsd"\narchitecture = "amd64"\nversion = )"[^"]*"(\nsize = \d+\nsha256 = )"[0-9a-f]{64}"',
        rf'\1"1.0.0-1"\2"{"0" * 64}"',
        good,
    )
    assert old != good
    lock.write_text(old)
    done = cli("build", "virtiofsd", "--arch", "x86_64", "--rules", rules)
    assert done.code == 4
    assert "virtiofsd 1.0.0-1 (amd64, trixie)" in done.stderr
    assert "kata-bundle lock debian --refresh-missing" in done.stderr
    check = cli("lock", "debian", "--check", "--rules", rules)
    assert check.code == 4
    assert "virtiofsd 1.0.0-1" in check.stderr
    trial = cli("lock", "debian", "--refresh-missing", "--dry-run", "--rules", rules)
    assert "1 would change; nothing was written" in trial.ok()
    assert lock.read_text() == old
    refreshed = cli("lock", "debian", "--refresh-missing", "--rules", rules).ok()
    assert re.search(r"virtiofsd: virtiofsd 1\.0\.0-1 \(amd64\) → virtiofsd \S+ \(amd64\)", refreshed)
    assert "1 changed" in refreshed
    changed = [i for i, (a, b) in enumerate(zip(old.splitlines(), lock.read_text().splitlines(), strict=True)) if a != b]
    assert 2 <= len(changed) <= 3
    assert "1 component" in cli("build", "virtiofsd", "--arch", "x86_64", "--rules", rules).ok()


def test_the_pins_are_all_served(cli):
    done = cli("lock", "debian", "--check")
    if done.code == 4:
        pytest.skip(f"the mirror moved on; refresh the pins: {done.stderr.strip()}")
    assert Path(shipped("buildrules")).is_dir()
    assert "the mirror has all" in done.ok()
