"""From a configuration to what has to be installed: shims and components to ask a source for, and what its answer leaves.

Source: installer specification §5.2, §12 and §13 with D3. Must not know how a source is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import replace
from kata_bundle.node.kata.devkit import COMPONENT as DEVKIT_COMPONENT
from kata_bundle.node.kata.reconcile import wanted_tools

if TYPE_CHECKING:
    from collections.abc import Collection

    from kata_bundle.node.config.model import NodeConfig

__all__ = ["extra_components", "installable"]


def extra_components(config: NodeConfig, available: Collection[str]) -> tuple[str, ...]:
    """Return the components to install beside those of the shims: the devkit's, and debug tools that are ``available``."""
    devkit = (DEVKIT_COMPONENT,) if config.devkit else ()
    return devkit + wanted_tools(debug=config.debug, available=available)


def installable(config: NodeConfig, without_row: Collection[str]) -> tuple[NodeConfig, tuple[str, ...]]:
    """Return ``config`` without the shims that have no components here, and a note for each.

    Their debug and devkit variants go with them. Raises :class:`HostError` when a custom runtime is based on one (D3).
    """
    for custom in config.custom_runtimes:
        if custom.base in without_row and not custom.is_variant:
            msg = f'custom runtime "{custom.handler}" is based on "{custom.base}", which has no components on {config.machine}'
            raise HostError(msg, hint="base it on a shim that has, or leave it out on this architecture")
    left_out = [shim for shim in config.shims if shim in without_row]
    if not left_out:
        return config, ()
    shims = tuple(shim for shim in config.shims if shim not in without_row)
    kept = replace(
        config,
        shims=shims,
        default_shim=config.default_shim if config.default_shim in shims else next(iter(shims), None),
        forced_guest_pull=tuple(shim for shim in config.forced_guest_pull if shim in shims),
        custom_runtimes=tuple(custom for custom in config.custom_runtimes if custom.base not in without_row),
    )
    notes = tuple(f'shim "{shim}" has no components on {config.machine} and is left out' for shim in left_out)
    return kept, notes
