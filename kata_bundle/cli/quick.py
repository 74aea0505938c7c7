"""``install`` with nothing to do, answered before the command line library is imported: most installs on a node are that.

Knows the plain spellings of an install's options and looks for a record (``node.seen``) that answers exactly this request. It
refuses nothing and decides nothing: whatever it does not know, or is not so any more, is left to the command itself. A test draws
command lines and compares with the real parser. Must not import anything but ``os``, ``sys`` and the record's reader.
"""

from __future__ import annotations

import os
import sys

from kata_bundle import __file__ as _package
from kata_bundle import __version__
from kata_bundle.node.seen import FILE_NAME, facts_now, load_record, state_folder, still_true

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.node.seen import Request

__all__ = [
    "DEFAULT_DEST",
    "DEFAULT_KEEP",
    "DEFAULT_ROOT",
    "MOST_KEPT",
    "answer",
    "facts",
    "is_path",
    "plain_settings",
    "request_of",
]

DEFAULT_ROOT, DEFAULT_DEST, DEFAULT_KEEP = "/", "/opt/kata", 2
MOST_KEPT = 100

_VALUES = frozenset({"--root", "--dest", "--suffix", "--arch", "--spec", "--runtime", "--keep"})
_FLAGS = frozenset({"--payload-only", "--json", "--quiet", "-q"})


class Settings:
    """The options of one install, under the names that the command has them."""

    __slots__ = ("arch", "bundle", "dest", "json", "keep", "payload_only", "quiet", "root", "runtime", "shims", "spec", "suffix")

    def __init__(
        self,
        *,
        bundle: str,
        root: str = DEFAULT_ROOT,
        dest: str = DEFAULT_DEST,
        suffix: str | None = None,
        shims: Sequence[str] = (),
        arch: str | None = None,
        spec: str | None = None,
        runtime: str | None = None,
        keep: int = DEFAULT_KEEP,
        payload_only: bool = False,
        json: bool = False,
        quiet: bool = False,
    ) -> None:
        self.bundle, self.root, self.dest, self.suffix = bundle, root, dest, suffix
        self.shims, self.arch, self.spec, self.runtime = tuple(shims), arch, spec, runtime
        self.keep, self.payload_only, self.json, self.quiet = keep, payload_only, json, quiet


def answer(arguments: Sequence[str]) -> int | None:
    """Print the recorded answer to ``install`` with ``arguments`` and return the exit code; ``None`` when there is none."""
    if "_KATA_BUNDLE_COMPLETE" in os.environ:
        return None
    settings = plain_settings(arguments)
    if settings is None:
        return None
    folder = state_folder(settings.root, settings.dest, settings.suffix)
    record = None if folder is None else load_record(os.path.join(folder, FILE_NAME))
    if record is None or not still_true(record, request_of(settings), facts()):
        return None
    if not (record.answer.isascii() and all(line.isascii() for line in record.said)):
        return None  # how to print it depends on the terminal
    if not settings.quiet:
        sys.stderr.write("".join(f"{line}\n" for line in record.said))
    try:
        sys.stdout.write(record.answer)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def plain_settings(arguments: Sequence[str]) -> Settings | None:
    """Return what ``arguments`` say when they are spelled plainly; ``None`` for everything else, right or wrong.

    Plainly: ``--name value`` or ``--name=value``, each option but ``--shim`` once, no empty text.
    """
    values: dict[str, str] = {}
    shims: list[str] = []
    flags: set[str] = set()
    bundle: str | None = None
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word in _FLAGS:
            flags.add(word)
            continue
        if not word.startswith("-"):
            if bundle is not None or not word:
                return None
            bundle = word
            continue
        if not equals:
            value = rest.pop(0) if rest else ""
        if not value or value.startswith("-") or name in values or (name not in _VALUES and name != "--shim"):
            return None
        if name == "--shim":
            shims.append(value)
        else:
            values[name] = value
    keep = values.get("--keep", str(DEFAULT_KEEP))
    if bundle is None or not (keep.isascii() and keep.isdigit() and keep[0] != "0" and len(keep) < 4):
        return None
    return Settings(
        bundle=bundle,
        root=values.get("--root", DEFAULT_ROOT),
        dest=values.get("--dest", DEFAULT_DEST),
        suffix=values.get("--suffix"),
        shims=shims,
        arch=values.get("--arch"),
        spec=values.get("--spec"),
        runtime=values.get("--runtime"),
        keep=int(keep),
        payload_only="--payload-only" in flags,
        json="--json" in flags,
        quiet=bool({"--quiet", "-q"} & flags),
    )


def request_of(settings: Settings) -> Request:
    """Return what of ``settings`` an answer depends on; files and folders by their real paths.

    A bundle in a registry is itself when it is named by its digest; other names of it mean something else every day, so that no
    request with one may be recorded.
    """
    return (
        ("bundle", _identity(settings.bundle)),
        ("root", os.path.realpath(settings.root)),
        ("dest", settings.dest),
        ("suffix", settings.suffix or ""),
        *(("shim", shim) for shim in settings.shims),
        ("arch", settings.arch or ""),
        ("spec", os.path.realpath(settings.spec) if settings.spec else ""),
        ("runtime", settings.runtime or ""),
        ("keep", str(settings.keep)),
        ("payload-only", "yes" if settings.payload_only else "no"),
        ("json", "yes" if settings.json else "no"),
    )


def is_path(bundle: str) -> bool:
    """Return whether what is called a bundle is plainly a path, and so no name in a registry."""
    return bundle.startswith(("/", ".", "~")) or not ("/" in bundle or ":" in bundle)


def _identity(bundle: str) -> str:
    return bundle if "@sha256:" in bundle and not os.path.lexists(bundle) else os.path.realpath(bundle)


def facts() -> str:
    """Return what an answer depends on of this program and process."""
    return facts_now(__version__, str(_package))
