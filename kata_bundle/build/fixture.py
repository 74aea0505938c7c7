"""Makes stand-ins: small, deterministic files of the right names, which say in their first line that they are none.

Only configuration files have real content: they carry the catalog's values, so that everything which reads them can be tried.
Must not know: stores, packages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from kata_bundle.build.kataconfig import render_config
from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath, parse_relpath, resolve_link
from kata_bundle.core.tree import Symlink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.build.facts import ComponentFacts
    from kata_bundle.build.rules import FixtureRecipe

__all__ = ["FIXTURE_VERSION", "Content", "render_fixture"]

FIXTURE_VERSION: Final = "fixture-1"
"""Version that stand-ins carry; raised when the bytes made here change."""

_MARKER: Final = "share/kata-bundle/fixtures/{component}/VERSION"
_IMAGE_SIZE: Final = 384 << 10
_SMALL_SIZE: Final = 64 << 10
_IMAGES: Final = (".img", ".image", ".initrd")
_BLOCK: Final = 4096
_NOT_MEASURED: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """A regular file to be made."""

    mode: int
    data: bytes


def render_fixture(
    facts: ComponentFacts, recipe: FixtureRecipe, verity: Mapping[str, str] = _NOT_MEASURED
) -> Mapping[RelPath, Content | Symlink]:
    """Return every file and link of the stand-in for a component, sorted by path.

    There is something for each output: what the recipe lists as a link becomes one, with a stand-in where it points (unless
    that is elsewhere); configurations of known shims have their values, and those of ``verity`` for images that are measured.
    Raises :class:`BuildError` when a link is no output.
    """
    links = {link.at: link for link in recipe.links}
    stray = sorted(set(links) - set(facts.outputs))
    if stray:
        msg = f'the rule of "{facts.component}" links "{stray[0]}", which is no output on {facts.arch}'
        raise BuildError(msg)
    entries: dict[RelPath, Content | Symlink] = {}
    for output in facts.outputs:
        path = parse_relpath(output)
        link = links.get(path)
        if link is not None:
            entries[path] = Symlink(target=link.target)
            target = resolve_link(path, link.target)
            if target is not None and not link.is_elsewhere and target not in facts.outputs:
                entries[target] = _stand_in(target, facts)
        elif output.endswith("/"):
            entries[RelPath(f"{path}/README")] = _text(f"folder {path}", facts)
        else:
            entries[path] = _stand_in(path, facts)
    for config in facts.configs:
        path = parse_relpath(config.path)
        header = f'# {_first_line(path.rpartition("/")[2])}# Settings of shim "{config.shim}" on {facts.arch}.\n'
        entries[path] = Content(mode=0o644, data=render_config(config, facts.arch, header, verity).encode())
    entries[RelPath(_MARKER.format(component=facts.component))] = _text(f"component {facts.component}", facts)
    return dict(sorted(entries.items()))


def _stand_in(path: RelPath, facts: ComponentFacts) -> Content:
    *folders, name = path.split("/")
    if {"bin", "libexec"} & set(folders):
        return _script(name)
    if name.endswith(".toml"):
        # A configuration that upstream's build makes for a shim nobody can select: valid, and empty.
        header = f"# {_first_line(name)}# No shim of the catalog uses it.\n"
        return Content(mode=0o644, data=f"{header}\n[agent.kata]\n\n[runtime]\n".encode())
    if name.endswith(_IMAGES):
        return _image(path, facts, _IMAGE_SIZE)
    if name.startswith("vmlinu") or name.endswith(".fd"):
        return _image(path, facts, _SMALL_SIZE)
    return _text(name, facts)


def _script(name: str) -> Content:
    line = _first_line(name).rstrip()
    return Content(mode=0o755, data=f"#!/bin/sh\n# {line}\necho '{line}' >&2\nexit 1\n".encode())


def _text(what: str, facts: ComponentFacts) -> Content:
    text = f"{_first_line(what)}component: {facts.component}\narch: {facts.arch}\nversion: {FIXTURE_VERSION}\n"
    return Content(mode=0o644, data=text.encode())


def _image(path: RelPath, facts: ComponentFacts, size: int) -> Content:
    """Return a first line, then a quarter of bytes that do not compress, then zeros, as images of file systems are."""
    start = _first_line(path.rpartition("/")[2]).encode().ljust(_BLOCK, b"\0")
    noise = hashlib.shake_256(f"{facts.component}\0{facts.arch}\0{path}".encode()).digest(size // 4)
    return Content(mode=0o644, data=(start + noise).ljust(size, b"\0"))


def _first_line(what: str) -> str:
    return f"kata_bundle fixture: not a real {what}\n"
