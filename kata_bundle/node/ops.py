"""The operations of an activation: values with ``probe`` (already true?), ``apply``, ``undo`` and a one-line reason.

Every operation holds the state before it, as seen when planning, so that it can be undone by another process than the one that
applied it. Each is a no-op when already true, in both directions; an entry that is neither as before nor as after was changed by
somebody else and is refused. Paths are host paths, so that a plan can be made, read and approved on another machine.

Must not know: in which order operations make sense (``node.plan``), or how they survive a crash (``node.activate``).
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, ClassVar, Protocol

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.node.site import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.fields import Fields, JsonValue
    from kata_bundle.node.machine import Machine

__all__ = ["CallService", "Exchange", "MakeDirectory", "Operation", "RemoveLink", "SetLink"]


class Operation(Protocol):
    """One step of an activation."""

    kind: ClassVar[str]

    @property
    def reason(self) -> str:
        """Why, in one line."""

    @property
    def subject(self) -> str:
        """What it acts on: a host path, or a service."""

    def probe(self, machine: Machine) -> bool:
        """Return whether the effect is already there."""

    def apply(self, machine: Machine) -> None:
        """Bring the effect about."""

    def undo(self, machine: Machine) -> None:
        """Bring the state before back, as far as nobody else changed it since."""

    def clean(self, machine: Machine) -> None:
        """Remove what an interrupted ``apply`` or ``undo`` left."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""


@record
class MakeDirectory:
    """A directory that does not exist yet. Undoing removes it when it is empty."""

    kind: ClassVar[str] = "make-directory"
    path: str
    mode: int = 0o755
    reason: str

    @property
    def subject(self) -> str:
        """The directory."""
        return self.path

    def probe(self, machine: Machine) -> bool:
        """Return whether there is a directory, links followed."""
        return os.path.isdir(machine.site.at(self.path, follow=True))

    def apply(self, machine: Machine) -> None:
        """Make it."""
        machine.files.make_directory(machine.site.at(self.path), self.mode)

    def undo(self, machine: Machine) -> None:
        """Remove it if it is empty."""
        real = machine.site.at(self.path)
        if os.path.isdir(real) and not os.path.islink(real):
            machine.files.remove_directory(real)

    def clean(self, machine: Machine) -> None:
        """Nothing is ever left."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"kind": self.kind, "path": self.path, "mode": self.mode, "reason": self.reason}

    @classmethod
    def from_fields(cls, fields: Fields) -> MakeDirectory:
        """Return the operation of its JSON form."""
        return cls(path=fields.text("path"), mode=fields.integer("mode"), reason=fields.text("reason"))


class _Link:
    """What the operations on links share."""

    __slots__ = ()

    path: str

    @property
    def subject(self) -> str:
        """The link."""
        return self.path

    def _target(self, machine: Machine) -> str | None:
        """Return the link's text, ``None`` when nothing is there; raise :class:`HostError` for anything but a link."""
        real = machine.site.at(self.path)
        try:
            found = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISLNK(found.st_mode):
            msg = f'"{self.path}" is not a link of this install'
            raise HostError(msg, hint="somebody put it there: move it away and run the command again")
        return os.readlink(real)

    def _temporary(self, machine: Machine) -> str:
        # Always in the state folder, which is on the same file system: nothing foreign ever shows up beside what users see.
        return os.path.join(machine.site.state, f"{os.path.basename(self.path)}.link-new")

    def _set(self, machine: Machine, target: str) -> None:
        machine.files.replace_link(target, machine.site.at(self.path), temporary=self._temporary(machine))

    def clean(self, machine: Machine) -> None:
        """Remove the temporary link."""
        temporary = self._temporary(machine)
        if os.path.lexists(temporary):
            machine.files.unlink(temporary)


@record
class SetLink(_Link):
    """A link that has to point to ``target``; ``before`` is where it pointed, ``None`` for no link."""

    kind: ClassVar[str] = "set-link"
    path: str
    target: str
    before: str | None
    reason: str

    def probe(self, machine: Machine) -> bool:
        """Return whether it points there."""
        return self._target(machine) == self.target

    def apply(self, machine: Machine) -> None:
        """Replace it in one step."""
        found = self._target(machine)
        if found == self.target:
            return
        if found != self.before:
            msg = f'"{self.path}" points to "{found}", expected "{self.before}"'
            raise HostError(msg, hint="it was changed while the install ran: run the command again")
        self._set(machine, self.target)

    def undo(self, machine: Machine) -> None:
        """Point it back, or remove it."""
        if self._target(machine) != self.target:
            return
        if self.before is None:
            machine.files.unlink(machine.site.at(self.path))
        else:
            self._set(machine, self.before)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"kind": self.kind, "path": self.path, "target": self.target, "before": self.before, "reason": self.reason}

    @classmethod
    def from_fields(cls, fields: Fields) -> SetLink:
        """Return the operation of its JSON form."""
        return cls(
            path=fields.text("path"),
            target=fields.text("target"),
            before=fields.optional_text("before"),
            reason=fields.text("reason"),
        )


@record
class RemoveLink(_Link):
    """A link that is no longer wanted, and where it pointed."""

    kind: ClassVar[str] = "remove-link"
    path: str
    before: str
    reason: str

    def probe(self, machine: Machine) -> bool:
        """Return whether nothing is there."""
        return not os.path.lexists(machine.site.at(self.path))

    def apply(self, machine: Machine) -> None:
        """Remove it, unless it is something else by now."""
        real = machine.site.at(self.path)
        if os.path.islink(real) and os.readlink(real) == self.before:
            machine.files.unlink(real)

    def undo(self, machine: Machine) -> None:
        """Put it back when nothing is there."""
        if not os.path.lexists(machine.site.at(self.path)):
            self._set(machine, self.before)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"kind": self.kind, "path": self.path, "before": self.before, "reason": self.reason}

    @classmethod
    def from_fields(cls, fields: Fields) -> RemoveLink:
        """Return the operation of its JSON form."""
        return cls(path=fields.text("path"), before=fields.text("before"), reason=fields.text("reason"))


@record
class Exchange:
    """A name of an in-place tree at ``path`` and a link at ``stored`` that change places, so that the name never is absent.

    With ``gap`` the name is absent for a moment: for file systems that cannot exchange, when the operator accepted it.
    """

    kind: ClassVar[str] = "exchange"
    path: str
    stored: str
    gap: bool
    reason: str

    @property
    def subject(self) -> str:
        """The name that becomes a link."""
        return self.path

    def probe(self, machine: Machine) -> bool:
        """Return whether the tree's entry lies where it is stored, and the link at its place."""
        path, stored, aside = self._places(machine)
        # The link may be gone again, when the new generation has nothing of that name.
        left = self._is_link(path) or not (os.path.lexists(path) or os.path.lexists(aside))
        return left and os.path.lexists(stored) and not self._is_link(stored)

    def apply(self, machine: Machine) -> None:
        """Swap the two."""
        if self.probe(machine):
            return
        path, stored, aside = self._places(machine)
        if not self.gap:
            machine.files.exchange(path, stored)
            return
        # The link steps aside, the entry moves, the link takes its place: at every step each of the two is at one known place.
        if not os.path.lexists(aside):
            machine.files.rename(stored, aside)
        if not os.path.lexists(stored):
            machine.files.rename(path, stored)
        machine.files.rename(aside, path)

    def undo(self, machine: Machine) -> None:
        """Swap them back."""
        path, stored, aside = self._places(machine)
        if not self.gap:
            if self.probe(machine):
                machine.files.exchange(path, stored)
            return
        if not self.probe(machine) and not os.path.lexists(aside):
            return
        if not os.path.lexists(aside):
            machine.files.rename(path, aside)
        if not os.path.lexists(path):
            machine.files.rename(stored, path)
        machine.files.rename(aside, stored)

    def clean(self, machine: Machine) -> None:
        """Nothing is ever left."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"kind": self.kind, "path": self.path, "stored": self.stored, "gap": self.gap, "reason": self.reason}

    @classmethod
    def from_fields(cls, fields: Fields) -> Exchange:
        """Return the operation of its JSON form."""
        return cls(
            path=fields.text("path"), stored=fields.text("stored"), gap=fields.boolean("gap"), reason=fields.text("reason")
        )

    def _places(self, machine: Machine) -> tuple[str, str, str]:
        stored = machine.site.at(self.stored)
        return machine.site.at(self.path), stored, f"{stored}.aside"

    def _is_link(self, path: str) -> bool:
        return os.path.islink(path) and os.readlink(path) == f"{STATE}/current/{os.path.basename(self.path)}"


@record
class CallService:
    """A unit call or restart, as plain data for the machine's services. There is nothing to probe: asking again is harmless."""

    kind: ClassVar[str] = "call-service"
    what: Mapping[str, JsonValue]
    reason: str

    @property
    def subject(self) -> str:
        """What is called, readable."""
        names = ("verb", "call", "unit", "program")
        return " ".join(text for name in names if isinstance(text := self.what.get(name), str) and text)

    def probe(self, machine: Machine) -> bool:
        """Return false: what a service did cannot be seen from here."""
        del machine
        return False

    def apply(self, machine: Machine) -> None:
        """Ask the services."""
        machine.services.call(self.what)

    def undo(self, machine: Machine) -> None:
        """Nothing: restarts after an undo are planned by whoever undoes."""

    def clean(self, machine: Machine) -> None:
        """Nothing is ever left."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"kind": self.kind, "what": dict(self.what), "reason": self.reason}

    @classmethod
    def from_fields(cls, fields: Fields) -> CallService:
        """Return the operation of its JSON form."""
        return cls(what=fields.child("what").plain(), reason=fields.text("reason"))
