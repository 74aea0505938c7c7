from __future__ import annotations

import threading
import time

import pytest

from kata_bundle.core.parallel import map_ordered


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_results_keep_the_order_of_the_input(jobs):
    assert map_ordered(lambda n: n * n, range(20), jobs=jobs) == [n * n for n in range(20)]


def test_one_job_runs_in_the_calling_thread():
    assert map_ordered(lambda _: threading.current_thread(), [1, 2], jobs=1) == [threading.current_thread()] * 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_first_error_is_raised_and_stops_what_has_not_begun(jobs):
    begun = []

    def work(n):
        begun.append(n)
        if n == 1:
            raise KeyError(n)
        time.sleep(0.01)

    with pytest.raises(KeyError, match="1"):
        map_ordered(work, range(200), jobs=jobs)
    assert len(begun) < 200
