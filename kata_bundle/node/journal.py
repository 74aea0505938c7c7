"""The journal: everything another process needs to finish or to take back an activation that was interrupted.

It is written and flushed before the first operation and removed after the last; its name says the direction (``journal.json``
forward, ``undo.json`` backward, ``paused.json`` between the stages of a staged activation), since a rename works even where
nothing can be written any more. Format version 1, read strictly. Must not know: how operations work.
"""

from __future__ import annotations

import contextlib
import os
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from kata_bundle.core import canonical
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import record
from kata_bundle.node.fileops import ChangeFile
from kata_bundle.node.ops import CallService, Exchange, MakeDirectory, RemoveLink, SetLink
from kata_bundle.node.receipt import Receipt
from kata_bundle.node.userfiles import CarryUserFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.fsops import FileOps
    from kata_bundle.node.ops import Operation
    from kata_bundle.node.site import Site

__all__ = ["Action", "Journal", "clean_journal", "load_journal", "operation_from_fields", "read_journal"]

FORMAT_VERSION: Final = 1

_READERS: Final[Mapping[str, Callable[[Fields], Operation]]] = {
    CallService.kind: CallService.from_fields,
    CarryUserFiles.kind: CarryUserFiles.from_fields,
    ChangeFile.kind: ChangeFile.from_fields,
    Exchange.kind: Exchange.from_fields,
    MakeDirectory.kind: MakeDirectory.from_fields,
    RemoveLink.kind: RemoveLink.from_fields,
    SetLink.kind: SetLink.from_fields,
}


class Action(StrEnum):
    """What an activation is for."""

    INSTALL = "install"
    ROLLBACK = "rollback"
    UNINSTALL = "uninstall"


@record
class Journal:
    """One activation: its operations in order, and the receipts that make it final."""

    action: Action
    started: str
    operations: tuple[Operation, ...]
    receipts: tuple[Receipt, ...] = ()
    """To be written when all operations are done."""
    replaced: tuple[Receipt, ...] = ()
    """The receipts of the same numbers before."""
    created: tuple[str, ...] = ()
    """When uninstalling: directories of the first install, to be removed when they are empty."""
    second_stage: int = 0
    """Index of the first operation of the second stage, for activations in two stages."""

    def objects(self) -> frozenset[Digest]:
        """Return the digests of every content the operations and receipts refer to."""
        found: set[Digest] = set()
        for receipt in (*self.receipts, *self.replaced):
            found |= receipt.objects()
        for operation in self.operations:
            if isinstance(operation, ChangeFile):
                found |= {state.digest for state in (operation.before, operation.after) if state is not None}
        return frozenset(found)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "version": FORMAT_VERSION,
            "action": self.action.value,
            "started": self.started,
            "operations": [operation.to_dict() for operation in self.operations],
            "receipts": [receipt.to_dict() for receipt in self.receipts],
            "replaced": [receipt.to_dict() for receipt in self.replaced],
            "created": list(self.created),
            "second_stage": self.second_stage,
        }

    @classmethod
    def from_dict(cls, value: object, *, where: str = "journal") -> Journal:
        """Return the journal of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = Fields(value, where)
        version = fields.integer("version")
        if version != FORMAT_VERSION:
            msg = f"{where} has format version {version}, this program reads {FORMAT_VERSION}"
            raise IntegrityError(msg, hint="finish the interrupted install with the kata-bundle that began it")
        action = fields.text("action")
        if action not in set(Action):
            msg = f'{where}.action: "{action}" is none of {", ".join(Action)}'
            raise IntegrityError(msg)
        journal = cls(
            action=Action(action),
            started=fields.text("started"),
            operations=tuple(operation_from_fields(item) for item in fields.children("operations")),
            receipts=tuple(Receipt.from_dict(item) for item in fields.children("receipts")),
            replaced=tuple(Receipt.from_dict(item) for item in fields.children("replaced")),
            created=fields.texts("created"),
            second_stage=fields.integer("second_stage"),
        )
        fields.done()
        return journal

    def write(self, site: Site, files: FileOps) -> None:
        """Write the journal and flush it: from here on the activation is finished or taken back."""
        files.replace_file(site.journal, canonical.dumps(self.to_dict()), temporary=f"{site.journal}.new", mode=0o600)


def load_journal(site: Site) -> tuple[Journal, bool] | None:
    """Return the journal of an interrupted activation and whether it is being taken back; ``None`` when there is none."""
    for path, backward in ((site.undo, True), (site.journal, False)):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return read_journal(path), backward
    return None


def read_journal(path: str) -> Journal:
    """Return the journal in file ``path``; raises ``FileNotFoundError``, :class:`IntegrityError` for a malformed one."""
    with open(path, "rb") as stream:
        return Journal.from_dict(canonical.loads(stream.read(), what=path), where=path)


def operation_from_fields(fields: Fields) -> Operation:
    """Return the operation of its JSON form; raise :class:`IntegrityError` for a kind or member that is not known."""
    kind = fields.text("kind")
    reader = _READERS.get(kind)
    if reader is None:
        msg = f'{fields.where}: unknown kind of operation "{kind}"'
        raise IntegrityError(msg)
    operation = reader(fields)
    fields.done()
    return operation


def clean_journal(site: Site, files: FileOps) -> None:
    """Remove what an interrupted :meth:`Journal.write` left."""
    if os.path.lexists(f"{site.journal}.new"):
        files.unlink(f"{site.journal}.new")
