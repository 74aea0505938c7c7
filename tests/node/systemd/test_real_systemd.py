"""The systemd client against a real systemd, over its private socket and over the bus, from a pod."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

import kata_bundle.node.systemd
from kata_bundle.node.systemd import (
    BUS_SOCKET,
    PRIVATE_SOCKET,
    Connection,
    SystemdTimeoutError,
    SystemdUnavailableError,
    UnitError,
    UnitState,
    open_systemd,
)
from tests.fixtures.throwaway_node import Node, running_node, throwaway_tree  # noqa: F401 - fixtures

pytestmark = [pytest.mark.root, pytest.mark.node, pytest.mark.slow]

UNIT = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n"
BROKEN = "[Service]\nType=oneshot\nExecStart=/bin/false\n"
SLOW = "[Service]\nType=oneshot\nExecStart=/bin/sleep 30\n"


@pytest.fixture(scope="module")
def node(throwaway_tree, tmp_path_factory):  # noqa: F811
    with running_node(throwaway_tree, tmp_path_factory.mktemp("systemd")) as node:
        node.write("/etc/systemd/system/sleeper.service", UNIT)
        node.write("/etc/systemd/system/broken.service", BROKEN)
        node.write("/etc/systemd/system/slow.service", SLOW)
        node.systemctl("daemon-reload")
        yield node


# A pod's processes live in the host's process namespace or one inside it. systemd hangs up on peers that it cannot see, so the
# client runs in the node's process namespace, as a pod's would, but with this machine's files.
CLIENT = """
import json, sys
from functools import partial
from kata_bundle.core.errors import BundleError
from kata_bundle.core.record import field_names
from kata_bundle.node.systemd import *
place, bus, timeout, method, arguments, more = json.loads(sys.argv[1])
client = DBusSystemd(partial(Connection.open, place, bus=bus, timeout_s=10), job_timeout_s=timeout)
try:
    result = getattr(client, method)(*arguments, **more)
except BundleError as error:
    print(json.dumps(["error", type(error).__name__, str(error)]))
else:
    print(json.dumps(["ok", {name: getattr(result, name) for name in field_names(result)} if result else None]))
"""


class FromAPod:
    """The client's methods, each called in a process of the node's process namespace."""

    def __init__(self, node: Node, *, bus: bool, job_timeout_s: float = 10) -> None:
        self.node, self.bus, self.job_timeout_s = node, bus, job_timeout_s

    def __getattr__(self, method: str):
        def call(*arguments, **more):
            place = f"{self.node.root}{BUS_SOCKET if self.bus else PRIVATE_SOCKET}"
            task = json.dumps([place, self.bus, self.job_timeout_s, method, arguments, more])
            argv = ["nsenter", "-t", str(self.node.init), "--pid", sys.executable, "-c", CLIENT, task]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
            assert done.returncode == 0, done.stderr
            kind, *rest = json.loads(done.stdout)
            if kind == "error":
                raise getattr(kata_bundle.node.systemd, rest[0])(*rest[1:])
            return UnitState(**rest[0]) if rest[0] else None

        return call


@pytest.fixture(params=["private", "bus"])
def systemd(node: Node, request) -> FromAPod:
    return FromAPod(node, bus=request.param == "bus")


def test_a_host_is_found_by_its_root(node):
    assert open_systemd(str(node.root)).unit_state("dbus.socket").is_active


def test_being_turned_away_is_said_and_leads_to_the_bus(node):
    # This process is outside the node's process namespace.
    with pytest.raises(SystemdUnavailableError, match="does not talk to this process"):
        Connection.open(f"{node.root}{PRIVATE_SOCKET}", timeout_s=10)
    assert open_systemd(str(node.root)).unit_state("dbus").is_active


def test_restart_stop_and_state_agree_with_systemctl(node, systemd):
    before = time.time() * 1e6
    systemd.restart("sleeper")
    state = systemd.unit_state("sleeper")
    assert state.is_active
    assert before - 1e6 < state.active_since_us < time.time() * 1e6 + 1e6
    assert node.systemctl("is-active", "sleeper") == "active"
    first = node.systemctl("show", "--property=MainPID", "--value", "sleeper")
    systemd.restart("sleeper")
    assert node.systemctl("show", "--property=MainPID", "--value", "sleeper") != first
    assert systemd.unit_state("sleeper").active_since_us > state.active_since_us
    systemd.stop("sleeper")
    assert node.systemctl("is-active", "sleeper", check=False) == "inactive"
    assert not systemd.unit_state("sleeper").is_active
    systemd.stop("no-such-unit")


def test_enable_and_disable_make_and_remove_the_link(node, systemd):
    link = node.root / "etc/systemd/system/multi-user.target.wants/sleeper.service"
    systemd.enable("sleeper")
    assert link.is_symlink()
    systemd.enable("sleeper")
    systemd.restart("sleeper")
    systemd.disable("sleeper", now=True)
    assert not link.is_symlink()
    assert not systemd.unit_state("sleeper").is_active
    systemd.disable("sleeper")


def test_reload_makes_a_new_unit_file_known_and_a_change_effective(node, systemd):
    node.write("/etc/systemd/system/late.service", UNIT.replace("1000", "2000"))
    for seconds in ("2000", "3000"):
        node.write("/etc/systemd/system/late.service", UNIT.replace("1000", seconds))
        systemd.daemon_reload()
        systemd.restart("late")
        assert seconds in node.systemctl("show", "--property=ExecStart", "late")
    systemd.stop("late")
    (node.root / "etc/systemd/system/late.service").unlink()


def test_many_reloads_in_a_row_do_not_lose_a_restart(node, systemd):
    for _ in range(5):
        systemd.daemon_reload()
        systemd.restart("sleeper")
        assert systemd.unit_state("sleeper").is_active


def test_a_unit_that_fails_is_an_error(systemd):
    with pytest.raises(UnitError, match=r"broken\.service"):
        systemd.restart("broken")
    assert systemd.unit_state("broken").active_state == "failed"


def test_a_job_that_takes_too_long_is_a_time_out(node, systemd):
    slow = FromAPod(node, bus=systemd.bus, job_timeout_s=0.5)
    with pytest.raises(SystemdTimeoutError, match="JobRemoved"):
        slow.restart("slow")
    node.systemctl("stop", "slow")


def test_an_unknown_unit_is_inactive(systemd):
    state = systemd.unit_state("k3s")
    assert (state.load_state, state.active_state, state.active_since_us) == ("not-found", "inactive", None)


def test_containerd_restarts(node, systemd):
    node.wait_for("containerd")
    since = systemd.unit_state("containerd").active_since_us
    systemd.restart("containerd")
    assert systemd.unit_state("containerd").active_since_us > since
