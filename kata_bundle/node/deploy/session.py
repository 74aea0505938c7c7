"""One run of the program: its configuration, the container runtime it found, and ways to the API, the lock and the machine.

Must not know: which action runs.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import HostError
from kata_bundle.core.record import field, record, replace
from kata_bundle.node.actions import LogLevel
from kata_bundle.node.deploy.services import DeployServices
from kata_bundle.node.handlers import handler
from kata_bundle.node.health import HealthState
from kata_bundle.node.hostcheck.gather import gather_evidence
from kata_bundle.node.kata.places import runtime_handlers
from kata_bundle.node.lock import node_lock
from kata_bundle.node.machine import Machine
from kata_bundle.node.pause import StopRequestedError, sleep_through
from kata_bundle.node.runtime import Evidence, Runtime, detect_runtime
from kata_bundle.node.site import Site
from kata_bundle.node.state import load_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.node.config.model import NodeConfig
    from kata_bundle.node.config.resolve import Effective
    from kata_bundle.node.cri.model import CriRequest
    from kata_bundle.node.deploy.around import Around
    from kata_bundle.node.kube.api import KubeApi
    from kata_bundle.node.pause import Pause
    from kata_bundle.node.shimfacts import Facts
    from kata_bundle.node.termination import Termination

__all__ = ["Session"]


@record(kw_only=False, frozen=False, slots=False)
class Session:
    """Everything the actions share. ``uses_api`` is false for the stages of job mode, whose pods have no credentials."""

    around: Around
    effective: Effective
    facts: Facts
    termination: Termination | None = None
    """Set where SIGTERM cuts the work short; ``None``: the work is carried through."""
    uses_api: bool = True
    health: HealthState = field(default_factory=HealthState)
    evidence: Evidence | None = None
    resources: ExitStack = field(default_factory=ExitStack)
    """Closed when the action is over."""

    @property
    def config(self) -> NodeConfig:
        """The effective configuration."""
        return self.effective.config

    @property
    def node(self) -> str:
        """The name of the node."""
        return self.config.node_name or ""

    @property
    def pause(self) -> Pause:
        """How to wait: cut short by SIGTERM while that is asked about."""
        return sleep_through if self.termination is None else self.termination.wait

    @property
    def is_stopping(self) -> bool:
        """Whether the process was asked to end while it may be cut short."""
        return self.termination is not None and self.termination.requested

    def check_stop(self, doing: str) -> None:
        """Raise :class:`StopRequestedError` when the process was asked to end."""
        if self.is_stopping:
            raise StopRequestedError(doing)

    def carried_through(self) -> Session:
        """Return this session with work that SIGTERM does not cut short: a cleanup."""
        return replace(self, termination=None)

    def info(self, message: str) -> None:
        """Tell a person what happens."""
        self.around.log.say(LogLevel.INFO, message)

    def warn(self, message: str) -> None:
        """Tell a person what may be wrong."""
        self.around.log.say(LogLevel.WARN, message)

    def enter(self, stage: str) -> None:
        """A stage begins."""
        self.health.enter(stage)
        self.around.log.say(LogLevel.DEBUG, f"stage {stage}")

    # progress of long work

    def start(self, task: str, total: int | None, unit: str = "bytes") -> None:
        """Tell that long work begins."""
        self.around.log.say(LogLevel.DEBUG, task if total is None else f"{task} ({total} {unit})")

    def advance(self, task: str, amount: int) -> None:
        """Count bytes; the one place where unpacking is cut short, since nothing is switched before it ended."""
        self.health.add_bytes(amount)
        self.check_stop(task)

    def finish(self, task: str) -> None:
        """Tell nothing: the next line says enough."""

    note = info

    # ways to what is around

    @contextmanager
    def api(self) -> Iterator[KubeApi]:
        """Open the cluster's API."""
        from kata_bundle.node.kube.api import KubeApi

        with self.around.open_client(self.pause) as client:
            yield KubeApi(client)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the node-wide lock."""

        def sleep(seconds: float) -> None:
            if self.pause(seconds):
                doing = "waiting for the node-wide lock"
                raise StopRequestedError(doing)

        with node_lock(self.site, self, sleep=sleep):
            yield

    @property
    def site(self) -> Site:
        """Where this install lies."""
        return Site(self.around.root, self.config.dest)

    def machine(self, services: DeployServices) -> Machine:
        """Return the machine that operations act on."""
        return Machine(self.site, services=services, progress=self)

    def services(
        self, runtime: Runtime, *, shims: frozenset[str] | None = None, puts_off: bool = False, wanted: bool = True
    ) -> DeployServices:
        """Return the host's services.

        With ``wanted`` the configured handlers have to be served afterwards; ``shims`` are those that the payload has, by
        default all. Raises :class:`HostError` when systemd cannot be asked.
        """
        configured = [h for h in runtime_handlers(self.config, self.facts) if shims is None or h.shim in shims]
        names = tuple(h.name for h in configured)
        earlier = {handler(shim, receipt.suffix) for receipt in load_state(self.site).receipts.values() for shim in receipt.shims}
        return DeployServices(
            runtime=runtime,
            systemd=self.around.open_systemd(),
            cri=self.around.open_cri(runtime),
            progress=self,
            pause=self.pause,
            handlers=names if wanted else (),
            our_handlers=frozenset({*names, *earlier}),
            puts_off=puts_off,
            enter=self.enter,
        )

    def gather(self) -> Evidence:
        """Find out which container runtime the node has, and remember it; the configuration knows its version from then on."""
        self.enter("detect")
        ask: list[Callable[[], str | None]] = [self._version_of_node] if self.uses_api else []
        self.evidence = gather_evidence(self.config, self.around.open_systemd, ask, warn=self.warn)
        if self.evidence.version is not None and self.config.runtime_version is None:
            self.effective = replace(self.effective, config=replace(self.config, runtime_version=self.evidence.version))
        return self.evidence

    def runtime(self) -> Runtime:
        """Return the node's container runtime. Raises :class:`RefusedError` when it cannot be told or is not supported."""
        return detect_runtime(self.evidence or self.gather())

    def cri_request(self, runtime: Runtime, version: str) -> CriRequest:
        """Return what is asked of the runtime's configuration."""
        from kata_bundle.node.cri.compose import cri_request

        return cri_request(self.config, self.facts, runtime=runtime, version=version, config_dir=self.around.config_dir)

    @property
    def arch(self) -> Arch:
        """The node's architecture. Raises :class:`HostError` for one that nothing is made for."""
        if self.config.machine not in set(Arch):
            msg = f'there is nothing for machine "{self.config.machine}"'
            raise HostError(msg)
        return Arch(self.config.machine)

    def _version_of_node(self) -> str | None:
        with self.api() as api:
            return api.node(self.node).require_runtime_version()
