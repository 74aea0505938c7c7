"""The bundle index: what one architecture's image holds, as the extra member ``io.katacontainers.bundle`` of its config.

It says which shim needs which layer, each layer's identities (tree, packed, diff id, table of contents) and provenance, the
defaults and the RuntimeClasses. The config's digest stands in the manifest, so the index is covered by the manifest's digest. Our
own format: unknown members are errors, an unknown ``version`` is refused. Version 1 knew no tables of contents.

Must not know: files, archives, where layers come from.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.archive.toc import TableRef
from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import COMPONENT_NAME
from kata_bundle.core.errors import ArchiveError, IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import field, record, replace
from kata_bundle.core.relpath import parse_relpath

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from kata_bundle.core.digest import Digest
    from kata_bundle.core.fields import JsonValue

__all__ = ["FORMAT_VERSION", "ORIGIN", "PREFIX", "READ_VERSIONS", "BundleIndex", "BundleLayer"]

FORMAT_VERSION: Final = 2
"""The version that is written."""
READ_VERSIONS: Final = (1, FORMAT_VERSION)
_WITHOUT_TABLES: Final = 1
PREFIX: Final = "opt/kata"
"""Where in a layer the payload lies, unless an index says otherwise."""

ORIGIN: Final = re.compile(r"[a-z0-9][a-z0-9+._-]{0,63}")
"""What an origin may be called."""


@record
class BundleLayer:
    """One packed component: its identities side by side, and where it came from."""

    component: str
    tree: Digest
    packed: Digest
    packed_size_bytes: int
    diff_id: Digest
    unpacked_size_bytes: int
    origin: str
    """How it was made: a rule kind (``deb``, ``fixture``, …), or ``foreign`` for an archive taken as it was."""
    hermetic: bool
    version: str | None = None
    rule_key: Digest | None = None
    action: Digest | None = None
    recipe: Mapping[str, JsonValue] | None = None
    """How the packed bytes were made; ``None`` for an archive that was packed elsewhere."""
    table: TableRef | None = None
    """Where the layer's table of contents is, and its digest, which authenticates every frame; ``None`` when it has none."""

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form; what is not known is null."""
        return {
            "tree": self.tree,
            "packed": self.packed,
            "packed_size_bytes": self.packed_size_bytes,
            "diff_id": self.diff_id,
            "unpacked_size_bytes": self.unpacked_size_bytes,
            "origin": self.origin,
            "hermetic": self.hermetic,
            "version": self.version,
            "rule_key": self.rule_key,
            "action": self.action,
            "recipe": None if self.recipe is None else dict(self.recipe),
            "table": None if self.table is None else self.table.to_dict(),
        }

    @classmethod
    def from_dict(cls, component: str, value: object, *, where: str = "layer") -> BundleLayer:
        """Return the layer of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = value if isinstance(value, Fields) else Fields(value, where)
        layer = cls(
            component=component,
            tree=fields.digest("tree"),
            packed=fields.digest("packed"),
            packed_size_bytes=fields.integer("packed_size_bytes"),
            diff_id=fields.digest("diff_id"),
            unpacked_size_bytes=fields.integer("unpacked_size_bytes"),
            origin=fields.text("origin", ORIGIN),
            hermetic=fields.boolean("hermetic"),
            version=fields.optional_text("version"),
            rule_key=fields.optional_digest("rule_key"),
            action=fields.optional_digest("action"),
            recipe=None if fields.optional("recipe") is None else fields.child("recipe").plain(),
            table=None if fields.optional("table") is None else TableRef.from_fields(fields.child("table")),
        )
        fields.done()
        if layer.table is not None and layer.table.packed_size_bytes != layer.packed_size_bytes:
            msg = f"{fields.where}: its table of contents ends at {layer.table.packed_size_bytes}, not at its end"
            raise IntegrityError(msg)
        return layer


@record
class BundleIndex:
    """The content of one architecture's image.

    Raises :class:`IntegrityError` when built from parts that do not fit: a shim that needs a component without a layer, or a
    default shim that the bundle does not hold.
    """

    arch: Arch
    shims: Mapping[str, tuple[str, ...]]
    """Shim → the components it needs."""
    layers: Mapping[str, BundleLayer]
    """Component → layer."""
    default_shim: str | None
    """The shim behind the unsuffixed ``kata`` handler; ``None`` when the selection left it out."""
    default_shims: tuple[str, ...]
    """Shims that an install enables when nobody says which."""
    runtime_classes: tuple[Mapping[str, JsonValue], ...] = field(default=())
    """Plain facts for RuntimeClass objects, one a shim; their members are not interpreted here."""
    prefix: str = PREFIX
    version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        _check_version(self.version, "bundle index")
        if self.version == _WITHOUT_TABLES and any(layer.table is not None for layer in self.layers.values()):
            msg = f"bundle index has format version {self.version}, which knows no tables of contents, and names one"
            raise IntegrityError(msg)
        for name in (*self.shims, *self.layers):
            if not COMPONENT_NAME.fullmatch(name):
                msg = f"bundle index: {name[:80]!a} is no name (lower-case letters, digits, '.', '_', '-')"
                raise IntegrityError(msg)
        for shim, components in self.shims.items():
            for component in components:
                if component not in self.layers:
                    msg = f'bundle index: shim "{shim}" needs component {component[:80]!a}, which has no layer'
                    raise IntegrityError(msg)
        for component, layer in self.layers.items():
            if layer.component != component:
                msg = f'bundle index: the layer under "{component}" is of component "{layer.component}"'
                raise IntegrityError(msg)
        for shim in (*self.default_shims, *([] if self.default_shim is None else [self.default_shim])):
            if shim not in self.shims:
                msg = f"bundle index: default shim {shim[:80]!a} is not in the bundle"
                raise IntegrityError(msg)

    @property
    def ordered_layers(self) -> tuple[BundleLayer, ...]:
        """The layers in the image's order: by component name."""
        return tuple(self.layers[name] for name in sorted(self.layers))

    def only(self, components: Collection[str]) -> BundleIndex:
        """Return the index without the layers of other ``components``, and without the shims that need one of those."""
        shims = {shim: row for shim, row in self.shims.items() if all(name in components for name in row)}
        return replace(
            self,
            shims=shims,
            layers={name: layer for name, layer in self.layers.items() if name in components},
            default_shim=self.default_shim if self.default_shim in shims else None,
            default_shims=tuple(shim for shim in self.default_shims if shim in shims),
            runtime_classes=tuple(item for item in self.runtime_classes if item.get("shim", item.get("name")) in shims),
        )

    def to_dict(self) -> dict[str, JsonValue]:
        """Return the JSON form."""
        return {
            "version": self.version,
            "arch": self.arch.value,
            "prefix": self.prefix,
            "default_shim": self.default_shim,
            "default_shims": list(self.default_shims),
            "shims": {shim: list(components) for shim, components in self.shims.items()},
            "layers": {component: self._layer_dict(layer) for component, layer in self.layers.items()},
            "runtime_classes": [dict(item) for item in self.runtime_classes],
        }

    def _layer_dict(self, layer: BundleLayer) -> dict[str, JsonValue]:
        document = layer.to_dict()
        if self.version == _WITHOUT_TABLES:
            del document["table"]
        return document

    @classmethod
    def from_dict(cls, value: object, *, where: str = "bundle index") -> BundleIndex:
        """Return the index of its JSON form; raise :class:`IntegrityError` for anything else."""
        fields = value if isinstance(value, Fields) else Fields(value, where)
        version = fields.integer("version")
        _check_version(version, fields.where)  # said before anything else: another version may have any other members
        shims = fields.child("shims")
        index = cls(
            arch=_arch(fields.text("arch"), fields.where),
            prefix=_prefix(fields.text("prefix"), fields.where),
            default_shim=fields.optional_text("default_shim"),
            default_shims=fields.texts("default_shims"),
            shims={shim: shims.texts(shim, COMPONENT_NAME) for shim in shims.keys()},  # noqa: SIM118 - not a mapping
            layers={name: BundleLayer.from_dict(name, layer) for name, layer in fields.child("layers").members()},
            runtime_classes=tuple(item.plain() for item in fields.children("runtime_classes")),
            version=version,
        )
        fields.done()
        return index


def _check_version(version: int, where: str) -> None:
    if version not in READ_VERSIONS:
        known = " and ".join(map(str, READ_VERSIONS))
        msg = f"{where} has format version {version}, this program reads {known}"
        raise IntegrityError(msg, hint="use a newer kata-bundle" if version > FORMAT_VERSION else None)


def _arch(text: str, where: str) -> Arch:
    # Exactly the kernel's spelling: one spelling per value keeps the document canonical.
    if text not in set(Arch):
        msg = f"{where}.arch: {text[:80]!a} is none of {', '.join(Arch)}"
        raise IntegrityError(msg)
    return Arch(text)


def _prefix(text: str, where: str) -> str:
    try:
        canonical = parse_relpath(text)
    except ArchiveError as error:
        msg = f"{where}.prefix: {error}"
        raise IntegrityError(msg) from None
    if canonical != text:
        msg = f'{where}.prefix: "{text}" is not in its shortest form'
        raise IntegrityError(msg)
    return text
