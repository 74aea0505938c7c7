"""One mutation at a time on a node; who waits says so and does not wait for ever."""

from __future__ import annotations

import os

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.node.lock import LOCK_PATH, node_lock


class Notes:
    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


@pytest.fixture(params=[True, False], ids=["with /run/lock", "bare root"])
def site(request, world):
    if request.param:
        (world.root / "run/lock").mkdir(parents=True)
    return world.site


def test_two_installs_exclude_each_other_and_the_second_says_who_holds_the_lock(site):
    slept, notes = [], Notes()
    second = node_lock(site, notes, give_up_s=0.01, sleep=slept.append)
    with node_lock(site, NO_PROGRESS), pytest.raises(HostError, match="another install holds") as caught, second:
        pytest.fail("both hold the lock")
    assert caught.value.retryable
    assert slept
    assert f"held by process {os.getpid()}" in notes.said[0]


def test_the_lock_is_free_again_after_an_error(site):
    with pytest.raises(KeyError), node_lock(site, NO_PROGRESS):
        raise KeyError
    with node_lock(site, NO_PROGRESS, give_up_s=0):
        pass


def test_waiting_ends_when_the_other_lets_go(site):
    first = node_lock(site, NO_PROGRESS)
    first.__enter__()

    def let_go(_):
        first.__exit__(None, None, None)

    with node_lock(site, Notes(), sleep=let_go):
        pass


def test_installs_with_different_directories_share_the_lock(world, tmp_path):
    from kata_bundle.node.site import Site

    second = node_lock(Site(str(world.root), "/opt/kata-dev"), Notes(), give_up_s=0, sleep=lambda _: None)
    with node_lock(world.site, NO_PROGRESS), pytest.raises(HostError), second:
        pytest.fail("both hold the lock")


def test_a_root_without_a_lock_folder_gets_no_file(world):
    with node_lock(world.site, NO_PROGRESS):
        assert os.listdir(world.root) == []


def test_the_lock_file_is_created_and_never_truncated(world):
    place = world.root / LOCK_PATH[1:]
    place.parent.mkdir(parents=True)
    with node_lock(world.site, NO_PROGRESS):
        assert place.exists()
    place.write_text("of somebody")
    with node_lock(world.site, NO_PROGRESS):
        pass
    assert place.read_text() == "of somebody"


def test_a_linked_lock_file_is_refused(world):
    place = world.root / LOCK_PATH[1:]
    place.parent.mkdir(parents=True)
    place.symlink_to("/etc/passwd")
    with pytest.raises(HostError, match="cannot be opened"), node_lock(world.site, NO_PROGRESS):
        pass


def test_a_lock_file_mounted_elsewhere_is_used(world, tmp_path):
    with node_lock(world.site, NO_PROGRESS, path=str(tmp_path / "lock")):
        assert (tmp_path / "lock").exists()
