"""What a client of a Remote Execution API server is given from outside: where, who, limits. Must not know: calls."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.oci.registry.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["TOKEN_VARIABLE", "Limits", "ServerSettings", "parse_server", "read_token"]

TOKEN_VARIABLE: Final = "KATA_BUNDLE_REMOTE_TOKEN"  # noqa: S105 - the name of a variable
_INSTANCE: Final = re.compile(r"[A-Za-z0-9._@+=:-]+(?:/[A-Za-z0-9._@+=:-]+)*")
_KEYWORDS: Final = frozenset({"blobs", "uploads", "actions", "actionResults", "operations", "capabilities", "compressed-blobs"})
"""What a segment of an instance name cannot be (Remote Execution API, ``ContentAddressableStorage``)."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=:-]{1,16384}")
_MAX_TOKEN_FILE: Final = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Time and size limits. Every call ends by one of these."""

    call_s: float = 30.0
    """For a call with one answer, the connection included."""
    slowest_bytes_per_s: int = 64 << 10
    """What a transfer has to reach; its deadline is ``call_s`` and the time that this takes."""
    queue_s: float = 1800.0
    """How long an action may wait for a machine, on top of the time that it may take."""
    tries: int = 4
    first_pause_s: float = 0.25
    longest_pause_s: float = 8.0
    message_bytes: int = (4 << 20) - (64 << 10)
    """Most content in one message: gRPC programs refuse messages over 4 MiB unless told otherwise."""
    answer_bytes: int = 64 << 20
    """Largest message that a server may send."""
    chunk_bytes: int = 1 << 20
    """Content in one message of a stream."""
    digests: int = 8192
    """Digests in one question."""
    streams: int = 4
    """Transfers at a time."""
    compress_bytes: int = 1 << 10
    """Smaller blobs are not worth compressing."""
    document_bytes: int = 256 << 20
    """Largest description of an output folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """One server, and how to speak to it."""

    host: str
    port: int
    tls: bool
    instance: str = ""
    token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """PEM file of roots to trust beside the system's."""
    limits: Limits = field(default_factory=Limits)

    @property
    def url(self) -> str:
        """Scheme, host and port, for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'grpcs' if self.tls else 'grpc'}://{host}:{self.port}"

    @property
    def prefix(self) -> str:
        """What resource names begin with."""
        return f"{self.instance}/" if self.instance else ""


def parse_server(
    url: str, *, instance: str = "", token: str | None = None, ca_file: Path | None = None, limits: Limits | None = None
) -> ServerSettings:
    """Return the settings of ``grpc://HOST:PORT`` or ``grpcs://HOST[:PORT]``.

    Raises :class:`UsageError` saying what is wrong with the address or the instance's name, and for a token that would cross a
    network in the clear.
    """
    shown = ascii(url[:160])[1:-1]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    tls = parts.scheme == "grpcs"
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme not in {"grpc", "grpcs"} or not host or rest:
        # A password in the address must not be repeated.
        said = "the address of a server" if "@" in shown else f'"{shown}"'
        msg = f"{said} is none of a Remote Execution API server"
        raise UsageError(
            msg, hint="expected grpc://HOST:PORT or grpcs://HOST[:PORT]; an instance is named by an option of its own"
        )
    if port is None and not tls:
        msg = f'"{shown}" has no port'
        raise UsageError(msg, hint="expected grpc://HOST:PORT; only grpcs:// has a usual one, 443")
    if instance and (not _INSTANCE.fullmatch(instance) or _KEYWORDS & set(instance.split("/"))):
        msg = f'"{ascii(instance[:80])[1:-1]}" is no name of an instance'
        raise UsageError(msg, hint=f"names with / between them, none of {', '.join(sorted(_KEYWORDS))}")
    if token is not None and not tls and not is_loopback(f"[{host}]" if ":" in host else host):
        msg = f"a token would be sent to {host} without encryption"
        raise UsageError(msg, hint="use grpcs://")
    return ServerSettings(
        host=host, port=port or 443, tls=tls, instance=instance, token=token, ca_file=ca_file, limits=limits or Limits()
    )


def read_token(path: Path | None, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the bearer token in the file ``path``, else in ``KATA_BUNDLE_REMOTE_TOKEN``, ``None`` when neither is given.

    Raises :class:`HostError` for a file that cannot be read and :class:`UsageError` for what cannot be a token; it is not shown.
    """
    if path is None:
        text, place = (os.environ if environment is None else environment).get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
        if not text:
            return None
    else:
        place = str(path)
        try:
            with open(path, "rb") as stream:
                text = stream.read(_MAX_TOKEN_FILE).decode("ascii", "replace")
        except OSError as error:
            msg = f"the token file {path} cannot be read: {error.strerror}"
            raise HostError(msg) from None
    text = text.strip()
    if not _TOKEN.fullmatch(text):
        msg = f"{place} holds no bearer token"
        raise UsageError(msg, hint="expected one line of letters, digits and ._~+/=:-")
    return text
