"""Custom runtimes: what a user may call them and build them on, and the variants that are synthesized (installer specification
§11, §12.1, D3, D20).

Must not know where the list is read from.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.relpath import quoted
from kata_bundle.node.config.model import DNS_LABEL, CustomRuntime
from kata_bundle.node.handlers import Variant, handler, variant_handler

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.node.config.model import ShimMapping
    from kata_bundle.node.config.problems import Problems
    from kata_bundle.node.shimfacts import Facts

__all__ = ["check_custom_runtimes", "check_drop_in", "reserved_handlers", "variants"]


def reserved_handlers(facts: Facts, shims: Iterable[str], suffix: str | None) -> dict[str, str]:
    """Return handler → shim for every handler that belongs to a shim, known or configured, or to a variant of one."""
    found = {}
    for shim in dict.fromkeys([*facts.shims, *shims]):
        for name in (handler(shim, suffix), *(variant_handler(shim, suffix, variant) for variant in Variant)):
            found[name] = shim
    return found


def check_custom_runtimes(
    runtimes: Iterable[CustomRuntime], reserved: dict[str, str], facts: Facts, problems: Problems, *, name: str
) -> None:
    """Add to ``problems`` what is wrong with the user's ``runtimes``; ``name`` is where they were listed."""
    seen: set[str] = set()
    for runtime in runtimes:
        shown = quoted(runtime.handler)
        if not DNS_LABEL.fullmatch(runtime.handler):
            problems.add(
                "bad_handler",
                f"{name}: {shown} cannot be a handler",
                hint="a handler has 1 to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
            )
        elif runtime.handler in seen:
            problems.add("duplicate_handler", f"{name}: handler {shown} stands twice")
        elif runtime.handler in reserved:
            problems.add(
                "reserved_handler",
                f'{name}: handler {shown} belongs to shim "{reserved[runtime.handler]}"',
                hint="give the custom runtime a name of its own",
            )
        seen.add(runtime.handler)
        known = facts.shims.get(runtime.base)
        if known is None or known.is_alias:
            suggestion = did_you_mean(runtime.base, facts.shims)
            usable = ", ".join(shim for shim, entry in facts.shims.items() if not entry.is_alias)
            problems.add(
                "unknown_shim",
                f"{name}: custom runtime {shown} is based on {quoted(runtime.base)}, which is no shim; shims: {usable}",
                hint=suggestion,
            )
        if runtime.drop_in is not None:
            check_drop_in(runtime.drop_in, problems, what=f"the drop-in of custom runtime {shown}")


def check_drop_in(data: bytes, problems: Problems, *, what: str) -> None:
    """Add a problem when a user's drop-in is not TOML: the runtime would refuse every pod of that handler."""
    try:
        tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.add("bad_drop_in", f"{what} is not valid TOML: {error}")


def variants(
    shims: Iterable[str],
    suffix: str | None,
    *,
    snapshotters: ShimMapping,
    pull_types: ShimMapping,
    debug: bool,
    devkit: bool,
    taken: Iterable[str],
) -> tuple[CustomRuntime, ...]:
    """Return the debug variants of ``shims``, then the devkit variants, without those whose handler is ``taken``.

    They pull images the way their shim does.
    """
    names = set(taken)
    wanted = [variant for variant, is_on in ((Variant.DEBUG, debug), (Variant.DEVKIT, devkit)) if is_on]
    return tuple(
        CustomRuntime(
            handler=name,
            base=shim,
            snapshotter=snapshotters.lookup(shim),
            pull_type=pull_types.lookup(shim),
            is_debug=True,
            is_devkit=variant is Variant.DEVKIT,
        )
        for variant in wanted
        for shim in shims
        if (name := variant_handler(shim, suffix, variant)) not in names
    )
