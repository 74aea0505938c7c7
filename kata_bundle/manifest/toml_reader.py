"""TOML, read by the standard library; ``toml_scanner`` finds places and explains what was refused.

Format: TOML 1.0. Must not know: what documents mean.
"""

from __future__ import annotations

import re
import tomllib

from kata_bundle.manifest.positions import LineIndex
from kata_bundle.manifest.refusal import LIMIT, MAX_DEPTH, SYNTAX, TOML_KEY_PART, Refused, check_plain

__all__ = ["parse_toml"]

_LONG_KEY = re.compile(rf"(?<![\w\"'-]){TOML_KEY_PART}(?:[ \t]*+\.[ \t]*+{TOML_KEY_PART}){{{MAX_DEPTH},}}")


def parse_toml(text: str) -> object:
    """Return the data of ``text``; raise :class:`Refused` with a place for anything that is not plain TOML."""
    # The parser's effort grows with the square of a dotted key's parts.
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        place = LineIndex(text).place(long_key.start(), long_key.end())
        raise Refused(LIMIT, f"a key of more than {MAX_DEPTH} parts", place)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        from kata_bundle.manifest.toml_scanner import explained

        raise explained(text, error) from None
    except RecursionError:
        from kata_bundle.manifest.toml_scanner import deepest

        raise Refused(LIMIT, f"values are nested deeper than {MAX_DEPTH} levels", deepest(text)) from None
    except ValueError as error:
        # A date that does not exist, or a number of more digits than the interpreter converts.
        from kata_bundle.manifest.toml_scanner import long_number

        raise Refused(SYNTAX, f"a value cannot be read: {error}", long_number(text)) from None
    try:
        check_plain(data)
    except Refused as refused:
        from kata_bundle.manifest.toml_scanner import scan_toml

        raise refused.at(scan_toml(text)) from None
    return data
