"""The lock of packages."""

from __future__ import annotations

import difflib
from dataclasses import replace

import pytest

from kata_bundle.build.deblock import DebLock, DebPin, load_deb_lock, parse_deb_lock
from kata_bundle.core.arch import Arch
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import LockError


def pin(name: str, architecture: str = "amd64", version: str = "1:2.0+x~1-3", **more) -> DebPin:
    return DebPin(
        **{
            "suite": "trixie",
            "name": name,
            "package": name,
            "architecture": architecture,
            "version": version,
            "size_bytes": 7,
            "digest": digest_bytes(f"{name}{version}".encode()),
            **more,
        }
    )


LOCK = DebLock((pin("data", "all"), pin("linux", package="linux-6.1+b"), pin("tool"), pin("tool", "arm64")))


def test_a_lock_reads_back_as_written(tmp_path):
    LOCK.write(tmp_path)
    assert load_deb_lock(tmp_path) == LOCK
    assert parse_deb_lock(LOCK.to_toml(), what="x") == LOCK


def test_a_folder_without_lock_has_no_pins(tmp_path):
    assert load_deb_lock(tmp_path) == DebLock()


def test_pins_are_found_by_architecture_and_all_fits_every_one():
    assert LOCK.require("trixie", "tool", Arch.AARCH64).architecture == "arm64"
    assert LOCK.require("trixie", "data", Arch.S390X).architecture == "all"
    assert LOCK.find("sid", "tool", Arch.X86_64) is None
    with pytest.raises(LockError, match='package "tool" of trixie is not pinned for s390x') as caught:
        LOCK.require("trixie", "tool", Arch.S390X)
    assert caught.value.hint == "kata-bundle lock debian --refresh-missing"
    assert caught.value.exit_code == 4


def test_replacing_one_pin_is_a_small_diff():
    new = LOCK.with_pins([pin("tool", version="2.1")])
    changed = [line for line in difflib.ndiff(LOCK.to_toml().splitlines(), new.to_toml().splitlines()) if line[0] in "+-"]
    assert [line.split(" = ")[0] for line in changed] == ["- version", "+ version", "- sha256", "+ sha256"]


def test_a_package_that_becomes_architecture_independent_replaces_its_old_pins():
    new = LOCK.with_pins([pin("tool", "all"), pin("data", "amd64")])
    assert [(p.name, p.architecture) for p in new.pins] == [("data", "amd64"), ("linux", "amd64"), ("tool", "all")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text + "[[pins]]\n", "pins[4]"),
        (lambda text: text.replace("version = 1\n", "version = 2\n"), "unknown version"),
        (lambda text: text.replace("size = 7", 'size = "7"', 1), "size"),
        (lambda text: text.replace("size = 7", "size = -7", 1), "size"),
        (lambda text: text.replace('sha256 = "', 'sha256 = "0', 1), "sha256"),
        (lambda text: text.replace('name = "tool"', 'name = "../tool"', 1), "name"),
        (lambda text: text.replace('name = "tool"', 'name = "-oDir=/"', 1), "name"),
        (lambda text: text.replace('suite = "trixie"', 'suite = "trixie\\nx"', 1), "suite"),
        (lambda text: text.replace("size = 7", 'size = 7\nmirror = "m"', 1), "mirror"),
        (lambda text: text.replace('architecture = "arm64"', 'architecture = "amd64"'), "pinned twice"),
        (lambda text: text.replace('architecture = "arm64"', 'architecture = "all"'), "pinned twice"),
        (lambda text: text[:-2], "not a lock of packages"),
    ],
)
def test_a_damaged_lock_is_refused_with_its_key(change, words):
    text = change(LOCK.to_toml())
    assert text != LOCK.to_toml()
    with pytest.raises(LockError) as caught:
        parse_deb_lock(text, what="debian.lock.toml")
    assert words in str(caught.value)
    assert "debian.lock.toml" in str(caught.value)


def test_a_lock_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "debian.lock.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(LockError, match="is not UTF-8"):
        load_deb_lock(tmp_path)


def test_a_pin_reads_as_one_line():
    assert replace(LOCK.pins[1]).text.startswith("linux-6.1+b:amd64=1:2.0+x~1-3@sha256:")
    assert LOCK.pins[1].short == "linux-6.1+b 1:2.0+x~1-3 (amd64)"
