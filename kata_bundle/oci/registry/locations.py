"""Addresses that servers send: where an upload goes on, where a blob really is, the next page of a list. All may be hostile.

Must not know: requests, what an address is for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.oci.registry.errors import ProtocolError
from kata_bundle.oci.registry.hosts import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["next_page", "resolve_location", "with_query"]

_MAX_LENGTH = 16 << 10
_NO_ADDRESS = "expected a plain http or https address, found none"
_NO_TLS = "it leads from TLS to a server without:"
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]")
_PORTS = {"https": 443, "http": 80}
_LINK = re.compile(r'\s*<([^<>"\s]+)>\s*;([^<]*)')
_NEXT = re.compile(r'rel\s*=\s*"?next"?\s*(?:[;,]|$)', re.IGNORECASE)


def resolve_location(origin: Origin, path: str, location: str, *, what: str) -> tuple[Origin, str]:
    """Return where ``location`` leads from ``origin`` and ``path``: the origin, and path with query.

    Raises :class:`ProtocolError` naming ``what`` for anything but an http or https address of sound spelling. So does a step from
    https to http, but on the same host, where a server behind a TLS proxy does not know better: that stays https.
    """
    from urllib.parse import urljoin, urlsplit

    def wrong(*reason: object) -> ProtocolError:
        return ProtocolError(f"{what}: {' '.join(map(str, reason))}")

    if not location or len(location) > _MAX_LENGTH or not location.isascii() or not location.isprintable() or " " in location:
        raise wrong(_NO_ADDRESS)
    try:
        parts = urlsplit(urljoin(f"{origin}{path}", location))
        port = parts.port
    except ValueError:
        raise wrong(_NO_ADDRESS) from None
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    if parts.scheme not in _PORTS or parts.username is not None or parts.password is not None or not _HOST.fullmatch(host):
        raise wrong(_NO_ADDRESS)
    found = Origin(scheme=parts.scheme, host=host, port=port or _PORTS[parts.scheme])
    if origin.scheme == "https" and found.scheme == "http":
        if found.host != origin.host or port not in {None, origin.port}:
            raise wrong(_NO_TLS, found)
        found = origin
    target = parts.path or "/"
    return found, f"{target}?{parts.query}" if parts.query else target


def with_query(path: str, name: str, value: str) -> str:
    """Return ``path`` with one more query parameter."""
    from urllib.parse import quote

    return f"{path}{'&' if '?' in path else '?'}{name}={quote(value, safe='')}"


def next_page(links: Iterable[str]) -> str | None:
    """Return the address of the ``Link`` header with ``rel="next"`` (RFC 8288), ``None`` when there is no further page."""
    for header in links:
        for match in _LINK.finditer(header[:_MAX_LENGTH]):
            if _NEXT.search(match[2]):
                return match[1]
    return None
