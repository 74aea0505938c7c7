"""Rules about names that exist in upstream's tree: version keys, folders and jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import Severity, did_you_mean
from kata_bundle.manifest.rules.buildfacts import (
    LAST_COMMIT,
    arches_of,
    bare,
    expanded,
    folder_of,
    layers,
    version_names,
)
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.positions import KeyPath


__all__ = ["absent_version_keys", "jobs_exist", "sources_exist", "unused_upstream_names", "version_keys_exist"]


@rule("KB270", "a version key that does not exist", acceptable=True)
def version_keys_exist(manifests: Manifests) -> Iterator[Problem]:
    """A component reads a key that upstream's versions.yaml does not have, on an architecture on which it is built.

    Upstream's scripts take an absent key for an empty value and build something else, or stop.

    Repair: correct the key, add it to [versions] in upstream.toml if upstream has it, or list it in "version_keys_absent" when
    it is optional.

    False alarm: a key that upstream added since upstream.toml was read: add it there.
    """
    names, arches = version_names(manifests), arches_of(manifests)
    for where, layer in layers(manifests):
        absent = layer.version_keys_absent or []
        for i, key in enumerate(layer.version_keys or ()):
            missing = [text for text in expanded(key, arches.get(where, set())) if text not in names]
            if missing and key not in absent:
                message = f'"{where[1]}" reads "{missing[0]}", which versions.yaml does not have'
                hint = did_you_mean(missing[0], names)
                document = manifests.components.document
                entry = missing[0].rpartition(".")[0]
                related = ((manifests.upstream.document, ("versions", entry)),)
                yield Problem(document=document, key=(*where, "version_keys", i), message=message, hint=hint, related=related)


_MAIN = ("version", "tag", "newest-version")


@rule("KB281", "a version key whose entry's version is not read", acceptable=True)
def whole_entries(manifests: Manifests) -> Iterator[Problem]:
    """A component reads where something comes from, and not which version of it.

    Most often the key belongs to another component.

    Repair: read the entry's version too, or correct the key.

    False alarm: an entry of which no version is kept: it has none in upstream.toml either, and is no finding.
    """
    versioned = {entry for entry, members in manifests.upstream.model.versions.items() if set(members) & set(_MAIN)}
    document = manifests.components.document
    told: set[KeyPath] = set()
    for name in manifests.components.model.components:
        facts = manifests.facts(name)
        keys = facts.values.get("version_keys") or ()
        arches = set(facts.values.get("arches") or ())
        mains = {text.rpartition(".")[0] for key in keys for text in expanded(key, arches) if text.rpartition(".")[2] in _MAIN}
        for i, key in enumerate(keys):
            for text in expanded(key, arches)[:1]:
                entry, _, member = text.rpartition(".")
                where = (*facts.origin["version_keys"], i)
                if member in _MAIN or where in told or not any(_kin(entry, other) for other in versioned):
                    continue
                if not any(_kin(entry, other) for other in mains):
                    told.add(where)
                    message = f'"{name}" reads "{text}", and no version of "{entry}"'
                    yield Problem(document=document, key=where, message=message)


def _kin(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


@rule("KB271", "a name of upstream's that nothing uses", severity=Severity.WARNING, acceptable=True)
def unused_upstream_names(manifests: Manifests) -> Iterator[Problem]:
    """upstream.toml defines a version key, folder, job or part of keys that no component names.

    It may be left over, or the component that ought to name it has it misspelt.

    Repair: remove it, or name it where it is used.

    False alarm: none known; the file lists only what concerns components.
    """
    arches = arches_of(manifests)
    read: set[str] = set()
    folders: set[str] = set()
    parts: set[str] = set()
    jobs: set[str] = set()
    lists = manifests.components.model.lists
    for layer_key, layer in layers(manifests):
        for text in layer.version_keys or ():
            read.update(expanded(text, arches.get(layer_key, set())))
        folders.update(bare(text) for text in layer.scripts or ())
        parts.update((*(layer.cache_key or ()), *(layer.builder_key or ())))
        jobs.update(job for job in (layer.job, layer.removal_job, *(layer.removal_job_on or {}).values()) if job is not None)
    parts.update(text for items in (*lists.values(), manifests.components.model.cache.always) for text in items)
    folders.update(folder_of(match[1]) for match in map(LAST_COMMIT.fullmatch, parts) if match)
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
            for where, layer in layers(manifests)
            if any(
                text.startswith(beside) for item in layer.version_keys or () for text in expanded(item, arches.get(where, set()))
            )
        ]
        message = f'"{name}" is defined and no component names it'
        yield Problem(document=document, key=key, message=message, of_key=of_key, related=tuple(readers[:4]))


def _is_at_or_above(key: str, leaf: str) -> bool:
    return key == leaf or leaf.startswith(f"{key}.")


@rule("KB272", "an absent version key that is not absent", acceptable=True)
def absent_version_keys(manifests: Manifests) -> Iterator[Problem]:
    """ "version_keys_absent" names a key that upstream.toml has, or one that the component does not read.

    Repair: remove it there.

    False alarm: none known.
    """
    names = version_names(manifests)
    for where, layer in layers(manifests):
        for i, key in enumerate(layer.version_keys_absent or ()):
            problem = "exists" if key in names else "is not read here" if key not in (layer.version_keys or ()) else None
            if problem is not None:
                document = manifests.components.document
                message = f'"{key}" {problem}, so it is not absent'
                yield Problem(document=document, key=(*where, "version_keys_absent", i), message=message)


@rule("KB274", "a build job that does not fit", acceptable=True)
def jobs_exist(manifests: Manifests) -> Iterator[Problem]:
    """A component names a job that upstream.toml does not have, or one that does not build its kind.

    The jobs' matrices decide what is built at all; a name that is in none of them is built by nobody.

    Repair: correct the job or the kind.

    False alarm: a new job upstream: add it to upstream.toml.
    """
    document, jobs = manifests.components.document, manifests.upstream.model.jobs
    known = ((manifests.upstream.document, ("jobs",)),)
    for where, layer in layers(manifests):
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
    for where, layer in layers(manifests):
        for i, text in enumerate(layer.scripts or ()):
            if bare(text) not in known:
                message = f'"{bare(text)}" is no folder of upstream.toml'
                hint = did_you_mean(bare(text), folders)
                document = manifests.components.document
                related = ((manifests.upstream.document, ("folders",)),)
                yield Problem(document=document, key=(*where, "scripts", i), message=message, hint=hint, related=related)
