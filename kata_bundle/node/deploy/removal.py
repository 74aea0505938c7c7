"""Cleanup and reset as the program does them (installer specification §25, §26; D8, D36, D40).

The decision is asked from the API before anything changes. The runtime is restarted last, since on k3s and rke2 that ends this
very pod. Must not know: signals, probes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.errors import BundleError
from kata_bundle.node.cleanup import (
    CleanupError,
    CleanupScope,
    CleanupStep,
    decide_cleanup,
    decide_reset,
    run_steps,
    survey_node,
)
from kata_bundle.node.deploy.leftovers import remove_leftovers
from kata_bundle.node.journal import Action, read_journal
from kata_bundle.node.kube.nodeops import apply_labels, release_node, wait_ready
from kata_bundle.node.uninstall import uninstall

if TYPE_CHECKING:
    from kata_bundle.node.deploy.services import DeployServices
    from kata_bundle.node.deploy.session import Session
    from kata_bundle.node.runtime import Runtime

__all__ = ["clean_node", "remove_artifacts", "reset_node", "revert_cri"]


def clean_node(session: Session, runtime: Runtime) -> CleanupScope:
    """Remove this install as far as the other installs on the node allow; return how much went.

    Where the own DaemonSet still holds the node, nothing is done at all: this is a restart. Raises ``KubeError`` before any
    change, :class:`CleanupError` with every step that failed after all others were carried out.
    """
    suffix = session.config.suffix
    session.enter("cleanup")
    with session.api() as api:
        survey = survey_node(api, session.node, daemonset=session.config.daemonset_name)
        unmarked = survey.has_unmarked_install(survey.node)
        decision = decide_cleanup(survey.own, survey.node.labels, suffix, unmarked_install=unmarked)
        session.info(f"cleanup of node {session.node}: {decision.scope.value} (own DaemonSet: {survey.own.value})")
        if decision.scope is CleanupScope.SKIP:
            return decision.scope
        errors: list[tuple[str, BaseException]] = []

        def release() -> None:
            release_node(api, session.node, suffix, unmarked_install=survey.has_unmarked_install)

        try:
            run_steps([(CleanupStep.RELEASE_LABELS.value, release)], note=session.warn)
        except CleanupError as error:
            errors += error.errors
        try:
            with session.locked():
                _take_apart(session, runtime)
        except CleanupError as error:
            errors += error.errors
        except BundleError as error:
            errors.append(("lock", error))
        if errors:
            raise CleanupError(errors)
    return decision.scope


def _take_apart(session: Session, runtime: Runtime) -> None:
    services = session.services(runtime, puts_off=True, wanted=False)
    machine = session.machine(services)

    def remove() -> None:
        done = uninstall(machine)
        for note in done.plan.notes:
            session.info(note)
        for path in done.kept:
            session.info(f"{path} stays: somebody else uses it")

    def restart() -> None:
        served = services.still_served()
        if not services.is_due and not served:
            return
        services.restart_now()
        _wait_after_restart(session, services)

    run_steps(
        [
            (CleanupStep.REMOVE_ARTIFACTS.value, remove),
            ("remove_unrecorded", lambda: remove_leftovers(session, machine, services)),
            (CleanupStep.RESTART_RUNTIME.value, restart),
        ],
        note=session.warn,
    )


def _wait_after_restart(session: Session, services: DeployServices) -> None:
    services.wait_active()
    if session.uses_api:
        with session.api() as api:
            wait_ready(api, session.node, restarted_at=services.restarted_at, pause=session.pause)


def revert_cri(session: Session, runtime: Runtime) -> None:
    """The first cleanup stage of job mode: everything outside the tree goes, the runtime is restarted if that concerns it."""
    session.enter("revert-cri")
    with session.locked():
        services = session.services(runtime, puts_off=True, wanted=False)
        machine = session.machine(services)
        if not _is_reverted(session):
            done = uninstall(machine, pause=True)
            for note in done.plan.notes:
                session.info(note)
            remove_leftovers(session, machine, services, tree=False)
        _restart_in_stage(services)


def remove_artifacts(session: Session, runtime: Runtime) -> None:
    """The second cleanup stage of job mode: the tree goes."""
    session.enter("remove-artifacts")
    with session.locked():
        services = session.services(runtime, puts_off=True, wanted=False)
        machine = session.machine(services)
        was_reverted = _is_reverted(session)
        uninstall(machine)
        remove_leftovers(session, machine, services)
        # Going on with a paused uninstall repeats its calls; the stage that paused it has restarted the runtime.
        services.is_due = services.is_due and not was_reverted
        _restart_in_stage(services)


def _is_reverted(session: Session) -> bool:
    """Return whether the first stage is done and only the tree is left."""
    paused = session.site.paused
    return os.path.lexists(paused) and read_journal(paused).action is Action.UNINSTALL


def _restart_in_stage(services: DeployServices) -> None:
    if services.is_due or services.still_served():
        services.restart_now()
        services.wait_active()


def reset_node(session: Session, runtime: Runtime) -> None:
    """Give up the labels, restart the runtime unless another install serves here, label again where our DaemonSet stays."""
    suffix = session.config.suffix
    session.enter("reset")
    with session.api() as api:
        survey = survey_node(api, session.node, daemonset=session.config.daemonset_name)
        unmarked = survey.has_unmarked_install(survey.node)
        decision = decide_reset(survey.own, survey.node.labels, suffix, runtime, unmarked_install=unmarked)
        release_node(api, session.node, suffix, unmarked_install=survey.has_unmarked_install)
        if decision.restart_units:
            with session.locked():
                services = session.services(runtime)
                services.systemd.daemon_reload()
                for unit in decision.restart_units:
                    session.info(f"restarting {unit}")
                    services.systemd.restart(unit)
                restarted_at = clock.now()
                services.wait_active()
                wait_ready(api, session.node, restarted_at=restarted_at, pause=session.pause)
        if decision.relabel:
            apply_labels(api, session.node, suffix, pause=session.pause)
