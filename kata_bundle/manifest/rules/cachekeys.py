"""Rules about the keys of cached results: they are made of what the build depends on, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.manifest.rules.buildfacts import (
    LAST_COMMIT,
    VERSION_KEY,
    bare,
    folder_of,
    layers,
)
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.layers import Layered
    from kata_bundle.manifest.positions import KeyPath


__all__ = ["cache_entries", "cache_keys_exist"]


@rule("KB273", "a part of a cache key that nobody knows", acceptable=True)
def cache_entries(manifests: Manifests) -> Iterator[Problem]:
    """An entry of "cache_key" or "builder_key" names a version key that the component does not read, an unknown folder or another
    text that upstream.toml does not have, or a component reads a version that its cache key leaves out.

    What is built must depend on the same things as the key of its cached result, or an old result is taken for a new one.

    Repair: correct the entry; read the version key ("version_keys") here or in a part that the component is made from; or
    define the text in upstream.toml.

    False alarm: upstream leaves a version out of a key on purpose: accept it in ignores.toml.
    """
    document, model = manifests.components.document, manifests.components.model
    known = manifests.upstream.model
    texts, folders = set(known.key_parts), set(known.folders)
    seen: set[KeyPath] = set()
    for where, layer in _key_lists(manifests):
        for i, text in enumerate(layer):
            is_builder = where[-1] == "builder_key" and i == 0  # the image's name, checked with the component's folders
            if text.startswith("@") or VERSION_KEY.fullmatch(text) or text in texts or is_builder:
                continue
            match = LAST_COMMIT.fullmatch(text)
            if match is None or folder_of(match[1]) not in folders:
                what = "is no folder of upstream.toml" if match else "is not known as a part of keys"
                name = match[1] if match else text
                hint = did_you_mean(folder_of(name) if match else name, folders if match else texts)
                table: KeyPath = ("folders" if match else "key_parts",)
                related = ((manifests.upstream.document, table),)
                yield Problem(document=document, key=(*where, i), message=f'"{name}" {what}', hint=hint, related=related)
    yield from _builders(manifests)
    yield from _parts(manifests)
    for name in model.components:
        facts = manifests.facts(name)
        reads = _reads(manifests, name, set())
        origin = facts.origin.get("cache_key")
        if origin is None:
            continue
        keys = [text for text in facts.values["cache_key"] if VERSION_KEY.fullmatch(text) and "<" not in text]
        for text in keys:
            if text not in reads:
                where = _where_listed(manifests, origin, text)
                if where not in seen:
                    seen.add(where)
                    message = f'the cache key of "{name}" has "{text}", which it does not read'
                    related = ((document, facts.origin.get("version_keys", ("components", name))),)
                    yield Problem(document=document, key=where, message=message, hint=did_you_mean(text, reads), related=related)
        own = facts.values.get("version_keys") or ()
        main = [key for key in own if key.endswith((".version", ".tag")) and "<" not in key and ".arm64." not in key]
        for key in main:
            if key not in keys and not any("<" in text for text in facts.values["cache_key"]):
                at = facts.origin["version_keys"]
                message = f'the cache key of "{name}" lacks "{key}", which it reads'
                lacking: KeyPath = (*at, list(own).index(key))
                yield Problem(document=document, key=origin, message=message, of_key=True, related=((document, lacking),))


def _parts(manifests: Manifests) -> Iterator[Problem]:
    """Yield where a guest image is made from a part and its cache key does not have the part's entries, or the reverse."""
    document, model = manifests.components.document, manifests.components.model
    for part, of_list in model.parts.items():
        if part not in model.components or of_list not in model.lists:
            message = f'"{part}" is not a component, or "{of_list}" is not a list'
            yield Problem(document=document, key=("parts", part), message=message)
    for name, component in model.components.items():
        facts = manifests.facts(name)
        if not any(bare(text) == "tools/osbuilder" for text in facts.values.get("scripts") or ()):
            continue
        made_from = facts.values.get("build_depends_on") or ()
        for part, of_list in model.parts.items():
            if (part in made_from) != (f"@{of_list}" in (component.cache_key or ())):
                what = f'is made from "{part}", but' if part in made_from else f'is not made from "{part}", yet'
                has = "lacks" if part in made_from else "has"
                message = f'"{name}" {what} its cache key {has} "@{of_list}"'
                related = (
                    (document, ("components", name, "build_depends_on")),
                    (document, ("parts", part)),
                )
                key: KeyPath = ("components", name, "cache_key")
                yield Problem(document=document, key=key, message=message, of_key=True, related=related)


_LANGUAGES = {"languages.golang.meta.newest-version": "go version", "languages.rust.meta.newest-version": "rust version"}
"""A compiler's version key, and what a builder image's key says instead of it."""


def _commits_and_compilers(name: str, facts: Layered) -> Iterator[tuple[KeyPath, str]]:
    """Yield where a component's sources or compilers are in its keys and not among what it is made from, or the reverse."""
    keys = (*(facts.values.get("cache_key") or ()), *(facts.values.get("builder_key") or ()))
    committed = {folder_of(match[1]) for match in map(LAST_COMMIT.fullmatch, keys) if match}
    for text in facts.values.get("scripts") or ():
        if bare(text).startswith("src/") and bare(text) not in committed and facts.values.get("cache_key"):
            yield facts.origin["cache_key"], f'the cache key of "{name}" lacks the last commit of "{bare(text)}"'
    reads = facts.values.get("version_keys") or ()
    for key, words in _LANGUAGES.items():
        if (words in keys and key not in reads) or (key in reads and key not in keys and words not in keys):
            origin = facts.origin["version_keys" if key in reads else "builder_key"]
            what = "reads" if key in reads else "does not read"
            yield origin, f'"{name}" {what} "{key}", and its keys say otherwise'


def _builders(manifests: Manifests) -> Iterator[Problem]:
    """Yield what is wrong between a component's folders, its builder image and the commits in its keys."""
    document = manifests.components.document
    always = set(manifests.components.model.cache.always)
    seen: set[KeyPath] = set()
    for name in manifests.components.model.components:
        facts = manifests.facts(name)
        scripts = {bare(text) for text in facts.values.get("scripts") or ()}
        related = ((document, facts.origin.get("scripts", ("components", name))),)
        found: list[tuple[KeyPath, str]] = []
        for key in ("cache_key", "builder_key"):
            for text in facts.values.get(key) or ():
                match = LAST_COMMIT.fullmatch(text)
                folder = folder_of(match[1]) if match and text not in always else None
                if folder is not None and folder not in scripts and not folder.startswith("src/libs"):
                    where = _where_listed(manifests, facts.origin[key], text) if key == "cache_key" else facts.origin[key]
                    found.append((where, f'the {key} of "{name}" has "{folder}", which is not among its scripts'))
        found += _commits_and_compilers(name, facts)
        builder = facts.values.get("builder_key")
        if builder:
            origin = facts.origin["builder_key"]
            if f"tools/packaging/static-build/{builder[0]}" not in scripts:
                found.append(((*origin, 0), f'the builder image of "{name}" is "{builder[0]}", which is not among its scripts'))
            if builder[-1] != "arch" or not any("commit" in text for text in builder):
                found.append((origin, f'the builder_key of "{name}" lacks "arch" at its end, or a commit'))
        for where, message in found:
            if where not in seen:
                seen.add(where)
                yield Problem(document=document, key=where, message=message, related=related)


def _key_lists(manifests: Manifests) -> Iterator[tuple[KeyPath, list[str]]]:
    for where, layer in layers(manifests):
        for key, items in (("cache_key", layer.cache_key), ("builder_key", layer.builder_key)):
            yield (*where, key), items or []
    for name, items in manifests.components.model.lists.items():
        yield ("lists", name), items
    yield ("cache", "always"), manifests.components.model.cache.always


def _reads(manifests: Manifests, name: str, seen: set[str]) -> set[str]:
    """Return the version keys that a component and everything it is made from read."""
    if name in seen or name not in manifests.components.model.components:
        return set()
    seen.add(name)
    values = manifests.facts(name).values
    found = set(values.get("version_keys") or ())
    for parent in values.get("build_depends_on") or ():
        found |= _reads(manifests, parent, seen)
    return found


def _where_listed(manifests: Manifests, origin: KeyPath, text: str) -> KeyPath:
    """Return the place of ``text`` in the list at ``origin``, or in the list of lists that it comes from."""
    model = manifests.components.model
    layer = model.components[str(origin[1])] if origin[0] == "components" else model.groups[str(origin[1])]
    pending: list[tuple[KeyPath, list[str]]] = [(origin, layer.cache_key or [])]
    for _ in range(16):
        if not pending:
            break
        where, items = pending.pop()
        for i, item in enumerate(items):
            if item == text:
                return (*where, i)
            if item.startswith("@") and item[1:] in model.lists:
                pending.append((("lists", item[1:]), model.lists[item[1:]]))
    return origin


@rule("KB269", "a component without a cache key", acceptable=True)
def cache_keys_exist(manifests: Manifests) -> Iterator[Problem]:
    """A component is built and nothing says what its cached result is compared by.

    It is built anew every time, or a result is taken that nobody compared.

    Repair: list in "cache_key" what the result depends on.

    False alarm: a result that is never kept: accept it in ignores.toml.
    """
    for name in manifests.components.model.components:
        values = manifests.facts(name).values
        if values.get("arches") and not values.get("cache_key"):
            message = f'"{name}" is built and has no cache key'
            document = manifests.components.document
            yield Problem(document=document, key=("components", name), message=message, of_key=True)
