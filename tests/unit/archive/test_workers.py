"""Pieces of work on threads: the error that came first is the one that is raised."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest

from kata_bundle.archive.workers import SerialFileOps, run_pieces
from kata_bundle.core.fsops import FileOps


class Fault(Exception):  # noqa: N818
    pass


def test_the_error_of_a_thread_that_was_told_to_end_hides_none():
    stopped, told = threading.Event(), threading.Event()

    def observer(verb: str, path: str) -> None:
        stopped.set()
        raise Fault

    files = SerialFileOps(FileOps(observer))

    def first(_: object) -> None:
        try:
            files.announce("write", "a")
        finally:
            assert told.wait(30)  # the other thread has ended by then

    def second(_: object) -> None:
        assert stopped.wait(30)
        try:
            files.announce("write", "b")
        finally:
            threading.Timer(0.2, told.set).start()

    with pytest.raises(Fault):
        run_pieces([first, second], threads=2, tools=lambda: nullcontext(None))
