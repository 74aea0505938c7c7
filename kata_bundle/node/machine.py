"""What operations act on: the site, the file operations, kept contents, and the services of the host.

Must not know: which operations there are.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.core.events import NO_PROGRESS, Progress
from kata_bundle.core.fsops import FileOps
from kata_bundle.core.record import field, record
from kata_bundle.node.hostpath import HostFiles
from kata_bundle.node.objects import Objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.site import Site

__all__ = ["DEFAULT_JOBS", "Knowledge", "Machine", "RecordingServices", "Sandboxes", "Services"]

DEFAULT_JOBS: Final = 2
"""Threads on a node, where installing is not what the machine is for."""


class Knowledge(StrEnum):
    """What is known of running sandboxes."""

    NOT_ASKED = "not asked"
    """There is no runtime to ask, as in a root directory that no system runs from."""
    UNREACHABLE = "unreachable"
    ANSWERED = "answered"


@record
class Sandboxes:
    """The sandboxes of this install that run now: when the oldest was started, ``None`` for none."""

    knowledge: Knowledge
    oldest: str | None = None
    """As ``2026-11-24T09:00:00Z``."""

    @property
    def none_runs(self) -> bool:
        """Whether it is certain that none runs."""
        return self.knowledge is Knowledge.ANSWERED and self.oldest is None


class Services(Protocol):
    """Who carries out what is no file: unit calls, restarts, and the question whether the runtime serves what was configured."""

    def call(self, what: Mapping[str, JsonValue]) -> None:
        """Carry out one unit call or restart, given as plain data. Raises to have the activation undone."""

    def confirm(self) -> None:
        """Ask the runtime whether it serves the new state. Raises to have the activation undone."""

    def sandboxes(self) -> Sandboxes:
        """Return what is known of running sandboxes of this install. Does not raise."""


@record(kw_only=False, frozen=False)
class RecordingServices:
    """Carries out nothing and remembers what was asked for; for root directories that no system runs from."""

    calls: list[Mapping[str, JsonValue]] = field(default_factory=list)

    def call(self, what: Mapping[str, JsonValue]) -> None:
        """Remember the call."""
        self.calls.append(what)

    def confirm(self) -> None:
        """Nothing runs here, so there is nothing to ask."""

    def sandboxes(self) -> Sandboxes:
        """Nothing is known."""
        return Sandboxes(knowledge=Knowledge.NOT_ASKED)


@record(kw_only=False, frozen=False, slots=False)
class Machine:
    """One install on one host, with everything an operation needs."""

    site: Site
    files: FileOps = field(default_factory=FileOps)
    services: Services = field(default_factory=RecordingServices)
    progress: Progress = NO_PROGRESS
    jobs: int = DEFAULT_JOBS
    """Threads that unpack."""
    watched: set[tuple[str, str]] = field(default_factory=set)
    """What planning looked at on the host: "file" (there), "none" (no file), "names" or "kind", and the host path."""

    @cached_property
    def objects(self) -> Objects:
        """The contents kept by digest."""
        return Objects(self.site.objects, self.files)

    @cached_property
    def host(self) -> HostFiles:
        """The host's files outside the generations."""
        return HostFiles(self.site, self.files, self.watched)
