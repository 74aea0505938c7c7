"""Whom a command run by hand asks: the system that runs from the root directory, or nobody where none does."""

from __future__ import annotations

import socket

import pytest

from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.record import replace
from kata_bundle.node.install import install
from kata_bundle.node.live import services_for, unmade_restarts
from kata_bundle.node.machine import RecordingServices
from kata_bundle.node.systemd import SystemdUnavailableError
from tests.fixtures.node import World, payload

RESTART = {"verb": "restart", "unit": "containerd.service"}


@pytest.fixture
def installed(tmp_path) -> World:
    world = World(tmp_path / "root")
    world.root.mkdir()
    wanted = replace(world.desired(payload(tmp_path / "v1"), "qemu"), restarts={"containerd": RESTART})
    install(world.machine(), wanted)
    return world


def dead_systemd(world: World) -> None:
    """Leave a socket where systemd's is, with nobody behind it."""
    place = world.root / "run/systemd/private"
    place.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))


def test_where_no_system_runs_calls_are_recorded_and_told(installed):
    services = services_for(installed.site, NO_PROGRESS, leaving=True)
    assert isinstance(services, RecordingServices)
    for call in (RESTART, {"verb": "enable", "unit": "x.service"}, RESTART):
        services.call(call)
    assert unmade_restarts(services) == ("containerd.service",)


def test_a_system_that_is_there_has_to_answer(installed):
    dead_systemd(installed)
    with pytest.raises(SystemdUnavailableError):
        services_for(installed.site, NO_PROGRESS, leaving=True)


def test_an_install_that_configures_no_runtime_asks_nobody(tmp_path):
    world = World(tmp_path / "root")
    world.root.mkdir()
    dead_systemd(world)
    wanted = world.desired(payload(tmp_path / "v1"), "qemu")
    assert isinstance(services_for(world.site, NO_PROGRESS, desired=wanted), RecordingServices)
