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
    shims.toml, components.toml, runtimeclasses.toml, upstream.toml and one arches/<architecture>.toml for each architecture.

    Repair: restore the file, or name the right folder with --manifests.

    False alarm: none.
    """,
)
declare(
    refusal.NOT_UTF8,
    "a document is not UTF-8",
    """
    Manifests are UTF-8 text. The place shown is the first byte that is not; save the file in that encoding.

    Repair: save the file as UTF-8.

    False alarm: none.
    """,
)
declare(
    refusal.SYNTAX,
    "a document has a syntax error",
    """
    The file is not JSON (RFC 8259), TOML 1.0 or YAML 1.2 as its name says. Only the first mistake of a file is shown, since what
    follows it cannot be trusted. A bracket or quote that is never closed is shown where it ought to close.

    Repair: correct the syntax at the place shown, or just before it.

    False alarm: none; other programs may read more than the standard allows.
    """,
)
declare(
    refusal.DUPLICATE,
    "a key is given twice",
    """
    Readers of JSON and YAML silently take one of the two values, and not all take the same one. Remove one of them; the message
    says where the first one stands.

    Repair: keep the one that is meant.

    False alarm: none.
    """,
)
declare(
    refusal.LIMIT,
    "a document is too large, too deep or stands for too much",
    """
    A document may have 4 MiB, 48 levels of nesting and a million values, those behind YAML aliases counted as often as they are
    referred to. What is beyond is a mistake or an attack, and would take time and memory out of proportion.

    Repair: split the document, or write out what aliases stand for.

    False alarm: a real catalog beyond these limits is not known; tell us about yours.
    """,
)
declare(
    refusal.NOT_PLAIN,
    "a value is of a kind that not every format can hold",
    """
    NaN and infinities, keys that are not texts, half surrogate pairs, YAML tags and aliases that stand inside what they name
    cannot be carried into the other formats that are made from the manifests.

    Repair: write a plain value: a number, a text in quotes.

    False alarm: none.
    """,
)
declare(
    validation.UNKNOWN_KEY,
    "an unknown key",
    """
    The key has no meaning at this place. Most often it is misspelt, or stands in the wrong table: a TOML key belongs to the last
    header above it. An unknown key is an error, because what somebody wanted to say with it would not happen.

    Repair: correct the spelling, or move the key below the header of its table.

    False alarm: a key of a newer version of the manifests: use the program of that version.
    """,
)
declare(
    validation.MISSING_KEY,
    "a missing key",
    """
    The table shown needs a key that it does not have. Nothing stands for it: there are no hidden defaults.

    Repair: add the key.

    False alarm: a table header with a misspelt name looks like a new, incomplete table: correct the name.
    """,
)
declare(
    validation.WRONG_TYPE,
    "a value of the wrong type",
    """
    Nothing is converted: "2048" is a text, 2048 a number; "true" is a text, true is not.

    Repair: give the value its type; mind the quotes.

    False alarm: none.
    """,
)
declare(
    validation.NOT_ALLOWED,
    "a value that is not among the allowed ones",
    """
    The value is one of a fixed list, which the message shows. Architectures are named as by uname: x86_64, aarch64, s390x,
    ppc64le, never amd64 or arm64.

    Repair: use one of the values that the message lists.

    False alarm: none.
    """,
)
declare(
    validation.MALFORMED,
    "a malformed value",
    """
    The value is of the right type, but outside its range or not spelt as its kind is: a name, a path, a quantity, a code.

    Repair: spell the value as the message says.

    False alarm: none.
    """,
)
declare(
    IGNORE_UNUSED,
    "an ignore that matches nothing",
    """
    ignores.toml accepts a finding that is not there any more. Remove the entry: it would hide the next one like it. It is a
    finding only when all documents could be read.

    Repair: remove the entry, or correct the key that the finding stands at.

    False alarm: none; a finding that comes and goes is worth a look.
    """,
)
declare(
    IGNORE_REFUSED,
    "an ignore that cannot be",
    """
    ignores.toml accepts a code that does not exist, or one without whose correction there can be no catalog (a name that leads
    nowhere, a document that cannot be read). Such a finding has to be repaired.

    Repair: remove the entry and repair what it accepts.

    False alarm: none.
    """,
)
