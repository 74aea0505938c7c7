"""Upstream's ``versions.yaml`` as input: entries by dotted key, with the place of what is not there.

Format: that file's own header (github.com/kata-containers/kata-containers, versions.yaml). Must not know: rules, networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import FindingsError
from kata_bundle.manifest.refusal import Refused
from kata_bundle.manifest.yaml_reader import parse_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.manifest.positions import Places

__all__ = ["FILE_NAME", "RELEASE", "Versions", "load_versions"]

FILE_NAME = "versions.yaml"
RELEASE = "VERSION"
"""The file beside it that has the version of upstream's tree itself; as a key it means that."""
_VERSION_KEYS = ("version", "tag", "latest")


class Versions:
    """The entries of one file."""

    def __init__(self, data: object, places: Places, what: str, release: str) -> None:
        self._release = release
        self._data = data
        self._places = places
        self._what = what

    def text(self, key: str) -> str:
        """Return the text at a dotted key; raise :class:`FindingsError` with the place and the nearest key when there is none."""
        if key == RELEASE:
            return self._release
        value = self._at(key)
        if not isinstance(value, str) or not value:
            raise self._error(key.split("."), f'"{key}" is no text')
        return value

    def entry(self, key: str) -> tuple[str, str]:
        """Return the address and version of the entry at ``key``; what it lacks itself is taken from the entry it lies in."""
        self._at(key)
        return self._inherited(key, ("url",)), self._inherited(key, _VERSION_KEYS)

    def _inherited(self, key: str, names: tuple[str, ...]) -> str:
        parts = key.split(".")
        for end in range(len(parts), 0, -1):
            value = self._at(".".join(parts[:end]))
            for name in names:
                if isinstance(value, dict) and isinstance(value.get(name), str):
                    return str(value[name])
        raise self._error(parts, f'"{key}" states no {names[0]}')

    def _at(self, key: str) -> object:
        value, parts = self._data, key.split(".")
        for number, part in enumerate(parts):
            if not isinstance(value, dict) or part not in value:
                known = list(value) if isinstance(value, dict) else []
                where = ".".join(parts[:number]) or "the document"
                near = did_you_mean(part, [str(one) for one in known])
                hint = near or f"it has {', '.join(map(str, known[:20])) or 'no keys'}"
                raise self._error(parts[:number], f'{where} has no key "{part}"', hint)
            value = value[part]
        return value

    def _error(self, parts: list[str], text: str, hint: str | None = None) -> FindingsError:
        place = self._places.find(tuple(parts), of_key=True)
        return FindingsError(f"{self._what}:{place.line}:{place.column}: {text}", hint=hint)


def load_versions(folder: Path) -> Versions:
    """Return the versions of a source folder; raise :class:`FindingsError` when the file is not there or is not plain YAML."""
    path = folder / FILE_NAME
    try:
        data, places = parse_yaml(path.read_text("utf-8"))
        release = (folder / RELEASE).read_text("utf-8").strip()
    except FileNotFoundError as error:
        msg = f"{error.filename} does not exist"
        raise FindingsError(msg, hint="is the folder a checkout of the source that the rule means?") from None
    except (Refused, UnicodeDecodeError) as error:
        msg = f"{path}: {error}"
        raise FindingsError(msg) from None
    return Versions(data, places, str(path), release)
