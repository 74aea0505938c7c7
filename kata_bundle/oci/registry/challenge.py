"""The ``WWW-Authenticate`` header (RFC 9110, section 11.6.1) as far as registries use it: ``Basic`` and ``Bearer``.

Parsed by hand, in one pass over a bounded text, since quoted values hold commas and a header may hold several challenges. Must
not know: credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Challenge", "parse_challenges"]

_MAX_TEXT: Final = 16 << 10
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's word for a word
_PARAMETER = re.compile(rf'\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))\s*(?:,|$)')
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+|\s*(?:,|$))")


@record
class Challenge:
    """One way in which a server says it can be convinced: scheme in lower case, parameters by lower-case name."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(values: Iterable[str]) -> tuple[Challenge, ...]:
    """Return the challenges of all headers, in order. What cannot be read ends its header; nothing is raised."""
    found: list[Challenge] = []
    for value in values:
        text, at = value[:_MAX_TEXT], 0
        while (scheme := _SCHEME.match(text, at)) is not None:
            at = scheme.end()
            parameters: dict[str, str] = {}
            while (pair := _PARAMETER.match(text, at)) is not None:
                quoted, plain = pair[2], pair[3]
                parameters.setdefault(pair[1].lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain)
                at = pair.end()
            found.append(Challenge(scheme=scheme[1].lower(), parameters=parameters))
    return tuple(found)
