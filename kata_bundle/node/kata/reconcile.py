"""What an earlier install left and this one does not want (installer specification §7, §12.4, §13).

Generated files begin from nothing in every generation, so this is about two things only: payload files that may be there without
being wanted, and what users put into directories that no longer exist. Must not know how an install is carried out.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from kata_bundle.core.relpath import RelPath
from kata_bundle.node.handlers import Variant, variant_handler
from kata_bundle.node.kata import devkit
from kata_bundle.node.kata.places import CUSTOM_ROOT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kata_bundle.node.config.model import NodeConfig
    from kata_bundle.node.shimfacts import Facts

__all__ = ["DEBUG_TOOLS", "is_still_wanted", "stale_debug_handlers", "stale_devkit_handlers", "unwanted_files", "wanted_tools"]

DEBUG_TOOLS: Final[Mapping[str, tuple[RelPath, ...]]] = {"kata-ctl": (RelPath("bin/kata-ctl"),)}
"""Component → its files, for components that are installed with ``DEBUG`` only."""

_DEBUG_PATTERN: Final = "kata-*-debug"


def stale_debug_handlers(directories: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """Return those ``directories`` of custom runtimes that belong to debug variants which are no handlers any more."""
    return tuple(name for name in directories if fnmatchcase(name, _DEBUG_PATTERN) and name not in known)


def stale_devkit_handlers(
    directories: Iterable[str], known: Collection[str], suffix: str | None, facts: Facts
) -> tuple[str, ...]:
    """Return those ``directories`` that belong to this install's devkit variants which are no handlers any more."""
    ours = {variant_handler(shim, suffix, Variant.DEVKIT) for shim in facts.shims}
    return tuple(name for name in directories if name in ours and name not in known)


def is_still_wanted(path: RelPath, config: NodeConfig, facts: Facts) -> bool:
    """Return whether a user's file at ``path`` of an earlier generation goes into the next one.

    Files in directories of former variants do not: a directory that exists would look like a handler. All others do, also those
    for shims that are not configured at present.
    """
    if not path.startswith(f"{CUSTOM_ROOT}/"):
        return True
    directory = path[len(CUSTOM_ROOT) + 1 :].split("/", 1)[0]
    known = {runtime.handler for runtime in config.custom_runtimes}
    return not stale_debug_handlers([directory], known) and not stale_devkit_handlers([directory], known, config.suffix, facts)


def wanted_tools(*, debug: bool, available: Collection[str]) -> tuple[str, ...]:
    """Return the components of debug tools to install: with ``debug`` those that are ``available``, else none."""
    return tuple(component for component in DEBUG_TOOLS if debug and component in available)


def unwanted_files(*, debug: bool, devkit_is_on: bool) -> frozenset[RelPath]:
    """Return files to leave out whoever brings them: debug tools without ``debug``, the devkit's without devkit."""
    tools = [] if debug else [path for paths in DEBUG_TOOLS.values() for path in paths]
    return frozenset([*tools, *([] if devkit_is_on else [devkit.IMAGE, devkit.ROOT_HASH])])
