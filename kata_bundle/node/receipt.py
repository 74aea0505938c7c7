"""Receipts: what an activation did, file by file and edit by edit. The only input of verify, rollback, uninstall and gc.

Format version 1, canonical JSON, read strictly: an unknown member or another version is refused, since acting on half an
understanding would leave things behind. Must not know: how the state came about.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from kata_bundle.core import canonical
from kata_bundle.core.digest import Digest, digest_bytes
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.fields import Fields, JsonValue
from kata_bundle.core.record import field, record
from kata_bundle.core.relpath import RelPath, parse_relpath
from kata_bundle.core.tree import Tree
from kata_bundle.node.hostedit import EditKind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "FORMAT_VERSION",
    "FileState",
    "InstalledLayer",
    "Receipt",
    "ReceiptKind",
    "RecordedEdit",
    "SourceKind",
    "load_receipt",
]

FORMAT_VERSION: Final = 1
_MAX_MODE: Final = 0o7777
_E = TypeVar("_E", bound=StrEnum)


class ReceiptKind(StrEnum):
    """Where a generation comes from."""

    INSTALLED = "installed"
    ADOPTED = "adopted"
    """An in-place tree of the reference installer, moved into generation 0 as it was."""


class SourceKind(StrEnum):
    """What the payload was taken from."""

    BUNDLE = "bundle"
    TARBALLS = "tarballs"
    IN_PLACE = "in-place"


@record
class FileState:
    """A regular file outside the generation as it was: content, permission bits, owner, modification time."""

    digest: Digest
    mode: int
    uid: int
    gid: int
    mtime_ns: int

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {"digest": self.digest, "mode": self.mode, "uid": self.uid, "gid": self.gid, "mtime_ns": self.mtime_ns}

    @classmethod
    def from_fields(cls, fields: Fields) -> FileState:
        """Return the state of its JSON form."""
        state = cls(
            digest=fields.digest("digest"),
            mode=mode_of(fields, "mode"),
            uid=fields.integer("uid"),
            gid=fields.integer("gid"),
            mtime_ns=fields.integer("mtime_ns"),
        )
        fields.done()
        return state


@record
class InstalledLayer:
    """One component as it was installed: its identities and where it came from."""

    component: str
    packed: Digest
    packed_size_bytes: int
    tree: Digest
    """The tree as archived; the document is an object."""
    origin: str
    version: str | None = None
    action: Digest | None = None

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form, without the component's name."""
        return {
            "packed": self.packed,
            "packed_size_bytes": self.packed_size_bytes,
            "tree": self.tree,
            "origin": self.origin,
            "version": self.version,
            "action": self.action,
        }

    @classmethod
    def from_fields(cls, component: str, fields: Fields) -> InstalledLayer:
        """Return the layer of its JSON form."""
        layer = cls(
            component=component,
            packed=fields.digest("packed"),
            packed_size_bytes=fields.integer("packed_size_bytes"),
            tree=fields.digest("tree"),
            origin=fields.text("origin"),
            version=fields.optional_text("version"),
            action=fields.optional_digest("action"),
        )
        fields.done()
        return layer


@record
class RecordedEdit:
    """A host edit that was made: the file before the first of our edits, and after this one; ``None`` means "no file"."""

    path: str
    kind: EditKind
    keys: tuple[str, ...]
    before: FileState | None
    after: Digest | None
    mode: int
    loaded_by: str | None
    reason: str
    remainder: Digest | None = None
    """What is left of the file when only installs of this tree ever wrote to it and ours was the last: then it goes."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "path": self.path,
            "kind": self.kind.value,
            "keys": list(self.keys),
            "before": None if self.before is None else self.before.to_dict(),
            "after": self.after,
            "mode": self.mode,
            "loaded_by": self.loaded_by,
            "reason": self.reason,
            "remainder": self.remainder,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> RecordedEdit:
        """Return the edit of its JSON form."""
        edit = cls(
            path=host_path(fields, "path"),
            kind=_member(EditKind, fields, "kind"),
            keys=fields.texts("keys"),
            before=None if fields.optional("before") is None else FileState.from_fields(fields.child("before")),
            after=fields.optional_digest("after"),
            mode=mode_of(fields, "mode"),
            loaded_by=fields.optional_text("loaded_by"),
            reason=fields.text("reason"),
            remainder=fields.optional_digest("remainder"),
        )
        fields.done()
        return edit


@record
class Receipt:
    """One activation. Paths in ``tree``, ``generated`` and ``retained`` are below the generation, all others on the host."""

    generation: int
    kind: ReceiptKind
    activated: str
    """When, as ``2026-11-24T09:00:00Z``."""
    previous: int | None
    """The generation that was active before."""
    tool: str
    dest: str
    suffix: str | None
    arch: str | None
    source: SourceKind
    source_digest: Digest | None
    shims: Mapping[str, tuple[str, ...]]
    layers: Mapping[str, InstalledLayer]
    tree: Tree
    generated: tuple[RelPath, ...]
    """Files and links that were made for this node rather than taken from a layer."""
    retained: tuple[RelPath, ...]
    """Shim binaries of deselected shims, kept for sandboxes that may still run."""
    created: tuple[str, ...]
    """Directories made for host edits, outermost first."""
    edits: tuple[RecordedEdit, ...]
    services: tuple[Mapping[str, JsonValue], ...]
    """Unit calls of this activation, in order, as plain data."""
    stopping: tuple[Mapping[str, JsonValue], ...] = ()
    """Unit calls to make before the host edits are taken back."""
    stopped: tuple[Mapping[str, JsonValue], ...] = ()
    """Unit calls to make after that."""
    restarts: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    """Program → the call that makes it load changed files."""
    decisions: Mapping[str, JsonValue] = field(default_factory=dict)
    """What planning the host edits decided by what the host was like, for people; empty without a container runtime."""

    @property
    def names(self) -> tuple[str, ...]:
        """Top-level names of the tree: the links in ``<dest>``."""
        return tuple(sorted({path.split("/", 1)[0] for path in self.tree.entries}))

    def edit(self, path: str) -> RecordedEdit | None:
        """Return the edit of host file ``path``, if there is one."""
        return next((edit for edit in self.edits if edit.path == path), None)

    def objects(self) -> frozenset[Digest]:
        """Return the digests of every content this receipt refers to."""
        found = {layer.tree for layer in self.layers.values()}
        for edit in self.edits:
            if edit.before is not None:
                found.add(edit.before.digest)
            if edit.after is not None:
                found.add(edit.after)
        return frozenset(found)

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "version": FORMAT_VERSION,
            "generation": self.generation,
            "kind": self.kind.value,
            "activated": self.activated,
            "previous": self.previous,
            "tool": self.tool,
            "dest": self.dest,
            "suffix": self.suffix,
            "arch": self.arch,
            "source": {"kind": self.source.value, "digest": self.source_digest},
            "shims": {shim: list(components) for shim, components in self.shims.items()},
            "layers": {name: layer.to_dict() for name, layer in self.layers.items()},
            "tree": canonical.loads(self.tree.to_json(), what="tree"),
            "generated": list(self.generated),
            "retained": list(self.retained),
            "created": list(self.created),
            "edits": [edit.to_dict() for edit in self.edits],
            "services": [dict(call) for call in self.services],
            "stopping": [dict(call) for call in self.stopping],
            "stopped": [dict(call) for call in self.stopped],
            "restarts": {program: dict(call) for program, call in self.restarts.items()},
            **({"decisions": dict(self.decisions)} if self.decisions else {}),
        }

    def to_json(self) -> bytes:
        """Return the canonical document."""
        return canonical.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, value: object, *, where: str = "receipt") -> Receipt:
        """Return the receipt of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = value if isinstance(value, Fields) else Fields(value, where)
        version = fields.integer("version")
        if version != FORMAT_VERSION:
            msg = f"{fields.where} has format version {version}, this program reads {FORMAT_VERSION}"
            raise IntegrityError(msg, hint="use a newer kata-bundle" if version > FORMAT_VERSION else None)
        source = fields.child("source")
        shims = fields.child("shims")
        receipt = cls(
            generation=fields.integer("generation"),
            kind=_member(ReceiptKind, fields, "kind"),
            activated=fields.text("activated"),
            previous=fields.optional_integer("previous"),
            tool=fields.text("tool"),
            dest=host_path(fields, "dest"),
            suffix=fields.optional_text("suffix"),
            arch=fields.optional_text("arch"),
            source=_member(SourceKind, source, "kind"),
            source_digest=source.optional_digest("digest"),
            shims={name: shims.texts(name) for name in shims.keys()},  # noqa: SIM118 - not a mapping
            layers={name: InstalledLayer.from_fields(name, layer) for name, layer in fields.child("layers").members()},
            tree=Tree.from_json(canonical.dumps(fields.value("tree")), what=f"{fields.where}.tree"),
            generated=_paths(fields, "generated"),
            retained=_paths(fields, "retained"),
            created=fields.texts("created"),
            edits=tuple(RecordedEdit.from_fields(edit) for edit in fields.children("edits")),
            services=tuple(call.plain() for call in fields.children("services")),
            stopping=tuple(call.plain() for call in fields.children("stopping")),
            stopped=tuple(call.plain() for call in fields.children("stopped")),
            restarts={program: call.plain() for program, call in fields.child("restarts").members()},
            decisions=fields.child("decisions").plain() if "decisions" in fields else {},
        )
        source.done()
        fields.done()
        return receipt


_KEPT_PARSED: Final = 32
_parsed: dict[Digest, Receipt] = {}
"""Receipts by the digest of their file: one command reads the same few again and again."""


def load_receipt(path: str) -> Receipt:
    """Return the receipt in file ``path``; raise ``FileNotFoundError``, or :class:`IntegrityError` for a malformed one."""
    with open(path, "rb") as stream:
        data = stream.read()
    digest = digest_bytes(data)
    if len(_parsed) > _KEPT_PARSED:
        _parsed.clear()
    if digest not in _parsed:
        _parsed[digest] = Receipt.from_dict(canonical.loads(data, what=path), where=path)
    return _parsed[digest]


def host_path(fields: Fields, key: str) -> str:
    """Return a member that is an absolute path without ``..``."""
    path = fields.text(key)
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        msg = f'{fields.where}.{key}: "{path}" is not an absolute path without ".."'
        raise IntegrityError(msg)
    return path


def mode_of(fields: Fields, key: str) -> int:
    """Return a member that is a set of permission bits."""
    mode = fields.integer(key)
    if mode > _MAX_MODE:
        msg = f"{fields.where}.{key}: {mode} is no file mode"
        raise IntegrityError(msg)
    return mode


def _paths(fields: Fields, key: str) -> tuple[RelPath, ...]:
    try:
        return tuple(parse_relpath(text) for text in fields.texts(key))
    except ArchiveError as error:
        msg = f"{fields.where}.{key}: {error}"
        raise IntegrityError(msg) from None


def _member(kind: type[_E], fields: Fields, key: str) -> _E:
    text = fields.text(key)
    try:
        return kind(text)
    except ValueError:
        msg = f'{fields.where}.{key}: "{text}" is none of {", ".join(kind)}'
        raise IntegrityError(msg) from None
