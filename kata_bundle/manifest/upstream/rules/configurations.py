"""Rules about configurations: every cell has one, of the right runtime and hypervisor, whole and readable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.catalog import RuntimeFamily
from kata_bundle.manifest.upstream.cells import configuration_of, selectable
from kata_bundle.manifest.upstream.places import line_span, setting_span
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.upstream.facts import Configuration, RuntimeBuild, Template, UpstreamTree

__all__ = [
    "broken_configurations",
    "cells_without_configuration",
    "empty_settings",
    "family_disagreements",
    "hypervisor_tables",
    "makefile_and_templates",
    "placeholders",
    "placeholders_in_comments",
]

_SHIM_COMPONENT: Final = {RuntimeFamily.GO: "shim-v2-go", RuntimeFamily.RUST: "shim-v2-rust"}
_NO_PROGRAM: Final = frozenset({"dragonball", "remote"})
"""Hypervisors that are not a program: one is part of the runtime, the other a service elsewhere."""
_NEEDED: Final = ("path", "kernel")


def used_configurations(tree: UpstreamTree) -> Iterator[tuple[str, Arch, Configuration]]:
    """Yield the configurations of everything that can be selected."""
    for entry in selectable(tree):
        configuration = configuration_of(tree, entry.shim, entry.arch)
        if configuration is not None:
            yield entry.shim, entry.arch, configuration


def _on(arches: list[Arch]) -> str:
    return "" if not arches else f" on {', '.join(arches)}"


@tree_rule("KB621", "a cell without a configuration")
def cells_without_configuration(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim can be selected on an architecture, but its runtime's makefile installs no configuration for it there.

    The installer looks for configuration-<shim>.toml in the runtime's folder and fails. Often the architecture's options lack the
    variable that switches the hypervisor on.

    Repair: set the variable that switches the hypervisor on in the architecture's options, or remove the cell.

    False alarm: a configuration that a script makes later; none is known.
    """
    for entry in selectable(tree):
        family = tree.family(entry.shim)
        build = None if family is None else tree.runtimes.get(family)
        if build is None:
            continue
        stop = build.stopped.get(entry.arch)
        if stop is not None:
            message = f'"{entry.shim}" on {entry.arch} has no configuration: {build.makefile} stops there ({stop.name})'
            yield Problem(span=entry.span, message=message)
            continue
        if not build.generated.get(entry.arch):
            continue
        name = f"configuration-{entry.shim}.toml"
        if name in build.generated[entry.arch]:
            continue
        elsewhere = [f for f, other in tree.runtimes.items() if name in other.generated.get(entry.arch, {})]
        message = f'"{entry.shim}" on {entry.arch} has no configuration: {build.makefile} does not install "{name}" there'
        hint = f"{tree.runtimes[elsewhere[0]].makefile} does" if elsewhere else None
        yield Problem(span=entry.span, message=message, hint=hint)


@tree_rule("KB622", "a shim component of the wrong runtime")
def family_disagreements(tree: UpstreamTree) -> Iterator[Problem]:
    """A cell has not exactly one shim component, or the one of the other runtime; or the installer's list names the wrong
    runtime.

    The installer decides by its own list which runtime starts a shim and in which folder its configuration is; the cell's shim
    component has to bring that runtime.

    Repair: name the shim component of the runtime that the installer starts, or correct the installer's list.

    False alarm: none.
    """
    components = set(_SHIM_COMPONENT.values())
    for cell in (tree.cells or {}).values():
        having = [item for item in cell.components if item.name in components]
        if len(having) != 1:
            found = f"{len(having)} shim components" if having else "no shim component"
            message = f'"{cell.shim}" on {cell.arch} has {found}, expected one of {", ".join(sorted(components))}'
            yield Problem(span=having[-1].span if having else cell.span, message=message)
            continue
        family = tree.family(cell.shim)
        if family is not None and having[0].name != _SHIM_COMPONENT[family]:
            message = f'"{cell.shim}" is a shim of the {family} runtime, but its cell on {cell.arch} has "{having[0].name}"'
            item_or_none = None if tree.installer is None or tree.installer.rust is None else tree.installer.rust.find(cell.shim)
            yield Problem(span=having[0].span, message=message, related=() if item_or_none is None else (item_or_none.span,))
    if tree.installer is None or tree.installer.rust is None:
        return
    known = tree.shims()
    for item in tree.installer.rust.items:
        build = tree.runtimes.get(RuntimeFamily.RUST)
        if item.name not in known:
            message = f'the list of runtime-rs shims has "{item.name}", which is not a shim'
            yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, known))
        elif build is not None and f"configuration-{item.name}.toml" not in build.templates:
            message = (
                f'the list of runtime-rs shims has "{item.name}", which has no template in {build.makefile.rsplit("/", 1)[0]}'
            )
            yield Problem(span=item.span, message=message)
    go = tree.runtimes.get(RuntimeFamily.GO)
    rust = tree.runtimes.get(RuntimeFamily.RUST)
    for name in sorted(known):
        file_name = f"configuration-{name}.toml"
        only_rust = rust is not None and file_name in rust.templates and (go is None or file_name not in go.templates)
        if only_rust and tree.installer.rust.find(name) is None:
            message = f'"{name}" has a template of runtime-rs only, but is not in {tree.installer.rust.what}'
            yield Problem(span=tree.installer.rust.span, message=message)


@tree_rule("KB623", "a configuration for another hypervisor")
def hypervisor_tables(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration has not the one hypervisor table that the installer edits, or the runtime is told another one.

    The installer writes its settings into [hypervisor.<name>], with the name its own function gives for the shim; a table of
    another name is not read. In runtime-rs, "hypervisor_name" has to name the same table.

    Repair: correct the header, the setting, or the installer's function.

    False alarm: none.
    """
    seen: set[tuple[str, str]] = set()
    for shim, _, configuration in used_configurations(tree):
        template = configuration.template
        if configuration.data is None or (shim, template.path) in seen:
            continue
        seen.add((shim, template.path))
        tables = configuration.hypervisors
        if len(tables) != 1:
            found = f"{len(tables)} hypervisor tables ({', '.join(tables)})" if tables else "no hypervisor table"
            yield Problem(span=setting_span(template, "hypervisor", ""), message=f'the configuration of "{shim}" has {found}')
            continue
        expected = _expected_table(tree, shim)
        if expected is not None and tables[0] != expected:
            message = f'the configuration of "{shim}" has [hypervisor.{tables[0]}], the installer edits [hypervisor.{expected}]'
            found_or_none = None if tree.installer is None else (tree.installer.hypervisor or {}).get(shim)
            related = () if found_or_none is None else (found_or_none.span,)
            yield Problem(span=setting_span(template, "hypervisor", ""), message=message, related=related)
        named = configuration.get("runtime", "hypervisor_name")
        if isinstance(named, str) and named != tables[0]:
            message = f'"hypervisor_name" of "{shim}" is "{named}", but the table is [hypervisor.{tables[0]}]'
            place = setting_span(template, "hypervisor", "")
            yield Problem(span=setting_span(template, "runtime", "hypervisor_name"), message=message, related=(place,))
    yield from _unnamed_hypervisors(tree)


def _expected_table(tree: UpstreamTree, shim: str) -> str | None:
    if tree.installer is None or tree.installer.hypervisor is None:
        return None
    found = tree.installer.hypervisor.get(shim)
    if found is not None:
        return found.name
    return "qemu" if shim.startswith("qemu") else None


def _unnamed_hypervisors(tree: UpstreamTree) -> Iterator[Problem]:
    if tree.installer is None or not tree.installer.hypervisor:
        return
    first = min(tree.installer.hypervisor.values(), key=lambda item: item.span)
    for name in sorted({entry.shim for entry in selectable(tree)}):
        if _expected_table(tree, name) is None:
            yield Problem(span=first.span, message=f'the installer names no hypervisor for the shim "{name}"')


@tree_rule("KB627", "a placeholder that nothing replaces")
def placeholders(tree: UpstreamTree) -> Iterator[Problem]:
    """A template has an @VARIABLE@ that the makefile does not replace, so the installed configuration holds it as it is.

    The makefile replaces only what its list of variables names. Add the variable there, or correct its name.

    Repair: add the variable to the makefile's list, or correct its name.

    False alarm: none.
    """
    for build in tree.runtimes.values():
        if not build.replaced:
            continue
        for template in build.templates.values():
            for name, lines in template.variables.items():
                if name not in build.replaced:
                    message = f"@{name}@ is not replaced by {build.makefile}"
                    hint = did_you_mean(name, build.replaced)
                    yield Problem(span=line_span(template, lines[0]), message=message, hint=hint)


@tree_rule("KB628", "a placeholder in a comment that nothing replaces", severity=Severity.WARNING)
def placeholders_in_comments(tree: UpstreamTree) -> Iterator[Problem]:
    """A comment of a template has an @VARIABLE@ that the makefile does not replace. Administrators read it as it is.

    Repair: add the variable to the makefile's list, or write the value out.

    False alarm: a comment that explains the placeholder itself.
    """
    for build in tree.runtimes.values():
        if not build.replaced:
            continue
        for template in build.templates.values():
            for name, lines in template.commented.items():
                if name not in build.replaced and name not in template.variables:
                    message = f"@{name}@ in a comment is not replaced by {build.makefile}"
                    hint = did_you_mean(name, build.replaced)
                    yield Problem(span=line_span(template, lines[0]), message=message, hint=hint)


@tree_rule("KB629", "a setting that needs a value and has none")
def empty_settings(tree: UpstreamTree) -> Iterator[Problem]:
    """A selectable shim's configuration has no hypervisor program, no kernel, or neither image nor initrd.

    Most often the make variable behind the setting is not set on that architecture, or is misspelt, so that it is replaced by
    nothing. A path that ends in a folder ("/opt/kata/bin/") counts as empty.

    Repair: set the variable, or take the shim out of that architecture.

    False alarm: a hypervisor that needs no such file, and is new to this rule.
    """
    found: dict[tuple[str, str, str], list[Arch]] = {}
    for shim, arch, configuration in used_configurations(tree):
        for table in configuration.hypervisors:
            if table == "remote":
                continue
            for key in _NEEDED:
                value = configuration.get("hypervisor", table, key)
                optional = key == "path" and table in _NO_PROGRAM
                if not optional and (not isinstance(value, str) or not value.strip() or value.endswith("/")):
                    found.setdefault((shim, table, key), []).append(arch)
            images = [configuration.get("hypervisor", table, key) for key in ("image", "initrd")]
            kernel = configuration.get("hypervisor", table, "kernel")
            sealed = isinstance(kernel, str) and kernel.endswith(".img")  # holds the initrd too
            if not sealed and not any(isinstance(value, str) and value.strip() for value in images):
                found.setdefault((shim, table, "image"), []).append(arch)
    for (shim, table, key), arches in found.items():
        configuration_or_none = configuration_of(tree, shim, arches[0])
        if configuration_or_none is None:  # pragma: no cover - it was found above
            continue
        template = configuration_or_none.template
        what = '"image" nor "initrd"' if key == "image" else f'"{key}"'
        negation = "neither " if key == "image" else "no "
        message = f'the configuration of "{shim}" has {negation}{what}{_on(arches)}'
        yield Problem(span=setting_span(template, f"hypervisor.{table}", key), message=message)


@tree_rule("KB630", "a configuration that is not TOML")
def broken_configurations(tree: UpstreamTree) -> Iterator[Problem]:
    """A template gives something that is not TOML once its variables are replaced, so the runtime refuses to start.

    A key may be given twice, a text may not be closed, or a variable without a value leaves "key = " behind.

    Repair: correct the template or the variable.

    False alarm: none.
    """
    found: dict[tuple[str, int, str], list[Configuration]] = {}
    for build in tree.runtimes.values():
        for configuration in build.configurations.values():
            if configuration.problem is not None and not configuration.unknown:
                line, reason = configuration.problem
                found.setdefault((configuration.template.path, line, reason), []).append(configuration)
    for (_, line, reason), configurations in found.items():
        template = configurations[0].template
        arches = [configuration.arch for configuration in configurations]
        unset = [name for name, lines in configurations[0].unset.items() if line in lines]
        hint = f"{', '.join(unset)} is never set by the makefile" if unset else None
        message = f'"{template.name}" is not TOML{_on(arches)}: {reason}'
        yield Problem(span=line_span(template, line), message=message, hint=hint)


@tree_rule("KB631", "a configuration without a template, or the reverse")
def makefile_and_templates(tree: UpstreamTree) -> Iterator[Problem]:
    """A makefile installs a configuration that has no template, or never installs one that has.

    The first stops the build; the second means that the configuration of a shim is missing from every installation.

    Repair: install the configuration, or remove the template.

    False alarm: a template that another tool uses.
    """
    for build in tree.runtimes.values():
        installed = {name for names in build.generated.values() for name in names}
        if not installed or not build.templates:
            continue
        for names in build.generated.values():
            for name, item in names.items():
                if name not in build.templates:
                    hint = did_you_mean(name, build.templates)
                    yield Problem(span=item.span, message=f'"{name}" is installed, but has no template', hint=hint)
        for name, template in build.templates.items():
            if name not in installed:
                yield Problem(
                    span=line_span(template, 1), message=f'{build.makefile} never installs "{name}"{_used(tree, build, template)}'
                )


def _used(tree: UpstreamTree, build: RuntimeBuild, template: Template) -> str:
    used = template.shim in tree.shims() and tree.family(template.shim) is build.family
    return ", which a shim needs" if used else ""
