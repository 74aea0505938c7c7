"""Rules about single settings: variables behind them that nothing sets, root hashes that belong to another image."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.upstream.places import line_span
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.upstream.facts import Configuration, Template, UpstreamTree

__all__ = ["root_hashes", "unset_variables"]

_HEADER: Final = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_SETTING: Final = re.compile(r"\s*(kernel_verity_params|verity_params|image|path)\s*=\s*(.*)$")
_VARIABLE: Final = re.compile(r"@([A-Za-z_][A-Za-z0-9_]*)@")
_NO_PROGRAM: Final = frozenset({"dragonball", "remote"})
_OWN_PROGRAM: Final = frozenset({"path", "ctlpath"})
"""Settings that a hypervisor without a program leaves empty."""
_BASE: Final = "base"


@tree_rule("KB637", "a setting whose variable nothing sets", severity=Severity.WARNING)
def unset_variables(tree: UpstreamTree) -> Iterator[Problem]:
    """A template takes a setting from a make variable that no makefile sets on any architecture, so that the setting is empty.

    The variable was removed or renamed, or the template names another one than was meant. The program of a hypervisor that is
    part of the runtime may be empty.
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


class _Image(NamedTuple):
    """An image that a configuration names, and the variable and line of its root hash."""

    name: str
    variable: str
    line: int


@tree_rule("KB638", "a root hash of another image")
def root_hashes(tree: UpstreamTree) -> Iterator[Problem]:
    """A configuration's dm-verity parameters are filled with the root hash of another image than it boots, or never filled.

    The build script hands each runtime's makefile the hashes of measured images, by variable. A guest whose image does not match
    its hash does not boot; one without a hash is not measured. The variant "base" is the plain image, every other one is a
    suffix. A variant that the build does not keep the hash of cannot be handed over.
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
                    yield Problem(span=line_span(template, image.line), message=message)


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
