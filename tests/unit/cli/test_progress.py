"""What people see of long work on a terminal: what runs and for how long, counts, bytes."""

from __future__ import annotations

import io

from kata_bundle.cli.progress import LineProgress, TerminalProgress, _duration


def test_a_terminal_shows_what_runs_with_its_time_and_how_much_is_done():
    from rich.console import Console

    console = Console(file=io.StringIO(), force_terminal=True, width=100, legacy_windows=False)
    progress = TerminalProgress(console)
    try:
        progress.start("3 components", 3, "components")
        progress.advance("3 components", 1)
        progress.start("kernel (x86_64) [not markup]", None, "action")
        progress.start("fetch linux", 2 << 20)
        progress.advance("fetch linux", 1 << 20)
        progress.advance("unknown", 1)
        progress.finish("unknown")
        text = shown(progress)
        assert "3 components" in text
        assert "1/3" in text
        assert "kernel (x86_64) [not markup]" in text
        assert "0:00" in text
        assert "1.0/2.0 MiB" in text
        progress.finish("kernel (x86_64) [not markup]")
        assert "kernel" not in shown(progress)
    finally:
        progress.close()


def shown(progress: TerminalProgress) -> str:
    """Return what stands on the terminal now, without what was there before."""
    from rich.console import Console

    paper = Console(file=io.StringIO(), width=100)
    paper.print(progress._live.get_renderable())
    return paper.file.getvalue()


def test_durations_are_read_at_a_glance():
    assert [_duration(s) for s in (0, 59.9, 61, 3600, 36_061)] == ["0:00", "0:59", "1:01", "1:00:00", "10:01:01"]


def test_without_a_terminal_there_are_only_the_lines_that_work_notes(capsys):
    progress = LineProgress()
    progress.start("kernel (x86_64)", None, "action")
    progress.advance("kernel (x86_64)", 1)
    progress.note("x86_64: made kernel in 3.0 s")
    progress.finish("kernel (x86_64)")
    progress.close()
    done = capsys.readouterr()
    assert (done.out, done.err) == ("", "x86_64: made kernel in 3.0 s\n")
