"""What a node shall have, as one value: payload, configuration, host edits, services.

The parts that need the payload or the host are pure functions of them, given by whoever knows configurations and runtimes.
Must not know: what is installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.record import field, record
from kata_bundle.node.overlay import EMPTY_OVERLAY, Overlay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.hostedit import HostEdit, HostView
    from kata_bundle.node.overlay import Payload
    from kata_bundle.node.source import Selection, Source

__all__ = ["Desired"]


def _no_overlay(payload: Payload) -> Overlay:
    del payload
    return EMPTY_OVERLAY


def _no_notes(host: HostView) -> Sequence[str]:
    del host
    return ()


def _no_edits(host: HostView) -> Sequence[HostEdit]:
    del host
    return ()


def _no_decisions(host: HostView) -> Mapping[str, JsonValue]:
    del host
    return {}


def _no_traces(host: HostView) -> Mapping[str, bytes | None]:
    del host
    return {}


@record
class Desired:
    """One install as it shall be."""

    source: Source
    selection: Selection
    dest: str
    suffix: str | None = None
    overlay: Callable[[Payload], Overlay] = _no_overlay
    """Generated files, from the merged payload."""
    edits: Callable[[HostView], Sequence[HostEdit]] = _no_edits
    """Host edits, from the host as it would be without the edits of earlier installs."""
    notes: Callable[[HostView], Sequence[str]] = _no_notes
    """What people should know about the host edits, from the same view."""
    decisions: Callable[[HostView], Mapping[str, JsonValue]] = _no_decisions
    """What was decided by what the host is like, from the same view: for people who read the receipt."""
    ours: frozenset[str] = frozenset()
    """Host files that another installer of this tree made: what is in them now is not put back when uninstalling."""
    traces: Callable[[HostView], Mapping[str, bytes | None]] = _no_traces
    """When a tree is taken over that another installer wrote in place: the host files it made or edited, with the content they
    had without it (``None``: there was none). What is not edited anew goes back to that."""
    services: tuple[Mapping[str, JsonValue], ...] = field(default=())
    """Unit calls after the host edits, made when something changed."""
    stopping: tuple[Mapping[str, JsonValue], ...] = field(default=())
    """Unit calls before the host edits are taken back, when uninstalling or when a later install does not want them any more."""
    stopped: tuple[Mapping[str, JsonValue], ...] = field(default=())
    """Unit calls after that."""
    restarts: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    """Program → the restart that makes it load changed files; called only when one of its files changes."""
