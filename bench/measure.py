"""Times whole programs in turn and keeps every sample. Must not know: what the programs are.

Wall time is from fork to exit. Contenders take turns (A B C A B C), so a ratio is made of samples that stood side by side, and
the figure told is the median over the rounds. Before each start: a new destination, nothing left to write back to its disk, and,
within bounds, a machine that does little else; how busy the rest of the machine was meanwhile is part of the sample.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Contender", "Launcher", "Sample", "allocated_bytes", "compete", "drop_from_cache", "median_ratio", "warm"]

_QUIET = 0.10
"""Share of the processors that others may take when a program is started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What one run of one program cost."""

    wall_s: float
    cpu_s: float
    rss_kib: int
    busy: float
    """Share of the machine's processors that was taken by others meanwhile."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contender:
    """A program to run: ``argv`` gets the destination of this round."""

    name: str
    argv: Callable[[Path], Sequence[str | os.PathLike[str]]]
    prepare: Callable[[Path], None] | None = None
    """Makes the destination ready, not measured; without it, the destination does not exist."""
    check: Callable[[Path], None] | None = None
    """Looks at the result of the first round, not measured; raises for a wrong one."""
    is_kept: bool = False
    """Whether the destination stays between rounds (for what is measured on top of an earlier state)."""


@dataclass(slots=True)
class Launcher:
    """The small process that starts programs; a context."""

    folder: Path
    nice: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def __enter__(self) -> Self:
        script = Path(__file__).with_name("launcher.py")
        argv = [sys.executable, "-I", "-S", script, str(self.nice)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.stdin is not None:
            with self._process:  # closes both pipes and waits
                self._process.stdin.close()

    def run(self, argv: Sequence[str | os.PathLike[str]]) -> Sample:
        """Run ``argv`` to its end and return what it cost; a failure ends the benchmark with its error output."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        errors, output = self.folder / "stderr", self.folder / "stdout"
        fields = [str(self.nice), self.folder, errors, output, *argv]
        before = _processor_times()
        process.stdin.write(b"\0".join(os.fsencode(one) for one in fields) + b"\n")
        process.stdin.flush()
        status, wall, user, system, rss = process.stdout.readline().split()
        busy_s, all_s = (after - earlier for after, earlier in zip(_processor_times(), before, strict=True))
        cpu = float(user) + float(system)
        if int(status):
            text = errors.read_text(errors="replace")[-2000:] if errors.is_file() else ""
            msg = f"{' '.join(map(str, argv))[:500]}\nexited with {int(status)}:\n{text}"
            raise RuntimeError(msg)
        others = max(0.0, busy_s - cpu) / all_s if all_s > 0 else 0.0
        return Sample(wall_s=float(wall), cpu_s=round(cpu, 4), rss_kib=int(rss), busy=round(min(others, 1.0), 3))


def compete(
    contenders: Sequence[Contender],
    launcher: Launcher,
    place: Path,
    *,
    rounds: int,
    patience_s: float,
    inputs: Iterable[Path] = (),
    cold: bool = False,
) -> dict[str, list[Sample]]:
    """Run every contender once a round, each with a destination of its own below ``place``; return the samples by name."""
    inputs = list(inputs)
    samples: dict[str, list[Sample]] = {one.name: [] for one in contenders}
    for number in range(rounds):
        for one in contenders:
            target = place / one.name.replace("/", "-").replace(" ", "-")
            if not one.is_kept:
                shutil.rmtree(target, ignore_errors=True)
            if one.prepare is not None:
                one.prepare(target)
            (drop_from_cache if cold else warm)(inputs)
            _flush(place)
            _await_quiet(patience_s)
            samples[one.name].append(launcher.run(one.argv(target)))
            if one.check is not None and number == 0:
                one.check(target)
            if not one.is_kept:
                shutil.rmtree(target, ignore_errors=True)
    for one in contenders:
        shutil.rmtree(place / one.name.replace("/", "-").replace(" ", "-"), ignore_errors=True)
    return samples


def median_ratio(numerator: Sequence[Sample], denominator: Sequence[Sample], figure: str = "wall_s") -> tuple[float, list[float]]:
    """Return the median of the round-by-round ratios, and these."""
    ratios = [getattr(a, figure) / max(getattr(b, figure), 1e-9) for a, b in zip(numerator, denominator, strict=True)]
    return statistics.median(ratios), ratios


def sample_document(sample: Sample) -> dict[str, Any]:
    """Return the JSON form."""
    return asdict(sample)


def allocated_bytes(tree: Path) -> int:
    """Return what the regular files below ``tree`` take on the disk, each inode once."""
    seen: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(tree):
        for name in names:
            found = os.lstat(os.path.join(folder, name))
            seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


def warm(paths: Iterable[Path]) -> None:
    """Read files into the page cache."""
    buffer = bytearray(1 << 20)
    for path in paths:
        with path.open("rb", buffering=0) as stream:
            while stream.readinto(buffer):
                pass


def drop_from_cache(paths: Iterable[Path]) -> None:
    """Make the kernel forget the content of files, and only of these."""
    for path in paths:
        with path.open("rb", buffering=0) as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _flush(place: Path) -> None:
    with suppress(OSError):
        subprocess.run(["sync", "-f", place], check=False)


def _await_quiet(patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        before = _processor_times()
        time.sleep(0.25)
        busy, total = (after - earlier for after, earlier in zip(_processor_times(), before, strict=True))
        if total <= 0 or busy / total < _QUIET:
            return


def _processor_times() -> tuple[float, float]:
    """Return (busy, all) seconds of all processors together since the start of the machine."""
    with open("/proc/stat") as stream:
        fields = [int(one) for one in stream.readline().split()[1:9]]
    tick = os.sysconf("SC_CLK_TCK")
    total = sum(fields)
    return (total - fields[3] - fields[4]) / tick, total / tick
