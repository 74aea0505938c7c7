"""Where a problem of a rule file stands: line and column of the key or value that it names. Must not know: what rules mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import tomllib
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["UNKNOWN_KEY", "placed", "refused"]

UNKNOWN_KEY: Final = "unknown key"
"""What is wrong with a key rather than with its value."""


def placed(path: Path, text: str, problems: Iterable[str]) -> list[str]:
    """Return ``problems``, each of which begins with a dotted key path, as ``path:line:column: problem``."""
    # Only for files that have problems: scanning is slower than parsing.
    from kata_bundle.manifest.toml_scanner import scan_toml

    places = scan_toml(text)
    found = []
    for problem in problems:
        key, _, what = problem.partition(": ")
        parts = tuple(int(part) if part.isdecimal() else part for part in key.split("."))
        place = places.find(parts, of_key=what == UNKNOWN_KEY)
        found.append(f"{path}:{place.line}:{place.column}: {problem}")
    return found


def refused(path: Path, text: str, error: tomllib.TOMLDecodeError) -> str:
    """Return what is wrong with ``text``, which is no TOML, as ``path:line:column: problem``."""
    from kata_bundle.manifest.toml_scanner import explained

    found = explained(text, error)
    place = found.place
    return f"{path}:{place.line}:{place.column}: not valid TOML: {found.message}"
