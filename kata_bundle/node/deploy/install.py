"""The install as the program does it: check, claim, activate with the gate, converge, label (installer specification §5 to §23).

Must not know: probes, signals, what happens after it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.core.errors import BundleError, RemoteError
from kata_bundle.node.compose import Extras, compose
from kata_bundle.node.cri.snapshot import may_skip_restart
from kata_bundle.node.deploy.check import check, payload_source
from kata_bundle.node.hostedit import EditKind, HostDirectory
from kata_bundle.node.install import finish_install, install
from kata_bundle.node.kube.nodeops import apply_labels, claim_node, confirm_handlers, lift_taints, wait_ready
from kata_bundle.node.pause import StopRequestedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.node.deploy.services import DeployServices
    from kata_bundle.node.deploy.session import Session
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.receipt import Receipt
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.source import Source

__all__ = ["activate_artifacts", "activate_cri", "install_node", "wanted"]

_SERVES_WITHIN_S = 10.0


def install_node(session: Session) -> Runtime:
    """Install, gate, label; return the node's container runtime.

    Raises what the steps raise; a failed activation was undone by then, and a later call completes what is missing. Raises
    :class:`StopRequestedError`, or an error that it caused, when SIGTERM came.
    """
    source = payload_source(session)
    runtime = check(session, source)
    session.check_stop("checking the host")
    _claim(session)
    session.check_stop("claiming the node")
    with session.locked():
        services = _activate(session, source, runtime)
    if services.restarted_at is not None:
        session.enter("ready")
        with session.api() as api:
            wait_ready(api, session.node, restarted_at=services.restarted_at, pause=session.pause)
    _label(session, runtime)
    return runtime


def wanted(session: Session, source: Source, runtime: Runtime) -> Desired:
    """Return what the node shall have."""
    extras = Extras.read(HostDirectory(os.path.realpath(session.around.extras)), "")
    desired = compose(
        source,
        session.arch,
        session.effective,
        session.facts,
        runtime=runtime,
        extras=extras,
        config_dir=session.around.config_dir,
    )
    if not desired.selection.components:
        session.warn("none of the configured shims has components for this architecture: nothing is installed")
    return desired


def activate_artifacts(session: Session, runtime: Runtime) -> None:
    """The artifacts stage of job mode: the tree is switched, the runtime's configuration is left to :func:`activate_cri`."""
    source = payload_source(session)
    desired = wanted(session, source, runtime)
    session.enter("artifacts")
    with session.locked():
        services = session.services(runtime, shims=frozenset(desired.selection.shims))
        done = install(session.machine(services), desired, pause=True, durable=True)
    for note in done.plan.notes:
        session.info(note)


def activate_cri(session: Session, runtime: Runtime) -> None:
    """The CRI stage of job mode: what the artifacts stage left, or all of it where that was taken back (§23.3)."""
    source = payload_source(session)
    with session.locked():
        desired = wanted(session, source, runtime)
        services = session.services(runtime, shims=frozenset(desired.selection.shims))
        machine = session.machine(services)
        session.enter("cri")
        is_paused = os.path.lexists(session.site.paused)
        receipt = finish_install(machine) if is_paused else install(machine, desired, durable=True).receipt
        _converge(session, services, receipt)
        services.wait_active()


def _activate(session: Session, source: Source, runtime: Runtime) -> DeployServices:
    desired = wanted(session, source, runtime)
    services = session.services(runtime, shims=frozenset(desired.selection.shims))
    session.enter("artifacts")
    done = install(session.machine(services), desired, durable=True)
    for note in done.plan.notes:
        session.info(note)
    if done.receipt is not None:
        session.health.set_generation(done.receipt.generation)
        what = "is up to date" if done.plan.changes_nothing else "is active"
        session.info(f"generation {done.receipt.generation} in {done.receipt.dest} {what}")
    _converge(session, services, done.receipt)
    return services


def _converge(session: Session, services: DeployServices, receipt: Receipt | None) -> None:
    """Restart a runtime that was not restarted now and does not have what it should have loaded.

    It serves every handler, and our own files are older than its start: only then it is left alone.
    """
    if receipt is None or services.restarted_at is not None:
        return
    if services.serves(within_s=_SERVES_WITHIN_S) is not False and _is_loaded(session, services, receipt):
        return
    session.info(f"{services.runtime.unit} has not loaded what is configured")
    services.restart_now()
    services.confirm()


def _is_loaded(session: Session, services: DeployServices, receipt: Receipt) -> bool:
    ours = [e.path for e in receipt.edits if e.loaded_by is not None and e.kind is EditKind.WHOLE and e.after is not None]
    times = []
    for path in ours:
        try:
            times.append(os.stat(session.site.at(path, follow=True)).st_mtime)
        except OSError:
            return False
    if not times:
        # The runtime's own file alone was edited; the restart after that was part of the same journal.
        return True
    try:
        since = services.systemd.unit_state(services.runtime.unit).active_since_us
    except BundleError as error:
        session.warn(str(error))
        since = None
    started = None if since is None else since / 1_000_000
    return may_skip_restart(services.runtime, written_at=max(times), active_since=started)


def _claim(session: Session) -> None:
    session.enter("claim")
    _only_warn(session, "claiming the node", lambda: _claim_now(session))


def _claim_now(session: Session) -> None:
    with session.api() as api:
        claim_node(api, session.node, session.config.suffix)


def _label(session: Session, runtime: Runtime) -> None:
    session.enter("labels")
    config = session.config
    from kata_bundle.node.handlers import handler

    with session.api() as api:
        expected = [handler(shim, config.suffix) for shim in config.shims]
        report = confirm_handlers(api, session.node, expected, runtime=runtime.value, pause=session.pause)
        if report.missing:
            session.warn(f"{runtime.value} does not serve {', '.join(report.missing)}")
        apply_labels(api, session.node, config.suffix, pause=session.pause)
        _only_warn(session, "lifting the startup taints", lambda: lift_taints(api, session.node, config.startup_taints))
    session.info("the node's labels are set and stay")


def _only_warn(session: Session, doing: str, step: Callable[[], object]) -> None:
    try:
        step()
    except StopRequestedError:
        raise
    except RemoteError as error:
        session.warn(f"{doing}: {error}; going on")
