"""Names of content in registries: ``HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`` (OCI distribution-spec 1.1, "Pulling manifests").

There is no default registry: the host is always written, so that a name means the same on every machine. A path and a reference
are told apart by rule, never by asking the network. Must not know: credentials, connections.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.core.digest import parse_digest
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.record import record, replace

if TYPE_CHECKING:
    from kata_bundle.core.digest import Digest

__all__ = ["DEFAULT_TAG", "TAG", "Reference", "is_loopback", "is_reference", "parse_place", "parse_reference"]

DEFAULT_TAG: Final = "latest"
"""What a reference without tag and digest means, as everywhere in the field."""

TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
"""What a tag may be (distribution-spec)."""

_REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]+\])(?::([0-9]{{1,5}}))?")
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")
_MAX_LENGTH = 1024
_MAX_REPOSITORY = 255
_PREFIXES = ("docker://", "oci://")
_LAYOUT_PREFIX = "oci:"


@record
class Reference:
    """A repository, or one thing in it. With tag and digest the digest decides; the tag is then only a name."""

    host: str
    """Host name and, where one is written, port, lower case."""
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Host and repository."""
        return f"{self.host}/{self.repository}"

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def is_bare(self) -> bool:
        """Whether neither tag nor digest is written."""
        return self.tag is None and self.digest is None

    def at(self, digest: Digest) -> Reference:
        """Return the same name pinned to ``digest``; the tag is kept for people."""
        return replace(self, digest=digest)

    def tagged(self, tag: str) -> Reference:
        """Return the name of ``tag`` in this repository. Raises :class:`UsageError` when ``tag`` cannot be one."""
        if not TAG.fullmatch(tag):
            msg = f'"{tag[:140]}" cannot be a tag'
            raise UsageError(msg, hint="letters, digits, '.', '_' and '-', at most 128, the first no '.' or '-'")
        return replace(self, tag=tag, digest=None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Return what ``text`` names; ``docker://`` and ``oci://`` before it are accepted.

    Raises :class:`UsageError` saying which part is wrong. A name without a host is refused: there is no default registry.
    """
    rest = _without_prefix(text)
    if not rest or len(rest) > _MAX_LENGTH or not rest.isascii() or not rest.isprintable() or " " in rest:
        raise _wrong(text, "is no name of content in a registry")
    rest, at, digest_text = rest.partition("@")
    digest = None
    if at:
        try:
            digest = parse_digest(digest_text)
        except IntegrityError as error:
            raise _wrong(text, f"has no sha256 digest after its @: {error}") from None
    host, slash, path = rest.partition("/")
    if not slash or not _names_host(host):
        raise _wrong(text, "does not begin with the host of a registry")
    found = _HOST.fullmatch(host)
    if found is None or (found[1] is not None and not 0 < int(found[1]) < 1 << 16):
        raise _wrong(text, f'has "{host}" where the host of a registry is expected')
    repository, colon, tag = path.partition(":")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > _MAX_REPOSITORY:
        raise _wrong(
            text, f'has the repository "{repository}", which is none (lower-case letters, digits and ". _ -" between them)'
        )
    if colon and not TAG.fullmatch(tag):
        raise _wrong(text, f'has "{tag}" where a tag is expected')
    return Reference(host=host.lower(), repository=repository, tag=tag or None, digest=digest)


def is_reference(text: str) -> bool:
    """Return whether ``text`` means content in a registry rather than a path.

    It does when it begins with ``docker://`` or ``oci://``, or has a slash and before the first one a host: a name with a dot or
    a port, or ``localhost``. All else is a path, as is what begins with ``/``, ``.``, ``~`` or ``oci:``. The disk is not asked: a
    folder named like a host is written ``./folder``.
    """
    if text.startswith(_PREFIXES):
        return True
    if text.startswith(("/", ".", "~", _LAYOUT_PREFIX)):
        return False
    host, slash, path = text.partition("/")
    return bool(slash and path) and _names_host(host)


def parse_place(text: str) -> Reference | Path:
    """Return the reference or the folder of an image layout that ``text`` means (:func:`is_reference`).

    Raises :class:`UsageError` like :func:`parse_reference`.
    """
    if is_reference(text):
        return parse_reference(text)
    path = text.removeprefix(_LAYOUT_PREFIX)
    if not path:
        raise _wrong(text, "names neither a folder nor content in a registry")
    return Path(path)


def is_loopback(host: str) -> bool:
    """Return whether ``host``, with or without port, is this machine by its spelling: ``localhost``, 127.0.0.0/8 or ``[::1]``."""
    return _LOOPBACK.fullmatch(re.sub(r":[0-9]+$", "", host) if not host.endswith("]") else host) is not None


def _without_prefix(text: str) -> str:
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return text


def _names_host(host: str) -> bool:
    return "." in host or ":" in host or host == "localhost"


def _wrong(text: str, what: str) -> UsageError:
    shown = ascii(text[:160])[1:-1]
    return UsageError(f'"{shown}" {what}', hint="expected HOST[:PORT]/REPOSITORY[:TAG][@sha256:…], or the path of a folder")
