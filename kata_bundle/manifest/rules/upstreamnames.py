"""Rules about what components.toml says of upstream's build: every key, folder, job and licence exists, and texts agree."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.models import ComponentLayer
    from kata_bundle.manifest.positions import KeyPath

__all__ = [
    "absent_version_keys",
    "cache_entries",
    "jobs_exist",
    "licences_exist",
    "names_agree",
    "outputs_and_paths",
    "sources_exist",
    "unused_upstream_names",
    "version_keys_exist",
]

_FREE_FOLDERS = ("share/bash-completion/",)
"""What no configuration may ever name."""
_KEY = re.compile(r"(assets|externals|languages)\.([^ <]|<[^>]*>)*")
_COMMIT = re.compile(r"last commit of (\S+)")


def _layers(manifests: Manifests) -> Iterator[tuple[KeyPath, ComponentLayer]]:
    model = manifests.components.model
    for name, component in model.components.items():
        yield ("components", name), component
    for name, group in model.groups.items():
        yield ("groups", name), group


def _arches_of(manifests: Manifests) -> dict[KeyPath, set[str]]:
    """Return, by layer, the architectures on which the components that take values from it are built."""
    found: dict[KeyPath, set[str]] = {}
    for name, component in manifests.components.model.components.items():
        arches = manifests.facts(name).values.get("arches") or ()
        for where in (("components", name), *(("groups", group) for group in component.groups)):
            found.setdefault(where, set()).update(arches)
    return found


def _expanded(key: str, arches: set[str]) -> list[str]:
    return [key.replace("<arch>", arch) for arch in sorted(arches)] if "<arch>" in key else [key]


def _version_names(manifests: Manifests) -> set[str]:
    """Return every key of versions.yaml that upstream.toml knows, and every table above one."""
    names: set[str] = set()
    for entry, members in manifests.upstream.model.versions.items():
        parts = entry.split(".")
        names |= {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
        names |= {f"{entry}.{member}" for member in members}
    return names


@rule("KB270", "a version key that does not exist", acceptable=True)
def version_keys_exist(manifests: Manifests) -> Iterator[Problem]:
    """A component reads a key that upstream's versions.yaml does not have, on an architecture on which it is built.

    Upstream's scripts take an absent key for an empty value and build something else, or stop.

    Repair: correct the key, add it to [versions] in upstream.toml if upstream has it, or list it in "version_keys_absent" when
    it is optional.

    False alarm: a key that upstream added since upstream.toml was read: add it there.
    """
    names, arches = _version_names(manifests), _arches_of(manifests)
    for where, layer in _layers(manifests):
        absent = layer.version_keys_absent or []
        for i, key in enumerate(layer.version_keys or ()):
            missing = [text for text in _expanded(key, arches.get(where, set())) if text not in names]
            if missing and key not in absent:
                message = f'"{where[1]}" reads "{missing[0]}", which versions.yaml does not have'
                hint = did_you_mean(missing[0], names)
                document = manifests.components.document
                entry = missing[0].rpartition(".")[0]
                related = ((manifests.upstream.document, ("versions", entry)),)
                yield Problem(document=document, key=(*where, "version_keys", i), message=message, hint=hint, related=related)


@rule("KB271", "a name of upstream's that nothing uses", severity=Severity.WARNING, acceptable=True)
def unused_upstream_names(manifests: Manifests) -> Iterator[Problem]:
    """upstream.toml defines a version key, folder, job or part of keys that no component names.

    It may be left over, or the component that ought to name it has it misspelt.

    Repair: remove it, or name it where it is used.

    False alarm: none known; the file lists only what concerns components.
    """
    arches = _arches_of(manifests)
    read: set[str] = set()
    folders: set[str] = set()
    parts: set[str] = set()
    jobs: set[str] = set()
    lists = manifests.components.model.lists
    for layer_key, layer in _layers(manifests):
        for text in layer.version_keys or ():
            read.update(_expanded(text, arches.get(layer_key, set())))
        folders.update(_bare(text) for text in layer.scripts or ())
        parts.update((*(layer.cache_key or ()), *(layer.builder_key or ())))
        jobs.update(job for job in (layer.job, layer.removal_job, *(layer.removal_job_on or {}).values()) if job is not None)
    parts.update(text for items in (*lists.values(), manifests.components.model.cache.always) for text in items)
    folders.update(_folder(match[1]) for match in map(_COMMIT.fullmatch, parts) if match)
    model, document = manifests.upstream.model, manifests.upstream.document
    unused: list[tuple[KeyPath, str, bool]] = []
    for entry, members in model.versions.items():
        for i, member in enumerate(members):
            if not any(_is_at_or_above(key, f"{entry}.{member}") for key in read):
                unused.append((("versions", entry, i), f"{entry}.{member}", False))
    unused += [(("folders", i), name, False) for i, name in enumerate(model.folders) if name not in folders]
    unused += [(("key_parts", i), name, False) for i, name in enumerate(model.key_parts) if name not in parts]
    unused += [(("jobs", name), name, True) for name in model.jobs if name not in jobs]
    for key, name, of_key in unused:
        # Who reads the rest of the entry may be who forgot this member.
        beside = f"{key[1]}." if key[0] == "versions" else "\0"
        readers = [
            (manifests.components.document, (*where, "version_keys"))
            for where, layer in _layers(manifests)
            if any(
                text.startswith(beside) for item in layer.version_keys or () for text in _expanded(item, arches.get(where, set()))
            )
        ]
        message = f'"{name}" is defined and no component names it'
        yield Problem(document=document, key=key, message=message, of_key=of_key, related=tuple(readers[:4]))


def _is_at_or_above(key: str, leaf: str) -> bool:
    return key == leaf or leaf.startswith(f"{key}.")


def _bare(text: str) -> str:
    """Return a script folder without the remark in brackets behind it."""
    return text.partition(" (")[0]


def _folder(text: str) -> str:
    return f"tools/packaging/{text}" if text.startswith("static-build/") else text


@rule("KB272", "an absent version key that is not absent", acceptable=True)
def absent_version_keys(manifests: Manifests) -> Iterator[Problem]:
    """ "version_keys_absent" names a key that upstream.toml has, or one that the component does not read.

    Repair: remove it there.

    False alarm: none known.
    """
    names = _version_names(manifests)
    for where, layer in _layers(manifests):
        for i, key in enumerate(layer.version_keys_absent or ()):
            problem = "exists" if key in names else "is not read here" if key not in (layer.version_keys or ()) else None
            if problem is not None:
                document = manifests.components.document
                message = f'"{key}" {problem}, so it is not absent'
                yield Problem(document=document, key=(*where, "version_keys_absent", i), message=message)


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
            if text.startswith("@") or _KEY.fullmatch(text) or text in texts or is_builder:
                continue
            match = _COMMIT.fullmatch(text)
            if match is None or _folder(match[1]) not in folders:
                what = "is no folder of upstream.toml" if match else "is not known as a part of keys"
                name = match[1] if match else text
                hint = did_you_mean(_folder(name) if match else name, folders if match else texts)
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
        keys = [text for text in facts.values["cache_key"] if _KEY.fullmatch(text) and "<" not in text]
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
        if not any(_bare(text) == "tools/osbuilder" for text in facts.values.get("scripts") or ()):
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


def _builders(manifests: Manifests) -> Iterator[Problem]:
    """Yield what is wrong between a component's folders, its builder image and the commits in its keys."""
    document = manifests.components.document
    always = set(manifests.components.model.cache.always)
    seen: set[KeyPath] = set()
    for name in manifests.components.model.components:
        facts = manifests.facts(name)
        scripts = {_bare(text) for text in facts.values.get("scripts") or ()}
        related = ((document, facts.origin.get("scripts", ("components", name))),)
        found: list[tuple[KeyPath, str]] = []
        for key in ("cache_key", "builder_key"):
            for text in facts.values.get(key) or ():
                match = _COMMIT.fullmatch(text)
                folder = _folder(match[1]) if match and text not in always else None
                if folder is not None and folder not in scripts and not folder.startswith("src/libs"):
                    where = _where_listed(manifests, facts.origin[key], text) if key == "cache_key" else facts.origin[key]
                    found.append((where, f'the {key} of "{name}" has "{folder}", which is not among its scripts'))
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
    for where, layer in _layers(manifests):
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


@rule("KB274", "a build job that does not fit", acceptable=True)
def jobs_exist(manifests: Manifests) -> Iterator[Problem]:
    """A component names a job that upstream.toml does not have, or one that does not build its kind.

    The jobs' matrices decide what is built at all; a name that is in none of them is built by nobody.

    Repair: correct the job or the kind.

    False alarm: a new job upstream: add it to upstream.toml.
    """
    document, jobs = manifests.components.document, manifests.upstream.model.jobs
    known = ((manifests.upstream.document, ("jobs",)),)
    for where, layer in _layers(manifests):
        removals = [((*where, "removal_job_on", arch), job) for arch, job in (layer.removal_job_on or {}).items()]
        if layer.removal_job is not None:
            removals.append(((*where, "removal_job"), layer.removal_job))
        for key, removal in removals:
            if jobs.get(removal) != []:
                what = "builds components, so it removes none" if removal in jobs else "is not a job of upstream.toml"
                yield Problem(
                    document=document, key=key, message=f'"{removal}" {what}', hint=did_you_mean(removal, jobs), related=known
                )
        if layer.job is not None and layer.job not in jobs:
            hint = did_you_mean(layer.job, jobs)
            yield Problem(
                document=document,
                key=(*where, "job"),
                message=f'"{layer.job}" is not a job of upstream.toml',
                hint=hint,
                related=known,
            )
    for name in manifests.components.model.components:
        facts = manifests.facts(name)
        job, kind = facts.values.get("job"), facts.values.get("kind")
        is_part = kind == "intermediate" or any(text.endswith("-modules.tar.zst") for text in facts.values.get("sidecars") or ())
        if facts.values.get("arches") and is_part != (facts.values.get("removal_job") is not None):
            has = "is a part of others, but no job removes it" if is_part else "is no part of others, but a job removes it"
            where = facts.origin.get("removal_job", ("components", name))
            yield Problem(document=document, key=where, message=f'"{name}" {has}', of_key=len(where) == 2, related=known)
        if job in jobs and kind is not None and kind not in jobs[job]:
            origin = facts.origin["kind"]
            message = f'job "{job}" does not build "{name}", which is of the kind "{kind}"'
            related = (
                (document, facts.origin["job"]),
                (document, ("components", name)),
                (manifests.upstream.document, ("jobs", job)),
            )
            yield Problem(document=document, key=origin, message=message, related=related)


@rule("KB275", "a source that does not exist upstream", acceptable=True)
def sources_exist(manifests: Manifests) -> Iterator[Problem]:
    """ "scripts" names a folder or file that upstream.toml does not have.

    Repair: correct it, or add it to "folders" in upstream.toml if upstream has it.

    False alarm: a folder that upstream added since: add it there.
    """
    folders = manifests.upstream.model.folders
    known = set(folders)
    for where, layer in _layers(manifests):
        for i, text in enumerate(layer.scripts or ()):
            if _bare(text) not in known:
                message = f'"{_bare(text)}" is no folder of upstream.toml'
                hint = did_you_mean(_bare(text), folders)
                document = manifests.components.document
                related = ((manifests.upstream.document, ("folders",)),)
                yield Problem(document=document, key=(*where, "scripts", i), message=message, hint=hint, related=related)


@rule("KB247", "a component whose name does not fit its files", acceptable=True)
def names_agree(manifests: Manifests) -> Iterator[Problem]:
    """A component's name, suffix, variant or sidecars contradict each other.

    The name is the build target, the tarball and the entry in caches; its end is the suffix of its files, and without the hyphen
    the variant of its root hash. A sidecar has the component's name in its own.

    Repair: use one spelling everywhere.

    False alarm: files that are named after something else: do not use a suffix, write the paths.
    """
    document, model = manifests.components.document, manifests.components.model
    for name in model.components:
        facts = manifests.facts(name)
        values, origin = facts.values, facts.origin
        suffix = (values.get("suffix") or "").partition(" ")[0]
        if suffix and (not name.endswith(suffix) or name.removesuffix(suffix) not in _bases(manifests, suffix)):
            message = f'the suffix "{suffix}" is not the end of "{name}" behind the name of another component'
            yield Problem(document=document, key=origin["suffix"], message=message)
        if not suffix and _wants_suffix(manifests, name):
            message = f'"{name}" has no suffix, so its files have the names of another component\'s'
            yield Problem(document=document, key=("components", name), message=message, of_key=True)
        variant = values.get("variant")
        expected = suffix.removeprefix("-") or "base"
        if variant is not None and variant != expected:
            message = f'the variant of "{name}" is "{variant}", expected "{expected}" as its suffix says'
            yield Problem(document=document, key=origin["variant"], message=message)
        for i, sidecar in enumerate(values.get("sidecars") or ()):
            if not re.search(rf"(^|kata-static-){re.escape(name)}-(modules\.tar\.zst|root_hash_)", sidecar):
                message = f'sidecar "{sidecar}" is not named after "{name}"'
                yield Problem(document=document, key=(*origin["sidecars"], i), message=message)


def _bases(manifests: Manifests, suffix: str) -> set[str]:
    components = manifests.components.model.components
    del suffix
    return set(components)


def _wants_suffix(manifests: Manifests, name: str) -> bool:
    """Return whether a component's files are named by suffix, and another one's name is the beginning of its own."""
    components = manifests.components.model.components
    entry = components[name]
    if entry.paths is not None or entry.outputs is not None:
        return False
    parts = name.split("-")
    mine = set(entry.groups)
    for size in range(1, len(parts)):
        base = components.get("-".join(parts[:size]))
        if base is not None and mine & set(base.groups) and any("{suffix}" in text for text in _raw_paths(manifests, name)):
            return True
    return False


def _raw_paths(manifests: Manifests, name: str) -> list[str]:
    groups = manifests.components.model.groups
    found: list[str] = []
    for group in manifests.components.model.components[name].groups:
        found += (groups[group].paths or []) if group in groups else []
    return found


@rule("KB277", "outputs and paths that disagree", acceptable=True)
def outputs_and_paths(manifests: Manifests) -> Iterator[Problem]:
    """ "paths" names a file that "outputs" does not mention, or "outputs" mentions a file of a fixed name that "paths" lacks.

    "paths" is what configurations may name, "outputs" what the component holds; the second contains the first.

    Repair: use the same name in both.

    False alarm: a file that no configuration may ever name: give it a pattern or a remark without a slash in "outputs".
    """
    document = manifests.components.document
    told: set[KeyPath] = set()
    for name in manifests.components.model.components:
        facts = manifests.facts(name)
        values = facts.values
        if values.get("guest") or values.get("kind") == "unused" or not values.get("outputs"):
            continue
        patterns = [_pattern(token) for text in values["outputs"] for token in _tokens(text)]
        given: list[tuple[KeyPath, str]] = []
        if "paths" in facts.origin:
            given += [((*facts.origin["paths"], i), path) for i, path in enumerate(values["paths"])]
        for arch, paths in (values.get("paths_on") or {}).items():
            given += [((*facts.origin["paths_on"], arch, i), path) for i, path in enumerate(paths)]
        for key, path in given:
            plain = path.replace("{emulator}", Arch.X86_64.emulator).rstrip("/")
            if key not in told and not any(pattern.fullmatch(plain) for pattern in patterns):
                told.add(key)
                message = f'"{path}" is not among the outputs of "{name}"'
                yield Problem(document=document, key=key, message=message, related=((document, facts.origin["outputs"]),))
        fixed = {path.rstrip("/") for _, path in given}
        for i, text in enumerate(values["outputs"]):
            for token in _tokens(text):
                key = (*facts.origin["outputs"], i)
                if "<" in token or key in told or token.startswith(_FREE_FOLDERS):
                    continue
                if token.rstrip("/") not in fixed and token.removesuffix("/*") not in fixed:
                    told.add(key)
                    message = f'"{token}" is not among the paths of "{name}"'
                    paths = facts.origin.get("paths", facts.origin.get("paths_on", ("components", name)))
                    yield Problem(document=document, key=key, message=message, related=((document, paths),))


def _tokens(text: str) -> list[str]:
    """Return the paths of an entry of outputs, which may have remarks behind and between them."""
    plain = re.sub(r"<[^>]*>", "<>", text)
    return [word.rstrip(",") for word in plain.split() if "/" in word]


def _pattern(token: str) -> re.Pattern[str]:
    escaped = re.escape(token.rstrip("/")).replace("<>", "[^/]+").replace(r"/\*", "(/.*)?").replace(r"\*", ".*")
    return re.compile(escaped)


_LICENCE_TEXT = """
0BSD Apache-2.0 BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSL-1.0 CC0-1.0 EPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0-only
GPL-3.0-or-later ISC LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT MPL-2.0 MulanPSL-2.0 NOASSERTION NONE
OpenSSL PSF-2.0 Python-2.0 Unlicense Zlib
"""
_EXCEPTION_TEXT = "Linux-syscall-note GCC-exception-2.0 GCC-exception-3.1 LLVM-exception Classpath-exception-2.0"
_LICENCES = frozenset(_LICENCE_TEXT.split())
_EXCEPTIONS = frozenset(_EXCEPTION_TEXT.split())


@rule("KB278", "a licence that is no SPDX expression", acceptable=True)
def licences_exist(manifests: Manifests) -> Iterator[Problem]:
    """ "licence" is not an expression of SPDX identifiers joined by AND, OR and WITH.

    The expression goes into bills of materials and image labels, which other programs read.

    Repair: use the identifier of the SPDX list. NOASSERTION stands for collections of differently licensed packages.

    False alarm: an identifier that this program does not list, since it knows common ones only: accept it in ignores.toml.
    """
    for where, layer in _layers(manifests):
        if layer.licence is None:
            continue
        wrong, before = None, "AND"
        for word in layer.licence.replace("(", " ").replace(")", " ").split():
            if before == "WITH":
                fits = word in _EXCEPTIONS
            elif before in {"AND", "OR"}:
                fits = word in _LICENCES
            else:
                fits = word in {"AND", "OR", "WITH"}
            if not fits and wrong is None:
                wrong = word
            before = word
        if wrong is None and before in {"AND", "OR", "WITH"}:
            wrong = before
        if wrong is not None:
            message = f'"{wrong}" in the licence of "{where[1]}" is not what SPDX calls it'
            hint = did_you_mean(wrong, _LICENCES | _EXCEPTIONS)
            yield Problem(document=manifests.components.document, key=(*where, "licence"), message=message, hint=hint)
