"""CPU time of a cold process: what `--version` and `--help` cost (docs/decisions/003)."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = str(Path(sys.executable).parent / "kata-bundle")


def children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param([sys.executable, "-c", "pass"], id="python-alone"),
        pytest.param([SCRIPT, "--version"], id="version"),
        pytest.param([SCRIPT, "--help"], id="help"),
        pytest.param([SCRIPT, "check"], id="check"),
    ],
)
def test_cold_start(benchmark, argv):
    """The figure to read is ``cpu_ms`` in ``extra_info`` (median of the rounds): wall time moves with the machine's load."""
    samples = []

    def once():
        before = children_cpu_s()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
        samples.append(children_cpu_s() - before)

    benchmark.pedantic(once, rounds=15, warmup_rounds=1)
    benchmark.extra_info["cpu_ms"] = round(sorted(samples)[len(samples) // 2] * 1000, 1)
    print(f"\n{' '.join(Path(a).name for a in argv)}: {benchmark.extra_info['cpu_ms']} ms CPU (median of {len(samples)})")
