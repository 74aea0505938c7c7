from __future__ import annotations

import json

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import LockError
from kata_bundle.core.profile import Profile
from kata_bundle.plan.lock import Lock, LockedComponent, enforce

KEY, OTHER = digest_bytes(b"1"), digest_bytes(b"2")


def locked(kind="deb", rule_key=KEY, pins=("linux 6.12 amd64",)):
    return LockedComponent(kind=kind, rule_key=rule_key, pins=pins)


def lock(shims=("qemu",), profile=Profile.PACKAGES, **components):
    return Lock(profile=profile, shims={"x86_64": shims}, components={"x86_64": components})


def test_round_trip_is_sorted_text_with_one_fact_a_line():
    text = lock(kernel=locked(), qemu=locked(kind="fixture", pins=())).to_json()
    assert Lock.from_json(text.encode(), what="l").to_json() == text
    assert text.index('"kernel"') < text.index('"qemu"')


def test_an_equal_lock_is_enforced_without_a_word():
    enforce(lock(kernel=locked()), lock(kernel=locked()), what="l")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (lock(), lock(kernel=locked()), 'component "kernel" is not in the lock'),
        (lock(kernel=locked()), lock(), 'component "kernel" is locked but not needed'),
        (lock(), lock(shims=("qemu", "clh")), 'shim "clh" is not in the lock'),
        (lock(shims=("qemu", "clh")), lock(), 'shim "clh" is locked but not selected'),
        (lock(k=locked()), lock(k=locked(kind="fixture")), "kind deb → fixture"),
        (lock(k=locked()), lock(k=locked(pins=("linux 6.13 amd64",))), "pins linux 6.12 amd64 → linux 6.13 amd64"),
        (lock(k=locked()), lock(k=locked(rule_key=OTHER)), f"rule key {KEY[:19]}… → {OTHER[:19]}…"),
    ],
)
def test_every_difference_is_named(before, after, words):
    with pytest.raises(LockError) as caught:
        enforce(before, after, what="my.lock")
    assert words in str(caught.value)
    assert "my.lock" in str(caught.value)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "{}",
        '{"version": 2, "shims": {}, "components": {}}',
        '{"version": 2, "profile": "fast", "shims": {}, "components": {}}',
        '{"version": 3, "profile": "source", "shims": {}, "components": {}}',
        '{"version": 1, "shims": [], "components": {}}',
        '{"version": 1, "shims": {}}',
        json.dumps({"version": 1, "shims": {}, "components": {"x86_64": {"k": {"kind": "deb", "rule_key": "x", "pins": []}}}}),
        json.dumps({"version": 1, "shims": {}, "components": {"x86_64": {"k": {"kind": "deb"}}}}),
    ],
)
def test_anything_else_is_no_lock(document):
    with pytest.raises(LockError):
        Lock.from_json(document.encode(), what="my.lock")


def test_a_lock_of_version_1_is_one_of_the_profile_that_there_was():
    old = json.loads(lock(kernel=locked()).to_json())
    del old["profile"]
    read = Lock.from_json(json.dumps({**old, "version": 1}).encode(), what="old.lock")
    assert read == lock(kernel=locked())


def test_a_lock_of_another_profile_is_named_and_nothing_else():
    with pytest.raises(LockError) as caught:
        enforce(lock(kernel=locked()), lock(profile=Profile.SOURCE, kernel=locked(kind="make")), what="my.lock")
    assert str(caught.value) == 'my.lock is a lock of profile "packages", this run uses "source"'
    assert "--profile packages" in (caught.value.hint or "")
    assert caught.value.exit_code == 4
