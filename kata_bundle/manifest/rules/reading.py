"""Codes of what is found while a document is read and while ignores are applied. Declared here so that they can be explained."""

from __future__ import annotations

from kata_bundle.manifest import refusal, validation
from kata_bundle.manifest.rules.registry import declare

__all__ = ["IGNORE_REFUSED", "IGNORE_UNUSED"]

IGNORE_UNUSED = "KB120"
IGNORE_REFUSED = "KB121"

declare(
    refusal.UNREADABLE,
    "a document cannot be read",
    """
    The file is missing, is not a regular file, or may not be read. Every folder of manifests has shim-components.json,
    shims.toml, components.toml, runtimeclasses.toml and one arches/<architecture>.toml for each architecture.
    """,
)
declare(
    refusal.NOT_UTF8,
    "a document is not UTF-8",
    "Manifests are UTF-8 text. The place shown is the first byte that is not; save the file in that encoding.",
)
declare(
    refusal.SYNTAX,
    "a document has a syntax error",
    """
    The file is not JSON (RFC 8259), TOML 1.0 or YAML 1.2 as its name says. Only the first mistake of a file is shown, since what
    follows it cannot be trusted. A bracket or quote that is never closed is shown where it ought to close.
    """,
)
declare(
    refusal.DUPLICATE,
    "a key is given twice",
    """
    Readers of JSON and YAML silently take one of the two values, and not all take the same one. Remove one of them; the message
    says where the first one stands.
    """,
)
declare(
    refusal.LIMIT,
    "a document is too large, too deep or stands for too much",
    """
    A document may have 4 MiB, 48 levels of nesting and a million values, those behind YAML aliases counted as often as they are
    referred to. What is beyond is a mistake or an attack, and would take time and memory out of proportion.
    """,
)
declare(
    refusal.NOT_PLAIN,
    "a value is of a kind that not every format can hold",
    """
    NaN and infinities, keys that are not texts, half surrogate pairs, YAML tags and aliases that stand inside what they name
    cannot be carried into the other formats that are made from the manifests.
    """,
)
declare(
    validation.UNKNOWN_KEY,
    "an unknown key",
    """
    The key has no meaning at this place. Most often it is misspelt, or stands in the wrong table: a TOML key belongs to the last
    header above it. An unknown key is an error, because what somebody wanted to say with it would not happen.
    """,
)
declare(
    validation.MISSING_KEY,
    "a missing key",
    "The table shown needs a key that it does not have. Nothing stands for it: there are no hidden defaults.",
)
declare(
    validation.WRONG_TYPE,
    "a value of the wrong type",
    'Nothing is converted: "2048" is a text, 2048 a number; "true" is a text, true is not.',
)
declare(
    validation.NOT_ALLOWED,
    "a value that is not among the allowed ones",
    """
    The value is one of a fixed list, which the message shows. Architectures are named as by uname: x86_64, aarch64, s390x,
    ppc64le, never amd64 or arm64.
    """,
)
declare(
    validation.MALFORMED,
    "a malformed value",
    "The value is of the right type, but outside its range or not spelt as its kind is: a name, a path, a quantity, a code.",
)
declare(
    IGNORE_UNUSED,
    "an ignore that matches nothing",
    """
    ignores.toml accepts a finding that is not there any more. Remove the entry: it would hide the next one like it. It is a
    finding only when all documents could be read.
    """,
)
declare(
    IGNORE_REFUSED,
    "an ignore that cannot be",
    """
    ignores.toml accepts a code that does not exist, or one without whose correction there can be no catalog (a name that leads
    nowhere, a document that cannot be read). Such a finding has to be repaired.
    """,
)
