"""Kernel parameters that are added to a shim's own (installer specification §8).

One file carries them all, because a drop-in replaces a text. Must not know where the file lies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kata_bundle.node.config.model import ProxySetting

__all__ = ["DEBUG_PARAMETERS", "added_parameters", "joined"]

DEBUG_PARAMETERS: Final = ("agent.log=debug", "initcall_debug")


def added_parameters(shim: str, https_proxy: ProxySetting, no_proxy: ProxySetting, *, is_debug: bool) -> tuple[str, ...]:
    """Return the parameters to add for ``shim``: its proxies, then those of a debug variant."""
    proxies = {"agent.https_proxy": https_proxy.value_for(shim), "agent.no_proxy": no_proxy.value_for(shim)}
    found = tuple(f"{name}={value}" for name, value in proxies.items() if value)
    return found + DEBUG_PARAMETERS if is_debug else found


def joined(base: str, added: tuple[str, ...]) -> str:
    """Return the whole kernel command line: the shim's own parameters, then the ``added`` ones."""
    return " ".join([base, *added] if base else added)
