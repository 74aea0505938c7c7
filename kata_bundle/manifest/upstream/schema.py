"""Which settings a runtime knows: tables, keys, and the kind of value of each.

Knows: nothing but shapes. Must not know: where they are read from, rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ANY_TABLE", "Field", "Kind", "Schema", "SettingAt", "table_name"]

ANY_TABLE = "*"
"""In a table's path: whatever the hypervisor or agent is called."""


class Kind(StrEnum):
    """What a value has to be."""

    BOOLEAN = "true or false"
    TEXT = "a text"
    INTEGER = "a whole number"
    NATURAL = "a whole number of zero or more"
    NUMBER = "a number"
    TEXTS = "a list of texts"
    ANY = "anything"

    def fits(self, value: object) -> bool:
        """Return whether ``value`` can be read as this."""
        match self:
            case Kind.BOOLEAN:
                return isinstance(value, bool)
            case Kind.TEXT:
                return isinstance(value, str)
            case Kind.INTEGER | Kind.NATURAL:
                whole = isinstance(value, int) and not isinstance(value, bool)
                return whole and (self is Kind.INTEGER or (isinstance(value, int) and value >= 0))
            case Kind.NUMBER:
                return isinstance(value, int | float) and not isinstance(value, bool)
            case Kind.TEXTS:
                return isinstance(value, list) and all(isinstance(item, str) for item in value)
            case Kind.ANY:
                return True


class Field(NamedTuple):
    """A setting: the kind of its value, and whether the runtime refuses a configuration without it."""

    kind: Kind
    required: bool = False


class SettingAt(NamedTuple):
    """A setting of a configuration; ``field`` is ``None`` when the runtime does not know it."""

    table: tuple[str, ...]
    key: str
    value: object
    field: Field | None
    known: tuple[str, ...]
    """What the runtime knows in that table."""
    refused: bool = False
    """Whether the runtime refuses a configuration with a setting that it does not know there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Schema:
    """All settings of a runtime. Tables are told by their path; lists of tables are tables too."""

    path: str
    """The file that declares the outermost table."""
    tables: Mapping[tuple[str, ...], Mapping[str, Field]]
    strict: frozenset[tuple[str, ...]] = frozenset()
    """Tables in which the runtime takes nothing that it does not know."""

    def settings(self, data: Mapping[str, object]) -> Iterator[SettingAt]:
        """Yield every setting of ``data``. A table that is not known is one setting that is not known."""
        yield from self._settings(data, (), ())

    def missing(self, data: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield table and key of required settings that tables of ``data`` do not have."""
        yield from self._missing(data, (), ())

    def _settings(self, data: Mapping[str, object], where: tuple[str, ...], shape: tuple[str, ...]) -> Iterator[SettingAt]:
        fields = self.tables[shape]
        for key, value in data.items():
            below = self._below(shape, key)
            if below is not None and isinstance(value, dict):
                yield from self._settings(value, (*where, key), below)
            elif below is not None and isinstance(value, list) and all(isinstance(item, dict) for item in value):
                for item in value:
                    yield from self._settings(item, (*where, key), below)
            else:
                known = tuple(fields) + tuple(path[-1] for path in self.tables if path[:-1] == shape and path)
                yield SettingAt(where, key, value, fields.get(key), known, shape in self.strict)

    def _missing(
        self, data: Mapping[str, object], where: tuple[str, ...], shape: tuple[str, ...]
    ) -> Iterator[tuple[tuple[str, ...], str]]:
        for key, field in self.tables[shape].items():
            if field.required and key not in data:
                yield where, key
        for key, value in data.items():
            below = self._below(shape, key)
            for item in () if below is None else value if isinstance(value, list) else (value,):
                if below is not None and isinstance(item, dict):
                    yield from self._missing(item, (*where, key), below)

    def _below(self, shape: tuple[str, ...], key: str) -> tuple[str, ...] | None:
        return next((path for path in ((*shape, key), (*shape, ANY_TABLE)) if path in self.tables), None)


def table_name(table: tuple[str, ...]) -> str:
    """Return how a table is headed: ``[hypervisor.qemu]``."""
    return f"[{'.'.join(table)}]" if table else "the outermost table"
