"""Operations on files outside the payload: host edits, administrators' drop-ins, receipts.

See ``node.ops`` for what every operation keeps. Must not know: how an edit's content came about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.node.receipt import FileState

if TYPE_CHECKING:
    from kata_bundle.core.fields import Fields, JsonValue
    from kata_bundle.node.machine import Machine

__all__ = ["ChangeFile"]


@record
class ChangeFile:
    """A file of the host that gets new content, or goes; both contents are objects.

    ``before`` and ``after`` are the whole file as it is and shall be, ``None`` for "no file". A file that is neither was changed
    by somebody else meanwhile: applying refuses, undoing leaves it.
    """

    kind: ClassVar[str] = "change-file"
    path: str
    before: FileState | None
    after: FileState | None
    keep_time: bool
    """Give the file the modification time of ``after`` (what is put back) rather than now."""
    loaded_by: str | None
    reason: str

    @property
    def subject(self) -> str:
        """The file."""
        return self.path

    def probe(self, machine: Machine) -> bool:
        """Return whether the file is as it shall be."""
        return _same(machine.host.state(self.path), self.after)

    def apply(self, machine: Machine) -> None:
        """Write, replace or remove it."""
        found = machine.host.state(self.path)
        if _same(found, self.after):
            return
        if not _same(found, self.before):
            msg = f'"{self.path}" was changed while the install ran'
            raise HostError(msg, hint="run the command again")
        self._put(machine, self.after, keep_time=self.keep_time)

    def undo(self, machine: Machine) -> None:
        """Put the content before back, if the file still is as we made it."""
        found = machine.host.state(self.path)
        if _same(found, self.before):
            return
        if _same(found, self.after):
            self._put(machine, self.before, keep_time=True)
        else:
            machine.progress.note(f"{self.path} was changed by somebody else: left as it is")

    def clean(self, machine: Machine) -> None:
        """Remove the temporary file."""
        machine.host.clean(self.path)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "path": self.path,
            "before": None if self.before is None else self.before.to_dict(),
            "after": None if self.after is None else self.after.to_dict(),
            "keep_time": self.keep_time,
            "loaded_by": self.loaded_by,
            "reason": self.reason,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> ChangeFile:
        """Return the operation of its JSON form."""
        return cls(
            path=fields.text("path"),
            before=_state(fields, "before"),
            after=_state(fields, "after"),
            keep_time=fields.boolean("keep_time"),
            loaded_by=fields.optional_text("loaded_by"),
            reason=fields.text("reason"),
        )

    def _put(self, machine: Machine, state: FileState | None, *, keep_time: bool) -> None:
        if state is None:
            machine.host.remove(self.path)
            return
        machine.host.replace(
            self.path,
            machine.objects.get(state.digest),
            mode=state.mode,
            owner=(state.uid, state.gid),
            mtime_ns=state.mtime_ns if keep_time else None,
        )


def _same(found: FileState | None, wanted: FileState | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return (found.digest, found.mode, found.uid, found.gid) == (wanted.digest, wanted.mode, wanted.uid, wanted.gid)


def _state(fields: Fields, key: str) -> FileState | None:
    return None if fields.optional(key) is None else FileState.from_fields(fields.child(key))
