"""What a build tells programs that watch it: one value an event, whose JSON form is a public format (docs/reference/events.md).

Events of one build come in an order to rely on: ``build-started``; ``target-planned`` for everything that is looked at,
what is needed before what needs it; for each of these ``action-started``, never before what it needs has finished, then
``action-finished`` or ``action-failed``; ``build-finished`` at the end, whatever happened. Must not know: who watches, and how.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, RootModel, StringConstraints

__all__ = [
    "MAX_MESSAGE",
    "NOBODY",
    "ActionFailed",
    "ActionFinished",
    "ActionStarted",
    "BuildFinished",
    "BuildStarted",
    "Counts",
    "Event",
    "EventDocument",
    "SourceFetch",
    "TargetPlanned",
    "Watcher",
    "document",
    "event_schema",
]

VERSION: Final = 1
MAX_MESSAGE: Final = 1500
"""Characters of an error's text that an event has at most: with it, a line is shorter than what a pipe takes as a whole."""

DigestText = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Component = Annotated[str, StringConstraints(max_length=200)]
ArchName = Literal["x86_64", "aarch64", "s390x", "ppc64le"]
Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Event(BaseModel):
    """What every event has."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    version: Literal[1] = 1
    """Of this format. Members and events may be added to a version; none is removed or changes its meaning."""
    time: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$")] = ""
    """When it happened, in UTC."""


class BuildStarted(Event):
    """Keys are known and work begins."""

    event: Literal["build-started"] = "build-started"
    program: str
    """Version of kata-bundle."""
    targets: Count
    """How many components were asked for."""
    planned: Count
    """How many are looked at, with those that these need."""
    jobs: Annotated[int, Field(ge=1)]


class _OfTarget(Event):
    component: Component
    arch: ArchName
    key: DigestText
    """The rule key."""


class TargetPlanned(_OfTarget):
    """A component that is looked at."""

    event: Literal["target-planned"] = "target-planned"
    kind: str
    """How it is made."""
    requested: bool
    """Whether it was asked for itself, and not only because something needs it."""
    needs: list[Component]
    """Components of the same architecture that are made before it."""


class ActionStarted(_OfTarget):
    """A component is looked for and, unless it is found, made."""

    event: Literal["action-started"] = "action-started"
    kind: str


class SourceFetch(Event):
    """Bytes of sources arrived: at the beginning, at most once a second, at the end. These events alone may be left out."""

    event: Literal["source-fetch"] = "source-fetch"
    source: Annotated[str, StringConstraints(max_length=300)]
    """What is fetched, in words."""
    done_bytes: Count
    total_bytes: Count | None
    """``null``: not known."""
    ended: bool
    """Whether this is the last event about it, well or not."""


class ActionFinished(_OfTarget):
    """A component is in the store."""

    event: Literal["action-finished"] = "action-finished"
    cached: Literal["local", "remote", "no"]
    """``local``: it was in the store; ``remote``: a shared cache had its action's result; ``no``: it was made."""
    action: DigestText | None
    """Of the Remote Execution API's ``Action``; ``null`` for what is made without running programs, or was not looked at."""
    seconds: Seconds
    exit: Literal[0]
    tree: DigestText
    log: DigestText | None
    """What the programs printed: a blob of the store, see ``kata-bundle log``."""
    hermetic: bool


class ActionFailed(_OfTarget):
    """A component could not be made."""

    event: Literal["action-failed"] = "action-failed"
    action: DigestText | None
    seconds: Seconds
    exit: int | None
    """Of the command; ``null`` when it was ended, never ran, or was not what failed."""
    cancelled: bool
    """Whether it was ended because of an interrupt or of another failure."""
    error: str
    """Kind of the error: the name of its class."""
    message: Annotated[str, StringConstraints(max_length=MAX_MESSAGE)]
    log: str | None
    """Path of the file with all that the programs printed."""


class Counts(BaseModel):
    """What became of everything that was planned; the sum is ``planned`` of the first event."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    made: Count
    local: Count
    remote: Count
    failed: Count
    not_tried: Count
    """Needs what failed, or the build was stopped before."""


class BuildFinished(Event):
    """The build is over; no event follows."""

    event: Literal["build-finished"] = "build-finished"
    counts: Counts
    seconds: Seconds
    exit: int
    """Exit code of a command that does nothing more than build."""


class EventDocument(
    RootModel[
        Annotated[
            BuildStarted | TargetPlanned | ActionStarted | SourceFetch | ActionFinished | ActionFailed | BuildFinished,
            Field(discriminator="event"),
        ]
    ]
):
    """One line of the stream that ``--events-fd`` and ``--events`` write."""


class Watcher(Protocol):
    """Takes events of a build. Safe to call from several threads, and soon back whatever becomes of the event."""

    def tell(self, event: Event) -> None:
        """Take an event, whose time is not set yet."""


class _Nobody:
    def tell(self, event: Event) -> None:
        del event


NOBODY: Watcher = _Nobody()
"""Watches nothing."""


def document(event: Event, time: str) -> dict[str, Any]:
    """Return the JSON form of an event that happened at ``time``."""
    return {**event.model_dump(mode="json"), "time": time}


def event_schema() -> dict[str, Any]:
    """Return the JSON Schema of a line. Members that it does not know are allowed: a later release may add some."""
    schema: dict[str, Any] = _open(EventDocument.model_json_schema(mode="serialization"))
    return schema


def _open(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_open(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _open(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and key not in {"additionalProperties", "default"}
    }
