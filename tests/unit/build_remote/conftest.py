"""Servers that misbehave, results to share, and machines with stores of their own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kata_bundle.build.action import encode_action
from kata_bundle.build.remote import Guarded
from kata_bundle.build.remote.reapi import ReapiCache, ReapiExecutor
from kata_bundle.build.remote.settings import Limits, parse_server
from kata_bundle.build.sandbox.execute import Executed
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Symlink, Tree
from kata_bundle.store import Store
from tests.support.reapi_server import FakeServer
from tests.unit.build_sandbox.conftest import builder, busybox, sandbox, shell, store  # noqa: F401

QUICK = Limits(call_s=20, tries=3, first_pause_s=0.001, longest_pause_s=0.002)
LARGE = b"".join(number.to_bytes(4, "big") for number in range(1_300_000))
"""5.2 MB, more than a batch takes."""


@dataclass
class Notes:
    """Keeps what work tells."""

    lines: list[str] = field(default_factory=list)

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None: ...
    def advance(self, task: str, amount: int) -> None: ...
    def finish(self, task: str) -> None: ...
    def note(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def server():
    with FakeServer() as made:
        yield made


@pytest.fixture
def cache(server):
    def make(limits: Limits = QUICK, **settings) -> ReapiCache:
        return ReapiCache(parse_server(server.url, limits=limits, **settings))

    return make


@pytest.fixture
def executor(server):
    def make(limits: Limits = QUICK) -> ReapiExecutor:
        return ReapiExecutor(parse_server(server.url, limits=limits))

    return make


@pytest.fixture
def other(tmp_path) -> Store:
    """The store of a second machine."""
    return Store(tmp_path / "another" / "place", durable=False)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def action(shell):  # noqa: F811
    return shell("mkdir -p out/sub; echo hello > out/sub/file; ln -s sub out/link; : > out/empty; chmod 755 out/sub/file")


@pytest.fixture
def encoded(action):
    return encode_action(action)


@pytest.fixture
def done(store):  # noqa: F811
    """What ``action`` makes, and a large file."""

    def file(data: bytes, mode: int = 0o644) -> File:
        return File(mode=mode, size_bytes=len(data), digest=store.put_bytes(data))

    entries = {
        "out": Directory(),
        "out/sub": Directory(),
        "out/sub/file": file(b"hello\n" * 1000, 0o755),
        "out/empty": file(b""),
        "out/link": Symlink(target="sub"),
        "out/large": file(LARGE),
    }
    tree = Tree.of({RelPath(path): entry for path, entry in entries.items()})
    return Executed(outputs=tree, log=store.put_bytes(b"said\n"), duration_s=1.0, is_hermetic=True)


@pytest.fixture
def guarded(cache):
    return Guarded(cache())
