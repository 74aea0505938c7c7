"""RuntimeClass objects of the catalog's shims: plain, default, with an install suffix, debug and devkit variants.

Names, labels and selectors are those of installer specification §4, §22.1, §28 and §29. Ordered by shim name, plain classes
before debug ones before devkit ones, the default class after its shim's. Must not know: charts, clusters, nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import UsageError
from kata_bundle.generate.yamltext import render_yaml_documents

if TYPE_CHECKING:
    from collections.abc import Collection

    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog, RuntimeClass, Shim

__all__ = ["SUFFIX_PATTERN", "ClassOptions", "class_name", "render_runtime_classes", "runtime_classes", "select_shims"]

SUFFIX_PATTERN: Final = "[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?"
"""What an install suffix may be (installer specification D20)."""

INSTANCE_PREFIX: Final = "kata-deploy.katacontainers.io/"
"""A node label that begins so is one install's own mark; the suffix, or ``default``, follows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassOptions:
    """What of the classes an operator chooses."""

    suffix: str | None = None
    default_class: bool = False
    """One class more, that stands for the default shim."""
    debug: bool = False
    devkit: bool = False
    """Only beside ``debug``, as a node installs them."""
    discovery: bool = False
    """The cluster runs node feature discovery with the rules that count TEE keys."""
    overhead: bool = True
    kata_version: str | None = None
    """For the annotation that names the release; no annotation without it."""

    def __post_init__(self) -> None:
        if self.suffix is not None and not re.fullmatch(SUFFIX_PATTERN, self.suffix):
            msg = f"install suffix {self.suffix!a} is not 1 to 30 lower-case letters, digits and inner hyphens"
            raise UsageError(msg)
        if self.default_class and self.suffix is not None:
            msg = "a class for the default shim is never made with an install suffix: two installs would fight over its name"
            raise UsageError(msg)
        if self.devkit and not self.debug:
            msg = "devkit classes exist only beside debug ones"
            raise UsageError(msg, hint="add --debug")


def class_name(shim: str, *, suffix: str | None = None, variant: str | None = None) -> str:
    """Return the name and handler ``kata-<shim>[-<suffix>][-<variant>]``."""
    return "-".join(["kata", shim, *([suffix] if suffix else []), *([variant] if variant else [])])


def select_shims(catalog: Catalog, words: Collection[str], arches: Collection[Arch]) -> tuple[Shim, ...]:
    """Return the shims whose classes are wanted, by name; without ``words`` those that the chart enables by default.

    ``all`` stands for every complete shim, ``default`` for the architectures' default shims. With ``arches``, only shims that the
    chart offers or the component map has on one of them. Raises :class:`UsageError` naming every wrong word, and when nothing
    is left.
    """
    candidates = {shim.name: shim for shim in catalog.active_shims() if shim.name in catalog.runtime_classes}
    chosen: dict[str, None] = {}
    wrong: list[str] = []
    for word in words:
        if word == "all":
            chosen.update(dict.fromkeys(candidates))
        elif word == "default":
            defaults = [entry for arch, entry in catalog.arches.items() if not arches or arch in arches]
            chosen.update(dict.fromkeys(shim for entry in defaults for shim in entry.default_shims))
        elif word in candidates:
            chosen[word] = None
        else:
            wrong.append(word)
    if wrong:
        hints = dict.fromkeys(did_you_mean(word, candidates) or "kata-bundle list shims shows the known ones" for word in wrong)
        raise UsageError("; ".join(f'no RuntimeClass is made for "{word}"' for word in wrong), hint="; ".join(hints))
    if not words:
        chosen = {name: None for name in candidates if catalog.runtime_classes[name].rendered_by_default}
    found = [candidates[name] for name in sorted(chosen)]
    if arches:
        found = [shim for shim in found if set(arches) & {*catalog.runtime_classes[shim.name].arches, *shim.arches}]
    if not found:
        msg = f"no RuntimeClass is left on {', '.join(arches)}" if arches else "no RuntimeClass is selected"
        raise UsageError(msg)
    return tuple(found)


def runtime_classes(
    catalog: Catalog, shims: Collection[Shim], options: ClassOptions, *, arches: Collection[Arch] = ()
) -> tuple[dict[str, Any], ...]:
    """Return the objects. The default shim is that of the first of ``arches`` (none: of the catalog's first).

    Raises :class:`UsageError` when the default class is wanted and the default shim is not among ``shims``.
    """
    names = sorted(shim.name for shim in shims)
    default = default_shim(catalog, arches) if options.default_class else None
    if default is not None and default not in names:
        msg = f'the default shim "{default}" is not among the selected ones, so nothing can stand for it'
        raise UsageError(msg)
    objects: list[dict[str, Any]] = []
    for variant in (None, *(["debug"] if options.debug else []), *(["devkit"] if options.devkit else [])):
        for name in names:
            found = catalog.runtime_classes[name]
            handler = class_name(name, suffix=options.suffix, variant=variant)
            objects.append(_object(found, handler, handler, options))
            if name == default and variant is None:
                objects.append(_object(found, catalog.default_class.name, handler, options))
    return tuple(objects)


def default_shim(catalog: Catalog, arches: Collection[Arch] = ()) -> str:
    """Return the default shim of the first of ``arches`` in the catalog's order, of all when none is named."""
    return next(entry.default_shim for arch, entry in catalog.arches.items() if not arches or arch in arches)


def _object(found: RuntimeClass, name: str, handler: str, options: ClassOptions) -> dict[str, Any]:
    instance = options.suffix or "default"
    metadata: dict[str, Any] = {
        "name": name,
        "labels": {"app.kubernetes.io/managed-by": "kata-deploy", "kata-deploy/instance": instance},
    }
    if options.kata_version is not None:
        metadata["annotations"] = {"katacontainers.io/kata-version": options.kata_version}
    fixed = {"memory": found.memory, "cpu": found.cpu} if options.overhead else {}
    selector = {**found.node_selector, f"{INSTANCE_PREFIX}{instance}": "true"}
    if options.discovery:
        # Whatever becomes of the overhead: without the request, more guests are scheduled than the node has keys.
        fixed.update(found.resources_with_discovery)
        selector.update(found.node_selector_with_discovery)
    document: dict[str, Any] = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": metadata,
        "handler": handler,
    }
    if fixed:
        document["overhead"] = {"podFixed": fixed}
    document["scheduling"] = {"nodeSelector": selector}
    return document


def render_runtime_classes(
    catalog: Catalog, shims: Collection[Shim], options: ClassOptions, *, arches: Collection[Arch] = ()
) -> str:
    """Return the objects as a stream of YAML documents; raises as :func:`runtime_classes`."""
    return render_yaml_documents(runtime_classes(catalog, shims, options, arches=arches))
