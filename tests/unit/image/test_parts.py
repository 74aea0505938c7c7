"""What goes into the payload image, and what is refused, offline."""

from __future__ import annotations

import io
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from kata_bundle.archive.tarreader import TarReader
from kata_bundle.build.image import BASE_PACKAGES, NYDUS_PACKAGE, load_base_lock
from kata_bundle.build.image.base import _LEFT_OUT, SUITE, _place, ensure_pinned
from kata_bundle.build.image.extras import NYDUS_FOLDER, NYDUS_PROGRAMS, copy_nydus, render_versions
from kata_bundle.build.image.python import REQUIREMENTS, SITE, install_program, install_wheels, lock_file, lock_subset
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import ArchiveError, BuildError, LockError, UsageError
from kata_bundle.node.compose import EXTRA_FILES
from kata_bundle.node.snapshotters.nydus import BINARIES
from kata_bundle.store import Store
from kata_bundle.store.records import LayerRecord

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.AARCH64])
def test_every_package_of_the_base_is_pinned(arch):
    lock = load_base_lock()
    assert [lock.require(SUITE, name, arch).name for name in BASE_PACKAGES] == list(BASE_PACKAGES)


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.AARCH64])
def test_the_nydus_snapshotter_is_pinned_beside_it(arch):
    assert load_base_lock().require(SUITE, NYDUS_PACKAGE, arch).package == NYDUS_PACKAGE


def test_the_programs_are_those_that_the_installer_looks_for():
    assert f"{NYDUS_FOLDER}/{NYDUS_PROGRAMS[0]}" in EXTRA_FILES
    assert NYDUS_PROGRAMS == BINARIES


class Mirror:
    """A mirror that has nothing any more."""

    def find(self, *_):
        return None


@pytest.mark.parametrize("arch", [Arch.X86_64, Arch.PPC64LE])
def test_a_package_that_is_not_pinned_or_no_longer_served_leads_to_the_command_that_pins_anew(tmp_path, arch):
    with pytest.raises(LockError) as error:
        ensure_pinned(load_base_lock(), ["libc6"], arch, Store(tmp_path / "store"), Mirror())
    assert error.value.hint == f"kata-bundle generate image --arch {arch.value} --shim default --refresh-base"


def test_a_folder_of_programs_is_taken_whole_with_its_templates(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / NYDUS_PROGRAMS[0]).write_bytes(b"program")
    with pytest.raises(UsageError, match="has no nydus-overlayfs"):
        copy_nydus(source, target)
    (source / NYDUS_PROGRAMS[1]).write_bytes(b"helper")
    (source / "config-guest-pulling.toml").write_text("x")
    (source / "folder").mkdir()
    copy_nydus(source, target)
    found = {path.name: path.stat().st_mode & 0o777 for path in target.iterdir()}
    assert found == {NYDUS_PROGRAMS[0]: 0o755, NYDUS_PROGRAMS[1]: 0o755, "config-guest-pulling.toml": 0o644}


def test_the_record_of_versions_is_yaml_that_says_what_is_in_the_image():
    digest = digest_bytes(b"x")
    record = LayerRecord(
        component="kernel", arch=Arch.X86_64, tree=digest, packed=digest, packed_size_bytes=1, diff_id=digest,
        unpacked_size_bytes=1, origin="deb", hermetic=True, version='6 "x"',
    )  # fmt: skip
    pin = load_base_lock().require(SUITE, NYDUS_PACKAGE, Arch.X86_64)
    found = yaml.safe_load(render_versions([record], pin))
    assert found["components"] == {"kernel": {"version": '6 "x"', "origin": "deb", "packed": digest}}
    assert found["externals"]["nydus-snapshotter"]["version"] == pin.version
    assert yaml.safe_load(render_versions([], None)) == {"components": {}}


def test_the_image_has_exactly_what_the_program_depends_on():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    stated = [*project["dependencies"], *project["optional-dependencies"]["node"]]
    assert set(REQUIREMENTS) == {re.match(r"[A-Za-z0-9-]+", one)[0].lower() for one in stated}


def test_the_subset_of_the_lock_has_all_that_is_needed_and_hashes_for_it():
    text = lock_subset(lock_file().read_text(), REQUIREMENTS)
    names = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert {"h2", "hpack", "hyperframe", "multidict", "pydantic-core", "rpds-py", "pygments"} <= set(names), (
        "what those need, too"
    )
    assert not {"pytest", "mypy", "ruff", "grpcio-tools", "hypothesis"} & set(names)
    assert text.count("--hash=sha256:") >= len(names)
    assert "via" not in text


def test_a_package_that_the_lock_lacks_is_named():
    with pytest.raises(BuildError, match="nothing-like-it"):
        lock_subset("click==1 \\\n    --hash=sha256:0\n    # via kata-bundle\n", ["click", "nothing-like-it"])


def wheel(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def test_wheels_give_their_modules_but_no_scripts(tmp_path):
    members = {"a/__init__.py": "", "a-1.data/purelib/b.py": "x", "a-1.data/scripts/run": "y", "a-1.dist-info/METADATA": "z"}
    install_wheels([wheel(tmp_path / "a-1-py3-none-any.whl", members)], tmp_path / "root")
    found = {path.relative_to(tmp_path / "root" / SITE).as_posix() for path in (tmp_path / "root").rglob("*") if path.is_file()}
    assert found == {"a/__init__.py", "b.py", "a-1.dist-info/METADATA"}


@pytest.mark.parametrize("name", ["../x.py", "a/../../x.py", "/x.py"])
def test_a_wheel_that_leads_out_is_refused(tmp_path, name):
    with pytest.raises(BuildError):
        install_wheels([wheel(tmp_path / "a-1-py3-none-any.whl", {name: "x"})], tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_the_program_goes_in_whole_with_its_documents_and_commands(tmp_path):
    install_program(tmp_path)
    package = tmp_path / SITE / "kata_bundle"
    for name in ("cli/deploy.py", "node/facts.json", "data/manifests/shims.toml", "generate/chart/templates/daemonset.yaml"):
        assert (package / name).is_file(), name
    assert not list(package.rglob("__pycache__"))
    for name in ("kata-deploy", "kata-bundle"):
        assert (tmp_path / "usr/bin" / name).stat().st_mode & 0o777 == 0o755


def place(target, *members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member in members:
            archive.addfile(member)
    buffer.seek(0)
    reader = TarReader(buffer, what="the package")
    for member in reader:
        _place(reader, member, target, "the package")


def info(name, kind=tarfile.REGTYPE, link="", mode=0o644):
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, link, mode
    return found


def test_packages_cannot_write_through_a_link_that_leads_out(tmp_path):
    target = tmp_path / "root"
    target.mkdir()
    with pytest.raises(ArchiveError, match="leads out"):
        place(target, info("./usr", tarfile.DIRTYPE), info("./usr/x", tarfile.SYMTYPE, str(tmp_path)), info("./usr/x/y"))
    assert not (tmp_path / "y").exists()


def test_devices_are_refused_and_set_id_bits_dropped(tmp_path):
    with pytest.raises(ArchiveError, match="neither"):
        place(tmp_path, info("./usr/dev", tarfile.CHRTYPE))
    place(tmp_path, info("./usr/bin/tool", mode=0o4755))
    assert (tmp_path / "usr/bin/tool").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("usr/share/doc/libc6/copyright", False),
        ("usr/share/doc/libc6/changelog.gz", True),
        ("usr/share/man/man1/x", True),
        ("usr/lib/python3.13/json/__init__.py", False),
        ("usr/lib/python3.13/idlelib/x.py", True),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", False),
        ("var/lib/x", True),
        ("usr/bin/python3.13", False),
    ],
)
def test_documentation_goes_but_licences_stay(name, left_out):
    assert bool(_LEFT_OUT.match(name)) is left_out
