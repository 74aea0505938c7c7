"""What the making of a component may know from the catalog, and nothing more.

A recipe is carried out with these facts alone, and the rule key covers all of them: so nothing can change a component without
changing its key. Must not know: rules, packages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import UsageError

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog, RuntimeFamily, ShimConfig

__all__ = ["ComponentFacts", "ConfigFacts", "facts_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigFacts:
    """A configuration file of a shim: its path below ``opt/kata`` and its values."""

    shim: str
    path: str
    family: RuntimeFamily
    config: ShimConfig

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"shim": self.shim, "path": self.path, "family": self.family.value, "config": self.config.to_dict()}


@dataclass(frozen=True, kw_only=True, slots=True)
class ComponentFacts:
    """A component on one architecture: the paths below ``opt/kata`` it has to provide, and the configurations it carries."""

    component: str
    arch: Arch
    outputs: tuple[str, ...]
    configs: tuple[ConfigFacts, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "component": self.component,
            "arch": self.arch.value,
            "outputs": list(self.outputs),
            "configs": [config.to_dict() for config in self.configs],
        }


def facts_of(catalog: Catalog, component: str, arch: Arch) -> ComponentFacts:
    """Return the facts; raise :class:`UsageError` for a component that is unknown or has no outputs on ``arch``."""
    known = catalog.components.get(component)
    if known is None:
        msg = f'unknown component "{component}"'
        raise UsageError(
            msg, hint=did_you_mean(component, catalog.components) or "kata-bundle list components shows the known ones"
        )
    outputs = known.outputs.get(arch, ())
    # Parts of guests are shipped inside images alone, so nothing of them is declared below opt/kata.
    if not outputs and not (known.is_guest_part and arch in known.arches):
        msg = f'component "{component}" does not exist on {arch}'
        where = ", ".join(known.outputs)
        raise UsageError(msg, hint=f"it exists on {where}" if where else "nothing ships it")
    configs = [
        ConfigFacts(
            shim=shim.name,
            path=f"{shim.config_directory}/{shim.config_file}",
            family=shim.family,
            config=shim.configs[arch],
        )
        for shim in catalog.shims.values()
        if shim.shim_component == component and arch in shim.configs and shim.config_file is not None
    ]
    return ComponentFacts(
        component=component,
        arch=arch,
        outputs=tuple(sorted(outputs)),
        configs=tuple(sorted(configs, key=lambda config: config.path)),
    )
