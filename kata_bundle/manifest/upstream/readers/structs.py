"""Which settings the runtimes know: the structures that they read a configuration into.

Formats: Go structures with ``toml:"key"`` tags in src/runtime/pkg/katautils/config.go, beginning with ``tomlConfig``; Rust
structures with serde attributes below src/libs/kata-types/src/config, beginning with ``TomlConfig``. Types of other packages,
enumerations and values with a reader of their own may be anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.core.diagnostics import Span
from kata_bundle.manifest.catalog import RuntimeFamily
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.schema import ANY_TABLE, Field, Kind, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.manifest.upstream.texts import Reading

__all__ = ["is_wanted", "read_schemas"]

_GO: Final = "src/runtime/pkg/katautils/config.go"
_RUST: Final = "src/libs/kata-types/src/config"
_WANTED: Final = re.compile(rf"{re.escape(_GO)}|{re.escape(_RUST)}/.*\.rs")
_GO_STRUCT: Final = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_GO_FIELD: Final = re.compile(r"^[ \t]*(\w+)[ \t]+([^\s`]+)[ \t]*(?:`[^`\n]*toml:\"([^\",\n]+)[^`\n]*`)?", re.MULTILINE)
_RUST_STRUCT: Final = re.compile(
    r"^(?P<indent>[ ]*)pub(?:\([a-z]+\))? struct (?P<name>\w+) \{\n(?P<body>.*?)^(?P=indent)\}", re.MULTILINE | re.DOTALL
)
_RUST_FIELD: Final = re.compile(r"(?:pub(?:\([a-z]+\))?\s+)?(?:r#)?(\w+)\s*:\s*(.+)", re.DOTALL)
_ATTRIBUTES_BEFORE: Final = re.compile(r"((?:^[ ]*(?:#\[.*\]|///.*)\n)+)\Z", re.MULTILINE)
_RENAME: Final = re.compile(r'\b(?:rename|alias)\s*=\s*"([^"]+)"')
_KINDS: Final = {
    "bool": Kind.BOOLEAN,
    "string": Kind.TEXT,
    "String": Kind.TEXT,
    "PathBuf": Kind.TEXT,
    **{f"int{size}": Kind.INTEGER for size in ("", "8", "16", "32", "64")},
    **{f"uint{size}": Kind.NATURAL for size in ("", "8", "16", "32", "64")},
    **{f"i{size}": Kind.INTEGER for size in ("8", "16", "32", "64", "size")},
    **{f"u{size}": Kind.NATURAL for size in ("8", "16", "32", "64", "size")},
    **dict.fromkeys(("float32", "float64", "f32", "f64"), Kind.NUMBER),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    names: tuple[str, ...]
    """The key, and others for the same."""
    type: str
    required: bool = False
    merged: bool = False
    """The members of its type stand in the same table."""
    own_reader: bool = False


def is_wanted(name: str) -> bool:
    """Return whether ``name`` may declare settings."""
    return _WANTED.fullmatch(name) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Structure:
    name: str
    members: list[_Member]
    strict: bool
    """It takes no key that it has no member for."""


def read_schemas(reading: Reading) -> dict[RuntimeFamily, Schema]:
    """Return the settings that each runtime knows, for those whose structures were found."""
    found = {}
    go = reading.text(_GO)
    sources = {RuntimeFamily.GO: [] if go is None else [go]}
    sources[RuntimeFamily.RUST] = [text for name in reading.matching(f"{_RUST}/*.rs") if (text := reading.text(name)) is not None]
    for family, texts in sources.items():
        where = _GO if family is RuntimeFamily.GO else _RUST
        if not texts:
            message = "the structures of the runtime's configuration were not found"
            reading.not_understood(Span(path=where), message, code=codes.MISSING)
            continue
        structures: dict[str, list[_Member]] = {}
        strict: set[str] = set()
        for text in texts:
            for structure in (_go if family is RuntimeFamily.GO else _rust)(text.text):
                # A structure may be there twice, for builds with and without something: either one's settings are known.
                structures.setdefault(structure.name, []).extend(structure.members)
                strict |= {structure.name} if structure.strict else set()
        outermost = "tomlConfig" if family is RuntimeFamily.GO else "TomlConfig"
        if outermost not in structures:
            reading.not_understood(Span(path=where), f'expected a structure "{outermost}"')
            continue
        tables: dict[tuple[str, ...], dict[str, Field]] = {}
        names: dict[tuple[str, ...], str] = {}
        _lay_out(structures, outermost, (), tables, names)
        refusing = frozenset(table for table, name in names.items() if name in strict)
        found[family] = Schema(path=where, tables=tables, strict=refusing)
    return found


def _lay_out(
    structures: Mapping[str, list[_Member]],
    name: str,
    where: tuple[str, ...],
    tables: dict[tuple[str, ...], dict[str, Field]],
    names: dict[tuple[str, ...], str],
) -> None:
    """Add the table of structure ``name`` at ``where`` and those below it, and which structure each is read into."""
    if len(where) > 8:  # a structure inside itself
        return
    fields = tables.setdefault(where, {})
    names.setdefault(where, name)
    for member in structures[name]:
        kind = _scalar(member.type)
        inner = _element(member.type)
        if member.own_reader:
            kind = Kind.ANY
        elif member.merged and inner in structures:
            _lay_out(structures, inner, where, tables, names)
            continue
        elif kind is Kind.ANY and inner in structures:
            below = (ANY_TABLE,) if re.match(r"(?:map\[|(?:std::collections::)?(?:Hash|BTree)Map<)", member.type) else ()
            for key in member.names:
                if below:
                    tables.setdefault((*where, key), {})
                _lay_out(structures, inner, (*where, key, *below), tables, names)
            continue
        for key in member.names:
            # Where two builds differ, the value may be what either wants.
            before = fields.get(key)
            same = before is None or before.kind is kind
            fields[key] = Field(kind if same else Kind.ANY, member.required and (before is None or before.required))


def _scalar(kind: str) -> Kind:
    kind = kind.lstrip("*")
    optional = re.fullmatch(r"Option<(.+)>", kind)
    if optional is not None:
        kind = optional.group(1)
    if re.fullmatch(r"\[\](?:string)|Vec<String>", kind):
        return Kind.TEXTS
    return _KINDS.get(kind, Kind.ANY)


def _element(kind: str) -> str:
    """Return the type inside lists, maps, pointers and options."""
    while True:
        inner = re.fullmatch(r"(?:\*|\[\]|map\[string\])(.+)|(?:Option|Vec|Box)<(.+)>|[\w:]*Map<String,\s*(.+)>", kind)
        if inner is None:
            return kind.rsplit("::", 1)[-1]
        kind = next(group for group in inner.groups() if group)


# ---- Go -----------------------------------------------------------------------------------------------------------------------


def _go(text: str) -> Iterator[_Structure]:
    for structure in _GO_STRUCT.finditer(text):
        body = re.sub(r"//.*", "", structure.group(2))
        members = [
            # Without a tag the decoder matches the field's name, whatever the case of its letters.
            _Member(names=(field.group(3) or field.group(1).lower(),), type=field.group(2))
            for field in _GO_FIELD.finditer(body)
            if field.group(3) != "-"
        ]
        yield _Structure(name=structure.group(1), members=members, strict=False)


# ---- Rust ---------------------------------------------------------------------------------------------------------------------


def _rust(text: str) -> Iterator[_Structure]:
    for structure in _RUST_STRUCT.finditer(text):
        before = _ATTRIBUTES_BEFORE.search(text, max(0, structure.start() - 2000), structure.start())
        attributes = "" if before is None else re.sub(r"^\s*///.*\n", "", before.group(1), flags=re.MULTILINE)
        if "Deserialize" not in attributes:
            continue
        defaults = re.search(r"serde\([^)]*\bdefault\b", attributes) is not None
        body = re.sub(r"//.*", "", structure.group("body"))
        members = [member for part in _parts(body) if (member := _rust_member(part, defaults=defaults)) is not None]
        strict = "deny_unknown_fields" in attributes
        yield _Structure(name=structure.group("name"), members=members, strict=strict)


def _parts(body: str) -> Iterator[str]:
    """Yield what stands between the commas that are outside of brackets and texts."""
    depth, start = 0, 0
    quoted = False
    for at, c in enumerate(body):
        if c == '"':
            quoted = not quoted
        elif quoted:
            continue
        elif c in "<([{":
            depth += 1
        elif c in ">)]}":
            depth -= 1
        elif c == "," and depth == 0:
            yield body[start:at]
            start = at + 1
    yield body[start:]


def _rust_member(part: str, *, defaults: bool) -> _Member | None:
    attributes = "".join(re.findall(r"#\[serde\((.*?)\)\]", part, re.DOTALL))
    match = _RUST_FIELD.fullmatch(re.sub(r"#\[.*?\]\s*(?=#|pub|r#|\w|$)", "", part.strip(), flags=re.DOTALL))
    if match is None or re.search(r"\bskip(?:_deserializing)?\b", attributes):
        return None
    kind = re.sub(r"\s+", " ", match.group(2).strip())
    return _Member(
        names=tuple(dict.fromkeys((match.group(1), *_RENAME.findall(attributes)))),
        type=kind,
        required=not (defaults or "default" in attributes or kind.startswith("Option<")) and "flatten" not in attributes,
        merged="flatten" in attributes,
        own_reader=re.search(r"\b(?:deserialize_with|with)\s*=", attributes) is not None,
    )
