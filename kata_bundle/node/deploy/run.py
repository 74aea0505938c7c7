"""The start-up sequence, the choice of the action, and the life of the installing process (installer specification §1.2, §24).

SIGTERM is blocked from the first moment and asked about; the process that follows a hand-over finds it pending. Must not know:
how an action works, how messages are shown.
"""

from __future__ import annotations

import contextlib
import platform
from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import BundleError, UsageError
from kata_bundle.node import waiter
from kata_bundle.node.actions import Action, LogLevel, check_machine
from kata_bundle.node.config import from_environment
from kata_bundle.node.config.settings import OriginKind
from kata_bundle.node.config.show import config_rows
from kata_bundle.node.deploy import install, removal
from kata_bundle.node.deploy.check import check, payload_source
from kata_bundle.node.deploy.session import Session
from kata_bundle.node.health import HealthServer, bind
from kata_bundle.node.hostedit import HostDirectory
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.termination import Termination, hand_over, handed_over_listener, write_termination_message

if TYPE_CHECKING:
    from kata_bundle.node.deploy.around import Around

__all__ = ["AFTER_WAIT_VARIABLE", "EVENTS_VARIABLE", "describe", "run"]

AFTER_WAIT_VARIABLE: Final = "KATA_BUNDLE_AFTER_WAIT"
"""Tells the process that follows the waiter that SIGTERM has come."""
EVENTS_VARIABLE: Final = "KATA_BUNDLE_EVENTS"
"""``true``: a failed install is also reported as an event of the node."""


def run(action: Action, around: Around, termination: Termination) -> int:
    """Carry out ``action`` and return the exit status; a successful install does not return, it becomes the waiter.

    Raises :class:`BundleError` for everything that ends the process with a message.
    """
    files = HostDirectory(around.root)
    effective = from_environment(around.environment, _machine(), files)
    check_machine(action, effective.config.machine_id, path=around.at(around.machine_id_file))
    for row in config_rows(effective):
        chosen = row.origin.kind in {OriginKind.VARIABLE, OriginKind.FILE}
        around.log.say(LogLevel.INFO if chosen else LogLevel.DEBUG, f"{row.name} = {row.text}")
    for warning in effective.warnings:
        around.log.say(LogLevel.WARN, warning)
    session = Session(around=around, effective=effective, facts=load_facts(), uses_api=not action.is_stage)
    with session.resources:
        return _carry_out(action, session, termination)


def _carry_out(action: Action, session: Session, termination: Termination) -> int:
    match action:
        case Action.INSTALL:
            return _install(session, termination)
        case Action.POST_INSTALL_WAIT:
            return _wait(session, termination)
        case Action.CLEANUP:
            removal.clean_node(session, session.runtime())
        case Action.RESET:
            removal.reset_node(session, session.runtime())
        case Action.STAGE_HOST_CHECK:
            check(session, payload_source(session))
        case Action.STAGE_ARTIFACTS:
            install.activate_artifacts(session, session.runtime())
        case Action.STAGE_CRI:
            install.activate_cri(session, session.runtime())
        case Action.STAGE_REVERT_CRI:
            removal.revert_cri(session, session.runtime())
        case Action.STAGE_REMOVE_ARTIFACTS:
            removal.remove_artifacts(session, session.runtime())
    return 0


def _machine() -> str:
    """Return this machine's architecture as manifests call it; one that they do not know by its own name."""
    try:
        return Arch.of_this_machine().value
    except BundleError:
        return platform.machine()


def describe(error: BaseException) -> str:
    """Return what an error says with the whole chain of its causes."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = str(current) or type(current).__name__
        if not any(text in part for part in parts):
            parts.append(text)
        current = current.__cause__
    return ": ".join(parts)


def _install(session: Session, termination: Termination) -> int:
    session.termination = termination
    state = session.health
    with HealthServer(state, bind(session.config.health_port)) as server:
        session.info(f"answering probes on port {server.port}")
        try:
            runtime = install.install_node(session)
        except (BundleError, OSError) as error:
            if termination.requested:
                session.info(f"asked to end: {describe(error)}")
                return _clean_up(session)
            _report(session, error)
            raise
        if termination.requested:
            return _clean_up(session)
        state.set_ready()
        session.info("installed; waiting for SIGTERM")
        metrics = server.metrics()
        return _become_waiter(session, runtime, server.detach(), metrics)


def _become_waiter(session: Session, runtime: Runtime, listener: int | None, metrics: str) -> int:
    around = session.around
    hand_over(
        runtime=runtime.value,
        listener=listener,
        metrics=metrics,
        then=[*around.command, Action.POST_INSTALL_WAIT.value],
        environment={**around.environment, AFTER_WAIT_VARIABLE: "1"},
    )


def _wait(session: Session, termination: Termination) -> int:
    """What follows the waiter; started by hand, the waiter itself."""
    environment = session.around.environment
    text = environment.get(waiter.RUNTIME_VARIABLE, "")
    if not text:
        msg = f"{waiter.RUNTIME_VARIABLE} is not set"
        raise UsageError(msg, hint="only the program itself asks for this action, after an install")
    try:
        runtime = Runtime(text)
    except ValueError:
        msg = f'{waiter.RUNTIME_VARIABLE} is "{text}", which is no supported container runtime'
        raise UsageError(msg) from None
    listener = handed_over_listener(environment)
    if not environment.get(AFTER_WAIT_VARIABLE) and not termination.requested:
        return _become_waiter(session, runtime, listener, environment.get(waiter.METRICS_VARIABLE, ""))
    session.health.set_ready()
    with contextlib.ExitStack() as stack:
        if listener is not None:
            stack.enter_context(HealthServer.adopt(session.health, listener))
        return _clean_up(session, runtime)


def _clean_up(session: Session, runtime: Runtime | None = None) -> int:
    """Clean up after SIGTERM: nothing cuts it short, and a failure is told without an exit status of its own (§24.2)."""
    through = session.carried_through()
    try:
        removal.clean_node(through, runtime or through.runtime())
    except (BundleError, OSError) as error:
        through.around.log.say(LogLevel.ERROR, f"cleanup: {describe(error)}")
        if isinstance(error, BundleError) and error.hint:
            through.around.log.say(LogLevel.ERROR, f"hint: {error.hint}")
    return 0


def _report(session: Session, error: Exception) -> None:
    """Tell the failure where Kubernetes shows it: metrics, the termination message, and with ``KATA_BUNDLE_EVENTS`` an event."""
    text = describe(error)
    session.health.fail(text)
    write_termination_message(text, session.around.at(session.around.termination_log))
    if session.around.environment.get(EVENTS_VARIABLE) != "true":
        return
    try:
        with session.api() as api:
            found = api.node(session.node)
            api.report_event(
                node=found.name,
                node_uid=found.uid,
                reason="KataInstallFailed",
                message=text,
                warning=True,
                component="kata-deploy",
            )
    except (BundleError, OSError) as second:
        session.warn(f"the failure could not be reported as an event: {second}")
