from __future__ import annotations

import errno
import os
import resource
import stat
from contextlib import contextmanager

import pytest

from kata_bundle.core import clock
from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Finding, Report, Severity, Span, did_you_mean
from kata_bundle.core.errors import BuildError, BundleError, HostError, UsageError, host_error
from kata_bundle.core.fsops import FileOps, about, write_atomic
from kata_bundle.core.process import find_program, run, stream_output


@pytest.mark.parametrize(
    ("text", "arch"),
    [
        ("x86_64", Arch.X86_64),
        ("amd64", Arch.X86_64),
        ("arm64", Arch.AARCH64),
        ("ppc64el", Arch.PPC64LE),
        (" s390x ", Arch.S390X),
    ],
)
def test_every_vocabulary_names_an_architecture(text, arch):
    assert Arch.parse(text) is arch


def test_an_unknown_architecture_lists_the_known_ones():
    with pytest.raises(UsageError, match='unknown architecture "riscv64"') as caught:
        Arch.parse("riscv64")
    assert "aarch64 (arm64)" in caught.value.hint


def test_emulators_follow_the_architecture():
    assert [a.emulator for a in Arch] == ["qemu-system-x86_64", "qemu-system-aarch64", "qemu-system-s390x", "qemu-system-ppc64"]


def test_a_report_sorts_and_takes_each_finding_once():
    report = Report()
    late = Finding(span=Span(path="b"), code="KB101", message="m")
    early = Finding(span=Span(path="a", line=2, column=3, key="k"), code="KB102", message="m", severity=Severity.WARNING)
    report.extend([late, early, late])
    assert list(report) == [early, late]
    assert (report.errors, report.warnings, len(report)) == (1, 1, 2)
    assert str(early.span) == "a:2:3: k"
    assert early.to_dict()["line"] == 2


def test_suggestions_are_close_or_absent():
    assert did_you_mean("quemu", ["qemu", "clh"]) == 'did you mean "qemu"?'
    assert did_you_mean("zzz", ["qemu", "clh"]) is None


def test_every_error_class_has_its_documented_exit_code():
    def leaves(cls):
        yield cls
        for sub in cls.__subclasses__():
            yield from leaves(sub)

    # Rooms add classes of their own below these; the documented tree is that of core.errors.
    codes = {cls.__name__: cls.exit_code for cls in leaves(BundleError) if cls.__module__ == BundleError.__module__}
    assert set(codes.values()) == set(range(1, 13))
    assert codes["PinMissingError"] == codes["LockError"] == 4
    assert codes["ArchiveError"] == codes["IntegrityError"] == 7


@pytest.mark.parametrize("text", ["-1", "soon", "1.5", "\uff19", str(1 << 34), "9" * 5000])
def test_a_wrong_source_date_is_refused(monkeypatch, text):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        clock.source_date()


def test_the_source_date_has_a_default_and_follows_the_variable(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert clock.source_date() == clock.DEFAULT_SOURCE_DATE
    assert clock.timestamp(clock.DEFAULT_SOURCE_DATE) == "2020-01-01T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "17")
    assert clock.source_date() == 17


def test_programs_get_a_cleared_environment(monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    text = run(["env"]).text()
    assert "SECRET" not in text
    assert "LC_ALL=C.UTF-8" in text


def test_a_failing_program_shows_its_command_and_last_words():
    with pytest.raises(BuildError, match=r"sh -c 'echo oops >&2; exit 3' exited with 3:\noops"):
        run(["sh", "-c", "echo oops >&2; exit 3"])
    assert run(["sh", "-c", "exit 3"], check=False).status == 3


def test_a_program_that_hangs_is_killed():
    with pytest.raises(BuildError, match=r"did not end within 0\.1 s"):
        run(["sleep", "60"], timeout_s=0.1)


def test_a_missing_program_names_its_package():
    with pytest.raises(HostError, match="not installed") as caught:
        find_program("no-such-program", package="its-package")
    assert caught.value.hint == "apt-get install its-package"
    with pytest.raises(HostError, match="not installed"):
        run(["/no/such/program"])


def test_streamed_output_reports_failure_after_the_last_byte():
    with stream_output(["echo", "hi"]) as stream:
        assert stream.read() == b"hi\n"
    with pytest.raises(BuildError, match="exited with 4"), stream_output(["sh", "-c", "echo x; exit 4"]) as stream:
        assert stream.read() == b"x\n"
    with pytest.raises(KeyError), stream_output(["yes"]) as stream:
        raise KeyError(stream.read(2))


def test_atomic_writing_ignores_the_umask_and_leaves_no_temporary_file(tmp_path):
    old = os.umask(0o077)
    try:
        write_atomic(tmp_path / "f", b"1", mode=0o664)
        write_atomic(tmp_path / "f", b"2", mode=0o640)
    finally:
        os.umask(old)
    assert (tmp_path / "f").read_bytes() == b"2"
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["f"]


def test_a_failed_atomic_write_keeps_the_old_file(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").touch()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "d", b"1")
    assert os.listdir(tmp_path) == ["d"]


def test_every_change_is_announced_before_it_happens(tmp_path):
    seen = []

    def before(verb, path):
        seen.append((verb, os.path.relpath(path, tmp_path), sorted(os.listdir(tmp_path))))
        if path.endswith("full"):
            raise OSError(errno.ENOSPC, "No space left on device", path)

    ops, at = FileOps(before), lambda name: str(tmp_path / name)
    ops.make_directory(at("d"), 0o700)
    ops.write_file(at("f"), b"1")
    ops.symlink("f", at("l"))
    ops.link(at("f"), at("h"))
    ops.rename(at("h"), at("g"))
    ops.unlink(at("g"))
    ops.unlink(at("g"))
    ops.sync_directory(at("d"))
    assert ops.remove_directory(at("d"))
    assert ops.remove_directory(at("d"))
    with pytest.raises(OSError, match="No space"):
        ops.write_file(at("full"), b"1")
    assert [verb for verb, *_ in seen] == (
        ["mkdir", "write", "symlink", "link", "rename", "unlink", "unlink", "fsync", "rmdir", "rmdir", "write"]
    )
    assert all(name not in before_names for verb, name, before_names in seen if verb in {"mkdir", "write", "symlink", "link"})
    assert sorted(os.listdir(tmp_path)) == ["f", "l"]


def test_a_directory_with_content_stays(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").touch()
    assert not FileOps().remove_directory(str(tmp_path / "d"))


def test_programs_are_started_without_a_shell():
    assert run(["echo", "$(id)", ";", "ls"]).text() == "$(id) ; ls\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EMFILE])
def test_a_problem_of_the_host_says_where_and_what_to_do(number):
    found = host_error(OSError(number, os.strerror(number), "/some/place"))
    assert found is not None
    assert found.exit_code == 9
    assert str(found) == f"{os.strerror(number)}: /some/place"
    assert found.hint


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EEXIST, errno.EINVAL, None])
def test_what_the_program_should_have_expected_is_no_problem_of_the_host(number):
    assert host_error(OSError(number, "text")) is None


def test_errors_of_open_files_get_the_name_and_others_keep_theirs():
    with pytest.raises(OSError, match="mine") as caught, about("mine"):
        raise OSError(errno.ENOSPC, "full")
    assert caught.value.filename == "mine"
    with pytest.raises(FileNotFoundError) as caught, about("mine"):
        os.stat("/nonexistent/other")
    assert caught.value.filename == "/nonexistent/other"


def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path):
    with limited_files(1000), pytest.raises(OSError, match="File too large") as caught:
        write_atomic(tmp_path / "x", bytes(5000))
    assert caught.value.filename == str(tmp_path / "x")
    assert os.listdir(tmp_path) == []


@contextmanager
def limited_files(size):
    """Let no file of this process grow beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
