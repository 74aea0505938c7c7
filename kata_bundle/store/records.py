"""What the store remembers besides blobs: results of actions, and packed layers. Values with a strict JSON form.

Must not know: where records are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kata_bundle.archive.toc import TableRef
from kata_bundle.core import canonical
from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import COMPONENT_NAME
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.oci.bundleindex import BundleLayer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue

__all__ = ["ActionResult", "LayerRecord", "layer_key"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionResult:
    """What an action made, kept under the action's key."""

    tree: Digest
    origin: str
    version: str
    hermetic: bool
    ingredients: Mapping[str, str]
    """What the key was computed from, by name, so that two keys can be explained against each other."""
    action: Digest | None = None
    """Of what a rule with a command made: the digest of the action."""
    log: Digest | None = None
    """What that command printed: a blob, kept as long as this record."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form; what is not known is left out, so that earlier versions read such a record."""
        document: dict[str, JsonValue] = {
            "tree": self.tree,
            "origin": self.origin,
            "version": self.version,
            "hermetic": self.hermetic,
            "ingredients": dict(self.ingredients),
        }
        return document | {name: value for name, value in (("action", self.action), ("log", self.log)) if value is not None}

    @classmethod
    def from_dict(cls, value: object, *, where: str = "action result") -> ActionResult:
        """Return the result of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = Fields(value, where)
        result = cls(
            tree=fields.digest("tree"),
            origin=fields.text("origin"),
            version=fields.text("version"),
            hermetic=fields.boolean("hermetic"),
            ingredients=fields.text_map("ingredients"),
            action=fields.optional_digest("action"),
            log=fields.optional_digest("log"),
        )
        fields.done()
        return result


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRecord:
    """A packed layer that the store holds: its identities, how its bytes were made, where its tree came from."""

    component: str
    arch: Arch
    tree: Digest
    packed: Digest
    packed_size_bytes: int
    diff_id: Digest
    unpacked_size_bytes: int
    origin: str
    hermetic: bool
    version: str | None = None
    rule_key: Digest | None = None
    recipe: Mapping[str, JsonValue] | None = None
    """How the packed bytes were made; ``None`` for an archive that was packed elsewhere."""
    source_date: int | None = None
    """What the members' dates were set to, in seconds since 1970: with ``tree`` and ``recipe`` it decides the packed bytes."""
    table: TableRef | None = None
    """Where the layer's table of contents is; ``None`` when it has none."""

    @property
    def key(self) -> Digest:
        """Identity of the record; see :func:`layer_key`."""
        return layer_key(self.tree, self.recipe, self.source_date)

    def to_bundle_layer(self, action: Digest | None = None) -> BundleLayer:
        """Return the layer as a bundle index names it."""
        return BundleLayer(
            component=self.component,
            tree=self.tree,
            packed=self.packed,
            packed_size_bytes=self.packed_size_bytes,
            diff_id=self.diff_id,
            unpacked_size_bytes=self.unpacked_size_bytes,
            origin=self.origin,
            hermetic=self.hermetic,
            version=self.version,
            rule_key=self.rule_key,
            action=action,
            recipe=self.recipe,
            table=self.table,
        )

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form; what is not known is null."""
        return {
            "component": self.component,
            "arch": self.arch.value,
            "tree": self.tree,
            "packed": self.packed,
            "packed_size_bytes": self.packed_size_bytes,
            "diff_id": self.diff_id,
            "unpacked_size_bytes": self.unpacked_size_bytes,
            "origin": self.origin,
            "hermetic": self.hermetic,
            "version": self.version,
            "rule_key": self.rule_key,
            "recipe": None if self.recipe is None else dict(self.recipe),
            "source_date": self.source_date,
            "table": None if self.table is None else self.table.to_dict(),
        }

    @classmethod
    def from_dict(cls, value: object, *, where: str = "layer record") -> LayerRecord:
        """Return the record of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = Fields(value, where)
        arch = fields.text("arch")
        if arch not in set(Arch):
            msg = f"{where}.arch: {arch[:80]!a} is none of {', '.join(Arch)}"
            raise IntegrityError(msg)
        record = cls(
            component=fields.text("component", COMPONENT_NAME),
            arch=Arch(arch),
            tree=fields.digest("tree"),
            packed=fields.digest("packed"),
            packed_size_bytes=fields.integer("packed_size_bytes"),
            diff_id=fields.digest("diff_id"),
            unpacked_size_bytes=fields.integer("unpacked_size_bytes"),
            origin=fields.text("origin"),
            hermetic=fields.boolean("hermetic"),
            version=fields.optional_text("version"),
            rule_key=fields.optional_digest("rule_key"),
            recipe=None if fields.optional("recipe") is None else fields.child("recipe").plain(),
            source_date=fields.optional_integer("source_date"),
            table=None if fields.optional("table") is None else TableRef.from_fields(fields.child("table")),
        )
        fields.done()
        return record


def layer_key(tree: Digest, recipe: Mapping[str, JsonValue] | None, source_date: int | None) -> Digest:
    """Return the digest of everything that decides a layer's packed bytes."""
    return digest_bytes(
        canonical.dumps({"tree": tree, "recipe": None if recipe is None else dict(recipe), "source_date": source_date})
    )
