"""Rules about single settings: what the runtime knows of them, variables that nothing sets, root hashes of another image."""

from __future__ import annotations

import posixpath
import re
import tomllib
from typing import TYPE_CHECKING, Final, NamedTuple

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.upstream.places import line_span, setting_span
from kata_bundle.manifest.upstream.rules.configurations import used_configurations
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule
from kata_bundle.manifest.upstream.rules.words import joined
from kata_bundle.manifest.upstream.schema import table_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.upstream.facts import Configuration, RuntimeBuild, Template, UpstreamTree
    from kata_bundle.manifest.upstream.schema import SettingAt

__all__ = [
    "missing_settings",
    "refused_settings",
    "root_hashes",
    "unknown_settings",
    "unreadable_offers",
    "unset_variables",
    "wrong_kinds",
]

_HEADER: Final = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_SETTING: Final = re.compile(r"\s*(kernel_verity_params|verity_params|image|path)\s*=\s*(.*)$")
_OFFERED: Final = re.compile(r"#[ \t]?([a-z][a-z0-9_]*)[ \t]*=[ \t]*(\S.*?)[ \t]*")
_VARIABLE: Final = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)@")
_NO_PROGRAM: Final = frozenset({"dragonball", "remote"})
_OWN_PROGRAM: Final = frozenset({"path", "ctlpath"})
"""Settings that a hypervisor without a program leaves empty."""
_BASE: Final = "base"


@tree_rule("KB637", "a setting whose variable nothing sets", severity=Severity.WARNING)
def unset_variables(tree: UpstreamTree) -> Iterator[Problem]:
    """A template takes a setting from a make variable that no makefile sets, so that the setting is empty.

    The variable was removed or renamed, or the template names another one than was meant. Where it is set on some architectures
    only, those are reported on which the shim can be selected. The program of a hypervisor that is part of the runtime may be
    empty.

    Repair: set the variable, correct its name, or remove the setting.

    False alarm: a variable that is meant to be given on make's command line.
    """
    for build in tree.runtimes.values():
        if not build.defined or not build.replaced:
            continue
        for template in build.templates.values():
            for name, lines in template.variables.items():
                if name in build.defined or name not in build.replaced:
                    continue
                key = template.lines[lines[0] - 1].split("=")[0].strip()
                if key in _OWN_PROGRAM and template.shim.split("-")[0] in _NO_PROGRAM:
                    continue
                message = f'"{key}" of "{template.shim}" is empty: {build.makefile} never sets {name}'
                yield Problem(span=line_span(template, lines[0]), message=message, hint=did_you_mean(name, build.defined))
    found: dict[tuple[str, str, str], tuple[Configuration, list[str]]] = {}
    for shim, arch, configuration in used_configurations(tree):
        build_or_none = tree.runtimes.get(configuration.template.family)
        for name in configuration.unset:
            if build_or_none is not None and name in build_or_none.defined:
                found.setdefault((shim, configuration.template.path, name), (configuration, []))[1].append(arch)
    for (shim, _, name), (configuration, arches) in found.items():
        template, line = configuration.template, configuration.unset[name][0]
        key = template.lines[line - 1].split("=")[0].strip()
        place = tree.runtimes[template.family].defined[name]
        message = f'"{key}" of "{shim}" is empty on {joined(arches)}, where nothing sets {name}'
        yield Problem(span=line_span(template, line), message=message, related=(place,))


class _Image(NamedTuple):
    """An image that a configuration names, and the variable and line of its root hash."""

    name: str
    variable: str
    line: int


@tree_rule("KB657", "a setting that the runtime does not know", severity=Severity.WARNING)
def unknown_settings(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration has a setting that its runtime does not read, or not in that table. The runtime ignores it.

    What a runtime reads are the fields of the structures in its sources that the configuration is read into. Most often the
    setting was copied from the other runtime's configuration, renamed in the sources only, or came to stand below the header of
    another table.

    Repair: correct the key, move it to its table, or remove it.

    False alarm: a setting that a plugin reads by itself; none is known.
    """
    yield from _unknown(tree, refused=False)


@tree_rule("KB666", "a setting with which the runtime refuses the configuration")
def refused_settings(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration has a setting that its runtime does not know, in a table where it takes nothing that it does not know.

    The structures of some tables are declared with deny_unknown_fields. With one key too many there, the runtime reads nothing of
    the configuration, and no sandbox starts.

    Repair: correct the key, move it to its table, or remove it.

    False alarm: none.
    """
    yield from _unknown(tree, refused=True)


def _unknown(tree: UpstreamTree, *, refused: bool) -> Iterator[Problem]:
    for family, build in tree.runtimes.items():
        seen: set[tuple[str, tuple[str, ...], str]] = set()
        for configuration in build.configurations.values():
            template = configuration.template
            for setting in _settings(build, configuration):
                at = (template.path, setting.table, setting.key)
                if setting.field is not None or setting.refused is not refused or at in seen:
                    continue
                seen.add(at)
                table, what = setting.table, f'"{setting.key}" in {table_name(setting.table)}'
                if _is_table(setting):
                    table = (*setting.table, setting.key)
                    what = f"the table {table_name(table)}"
                does = "refuses" if refused else "does not know"
                message = f'the {family} runtime {does} {what} of "{template.shim}"'
                span = setting_span(template, ".".join(table), setting.key)
                yield Problem(span=span, message=message, hint=_hint(build, setting))


def _is_table(setting: SettingAt) -> bool:
    value = setting.value[0] if isinstance(setting.value, list) and setting.value else setting.value
    return isinstance(value, dict)


def _hint(build: RuntimeBuild, setting: SettingAt) -> str | None:
    tables = () if build.schema is None else [table for table, fields in build.schema.tables.items() if setting.key in fields]
    if tables:
        return f"it is a setting of {table_name(tables[0])}"
    return did_you_mean(setting.key, setting.known)


def _settings(build: RuntimeBuild, configuration: Configuration) -> Iterator[SettingAt]:
    """Yield the settings of a configuration, where it can be read and the runtime's own are known."""
    if build.schema is not None and configuration.data is not None:
        yield from build.schema.settings(configuration.data)


@tree_rule("KB658", "a setting of the wrong kind")
def wrong_kinds(tree: UpstreamTree) -> Iterator[Problem]:
    """A setting's value is not of the kind that the runtime reads: a text for a number, a number for true or false.

    The runtime refuses the whole configuration. Often the quotes around a make variable are missing or superfluous, or the
    variable has an unexpected value on one architecture.

    Repair: write a value of that kind.

    False alarm: none.
    """
    for build in tree.runtimes.values():
        found: dict[tuple[str, str, str], tuple[Span, list[str]]] = {}
        for configuration in build.configurations.values():
            template = configuration.template
            for setting in () if configuration.unknown else _settings(build, configuration):
                if setting.field is None or setting.field.kind.fits(setting.value):
                    continue
                table = ".".join(setting.table)
                problem = f'"{setting.key}" of "{template.shim}" is {_shown(setting.value)}, expected {setting.field.kind}'
                at = (template.path, table, problem)
                found.setdefault(at, (setting_span(template, table, setting.key), []))[1].append(configuration.arch)
        for (_, _, problem), (span, arches) in found.items():
            yield Problem(span=span, message=f"{problem}, on {joined(arches)}")


def _shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'the text "{value}"'
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return str(value)


@tree_rule("KB660", "a setting that the runtime cannot do without")
def missing_settings(tree: UpstreamTree) -> Iterator[Problem]:
    """A table lacks a setting for which the runtime has no default. The runtime refuses the whole configuration.

    Repair: add the setting.

    False alarm: none.
    """
    for build in tree.runtimes.values():
        seen: set[tuple[str, tuple[str, ...], str]] = set()
        for configuration in build.configurations.values():
            template = configuration.template
            if build.schema is None or configuration.data is None:
                continue
            for table, key in build.schema.missing(configuration.data):
                if (template.path, table, key) not in seen:
                    seen.add((template.path, table, key))
                    message = f'{table_name(table)} of "{template.shim}" has no "{key}", which the runtime cannot do without'
                    yield Problem(span=setting_span(template, ".".join(table), ""), message=message)


@tree_rule("KB638", "a root hash of another image")
def root_hashes(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration's dm-verity parameters are filled with the root hash of another image than it boots, or never filled.

    The build script hands each runtime's makefile the hashes of measured images, by variable. A guest whose image does not match
    its hash does not boot; one without a hash is not measured. The variant "base" is the plain image, every other one is a
    suffix. A variant that the build does not keep the hash of cannot be handed over.

    Repair: use the variable of the image that is booted, or have the build keep its hash.

    False alarm: none.
    """
    verity = tree.verity
    if verity is None:
        return
    if verity.variants is not None:
        kept = set(verity.variants.names())
        for variables in verity.variables.values():
            for item in variables.values():
                if item.name not in kept:
                    message = f'the hash of "{item.name}" is read, but "{item.name}" is not in {verity.variants.what}'
                    yield Problem(span=item.span, message=message, hint=did_you_mean(item.name, kept))
    for family, build in tree.runtimes.items():
        known = verity.variables.get(family, {})
        for name, template in build.templates.items():
            configuration = next(build.iter_configurations(name), None)
            if configuration is None:
                continue
            for image in _images(template, configuration):
                item_or_none = known.get(image.variable)
                if item_or_none is None:
                    message = f"no build of the {family} runtime fills {image.variable}, the root hash of {image.name}"
                    yield Problem(span=line_span(template, image.line), message=message, hint=did_you_mean(image.variable, known))
                elif image.name != _image_of(item_or_none.name):
                    message = (
                        f"{image.variable} is the root hash of {_image_of(item_or_none.name)}, but the image is {image.name}"
                    )
                    span = line_span(template, image.line)
                    yield Problem(span=span, message=message, related=(item_or_none.span,))


def _image_of(variant: str) -> str:
    return "kata-containers.img" if variant == _BASE else f"kata-containers-{variant}.img"


def _images(template: Template, configuration: Configuration) -> Iterator[_Image]:
    """Yield the images with a root hash from a variable, block by block."""
    tables = configuration.hypervisors
    if len(tables) != 1:
        return
    extensions = configuration.get("hypervisor", tables[0], "guest_extension_images")
    paths = [entry.get("path") for entry in extensions if isinstance(entry, dict)] if isinstance(extensions, list) else []
    image = configuration.get("hypervisor", tables[0], "image")
    block = -1
    for number, line in enumerate(template.lines, 1):
        header = None if line.lstrip().startswith("#") else _HEADER.match(line)
        if header is not None and header.group(1).endswith("guest_extension_images"):
            block += 1
        setting = None if line.lstrip().startswith("#") else _SETTING.match(line)
        variable = None if setting is None else _VARIABLE.search(setting.group(2))
        if setting is None or variable is None:
            continue
        if setting.group(1) == "kernel_verity_params" and isinstance(image, str) and image:
            yield _Image(posixpath.basename(image), variable.group(1), number)
        elif setting.group(1) == "verity_params" and 0 <= block < len(paths):
            path = paths[block]
            if isinstance(path, str):
                yield _Image(posixpath.basename(path), variable.group(1), number)


@tree_rule("KB679", "a setting in a comment that is not TOML", severity=Severity.WARNING)
def unreadable_offers(tree: UpstreamTree) -> Iterator[Problem]:
    """A comment of a template offers a setting, and its value is not TOML: a text without quotes, most often.

    Whoever removes the comment sign gets a configuration that the runtime refuses. Looked at are lines that hold a setting known
    to the runtime and nothing else.

    Repair: write the value as TOML.

    False alarm: a sentence that begins with the name of a setting and an equals sign.
    """
    for build in tree.runtimes.values():
        known = set() if build.schema is None else {key for fields in build.schema.tables.values() for key in fields}
        for template in build.templates.values():
            for number, line in enumerate(template.lines, 1):
                match = _OFFERED.fullmatch(line)
                if match is not None and match.group(1) in known and not _is_toml(match.group(2)):
                    message = f'"{match.group(1)}" of "{template.shim}" would be {match.group(2)}, which is not TOML'
                    yield Problem(span=line_span(template, number), message=message)


def _is_toml(value: str) -> bool:
    if value.startswith(("[", '"""', "{")) or "://" in value or "<" in value:
        return True  # it may go on in the next line, or shows what may be in a text
    try:
        tomllib.loads("x = " + _VARIABLE.sub("0", value))
    except tomllib.TOMLDecodeError:
        return False
    return True
