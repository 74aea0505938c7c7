"""Entries on disk: replaced whole, across types, never through links, whatever fails in between."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kata_bundle.archive.directories import Directories
from kata_bundle.archive.placer import Placer
from kata_bundle.core.errors import ArchiveError
from kata_bundle.core.fsops import FileOps
from kata_bundle.core.relpath import RelPath

A, AB = RelPath("a"), RelPath("a/b")
TIME = 1_234_567_890_123_456_789


def put_file(placer: Placer, path: str, data: bytes = b"new", mode: int = 0o644) -> None:
    placer.file(RelPath(path), [data], mode=mode, mtime_ns=TIME)


def put_directory(placer: Placer, path: str, mode: int = 0o755) -> None:
    placer.directory(RelPath(path), mode=mode, mtime_ns=TIME)


def placed(target: Path, *steps: Callable[[Placer], None], files: FileOps | None = None) -> None:
    with Placer(target, files) as placer:
        for step in steps:
            step(placer)
        placer.finish()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "b").write_text("victim")
    return outside


@pytest.fixture
def target(tmp_path: Path) -> Path:
    target = tmp_path / "target"
    target.mkdir()
    return target


def names(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_file_has_content_mode_and_time(target: Path) -> None:
    placed(target, lambda p: put_file(p, "a/b", b"data", 0o640))
    found = (target / "a/b").stat()
    assert (target / "a/b").read_bytes() == b"data"
    assert (stat.S_IMODE(found.st_mode), found.st_mtime_ns, found.st_nlink) == (0o640, TIME, 1)


@pytest.mark.parametrize("umask", [0, 0o22, 0o777])
def test_modes_do_not_depend_on_the_umask(target: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        placed(target, lambda p: put_directory(p, "d", 0o751), lambda p: put_file(p, "implied/f", mode=0o666))
    finally:
        os.umask(before)
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o751
    assert stat.S_IMODE((target / "implied").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "implied/f").stat().st_mode) == 0o666


def test_a_read_only_directory_gets_its_content_first(target: Path) -> None:
    placed(target, lambda p: put_directory(p, "d", 0o555), lambda p: put_file(p, "d/f"), lambda p: put_directory(p, "d/e", 0o500))
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o555
    assert (target / "d").stat().st_mtime_ns == TIME == (target / "d/e").stat().st_mtime_ns


def test_set_group_id_of_the_parent_is_not_inherited(target: Path) -> None:
    target.chmod(0o2755)
    placed(target, lambda p: put_directory(p, "d"), lambda p: put_file(p, "implied/f"))
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o755
    assert stat.S_IMODE((target / "implied").stat().st_mode) == 0o755


def test_an_existing_directory_that_is_only_implied_keeps_mode_and_time(target: Path) -> None:
    (target / "a").mkdir(mode=0o700)
    placed(target, lambda p: put_file(p, "a/b"))
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o700


def test_a_replaced_file_gets_a_new_inode_and_the_old_one_lives_on(target: Path) -> None:
    """A program that runs from the old file goes on, and writing cannot fail because the file is busy."""
    (target / "a").write_text("old")
    with (target / "a").open() as running:
        placed(target, lambda p: put_file(p, "a"))
        assert running.read() == "old"
    assert (target / "a").read_text() == "new"


def test_a_replaced_hard_link_leaves_its_other_names_alone(target: Path, outside: Path) -> None:
    os.link(outside / "b", target / "a")
    placed(target, lambda p: put_file(p, "a"))
    assert (outside / "b").read_text() == "victim"


def test_a_link_is_replaced_and_not_written_through(target: Path, outside: Path) -> None:
    (target / "a").symlink_to(outside / "b")
    (target / "l").symlink_to(outside)
    placed(target, lambda p: put_file(p, "a"), lambda p: p.symlink(RelPath("l"), "elsewhere", mtime_ns=TIME))
    assert not (target / "a").is_symlink()
    assert os.readlink(target / "l") == "elsewhere"
    assert (target / "l").lstat().st_mtime_ns == TIME
    assert names(outside) == ["b", "sub"]
    assert (outside / "b").read_text() == "victim"


@pytest.mark.parametrize("path", ["link/b", "link/sub/x", "link/new/x", "d/link/b"])
def test_no_entry_is_placed_below_a_link(target: Path, outside: Path, path: str) -> None:
    (target / "link").symlink_to(outside)
    (target / "d").mkdir()
    (target / "d/link").symlink_to("../../outside")
    steps: list[Callable[[Placer], None]] = [
        lambda p: put_file(p, path),
        lambda p: put_directory(p, path),
        lambda p: p.symlink(RelPath(path), "x", mtime_ns=0),
        lambda p: p.hardlink(RelPath(path), RelPath("other")),
    ]
    placed(target, lambda p: put_file(p, "other"))
    for step in steps:
        with pytest.raises(ArchiveError, match="links are never followed"):
            placed(target, step)
    assert names(outside) == ["b", "sub"]
    assert (outside / "b").read_text() == "victim"


def test_a_hard_link_is_not_made_to_a_file_behind_a_link(target: Path, outside: Path) -> None:
    (target / "link").symlink_to(outside)
    with pytest.raises(ArchiveError, match="links are never followed"):
        placed(target, lambda p: p.hardlink(A, RelPath("link/b")))
    assert (outside / "b").stat().st_nlink == 1


def test_a_directory_replaces_a_link_that_is_in_its_own_place(target: Path, outside: Path) -> None:
    (target / "a").symlink_to(outside)
    placed(target, lambda p: put_directory(p, "a"), lambda p: put_file(p, "a/b"))
    assert not (target / "a").is_symlink()
    assert (outside / "b").read_text() == "victim"


@pytest.mark.parametrize("make", [lambda p: put_directory(p, "a"), lambda p: put_file(p, "a/b")])
@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_a_file_gives_way_to_a_directory(target: Path, make: Callable[[Placer], None], kind: str) -> None:
    if kind == "file":
        (target / "a").write_text("old")
    else:
        os.mkfifo(target / "a")
    placed(target, make)
    assert (target / "a").is_dir()


def test_a_directory_gives_way_with_all_its_content(target: Path, outside: Path) -> None:
    for name in ("a", "l", "h"):
        (target / name / "deep/er").mkdir(parents=True)
        (target / name / "deep/file").write_text("old")
        (target / name / "out").symlink_to(outside)
    placed(
        target,
        lambda p: put_file(p, "a"),
        lambda p: p.symlink(RelPath("l"), "a", mtime_ns=TIME),
        lambda p: p.hardlink(RelPath("h"), A),
        lambda p: put_file(p, "z"),
    )
    assert names(target) == ["a", "h", "l", "z"]
    assert os.readlink(target / "l") == "a"
    assert (target / "h").stat().st_ino == (target / "a").stat().st_ino
    assert names(outside) == ["b", "sub"]


def test_a_hard_link_over_another_name_of_the_same_file_leaves_nothing_behind(target: Path) -> None:
    placed(target, lambda p: put_file(p, "a"), *[lambda p: p.hardlink(RelPath("b"), A)] * 3)
    assert names(target) == ["a", "b"]
    assert (target / "a").stat().st_nlink == 2


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b""],
        [bytes(1 << 16)],
        [bytes(1 << 20), b"x"],
        [b"x", bytes(1 << 20)],
        [bytes(1 << 20) + b"x" + bytes(200_000)],
        [b"x" * 100_000 + bytes(400_000) + b"y", bytes(65_535), bytes(65_536), b"z" * 3],
    ],
)
def test_holes_do_not_change_content(target: Path, pieces: list[bytes]) -> None:
    placed(target, lambda p: p.file(A, pieces, mode=0o644, mtime_ns=0))
    assert (target / "a").read_bytes() == b"".join(pieces)


def test_runs_of_zeros_take_no_space(target: Path) -> None:
    placed(target, lambda p: p.file(A, [b"x" + bytes((1 << 19) - 1), *[bytes(1 << 19)] * 7], mode=0o644, mtime_ns=0))
    found = (target / "a").stat()
    assert found.st_size == 4 << 20
    assert found.st_blocks * 512 <= 128 << 10


def test_content_that_fails_leaves_the_old_file_and_nothing_else(target: Path) -> None:
    (target / "a").write_text("old")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ArchiveError("truncated")

    with pytest.raises(ArchiveError):
        placed(target, lambda p: p.file(A, broken(), mode=0o644, mtime_ns=0))
    assert names(target) == ["a"]
    assert (target / "a").read_text() == "old"


STEPS: list[Callable[[Placer], None]] = [
    lambda p: put_directory(p, "d"),
    lambda p: put_file(p, "e/f"),
    lambda p: p.symlink(RelPath("l"), "e", mtime_ns=0),
    lambda p: p.hardlink(RelPath("h"), RelPath("e/f")),
    lambda p: put_file(p, "was-directory"),
    lambda p: put_directory(p, "was-file"),
]
ANNOUNCED = [
    ("mkdir", "d"),
    ("mkdir", "e"),
    ("write", "e/f"),
    ("symlink", "l"),
    ("link", "h"),
    ("write", "was-directory"),
    ("unlink", "was-file"),
    ("mkdir", "was-file"),
]


@pytest.mark.parametrize("stop_at", range(len(ANNOUNCED) + 1))
def test_every_change_is_announced_and_can_be_stopped(target: Path, stop_at: int) -> None:
    (target / "was-file").write_text("old")
    (target / "was-directory/x").mkdir(parents=True)
    announced: list[tuple[str, str]] = []

    def observe(verb: str, path: str) -> None:
        if len(announced) == stop_at:
            raise OSError(28, "no space")
        announced.append((verb, os.path.relpath(path, target)))

    if stop_at < len(ANNOUNCED):
        with pytest.raises(OSError, match="no space"):
            placed(target, *STEPS, files=FileOps(observe))
    else:
        placed(target, *STEPS, files=FileOps(observe))
    assert announced == ANNOUNCED[:stop_at]
    made = {path for verb, path in announced if verb != "unlink"}
    gone = {path for verb, path in announced if verb == "unlink"} - made
    kept = {"was-directory/x"} if "was-directory" not in made else set()
    assert set(names(target)) == (made | {"was-file", "was-directory"} | kept) - gone


@pytest.mark.parametrize("call", ["fchmod", "rename", "utime", "pwrite"])
def test_an_error_while_making_leaves_no_temporary_file(target: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="input/output"):
        placed(target, lambda p: put_file(p, "a"))
    assert names(target) == []


def test_a_directory_that_cannot_be_replaced_is_put_back(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (target / "a/x").mkdir(parents=True)
    rename = os.rename
    calls = iter(range(10))

    def fail_third(*args: str, **kwargs: int) -> None:
        if next(calls) == 2:
            raise OSError(5, "input/output error")
        rename(*args, **kwargs)

    monkeypatch.setattr(os, "rename", fail_third)
    with pytest.raises(OSError, match="input/output"):
        placed(target, lambda p: put_file(p, "a"))
    assert names(target) == ["a", "a/x"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("file")])
def test_the_target_has_to_be_a_directory(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "target")
    with pytest.raises((FileNotFoundError, NotADirectoryError)):
        Placer(tmp_path / "target")


def test_descriptors_are_bounded_and_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with Directories(tmp_path) as directories:
        for i in range(100):
            (tmp_path / f"{i}/a/b").mkdir(parents=True)
            directories.descriptor(f"{i}/a/b")
        assert len(os.listdir("/proc/self/fd")) - before <= 33
        for i in (0, 50, 99, 0):
            assert os.fstat(directories.descriptor(f"{i}/a")).st_ino == (tmp_path / f"{i}/a").stat().st_ino
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptors_are_not_led_by_links(tmp_path: Path) -> None:
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    with Directories(tmp_path) as directories:
        for path in ("link", "link/sub"):
            with pytest.raises(NotADirectoryError):
                directories.descriptor(path)
        with pytest.raises(FileNotFoundError):
            directories.descriptor("real/none/x")
        assert directories.descriptor("real/sub")


class MeanwhileMade(FileOps):
    """Makes each directory just before it is made here, as another thread that unpacks into the same tree may."""

    def __init__(self, *, as_file: bool = False) -> None:
        super().__init__()
        self._as_file = as_file

    def announce(self, verb: str, path: str) -> None:
        super().announce(verb, path)
        if verb == "mkdir":
            if self._as_file:
                Path(path).write_text("in the way")
            else:
                os.mkdir(path)


def test_a_directory_that_another_layer_made_meanwhile_is_used(tmp_path: Path) -> None:
    placed(tmp_path, lambda p: put_directory(p, "a", 0o750), lambda p: put_file(p, "a/b"), files=MeanwhileMade())
    assert (tmp_path / AB).read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / A).stat().st_mode) == 0o750


def test_a_file_that_appears_where_a_directory_is_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        placed(tmp_path, lambda p: put_directory(p, "a"), files=MeanwhileMade(as_file=True))
