"""Where things lie, and that nothing outside the root is ever meant."""

from __future__ import annotations

import os

import pytest

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.node.hostedit import HostDirectory
from kata_bundle.node.install import install
from kata_bundle.node.site import destination, resolve
from tests.fixtures.node import World


@pytest.mark.parametrize(
    ("dest", "suffix", "expected"),
    [
        ("/opt/kata", None, "/opt/kata"),
        ("/opt/kata", "", "/opt/kata"),
        ("/opt/kata/", "dev", "/opt/kata-dev"),
        ("/opt/kata-dev", "dev", "/opt/kata-dev"),
        ("//srv//opt/kata", "a1-b", "/srv/opt/kata-a1-b"),
    ],
)
def test_the_install_directory_carries_the_suffix(dest, suffix, expected):
    assert destination(dest, suffix) == expected


@pytest.mark.parametrize("suffix", ["v1.2", "../x", "A", "-a", "a-", "a" * 31, "a/b", "a b"])
def test_a_suffix_that_would_break_names_is_refused(suffix):
    with pytest.raises(UsageError, match="suffix"):
        destination("/opt/kata", suffix)


@pytest.mark.parametrize("dest", ["opt/kata", "/", "/opt/../kata", "/a\0b", ""])
def test_an_install_directory_has_to_be_an_absolute_path(dest):
    with pytest.raises(UsageError):
        destination(dest)


def test_links_are_followed_inside_the_root_only(tmp_path):
    (tmp_path / "data/x").mkdir(parents=True)
    (tmp_path / "abs").symlink_to("/data")
    (tmp_path / "up").symlink_to("../../../../data/x")
    (tmp_path / "data/loop").symlink_to("loop")
    root = str(tmp_path)
    assert resolve(root, "/abs/x", follow=True) == f"{root}/data/x"
    assert resolve(root, "/up", follow=True) == f"{root}/data/x"
    assert resolve(root, "/up", follow=False) == f"{root}/up"
    assert resolve(root, "/nothing/../there", follow=True) == f"{root}/there"
    with pytest.raises(HostError, match="symbolic links"):
        resolve(root, "/data/loop/x", follow=True)


def test_a_host_view_does_not_leave_its_root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/link").symlink_to("/etc/passwd")
    (tmp_path / "etc/real").write_text("x")
    (tmp_path / "etc/inside").symlink_to("/etc/real")
    view = HostDirectory(str(tmp_path))
    assert view.read("/etc/link") is None
    assert view.read("/etc/inside") == b"x"
    assert view.names("/etc") == ("inside", "link", "real")


def test_a_current_link_that_somebody_turned_is_an_error(world, v1, put):
    put(v1, "qemu")
    os.unlink(world.site.current)
    os.symlink("../elsewhere", world.site.current)
    with pytest.raises(HostError, match="expected a generation"):
        world.site.active()


def test_a_root_that_is_not_there_is_an_error(tmp_path, v1):
    world = World(tmp_path / "none")
    with pytest.raises(HostError, match="does not exist"):
        install(world.machine(), world.desired(v1, "qemu"))
    assert not world.root.exists()
