"""Why a shim needs a component, or where a file comes from: what the shim's configuration names, and who provides it.

A component is needed because the component map lists it; the configuration says what for. A file is declared by a component's
outputs, or found in a tree that the caller has. Must not know: where trees come from, how answers are shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import ArchiveError, UsageError
from kata_bundle.core.relpath import parse_relpath
from kata_bundle.manifest.catalog import PREFIX, ComponentKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.tree import Tree
    from kata_bundle.manifest.catalog import Catalog, Component, Shim, ShimConfig

__all__ = [
    "FileReason",
    "Provider",
    "Reason",
    "Setting",
    "config_paths",
    "is_component",
    "settings_of_component",
    "why_component",
    "why_file",
]


_PATH_SETTINGS: Final = (
    "hypervisor_path",
    "kernel",
    "image",
    "initrd",
    "installed_initrd",
    "firmware",
    "firmware_volume",
    "virtio_fs_daemon",
    "guest_extension_images",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A line of a shim's configuration file that names a path."""

    key: str
    path: str
    """As the file has it."""

    @property
    def below_prefix(self) -> str | None:
        """The path below the prefix; ``None`` for a path of the host or a placeholder."""
        return self.path.removeprefix(f"{PREFIX}/") if self.path.startswith(f"{PREFIX}/") else None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"setting": self.key, "path": self.path}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Whether a shim's cell lists a component, what for, and which other shims on that architecture do."""

    arch: Arch
    shim: str
    component: str
    listed: bool
    is_runtime: bool
    """Whether it is the component that holds the shim's own program and configuration."""
    settings: tuple[Setting, ...]
    """What the shim's configuration names of it."""
    optional: str | None
    """Why the component may be there though the configuration does not name it, where the catalog says so."""
    has_config: bool
    """Whether a configuration file is made for this architecture at all."""
    also_needed_by: tuple[str, ...]
    siblings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "arch": self.arch.value,
            "shim": self.shim,
            "component": self.component,
            "needed": self.listed,
            "runtime": self.is_runtime,
            "settings": [setting.to_dict() for setting in self.settings],
            "optional": self.optional,
            "configured": self.has_config,
            "also_needed_by": list(self.also_needed_by),
            "components_of_shim": list(self.siblings),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """A component that has a file."""

    component: str
    path: str
    evidence: str
    """``declared`` (its outputs name it), ``described`` (a pattern of them fits) or ``made`` (it is in its tree)."""
    in_cell: bool
    """Whether the shim's cell lists the component."""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"component": self.component, "path": self.path, "evidence": self.evidence, "in_cell": self.in_cell}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileReason:
    """Which components provide a file, and which lines of the shim's configuration name it."""

    arch: Arch
    shim: str
    target: str
    providers: tuple[Provider, ...]
    settings: tuple[Setting, ...]

    @property
    def is_installed(self) -> bool:
        """Whether installing the shim brings the file."""
        return any(provider.in_cell for provider in self.providers)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "arch": self.arch.value,
            "shim": self.shim,
            "file": self.target,
            "installed": self.is_installed,
            "provided_by": [provider.to_dict() for provider in self.providers],
            "settings": [setting.to_dict() for setting in self.settings],
        }


def config_paths(config: ShimConfig) -> tuple[Setting, ...]:
    """Return every line of ``config`` that names a path, in the file's order."""
    found = []
    for key in _PATH_SETTINGS:
        value = getattr(config, key)
        paths = value if isinstance(value, tuple) else (value,)
        found += [Setting(key=key, path=path) for path in paths if path]
    return tuple(found)


def settings_of_component(shim: Shim, component: Component, arch: Arch) -> tuple[Setting, ...]:
    """Return the lines of the shim's configuration on ``arch`` whose path ``component`` provides there."""
    config = shim.configs.get(arch)
    if config is None:
        return ()
    return tuple(
        setting
        for setting in config_paths(config)
        if setting.below_prefix is not None and component.provides(setting.below_prefix, arch)
    )


def is_component(catalog: Catalog, target: str) -> bool:
    """Return whether ``target`` names a component, as opposed to a file."""
    return target in catalog.components


def why_component(catalog: Catalog, shim: str, component: str, arches: tuple[Arch, ...]) -> tuple[Reason, ...]:
    """Return, per architecture on which ``shim`` has a cell, whether, what for and beside whom it needs ``component``.

    Raises :class:`UsageError` for an unknown shim or component and for a shim without a cell on any of ``arches``.
    """
    rows = _rows(catalog, shim, arches)
    if component not in catalog.components:
        msg = f'unknown component "{component}"'
        hint = did_you_mean(component, catalog.components) or "kata-bundle list components shows the known ones"
        raise UsageError(msg, hint=hint)
    facts, known = catalog.shims.get(shim), catalog.components[component]
    return tuple(
        Reason(
            arch=arch,
            shim=shim,
            component=component,
            listed=component in row,
            is_runtime=facts is not None and component == facts.shim_component,
            settings=settings_of_component(facts, known, arch) if facts else (),
            optional=known.optional,
            has_config=facts is not None and arch in facts.configs,
            also_needed_by=tuple(
                sorted(s for s, on in catalog.component_map.shims.items() if s != shim and component in on.get(arch, ()))
            ),
            siblings=tuple(sorted(row)),
        )
        for arch, row in rows.items()
    )


def why_file(
    catalog: Catalog, shim: str, target: str, arches: tuple[Arch, ...], trees: Mapping[tuple[Arch, str], Tree] | None = None
) -> tuple[FileReason, ...]:
    """Return, per architecture on which ``shim`` has a cell, where the file ``target`` comes from and what names it.

    ``target`` is a path of the host, a path below the prefix, or a file's name alone. Where ``trees`` has a component, its tree
    counts beside what is declared. Raises :class:`UsageError` as :func:`why_component` does, and when nothing has the file.
    """
    rows = _rows(catalog, shim, arches)
    wanted = _wanted(target)
    facts = catalog.shims.get(shim)
    reasons = []
    for arch, row in rows.items():
        config = facts.configs.get(arch) if facts else None
        settings = tuple(s for s in config_paths(config) if _names(s, target, wanted)) if config else ()
        reasons.append(
            FileReason(
                arch=arch,
                shim=shim,
                target=target,
                providers=() if wanted is None else _providers(catalog, arch, row, wanted, trees or {}),
                settings=settings,
            )
        )
    if not any(reason.providers or reason.settings for reason in reasons):
        msg = f'"{target}" is no component, and no component or configuration has a file of that name'
        raise UsageError(msg, hint=_suggestion(catalog, target, rows))
    return tuple(reasons)


def _rows(catalog: Catalog, shim: str, arches: tuple[Arch, ...]) -> dict[Arch, tuple[str, ...]]:
    component_map = catalog.component_map
    if shim not in component_map.shims:
        msg = f'unknown shim "{shim}"'
        raise UsageError(msg, hint=did_you_mean(shim, component_map.shims) or "kata-bundle list shims shows the known ones")
    rows = {arch: row for arch in arches if (row := component_map.components(shim, arch)) is not None}
    if not rows:
        msg = f'shim "{shim}" has no components on {", ".join(arches)}'
        raise UsageError(msg, hint=f'"{shim}" exists on {", ".join(component_map.shims[shim])}')
    return rows


def _wanted(target: str) -> str | None:
    """Return the path below the prefix that ``target`` asks for; ``None`` for a path elsewhere on the host."""
    if target.startswith("/") and not target.startswith(f"{PREFIX}/"):
        return None
    try:
        return parse_relpath(target.removeprefix(f"{PREFIX}/"))
    except ArchiveError as error:
        msg = f"{target!a} is no component and no path: {error}"
        raise UsageError(msg) from None


def _matches(path: str, wanted: str) -> bool:
    return path == wanted or ("/" not in wanted and path.rpartition("/")[2] == wanted)


def _names(setting: Setting, target: str, wanted: str | None) -> bool:
    if wanted is None or setting.below_prefix is None:
        return setting.path == target or (wanted is not None and _matches(setting.path, wanted))
    return _matches(setting.below_prefix, wanted)


def _providers(
    catalog: Catalog, arch: Arch, row: Collection[str], wanted: str, trees: Mapping[tuple[Arch, str], Tree]
) -> tuple[Provider, ...]:
    found = []
    for component in catalog.components.values():
        if arch not in component.arches or component.is_guest_part:
            continue
        tree = trees.get((arch, component.name))
        for path, evidence in _evidence(component, arch, wanted, tree):
            in_cell = component.name in row
            found.append(Provider(component=component.name, path=path, evidence=evidence, in_cell=in_cell))
    return tuple(sorted(found, key=lambda p: (not p.in_cell, p.component, p.path)))


def _evidence(component: Component, arch: Arch, wanted: str, tree: Tree | None) -> Iterable[tuple[str, str]]:
    found: dict[str, str] = {}
    for output in component.outputs.get(arch, ()):
        if output.endswith("/") and (wanted.startswith(output) or wanted == output.rstrip("/")):
            found[wanted] = "declared"
        elif _matches(output, wanted):
            found[output] = "declared"
    if tree is not None:
        for path in tree.entries:
            if _matches(path, wanted):
                found[path] = "made"
    elif not found and component.kind is not ComponentKind.INTERMEDIATE:
        for text in component.output_patterns:
            pattern = _pattern(text)
            # A pattern that a declared output fits is spelt out by it.
            if pattern.fullmatch(wanted) and not any(map(pattern.fullmatch, component.outputs.get(arch, ()))):
                found[wanted] = "described"
    return sorted(found.items())


def _pattern(text: str) -> re.Pattern[str]:
    """Return what an output described for people stands for: ``<…>`` and ``*`` any part of a name, ``{a,b}`` alternatives."""
    plain = re.sub(r" \(.*\)$", "", text)
    result = ""
    for part in re.split(r"(<[^>]*>|\*|\{[^}]*\})", plain):
        if part.startswith("<") or part == "*":
            result += "[^/]+"
        elif part.startswith("{"):
            result += "(" + "|".join(re.escape(choice) for choice in part[1:-1].split(",")) + ")"
        else:
            result += re.escape(part)
    return re.compile(result)


def _suggestion(catalog: Catalog, target: str, rows: Mapping[Arch, Collection[str]]) -> str | None:
    outputs = {path for arch in rows for c in catalog.components.values() for path in c.outputs.get(arch, ())}
    known = {*catalog.components, *outputs, *(path.rpartition("/")[2] for path in outputs)}
    return did_you_mean(target.removeprefix(f"{PREFIX}/"), known) or "give a component, a path below /opt/kata, or a file's name"
