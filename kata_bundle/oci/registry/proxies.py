"""Which proxy a request goes through, by the variables that all tools read: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``.

Lower-case names win, as in curl. This machine itself is never reached through a proxy. Must not know: requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import UsageError
from kata_bundle.core.record import field, record
from kata_bundle.oci.registry.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.oci.registry.hosts import Origin

__all__ = ["Proxy", "proxy_for"]


@record
class Proxy:
    """A proxy's address, and apart from it what proves who we are."""

    url: str
    login: str | None = field(default=None, repr=False)
    """``user:password``."""


def proxy_for(origin: Origin, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for ``origin``, ``None`` for a direct connection.

    Raises :class:`UsageError` naming the variable, never its value, when that is no address of an HTTP proxy.
    """
    name = f"{origin.scheme}_proxy"
    variable = next((key for key in (name, name.upper()) if environment.get(key)), None)
    if variable is None or is_loopback(origin.host) or _is_exempt(origin, environment):
        return None
    return _parse(environment[variable], variable)


def _parse(value: str, variable: str) -> Proxy:
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        msg = f"the environment variable {variable} holds no address of an HTTP proxy"
        raise UsageError(msg, hint="expected http://HOST:PORT or https://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username is not None else None
    return Proxy(url=f"{parts.scheme}://{host}:{port or {'https': 443, 'http': 80}[parts.scheme]}", login=login)


def _is_exempt(origin: Origin, environment: Mapping[str, str]) -> bool:
    listed = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    return any(_matches(part.strip().lower(), origin) for part in listed.split(",") if part.strip())


def _matches(pattern: str, origin: Origin) -> bool:
    """Return whether one entry of ``NO_PROXY`` means ``origin``: ``*``, a name and all below it, an address, a network."""
    if pattern == "*":
        return True
    host = origin.host.strip("[]").lower()
    if "/" in pattern or pattern.count(":") > 1 or pattern.replace(".", "").isdigit():
        from ipaddress import ip_address, ip_network

        try:
            return ip_address(host) in ip_network(pattern.strip("[]"), strict=False)
        except ValueError:
            return False
    name, colon, port = pattern.partition(":")
    if colon and port != str(origin.port):
        return False
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))
