"""How settings are spelled in environment variables and in the list of custom runtimes: text to values, trimmed once (D15).

Source of the syntax: installer specification §2.1, §2.2 and §11. Must not know which names are allowed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.node.config.model import DEFAULT_HEALTH_PORT, AnnotationRule, CustomRuntime, ProxySetting, ShimMapping

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.node.config.problems import Problems

__all__ = [
    "clean_proxy",
    "is_true",
    "parse_annotations",
    "parse_custom_runtimes",
    "parse_list",
    "parse_mapping",
    "parse_port",
    "parse_proxy",
    "parse_taints",
]

_SHIM_LIKE = re.compile(r"[A-Za-z0-9_-]+")
"""A word that may be a shim's name: no colon, dot, slash or at sign, as a proxy's address would have."""
_COMMA = re.compile(r"\s*,\s*")


def is_true(text: str) -> bool:
    """Return whether ``DEBUG``'s text says yes: ``true`` in any case, or ``1`` (D29)."""
    return text.strip().lower() in {"true", "1"}


def parse_list(text: str) -> tuple[str, ...]:
    """Return the comma-separated words of ``text``, trimmed, without empty ones (D32) and repeats."""
    return tuple(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def parse_taints(text: str) -> tuple[str, ...]:
    """Return the items of ``text`` between commas and white space."""
    return tuple(item for item in re.split(r"[,\s]+", text) if item)


def parse_mapping(text: str) -> ShimMapping:
    """Return the entries of ``shim:value,shim:value``; blank entries are dropped, malformed ones kept for the checks."""
    entries = (tuple(part.strip() for part in entry.split(":")) for entry in text.split(",") if entry.strip())
    return ShimMapping(tuple(entries))


def parse_port(text: str | None) -> tuple[int, str | None]:
    """Return the port that ``HEALTH_PORT`` names and a warning when its text had to be replaced by the default (D18).

    Unset is the default without a warning; anything but a number from 1 to 65535 is the default with one.
    """
    if text is None:
        return DEFAULT_HEALTH_PORT, None
    if text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= 65535:
        return int(text), None
    return DEFAULT_HEALTH_PORT, f'HEALTH_PORT is "{text}", expected a number from 1 to 65535; using {DEFAULT_HEALTH_PORT}'


def parse_annotations(text: str, problems: Problems, *, name: str) -> tuple[AnnotationRule, ...]:
    """Return the white-space separated entries ``annotation`` or ``shim:annotation,annotation`` of ``text``.

    An entry for no shim at all (``:x``) is left out with a warning, as nothing could match it.
    """
    rules = []
    for entry in text.split():
        shim, colon, names = entry.partition(":")
        annotations = parse_list(names if colon else shim)
        if colon and not shim:
            problems.warn(f'{name}: entry "{entry}" names no shim before ":" and is ignored')
        elif annotations:
            rules.append(AnnotationRule(shim=shim if colon else None, annotations=annotations))
    return tuple(rules)


def parse_proxy(text: str, problems: Problems, *, name: str) -> ProxySetting:
    """Return the proxies of ``value`` or ``shim=value;shim=value``.

    The second form is meant only when a single word stands before the first ``=`` (D16): an address with ``=`` in it has a colon,
    slash or at sign before. Entries that name no shim or have no value are left out with a warning. White space around commas
    goes, since a kernel parameter ends at a blank; elsewhere inside a value it is a problem.
    """
    text = text.strip()
    entries = [entry.strip() for entry in text.split(";") if entry.strip()]
    first, equals, _ = (entries[0] if entries else "").partition("=")
    if not (equals and (not first.strip() or _SHIM_LIKE.fullmatch(first.strip()))):
        return ProxySetting(everywhere=clean_proxy(text, problems, name) or None)
    found: list[tuple[str, str]] = []
    for entry in entries:
        shim, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or not shim:
            # The entry may hold credentials, so the message does not repeat it.
            problems.warn(f"{name}: an entry without a shim name before its value is ignored")
        elif value:
            found.append((shim, clean_proxy(value, problems, name)))
    return ProxySetting(per_shim=tuple(found))


def clean_proxy(value: str, problems: Problems, name: str) -> str:
    """Return one proxy value without white space around commas; other white space is added to ``problems``."""
    value = _COMMA.sub(",", value)
    if any(character.isspace() or not character.isprintable() for character in value):
        problems.add(
            "bad_proxy",
            f"{name}: a value has white space or control characters inside, which a kernel parameter cannot hold",
            hint="separate names by commas; give other characters in their URL-encoded form",
        )
    return value


def parse_custom_runtimes(
    text: str, drop_in: Callable[[str], bytes | None], problems: Problems, *, name: str
) -> tuple[CustomRuntime, ...]:
    """Return the runtimes of a list file: ``handler:base[:snapshotter[:pull type]]`` per line, further fields ignored.

    ``drop_in`` gives the content of a handler's drop-in, ``None`` when it has none. Lines without a handler are skipped; a
    handler without a base is a problem.
    """
    runtimes = []
    for line in text.splitlines():
        handler, base, snapshotter, pull_type, *_ = [part.strip() for part in line.split(":")] + [""] * 3
        if not handler:
            continue
        if not base:
            problems.add(
                "missing_base_config",
                f'{name}: custom runtime "{handler}" names no base configuration',
                hint="write handler:shim:snapshotter:pull-type, the last two may be empty",
            )
            continue
        runtimes.append(
            CustomRuntime(
                handler=handler,
                base=base,
                snapshotter=snapshotter or None,
                pull_type=pull_type or None,
                drop_in=drop_in(handler),
            )
        )
    return tuple(runtimes)
