"""Typed, strict access to the members of a JSON object; every failure names the path to the value.

Used by the readers of our own formats (bundle index, store records), where an unknown member is an error, and by readers of
foreign ones, which simply do not call :meth:`Fields.done`. Must not know: any format.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, TypeGuard

from kata_bundle.core.digest import Digest, parse_digest
from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator

__all__ = ["MAX_INTEGER", "Fields", "JsonValue", "is_json"]

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]
"""What a JSON document can hold."""

MAX_INTEGER = (1 << 63) - 1
"""Largest size that a 64-bit reader of the same document can hold."""

_MAX_DEPTH = 64


class Fields:
    """The members of one JSON object. ``where`` is its place in the document, as errors show it."""

    __slots__ = ("_read", "_value", "where")

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            self._wrong("", "an object", value)
        self._value: dict[str, object] = value
        self._read: set[str] = set()

    def done(self) -> None:
        """Raise :class:`IntegrityError` when the object has members that were not asked for."""
        unknown = sorted(set(self._value) - self._read)
        if unknown:
            msg = f'{self.where}: unknown member "{_shown(unknown[0])}"'
            raise IntegrityError(msg)

    def __contains__(self, key: str) -> bool:
        return key in self._value

    def value(self, key: str) -> object:
        """Return the member as it is; absent is an error."""
        self._read.add(key)
        if key not in self._value:
            msg = f'{self.where}: member "{key}" is missing'
            raise IntegrityError(msg)
        return self._value[key]

    def optional(self, key: str) -> object:
        """Return the member as it is, ``None`` when absent or null."""
        self._read.add(key)
        return self._value.get(key)

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        """Return a non-empty text, matching ``pattern`` entirely when given."""
        return self._text(key, self.value(key), pattern)

    def optional_text(self, key: str, pattern: re.Pattern[str] | None = None) -> str | None:
        """Return a text like :meth:`text`, or ``None`` when absent or null."""
        value = self.optional(key)
        return None if value is None else self._text(key, value, pattern)

    def texts(self, key: str, pattern: re.Pattern[str] | None = None) -> tuple[str, ...]:
        """Return an array of texts without repeats, in the document's order."""
        value = self.value(key)
        if not isinstance(value, list):
            self._wrong(key, "an array of texts", value)
        result = tuple(self._text(f"{key}[{i}]", item, pattern) for i, item in enumerate(value))
        if len(set(result)) != len(result):
            msg = f"{self._path(key)}: a value stands twice"
            raise IntegrityError(msg)
        return result

    def text_map(self, key: str) -> dict[str, str]:
        """Return an object whose values are all texts."""
        value = self.value(key)
        if not isinstance(value, dict) or not all(isinstance(v, str) and isinstance(k, str) for k, v in value.items()):
            self._wrong(key, "an object of texts", value)
        return dict(value)

    def integer(self, key: str) -> int:
        """Return a whole number from 0 to 2^63-1; ``true`` and ``1.0`` are none."""
        value = self.value(key)
        if type(value) is not int or not 0 <= value <= MAX_INTEGER:
            self._wrong(key, "a whole number from 0", value)
        return value

    def optional_integer(self, key: str) -> int | None:
        """Return a number like :meth:`integer`, or ``None`` when absent or null."""
        return None if self.optional(key) is None else self.integer(key)

    def boolean(self, key: str) -> bool:
        """Return ``true`` or ``false``."""
        value = self.value(key)
        if not isinstance(value, bool):
            self._wrong(key, "true or false", value)
        return value

    def digest(self, key: str) -> Digest:
        """Return a sha256 digest."""
        value = self.value(key)
        try:
            return parse_digest(value)
        except IntegrityError as error:
            msg = f"{self._path(key)}: {error}"
            raise IntegrityError(msg, hint=error.hint) from None

    def optional_digest(self, key: str) -> Digest | None:
        """Return a digest, or ``None`` when absent or null."""
        return None if self.optional(key) is None else self.digest(key)

    def child(self, key: str) -> Fields:
        """Return the fields of a nested object."""
        return Fields(self.value(key), self._path(key))

    def children(self, key: str) -> Iterator[Fields]:
        """Yield the fields of each object of an array."""
        value = self.value(key)
        if not isinstance(value, list):
            self._wrong(key, "an array of objects", value)
        for i, item in enumerate(value):
            yield Fields(item, f"{self._path(key)}[{i}]")

    def members(self) -> Iterator[tuple[str, Fields]]:
        """Yield every member of an object of objects, with its key."""
        for key in self._value:
            yield key, self.child(key)

    def keys(self) -> tuple[str, ...]:
        """Return the member names in the document's order."""
        return tuple(self._value)

    def plain(self) -> dict[str, JsonValue]:
        """Return the whole object as plain JSON data; its members count as read."""
        self._read.update(self._value)
        value: object = self._value
        if not is_json(value) or not isinstance(value, dict):
            self._wrong("", "plain JSON data", value)
        return value

    def _text(self, key: str, value: object, pattern: re.Pattern[str] | None) -> str:
        if not isinstance(value, str) or not value:
            self._wrong(key, "a text", value)
        if pattern is not None and not pattern.fullmatch(value):
            self._wrong(key, f"a text matching {pattern.pattern}", value)
        return value

    def _path(self, key: str) -> str:
        return f"{self.where}.{key}" if key else self.where

    def _wrong(self, key: str, expected: str, found: object) -> NoReturn:
        msg = f"{self._path(key)}: expected {expected}, found {_shown(found)}"
        raise IntegrityError(msg)


def is_json(value: object, depth: int = 0) -> TypeGuard[JsonValue]:
    """Return whether ``value`` is plain JSON data: no NaN or infinity, text keys, at most 64 levels."""
    if depth > _MAX_DEPTH:
        return False
    if value is None or isinstance(value, bool | int | str):
        return True
    if isinstance(value, float):
        return value - value == 0.0  # false for NaN and both infinities
    if isinstance(value, list):
        return all(is_json(item, depth + 1) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json(item, depth + 1) for key, item in value.items())
    return False


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
