"""Rules about paths: what a configuration names below the prefix is brought by the cell's components, and nothing else is."""

from __future__ import annotations

import fnmatch
import posixpath
from typing import TYPE_CHECKING, Final, NamedTuple

from kata_bundle.core.diagnostics import Severity
from kata_bundle.manifest.catalog import PREFIX
from kata_bundle.manifest.upstream.cells import Selectable, configuration_of, selectable
from kata_bundle.manifest.upstream.outputs import providers, provides
from kata_bundle.manifest.upstream.places import setting_span, variable_of
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule
from kata_bundle.manifest.upstream.rules.words import joined, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.upstream.facts import Configuration, Template, UpstreamTree

__all__ = [
    "doubly_provided_paths",
    "named_paths",
    "paths_outside",
    "program_names",
    "qemu_flavours",
    "unprovided_paths",
    "unused_components",
    "valid_lists",
]

_KEYS: Final = ("path", "kernel", "image", "initrd", "firmware", "firmware_volume", "jailer_path")
_SHARED: Final = frozenset({"virtio-fs", "virtio-fs-nydus"})
"""File sharing that starts a daemon."""
_VALID: Final = {
    "path": "valid_hypervisor_paths",
    "virtio_fs_daemon": "valid_virtio_fs_daemon_paths",
    "jailer_path": "valid_jailer_paths",
}
_OPTIONAL: Final = frozenset({"kernel-debug", "nydus", "rootfs-image", "rootfs-initrd", "shim-v2", "shim-v2-go", "shim-v2-rust"})
"""Components that a cell may list without its configuration naming a file of them: a debug flag uses the first, a setting the
second, the next two stand for each other, the shims are what reads the configuration."""


class Named(NamedTuple):
    """A path that a configuration names, relative to the prefix, and the setting that does."""

    path: str
    table: str
    key: str


def named_paths(configuration: Configuration) -> list[Named]:
    """Return the paths below the prefix that the runtime will open."""
    found = []
    for table in configuration.hypervisors:
        where = f"hypervisor.{table}"
        for key in _KEYS:
            found += _named(configuration.get("hypervisor", table, key), where, key)
        if configuration.get("hypervisor", table, "shared_fs") in _SHARED:
            found += _named(configuration.get("hypervisor", table, "virtio_fs_daemon"), where, "virtio_fs_daemon")
        extensions = configuration.get("hypervisor", table, "guest_extension_images")
        for extension in extensions if isinstance(extensions, list) else ():
            if isinstance(extension, dict):
                found += _named(extension.get("path"), f"{where}.guest_extension_images", "path")
    return found


def _named(value: object, table: str, key: str) -> list[Named]:
    if not isinstance(value, str) or not value.startswith(f"{PREFIX}/") or value.endswith("/"):
        return []
    return [Named(posixpath.normpath(value).removeprefix(f"{PREFIX}/"), table, key)]


def _cells(tree: UpstreamTree) -> Iterator[tuple[Selectable, Configuration]]:
    for entry in selectable(tree):
        configuration = configuration_of(tree, entry.shim, entry.arch)
        if configuration is not None and configuration.data is not None:
            yield entry, configuration


@tree_rule("KB625", "a path that nothing provides")
def unprovided_paths(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration names a file below the prefix that no component of its cell brings.

    The sandbox fails to start with "no such file". When another component of the tree brings the file, the cell lacks it;
    otherwise the setting, or the make variable behind it, is wrong. Trees without a component map install everything that is
    built for the architecture, so that is what the path is looked for in. Which files a component brings follows from its name.

    Repair: add the component to the cell, or correct the variable.

    False alarm: none; where it is not known which files a component brings, nothing is reported.
    """
    missing: dict[tuple[str, str, str, str, str], list[Selectable]] = {}
    kept: dict[tuple[str, str, str, str, str], tuple[Template, list[str]]] = {}
    for entry, configuration in _cells(tree):
        components = entry.components(tree)
        if not components:
            continue
        for named in named_paths(configuration):
            if named.key == "path" and _lists_other_qemu(entry, named.path):
                continue  # another rule's
            having, unknown = providers(named.path, components, entry.arch)
            if having or unknown:
                continue
            elsewhere, _ = providers(named.path, _everything(tree, entry.arch) - components, entry.arch)
            other = elsewhere[0] if elsewhere and entry.cell is not None else ""
            key = (entry.shim, configuration.template.path, named.table, named.key, f"{named.path} {other}")
            missing.setdefault(key, []).append(entry)
            kept[key] = (configuration.template, [named.path, other])
    for key, entries in missing.items():
        shim, _, table, setting, _ = key
        template, (path, other) = kept[key]
        arches = ", ".join(entry.arch for entry in entries)
        message = f'"{setting}" of "{shim}" is {PREFIX}/{path}, which no component brings on {arches}'
        place = setting_span(template, table, setting)
        span: Span = place
        variable = variable_of(template, table, setting)
        hint = None if variable is None else f"it is the value of {variable}"
        if other and entries[0].cell is not None:
            span = entries[0].span
            message = (
                f'"{shim}" on {arches} needs "{other}": its "{setting}" is {PREFIX}/{path}, which no listed component brings'
            )
        yield Problem(span=span, message=message, hint=hint, related=(place,))


def _lists_other_qemu(entry: Selectable, path: str) -> bool:
    qemus = [] if entry.cell is None else [name for name in entry.cell.names() if name.split("-")[0] == "qemu"]
    name = posixpath.basename(path)
    emulator = entry.arch.emulator
    return bool(qemus) and name.startswith(emulator) and f"qemu{name.removeprefix(emulator)}" not in qemus


def _everything(tree: UpstreamTree, arch: Arch) -> frozenset[str]:
    names = set(tree.built_on(arch))
    for cell in (tree.cells or {}).values():
        names.update(cell.names())
    if tree.local_build is not None:
        names.update(tree.local_build.targets)
    return frozenset(names)


@tree_rule("KB656", "a path that two components bring")
def doubly_provided_paths(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration names a file that two components of its cell bring. Which one is there depends on who came last.

    Repair: remove one of them from the cell.

    False alarm: none.
    """
    found: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    spans: dict[tuple[str, tuple[str, ...], str], tuple[Span, ...]] = {}
    for entry, configuration in _cells(tree):
        if entry.cell is None:
            continue
        for named in named_paths(configuration):
            having = [item for item in entry.cell.components if named.path in (provides(item.name, entry.arch) or ())]
            names = tuple(dict.fromkeys(item.name for item in having))
            if len(names) > 1:
                key = (entry.shim, names, named.path)
                found.setdefault(key, []).append(entry.arch)
                spans.setdefault(key, tuple(item.span for item in having))
    for (shim, names, path), arches in found.items():
        first, *others = spans[shim, names, path]
        message = f'{PREFIX}/{path} of "{shim}" on {joined(arches)} is brought by {quoted(names)}'
        yield Problem(span=others[-1], message=message, related=(first, *others[:-1]))


@tree_rule("KB659", "a file of a component, named outside of the prefix")
def paths_outside(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration names a file that a component brings, but not below the installation prefix, where it is.

    The makefile is called with the prefix; a path that does not follow it is written out, or made of another variable. Files that
    no component brings may be the host's own.

    Repair: make the path of the variable that holds the prefix.

    False alarm: a host's own file of the same name.
    """
    found: dict[tuple[str, str, str, str, str], list[str]] = {}
    spans: dict[tuple[str, str, str, str, str], Span] = {}
    for entry, configuration in _cells(tree):
        brought = {posixpath.basename(path): path for name in entry.components(tree) for path in provides(name, entry.arch) or ()}
        for table in configuration.hypervisors:
            for key in (*_KEYS, "virtio_fs_daemon"):
                value = configuration.get("hypervisor", table, key)
                if not isinstance(value, str) or "/" not in value or value.startswith(f"{PREFIX}/"):
                    continue
                path = brought.get(posixpath.basename(value))
                if path:
                    at = (entry.shim, table, key, value, path)
                    found.setdefault(at, []).append(entry.arch)
                    spans.setdefault(at, setting_span(configuration.template, f"hypervisor.{table}", key))
    for at, arches in found.items():
        shim, _, key, value, path = at
        message = f'"{key}" of "{shim}" is {value} on {joined(arches)}, but what is installed is {PREFIX}/{path}'
        yield Problem(span=spans[at], message=message)


@tree_rule("KB626", "a component that its cell does not use", severity=Severity.WARNING)
def unused_components(tree: UpstreamTree) -> Iterator[Problem]:
    """A cell lists a component of which its configuration names no file, not even in a comment.

    It is installed and takes room for nothing. A path that a comment offers is taken as an alternative for administrators, and
    what a sealed boot image is made of as meant for making it again; the debug kernel, the plain image and the plain initrd are
    always allowed.

    Repair: remove the component, or name its file in the configuration.

    False alarm: a component that is there for administrators. One that a comment of the configuration offers is not reported.
    """
    found: dict[tuple[str, str], list[Selectable]] = {}
    spans: dict[tuple[str, str], Span] = {}
    for entry, configuration in _cells(tree):
        if entry.cell is None:
            continue
        named = {name.path for name in named_paths(configuration)}
        offered = {posixpath.basename(value) for value in configuration.offered}
        ingredients = _ingredients(tree, entry)
        for item in entry.cell.components:
            paths = provides(item.name, entry.arch)
            if item.name in ingredients:
                continue
            if not paths or item.name in _OPTIONAL or item.name.split("-")[0] == "qemu":
                continue
            if any(_uses(path, named) for path in paths) or any(posixpath.basename(path) in offered for path in paths):
                continue
            found.setdefault((entry.shim, item.name), []).append(entry)
            spans.setdefault((entry.shim, item.name), item.span)
    for (shim, component), entries in found.items():
        arches = ", ".join(entry.arch for entry in entries)
        message = f'"{shim}" on {arches} lists "{component}", but its configuration names no file of it'
        yield Problem(span=spans[shim, component], message=message)


def _ingredients(tree: UpstreamTree, entry: Selectable) -> set[str]:
    """Return what sealed images of the cell are made of: administrators make them again with their own keys."""
    made_of = {} if tree.local_build is None else tree.local_build.made_of
    sealed = [name for name in entry.components(tree) if name.startswith("boot-image-")]
    return {part for name in sealed for part in made_of.get(name, frozenset())}


def _uses(path: str, named: set[str]) -> bool:
    return any(name.startswith(path) if path.endswith("/") else name == path for name in named)


@tree_rule("KB624", "a QEMU of another flavour")
def qemu_flavours(tree: UpstreamTree) -> Iterator[Problem]:
    """The configuration's program, the cell's QEMU component and the installer's table do not name the same QEMU.

    With another installation prefix the installer writes a wrapper that tells QEMU where its component's files are. When the
    configuration names another program, the wrapper starts one that is not there, or gives it another one's files.

    Repair: name one QEMU in all three places.

    False alarm: an installation that always has the usual prefix does not notice.
    """
    seen: set[tuple[str, str]] = set()
    for entry, configuration in _cells(tree):
        path = configuration.get("hypervisor", "qemu", "path")
        if not isinstance(path, str) or not path.startswith(f"{PREFIX}/"):
            continue
        name = posixpath.basename(path)
        emulator = entry.arch.emulator
        place = setting_span(configuration.template, "hypervisor.qemu", "path")
        if not name.startswith(emulator):
            continue  # another rule's
        component = f"qemu{name.removeprefix(emulator)}"
        if entry.cell is not None:
            listed = [item for item in entry.cell.components if item.name == "qemu" or item.name.startswith("qemu-")]
            if listed and component not in {item.name for item in listed}:
                message = f'"{entry.shim}" on {entry.arch} lists "{listed[0].name}", but its configuration starts "{name}"'
                yield Problem(span=listed[0].span, message=message, related=(place,))
        table = None if tree.installer is None else tree.installer.qemu_artifact
        if table is None or (entry.shim, component) in seen:
            continue
        seen.add((entry.shim, component))
        chosen = table.get(entry.shim)
        used = chosen.name if chosen is not None else tree.installer.qemu_default if tree.installer is not None else None
        span = chosen.span if chosen is not None else min(item.span for item in table.values()) if table else entry.span
        if used is None:
            message = f'the installer leaves the QEMU of "{entry.shim}" as it is, though it brings "{name}" itself'
            yield Problem(span=span, message=message, related=(place,))
        elif used != component:
            message = f'the installer takes "{used}" for "{entry.shim}", but its configuration starts "{name}"'
            yield Problem(span=span, message=message, related=(place,))


@tree_rule("KB634", "a program that the installer calls otherwise")
def program_names(tree: UpstreamTree) -> Iterator[Problem]:
    """The installer writes the path of a hypervisor's program that is not the one of the shim's configuration.

    With another installation prefix the path that the installer writes replaces the configured one, and nothing is there. Shims
    with a program of their own need an entry in the installer's function.

    Repair: add the shim to the installer's function, with the name of its program.

    False alarm: an installation that always has the usual prefix does not notice.
    """
    table = None if tree.installer is None else tree.installer.binary
    if not table:
        return
    seen: set[str] = set()
    for entry, configuration in _cells(tree):
        if entry.shim in seen or entry.shim.startswith("qemu"):
            continue
        seen.add(entry.shim)
        for hypervisor in configuration.hypervisors:
            path = configuration.get("hypervisor", hypervisor, "path")
            if not isinstance(path, str) or not path.startswith(f"{PREFIX}/"):
                continue
            chosen = table.get(entry.shim)
            place = setting_span(configuration.template, f"hypervisor.{hypervisor}", "path")
            if chosen is None:
                span = min(item.span for item in table.values())
                message = f'the installer names no program for "{entry.shim}", whose configuration starts {path}'
                yield Problem(span=span, message=message, related=(place,))
            elif chosen.name != posixpath.basename(path):
                message = f'the installer takes "{chosen.name}" for "{entry.shim}", but its configuration starts {path}'
                yield Problem(span=chosen.span, message=message, related=(place,))


@tree_rule("KB632", "a path that its own list of valid paths refuses")
def valid_lists(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration names a program that is not in the list of paths that annotations may choose.

    The list usually comes from a second make variable, which was not changed with the first.

    Repair: use the variable that the path comes from in the list, too.

    False alarm: none.
    """
    seen: set[tuple[str, str]] = set()
    for build in tree.runtimes.values():
        for configuration in build.configurations.values():
            for table in configuration.hypervisors:
                for key, list_key in _VALID.items():
                    value = configuration.get("hypervisor", table, key)
                    valid = configuration.get("hypervisor", table, list_key)
                    if not isinstance(value, str) or not value or not isinstance(valid, list) or not valid:
                        continue
                    if any(isinstance(v, str) and fnmatch.fnmatchcase(value, v) for v in valid):
                        continue
                    template = configuration.template
                    if (template.path, key) in seen:
                        continue
                    seen.add((template.path, key))
                    message = f'"{list_key}" of "{template.shim}" does not hold its "{key}", {value}'
                    span, place = (setting_span(template, f"hypervisor.{table}", name) for name in (list_key, key))
                    yield Problem(span=span, message=message, related=(place,))
