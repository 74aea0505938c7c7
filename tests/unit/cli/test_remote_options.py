"""What the options for caches and executors make."""

from __future__ import annotations

import pytest

from kata_bundle.cli.app import App
from kata_bundle.cli.remote_options import RemoteChoice, open_workshop
from kata_bundle.core.errors import UsageError
from tests.fixtures.cli import run_cli


def test_nothing_remote_is_the_default():
    workshop = open_workshop(App(quiet=True))
    assert workshop.caches == ()
    assert workshop.executor is None


def test_caches_are_asked_in_the_order_given():
    choice = RemoteChoice(caches=("grpc://127.0.0.1:1", "oci://registry.example/x"), executor="grpcs://build.example", only=True)
    workshop = open_workshop(App(quiet=True), choice)
    assert [cache.name for cache in workshop.caches] == ["grpc://127.0.0.1:1", "oci://registry.example/x"]
    assert workshop.executor is not None
    assert workshop.executor.name == "grpcs://build.example:443"
    assert workshop.is_remote_only


def test_remote_only_needs_something_remote():
    with pytest.raises(UsageError, match="without anything remote"):
        open_workshop(App(quiet=True), RemoteChoice(only=True))


def test_a_wrong_address_stops_before_any_work(tmp_path):
    done = run_cli(
        "build", "kernel", store=tmp_path / "store", KATA_BUNDLE_REMOTE_CACHE="grpc://127.0.0.1:1 http://cache.example"
    )
    assert done.code == 2
    assert '"http://cache.example" is none of a Remote Execution API server' in done.stderr
    assert not (tmp_path / "store").exists()
