"""Finds the machine's Debian archive in apt's sources and restates it for another suite. Pure text in, text out.

Formats: sources.list(5), the deb822 style (``*.sources``) and the one-line style (``*.list``). The mirror and the keyring stay
those of the machine, so nothing here knows a host name. Must not know: files, programs.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["ArchiveSource", "debian_source"]

_SUITES: Final = frozenset(
    ("stable", "oldstable", "oldoldstable", "testing", "unstable", "sid", "bullseye", "bookworm", "trixie", "forky", "duke")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveSource:
    """A Debian archive: where it is, which keys sign it (``None``: apt's trusted keys), and whether it is trusted without."""

    uris: str
    signed_by: str | None
    is_trusted: bool = False

    def render(self, suite: str, kind: str = "deb") -> str:
        """Return a deb822 source for ``suite``, component main; ``kind`` is ``deb`` or ``deb-src``."""
        lines = [f"Types: {kind}", f"URIs: {self.uris}", f"Suites: {suite}", "Components: main"]
        if self.signed_by is not None:
            lines.append(f"Signed-By: {self.signed_by}")
        if self.is_trusted:
            lines.append("Trusted: yes")
        return "\n".join(lines) + "\n"


def debian_source(files: Mapping[str, str], *, keyrings: Iterable[str] = ()) -> ArchiveSource:
    """Return the Debian archive that ``files`` (apt's source files, name → text) use.

    An entry counts when it is enabled, is for packages, has component main and names a release of Debian: other vendors' archives
    do not, nor do security and update entries. ``keyrings`` are Debian keyrings the machine has; the first stands in for an entry
    that names none. Raises :class:`HostError` when there is no such entry.
    """
    fallback = next(iter(keyrings), None)
    entries = [entry for name, text in sorted(files.items()) for entry in _entries(name, text)]
    # A mirror of Debian nearly always has the name in its path; that decides where vendors reuse Debian's suite names.
    entries.sort(key=lambda entry: "debian" not in entry.uris)
    if not entries:
        msg = "apt's sources on this machine name no Debian archive"
        raise HostError(msg, hint="components of kind deb need a Debian machine, or one whose apt sources name a Debian mirror")
    found = entries[0]
    return found if found.signed_by is not None else replace(found, signed_by=fallback)


def _entries(name: str, text: str) -> Iterator[ArchiveSource]:
    return _stanzas(text) if name.endswith(".sources") else _lines(text)


def _stanzas(text: str) -> Iterator[ArchiveSource]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for stanza in re.split(r"\n[ \t]*\n", "\n".join(lines)):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1] in {" ", "\t"} and key:
                fields[key] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                key = key.strip().lower()
                fields[key] = value.strip()
        if not _is_yes(fields.get("enabled", "yes")):
            continue
        if "deb" in fields.get("types", "").split() and _is_debian(
            fields.get("suites", "").split(), fields.get("components", "")
        ):
            yield ArchiveSource(
                uris=" ".join(fields.get("uris", "").split()),
                signed_by=fields.get("signed-by") or None,
                is_trusted=_is_yes(fields.get("trusted", "")),
            )


def _lines(text: str) -> Iterator[ArchiveSource]:
    for line in text.splitlines():
        found = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s*)?(.*)", line.partition("#")[0])
        if found is None:
            continue
        words = found[2].split()
        if len(words) < 3 or not _is_debian(words[1:2], " ".join(words[2:])):
            continue
        options = dict(option.partition("=")[::2] for option in shlex.split(found[1] or ""))
        signed_by = options.get("signed-by")
        yield ArchiveSource(
            uris=words[0],
            signed_by=signed_by.replace(",", " ") if signed_by else None,
            is_trusted=_is_yes(options.get("trusted", "")),
        )


def _is_debian(suites: list[str], components: str) -> bool:
    return any(suite in _SUITES for suite in suites) and "main" in components.split()


def _is_yes(text: str) -> bool:
    """Read a truth value as apt does."""
    return text.strip().lower() in {"yes", "true", "with", "on", "enable", "1"}
