"""Where each handler's configuration lies, below the install directory and as the container runtime is told.

Source: installer specification §4, §6 and §11. Must not know what is in the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath
from kata_bundle.node.cri.model import RuntimeHandler
from kata_bundle.node.handlers import handler

if TYPE_CHECKING:
    from kata_bundle.node.config.model import CustomRuntime, NodeConfig
    from kata_bundle.node.shimfacts import Facts, ShimFacts

__all__ = ["CUSTOM_ROOT", "ConfigPlace", "custom_place", "runtime_handlers", "shim_place"]

CUSTOM_ROOT: Final = "share/defaults/kata-containers/custom-runtimes"
"""Directory of custom runtimes, also of those based on runtime-rs shims."""


@record
class ConfigPlace:
    """One handler's own directory and the configuration file in it."""

    directory: str
    file_name: str

    @property
    def config(self) -> RelPath:
        """The configuration file."""
        return RelPath(f"{self.directory}/{self.file_name}")

    @property
    def drop_ins(self) -> RelPath:
        """The directory of drop-ins, beside the real file."""
        return RelPath(f"{self.directory}/config.d")

    def drop_in(self, name: str) -> RelPath:
        """Return the path of the drop-in called ``name``."""
        return RelPath(f"{self.drop_ins}/{name}")


def shim_place(shim: ShimFacts) -> ConfigPlace:
    """Return the place of a standard shim."""
    return ConfigPlace(directory=shim.own_directory, file_name=shim.config_file)


def custom_place(runtime: CustomRuntime, base: ShimFacts) -> ConfigPlace:
    """Return the place of a custom runtime or variant."""
    return ConfigPlace(directory=f"{CUSTOM_ROOT}/{runtime.handler}", file_name=base.config_file)


def runtime_handlers(config: NodeConfig, facts: Facts) -> tuple[RuntimeHandler, ...]:
    """Return what the container runtime has to offer: the shims, then custom runtimes and variants, in order.

    Raises :class:`UnknownShimError` for a shim that nothing is known of.
    """
    found = []
    for name in config.shims:
        shim = facts.shim(name)
        found.append(
            RuntimeHandler(
                name=handler(name, config.suffix),
                shim=name,
                is_rust=shim.is_rust,
                runtime_path=f"{config.dest}/{shim.shim_binary}",
                config_path=f"{config.dest}/{shim_place(shim).config}",
                snapshotter=config.snapshotters.lookup(name),
                pull_type=config.pull_types.lookup(name),
            )
        )
    for custom in config.custom_runtimes:
        base = facts.shim(custom.base)
        found.append(
            RuntimeHandler(
                name=custom.handler,
                shim=custom.base,
                is_rust=base.is_rust,
                runtime_path=f"{config.dest}/{base.shim_binary}",
                config_path=f"{config.dest}/{custom_place(custom, base).config}",
                snapshotter=custom.snapshotter,
                pull_type=custom.pull_type,
            )
        )
    return tuple(found)
