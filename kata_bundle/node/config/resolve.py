"""Settings to the effective configuration: defaults filled in, every check made, all problems reported at once.

Source of defaults and checks: installer specification §2, §3, §11 and §12.1 with D3, D12 to D16, D20 and D32. Must not know how a
source spells settings, nor look at a host.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.record import field, record
from kata_bundle.core.relpath import quoted
from kata_bundle.node.config.custom import check_custom_runtimes, check_drop_in, reserved_handlers, variants
from kata_bundle.node.config.model import (
    DEFAULT_CONTAINERD_CONFIG,
    DEFAULT_HEALTH_PORT,
    DNS_LABEL,
    ErofsSize,
    MergeMode,
    NodeConfig,
    ProxySetting,
    ShimMapping,
)
from kata_bundle.node.config.problems import Problems
from kata_bundle.node.config.settings import BUILT_IN, Given, Origin, OriginKind
from kata_bundle.node.handlers import Variant, handler, variant_handler

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.node.config.model import CustomRuntime
    from kata_bundle.node.config.settings import Settings
    from kata_bundle.node.shimfacts import Facts

__all__ = ["Effective", "resolve"]

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_SUFFIX: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?")
_MAX_HANDLER: Final = 63
"""Longest handler that a RuntimeClass takes (a DNS label)."""


@record
class Effective:
    """A configuration that can be used, the origin of each of its members by name, and what people should know about it."""

    config: NodeConfig
    origins: Mapping[str, Origin]
    warnings: tuple[str, ...]


@record(kw_only=False, frozen=False)
class _Resolution:
    """One resolution under way."""

    settings: Settings
    facts: Facts
    machine: str
    problems: Problems
    origins: dict[str, Origin] = field(default_factory=dict)

    def take(self, name: str, given: Given[T] | None, default: T) -> T:
        """Return the value of member ``name`` of the configuration, and remember its origin."""
        self.origins[name] = BUILT_IN if given is None else given.origin
        return default if given is None else given.value

    def optional(self, name: str, given: Given[T] | None) -> T | None:
        """Return the value of member ``name``, ``None`` when it was not given, and remember its origin."""
        self.origins[name] = BUILT_IN if given is None else given.origin
        return None if given is None else given.value

    def derive(self, name: str, source: str) -> None:
        """Remember that member ``name`` follows from something else."""
        self.origins[name] = Origin(kind=OriginKind.DERIVED, name=source)

    def label(self, name: str, otherwise: str) -> str:
        """Return what messages call member ``name``: its variable, key or option."""
        origin = self.origins.get(name)
        return otherwise if origin is None or origin == BUILT_IN else origin.name


def resolve(settings: Settings, machine: str, facts: Facts, problems: Problems | None = None) -> Effective:
    """Return the effective configuration on ``machine`` (kernel's name). ``problems`` may hold what reading found.

    Raises :class:`ConfigError` with everything that is wrong.
    """
    it = _Resolution(settings, facts, machine, problems or Problems())
    shims = _shims(it)
    suffix = _suffix(it)
    prefix = _prefix(it)
    snapshotters = it.take("snapshotters", settings.snapshotters, ShimMapping())
    pull_types = it.take("pull_types", settings.pull_types, ShimMapping())
    debug = it.take("debug", settings.debug, default=False)
    devkit = _devkit(it, debug=debug)
    own = it.take("custom_runtimes", settings.custom_runtimes, ())
    custom = own + variants(
        shims,
        suffix,
        snapshotters=snapshotters,
        pull_types=pull_types,
        debug=debug,
        devkit=devkit,
        taken=[runtime.handler for runtime in own],
    )
    if debug and not own:
        it.derive("custom_runtimes", it.label("debug", "DEBUG"))
    config = NodeConfig(
        machine=machine,
        node_name=_node_name(it),
        daemonset_name=it.take("daemonset_name", settings.daemonset_name, "kata-deploy"),
        debug=debug,
        devkit=devkit,
        shims=shims,
        default_shim=_default_shim(it, shims),
        annotation_rules=it.take("annotation_rules", settings.annotation_rules, ()),
        snapshotters=snapshotters,
        pull_types=pull_types,
        forced_guest_pull=it.take("forced_guest_pull", settings.forced_guest_pull, ()),
        https_proxy=it.take("https_proxy", settings.https_proxy, ProxySetting()),
        no_proxy=it.take("no_proxy", settings.no_proxy, ProxySetting()),
        installation_prefix=prefix,
        suffix=suffix,
        install_directory=it.optional("install_directory", settings.install_directory),
        snapshotter_setup=it.take("snapshotter_setup", settings.snapshotter_setup, ()),
        erofs_merge_mode=_choice(it, "erofs_merge_mode", settings.erofs_merge_mode, MergeMode, "EROFS_MERGE_MODE"),
        erofs_size=_choice(it, "erofs_size", settings.erofs_size, ErofsSize, "EROFS_SNAPSHOTTER_MODE"),
        erofs_dmverity=it.take("erofs_dmverity", settings.erofs_dmverity, default=False),
        containerd_config_name=_config_name(it),
        containerd_user_drop_in=it.optional("containerd_user_drop_in", settings.containerd_user_drop_in),
        custom_runtimes=custom,
        shim_drop_ins=_drop_ins(it, shims),
        startup_taints=it.take("startup_taints", settings.startup_taints, ()),
        runtime_version=it.optional("runtime_version", settings.runtime_version),
        distribution=it.optional("distribution", settings.distribution),
        health_port=it.take("health_port", settings.health_port, DEFAULT_HEALTH_PORT),
        machine_id=it.optional("machine_id", settings.machine_id),
        post_delete_hook=it.take("post_delete_hook", settings.post_delete_hook, default=False),
    )
    _check_references(it, config)
    _check_handlers(it, config, own)
    it.problems.raise_if_any()
    return Effective(config=config, origins=it.origins, warnings=it.problems.warnings)


def _shims(it: _Resolution) -> tuple[str, ...]:
    shims = it.take("shims", it.settings.shims, it.facts.defaults(it.machine).default_shims)
    label = it.label("shims", "SHIMS")
    unique = tuple(dict.fromkeys(shims))
    for shim in unique:
        known = it.facts.shims.get(shim)
        if not DNS_LABEL.fullmatch(shim):
            it.problems.add(
                "bad_shim_name",
                f"{label}: {quoted(shim)} cannot be the name of a shim",
                hint="shim names have lower-case letters, digits and '-' only",
            )
        elif known is None:
            suggestion = did_you_mean(shim, it.facts.shims)
            it.problems.warn(f'{label}: "{shim}" is no shim that is known here' + (f"; {suggestion}" if suggestion else ""))
        elif known.is_alias:
            it.problems.warn(f'{label}: "{shim}" is only another name and brings no components; use "fc"')
        elif it.machine not in known.arches:
            it.problems.warn(f'{label}: shim "{shim}" has no components on {it.machine} and will be left out')
    if len(unique) != len(shims):
        it.problems.warn(f"{label}: a shim stands twice; it counts once")
    return unique


def _default_shim(it: _Resolution, shims: tuple[str, ...]) -> str | None:
    """Return the default shim. An unset one that is not configured gives way to the first configured shim (D12)."""
    given = it.settings.default_shim
    chosen = it.take("default_shim", given, it.facts.defaults(it.machine).default_shim)
    if not shims:
        return chosen if given is not None else None
    if given is None and chosen not in shims:
        it.derive("default_shim", it.label("shims", "SHIMS"))
        return shims[0]
    label = it.label("default_shim", "DEFAULT_SHIM")
    if not chosen.strip():
        it.problems.add("default_shim", f"{label} is blank", hint=f"name one of: {', '.join(shims)}")
    elif chosen not in shims:
        it.problems.add("default_shim", f"{label} is {quoted(chosen)}, which is none of the configured shims: {', '.join(shims)}")
    return chosen


def _node_name(it: _Resolution) -> str | None:
    name = it.optional("node_name", it.settings.node_name)
    if name is None and it.settings.requires_node_name:
        it.problems.add("missing_node_name", "NODE_NAME is missing, empty or blank", hint="set it to the name of the Node object")
    return name


def _devkit(it: _Resolution, *, debug: bool) -> bool:
    wanted = it.take("devkit", it.settings.devkit, default=False)
    if wanted and not debug:
        it.problems.warn(f"{it.label('devkit', 'DEVKIT')} has no effect without {it.label('debug', 'DEBUG')}")
    return wanted and debug


def _suffix(it: _Resolution) -> str | None:
    suffix = it.optional("suffix", it.settings.suffix)
    if suffix is not None and not _SUFFIX.fullmatch(suffix):
        it.problems.add(
            "bad_suffix",
            f"{it.label('suffix', 'MULTI_INSTALL_SUFFIX')} is {quoted(suffix)}, which is not allowed",
            hint="a suffix has 1 to 30 lower-case letters, digits and '-', beginning and ending with a letter or digit",
        )
    return suffix


def _prefix(it: _Resolution) -> str | None:
    """Return the installation prefix without doubled and trailing slashes; the root directory counts as none."""
    prefix = it.optional("installation_prefix", it.settings.installation_prefix)
    if prefix is None:
        return None
    label = it.label("installation_prefix", "INSTALLATION_PREFIX")
    if not prefix.startswith("/"):
        it.problems.add("bad_installation_prefix", f'{label} is {quoted(prefix)}, but has to begin with "/"')
    elif ".." in prefix.split("/") or not prefix.isprintable():
        it.problems.add("bad_installation_prefix", f'{label} is {quoted(prefix)}: ".." and control characters are not allowed')
    parts = [part for part in prefix.split("/") if part not in {"", "."}]
    return "/" + "/".join(parts) if parts else None


def _choice(it: _Resolution, name: str, given: Given[str] | None, allowed: type[E], variable: str) -> E | None:
    text = it.optional(name, given)
    if text is None:
        return None
    if text not in set(allowed):
        choices = " or ".join(f'"{choice}"' for choice in allowed)
        it.problems.add(f"bad_{variable.lower()}", f"{it.label(name, variable)} is {quoted(text)}, expected {choices}")
        return None
    return allowed(text)


def _config_name(it: _Resolution) -> str:
    name = it.take("containerd_config_name", it.settings.containerd_config_name, DEFAULT_CONTAINERD_CONFIG)
    if "/" in name or name in {".", ".."} or not name.isprintable():
        it.problems.add(
            "bad_config_file_name",
            f"{it.label('containerd_config_name', 'CONTAINERD_CONFIG_FILE_NAME')} is {quoted(name)}, expected a simple file name",
            hint="the folder is chosen by the mount; give the name of a file in it, such as config.toml",
        )
    return name


def _drop_ins(it: _Resolution, shims: tuple[str, ...]) -> dict[str, bytes]:
    """Return the drop-ins of configured shims; the others are for custom handlers or for other architectures."""
    given = it.take("shim_drop_ins", it.settings.shim_drop_ins, {})
    found = {shim: given[shim] for shim in shims if shim in given}
    for shim, data in found.items():
        check_drop_in(data, it.problems, what=f'the drop-in of shim "{shim}"')
    return found


def _check_references(it: _Resolution, config: NodeConfig) -> None:
    """Check that every setting that names shims names configured ones (installer specification §2.3, points 1 and 3 to 7)."""
    if not config.shims and not config.custom_runtimes:
        it.problems.add(
            "no_runtimes",
            f"nothing to install: {it.label('shims', 'SHIMS')} names no shim and CUSTOM_RUNTIMES_ENABLED gives no custom runtime",
        )
    named: dict[str, tuple[str, Iterable[str]]] = {
        "annotation_rules": ("ALLOWED_HYPERVISOR_ANNOTATIONS", [r.shim for r in config.annotation_rules if r.shim]),
        "https_proxy": ("AGENT_HTTPS_PROXY", [shim for shim, _ in config.https_proxy.per_shim]),
        "no_proxy": ("AGENT_NO_PROXY", [shim for shim, _ in config.no_proxy.per_shim]),
        "snapshotters": ("SNAPSHOTTER_HANDLER_MAPPING", [shim for shim, _ in config.snapshotters.pairs]),
        "pull_types": ("PULL_TYPE_MAPPING", [shim for shim, _ in config.pull_types.pairs]),
        "forced_guest_pull": ("EXPERIMENTAL_FORCE_GUEST_PULL", config.forced_guest_pull),
    }
    for name, (variable, shims) in named.items():
        label = it.label(name, variable)
        for shim in dict.fromkeys(shims):
            if shim in config.shims:
                continue
            known = it.facts.shims.get(shim)
            if name in it.settings.for_every_arch and known is not None and it.machine not in known.arches:
                it.problems.warn(f'{label}: shim "{shim}" has no components on {it.machine}; what is said of it is ignored')
                continue
            valid = ", ".join(config.shims) or "none"
            it.problems.add(
                "unknown_shim_reference",
                f"{label} names shim {quoted(shim)}, which is not configured; configured shims: {valid}",
                hint=did_you_mean(shim, config.shims),
            )


def _check_handlers(it: _Resolution, config: NodeConfig, own: tuple[CustomRuntime, ...]) -> None:
    reserved = reserved_handlers(it.facts, config.shims, config.suffix)
    check_custom_runtimes(own, reserved, it.facts, it.problems, name=it.label("custom_runtimes", "custom runtimes"))
    names = [handler(shim, config.suffix) for shim in config.shims]
    names += [variant_handler(shim, config.suffix, v) for shim in config.shims for v in Variant if config.debug]
    if config.suffix is None:
        return
    label = it.label("suffix", "MULTI_INSTALL_SUFFIX")
    if config.suffix == "default":
        it.problems.warn(f'{label}: "default" is also what an install without suffix is called; the two would share a node label')
    plain = reserved_handlers(it.facts, (), None)
    for name in names:
        if len(name) > _MAX_HANDLER:
            it.problems.warn(f'{label}: handler "{name}" has {len(name)} characters; a RuntimeClass takes at most {_MAX_HANDLER}')
        if name in plain:
            it.problems.warn(f'{label}: handler "{name}" is also one of shim "{plain[name]}" in an install without suffix')
