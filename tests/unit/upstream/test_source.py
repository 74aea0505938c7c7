"""The files of a tree: links stay inside it, a repository is read without a work tree and can start nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from kata_bundle.core.errors import UsageError
from kata_bundle.manifest.upstream.source import DirectoryFiles, GitFiles, git_directory


def git(*arguments: str, cwd: Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    (work / "dir").mkdir(parents=True)
    (work / "a.txt").write_text("first\n")
    (work / "dir" / "ümlaut.txt").write_text("ü\n")
    (work / "link").symlink_to("dir/ümlaut.txt")
    (work / "out").symlink_to("../../../etc/passwd")
    git("init", "-q", "-b", "main", ".", cwd=work)
    git("add", ".", cwd=work)
    git("commit", "-q", "-m", "one", cwd=work)
    (work / "a.txt").write_text("second\n")
    git("commit", "-q", "-a", "-m", "two", cwd=work)
    return work


def test_a_bare_repository_is_read_at_any_revision(repository: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    git("clone", "-q", "--bare", str(repository), str(bare), cwd=tmp_path)
    files = GitFiles.open(git_directory(bare), "main~1")
    assert files.names == {"a.txt", "dir/ümlaut.txt", "link", "out"}
    files.prefetch(["a.txt", "dir/ümlaut.txt", "no such file"])
    assert files.read("a.txt") == b"first\n"
    assert files.read("link") == "ü\n".encode()
    assert files.read("out") is None
    assert files.read("no such file") is None
    assert GitFiles.open(git_directory(bare), "main").read("a.txt") == b"second\n"


@pytest.mark.parametrize("revision", ["no-such-branch", "--upload-pack=touch x", "main:a.txt"])
def test_what_is_no_revision_is_refused(repository: Path, revision: str) -> None:
    with pytest.raises(UsageError, match="revision"):
        GitFiles.open(git_directory(repository), revision)


def test_a_hostile_repository_starts_nothing(repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trapped"
    config = repository / ".git" / "config"
    config.write_text(
        config.read_text()
        + f'[core]\n\tfsmonitor = "touch {trap}"\n\tsshCommand = "touch {trap}"\n\thooksPath = {tmp_path}\n'
        + f'[remote "origin"]\n\turl = ext::sh -c "touch {trap}"\n\tpromisor = true\n\tpartialclonefilter = blob:none\n'
        + "[extensions]\n\tpartialClone = origin\n"
    )  # fmt: skip
    blob = git("rev-parse", "HEAD:a.txt", cwd=repository)
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    files = GitFiles.open(git_directory(repository), "HEAD")
    assert files.read("a.txt") is None
    assert files.read("dir/ümlaut.txt") == "ü\n".encode()
    assert not trap.exists()


def test_a_directory_is_read_without_leaving_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "vendor" / "x").mkdir(parents=True)
    (tree / "vendor" / "x" / "f").write_text("dependency")
    (tree / "in" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (tree / "good").symlink_to("in/file")
    (tree / "bad").symlink_to("../secret")
    (tree / "absolute").symlink_to(str(tmp_path / "secret"))
    (tree / "loop").symlink_to("loop")
    (tree / "folder").symlink_to("..", target_is_directory=True)
    os.mkfifo(tree / "pipe")
    files = DirectoryFiles(tree)
    assert files.names == {"in/file", "good", "bad", "absolute", "loop", "pipe"}
    assert files.read("good") == b"inside"
    for name in ("bad", "absolute", "loop", "pipe", "../secret", "gone"):
        assert files.read(name) is None, name


def test_a_file_that_is_too_long_has_no_content(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    assert DirectoryFiles(tmp_path).read("long") is None


def test_a_path_that_is_no_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        DirectoryFiles(tmp_path / "nothing")
    with pytest.raises(UsageError, match="not a git repository"):
        git_directory(tmp_path)


def test_a_linked_work_tree_leads_to_its_repository(repository: Path, tmp_path: Path) -> None:
    git("worktree", "add", "-q", str(tmp_path / "linked"), "main~1", cwd=repository)
    assert GitFiles.open(git_directory(tmp_path / "linked"), "HEAD").read("a.txt") == b"first\n"
