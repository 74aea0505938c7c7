"""The actions of the kata-deploy program (installer specification §1.1, §1.2)."""

from __future__ import annotations

import pytest

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.node.actions import Action, Invocation, LogLevel, check_machine, check_root_user, help_text, parse_arguments
from kata_bundle.node.waiter import ACTION


@pytest.mark.parametrize("action", Action)
def test_every_action_is_accepted_and_all_but_the_internal_one_are_in_the_help(action):
    assert parse_arguments([action.value]) == Invocation(action=action)
    assert (action.value in help_text()) is not action.is_hidden
    assert action.summary.endswith(".")


def test_the_internal_action_is_the_waiters():
    assert Action.POST_INSTALL_WAIT.value == ACTION


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [""],
        ["bogus"],
        ["Install"],
        ["install-stage"],
        ["cleanup-stage"],
        ["install-stage-label"],
        ["cleanup-stage-unlabel"],
        ["install", "cleanup"],
        ["--verbose", "install"],
        ["--log-level", "loud", "install"],
        ["install", "--log-level"],
        ["--log-level=", "install"],
    ],
)
def test_anything_else_is_a_usage_error(arguments):
    with pytest.raises(UsageError) as caught:
        parse_arguments(arguments)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["--log-level", "trace", "reset"], ["reset", "--log-level", "trace"], ["--log-level=trace", "reset"]]
)
def test_the_log_level_stands_on_either_side(arguments):
    assert parse_arguments(arguments) == Invocation(action=Action.RESET, log_level=LogLevel.TRACE)


def test_help_needs_no_action():
    assert parse_arguments(["--help"]).action is None
    assert parse_arguments(["install", "-h"]).action is None


def test_only_the_host_check_and_the_waiter_run_without_the_lock():
    assert [a for a in Action if not a.needs_lock] == [Action.STAGE_HOST_CHECK, Action.POST_INSTALL_WAIT]
    assert [a for a in Action if a.is_stage] == [a for a in Action if "stage" in a.value]


def test_only_root_may_go_on():
    check_root_user(0)
    with pytest.raises(HostError, match="1000"):
        check_root_user(1000)


def test_a_stage_refuses_another_machine_than_it_was_made_for(tmp_path):
    path = tmp_path / "host-machine-id"
    path.write_text(" abc123\n")
    check_machine(Action.STAGE_CRI, "abc123 ", path=str(path))
    check_machine(Action.STAGE_CRI, None, path="/absent")
    check_machine(Action.STAGE_CRI, " ", path="/absent")
    check_machine(Action.INSTALL, "other", path=str(path))
    with pytest.raises(HostError, match=r'"abc123".*"other"'):
        check_machine(Action.STAGE_CRI, "other", path=str(path))
    with pytest.raises(HostError, match="absent"):
        check_machine(Action.STAGE_HOST_CHECK, "abc123", path="/absent")
