"""Rules about configuration files: that each cell has the right one, and that what it says can be read by its runtime."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.layers import FILE_KEYS, PREFIX
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Cell, Manifests
    from kata_bundle.manifest.models import ShimEntry
    from kata_bundle.manifest.positions import KeyPath

__all__ = [
    "cells_have_configurations",
    "empty_binaries",
    "incomplete_guests",
    "layers_of",
    "misplaced_settings",
    "one_shim_component",
    "other_emulators",
    "outside_the_prefix",
    "placeholders",
]


@rule("KB224", "a cell without exactly one shim component of its family", acceptable=True)
def one_shim_component(manifests: Manifests) -> Iterator[Problem]:
    """A cell lists no shim component, several, or the one of the other runtime family.

    The shim component carries the runtime and the configuration files of its family. Without it nothing starts; with the other
    family's the configuration is not there.

    Repair: list the component that "families" in shims.toml names for the shim's family, once.

    False alarm: none known. A shim that brings its runtime in another way would need a family of its own.
    """
    document = manifests.component_map.document
    shims = manifests.shims.model
    of_family = {entry.component: family for family, entry in shims.families.items()}
    for cell in manifests.cells():
        right = shims.families[shims.shims[cell.shim].family].component
        found = [name for name in cell.components if name in of_family]
        if right not in found:
            message = f'shim "{cell.shim}" on {cell.arch} needs "{right}", the shim component of its family'
            wrong = [i for i, name in enumerate(_row(manifests, cell)) if name in of_family]
            where: KeyPath = ("shims", cell.shim, cell.arch.value, *wrong[:1])
            yield Problem(document=document, key=where, message=message)
        for i, name in enumerate(_row(manifests, cell)):
            if name in of_family and name != right and right in found:
                message = f'shim "{cell.shim}" on {cell.arch} needs one shim component, found "{name}" beside "{right}"'
                yield Problem(document=document, key=("shims", cell.shim, cell.arch.value, i), message=message)


def _row(manifests: Manifests, cell: Cell) -> list[str]:
    return manifests.component_map.model.shims[cell.shim][cell.arch.value]


@rule("KB225", "a cell without a configuration file", acceptable=True)
def cells_have_configurations(manifests: Manifests) -> Iterator[Problem]:
    """A cell has components, but "configured_on" of its shim lacks the architecture.

    No configuration file is made there, so the runtime would take the default one, of another shim.

    Repair: add the architecture to "configured_on" when the runtime's build makes the file there, else remove the cell.

    False alarm: a cell that is listed ahead of its configuration; accept it in ignores.toml until the file is made.
    """
    shims = manifests.shims.model.shims
    for cell in manifests.cells():
        if cell.arch.value not in shims[cell.shim].configured_on:
            key: KeyPath = ("shims", cell.shim, "configured_on")
            message = f'shim "{cell.shim}" has components on {cell.arch}, but no configuration file there'
            related = ((manifests.component_map.document, ("shims", cell.shim, cell.arch.value)),)
            yield Problem(document=manifests.shims.document, key=key, message=message, related=related)


@rule("KB229", "an emulator of another flavour", acceptable=True)
def other_emulators(manifests: Manifests) -> Iterator[Problem]:
    """A cell lists a QEMU that is not the shim's "qemu_artifact", or its configuration starts another one.

    The component map, the configuration's path and shims.toml each name the flavour of QEMU, and have to name the same.

    Repair: decide which flavour the shim runs, and name it in all three places. A plain QEMU needs no "qemu_artifact".

    False alarm: none known; a cell has use for one emulator only.
    """
    shims = manifests.shims.model
    emulators = {
        name
        for name in manifests.components.model.components
        for arch in Arch
        if any(
            path == f"bin/{arch.emulator}" or path.startswith(f"bin/{arch.emulator}-") for path in _files(manifests, name, arch)
        )
    }
    for cell in manifests.cells():
        shim = shims.shims[cell.shim]
        is_qemu = shims.hypervisors[shim.hypervisor].binary == "{emulator}"
        artifact = (shim.qemu_artifact or "qemu") if is_qemu else None
        for i, name in enumerate(_row(manifests, cell)):
            if name in emulators and name != artifact:
                wants = f'"{artifact}"' if artifact else "no QEMU"
                message = f'shim "{cell.shim}" on {cell.arch} runs {wants}, found "{name}"'
                yield Problem(
                    document=manifests.component_map.document,
                    key=("shims", cell.shim, cell.arch.value, i),
                    message=message,
                    related=((manifests.shims.document, ("shims", cell.shim, "qemu_artifact")),),
                )
        if artifact is None or cell.arch.value not in shim.configured_on:
            continue
        config = manifests.config(cell.shim, cell.arch)
        path = config.values.get("hypervisor_path", "")
        expected = f"{PREFIX}/bin/{cell.arch.emulator}{artifact.removeprefix('qemu')}"
        if path != expected:
            message = f'shim "{cell.shim}" on {cell.arch} runs "{artifact}", expected {expected}, found "{path}"'
            origin = config.origin.get("hypervisor_path", ("shims", cell.shim))
            yield Problem(document=manifests.shims.document, key=origin, message=message)


def _files(manifests: Manifests, component: str, arch: Arch) -> frozenset[str]:
    return manifests.outputs(component, arch).files


def _configured(manifests: Manifests) -> Iterator[tuple[str, Arch, str, str, KeyPath]]:
    """Yield (shim, architecture, key, path, origin) of every file that a configuration names, each origin once."""
    seen: set[tuple[KeyPath, str]] = set()
    for name, shim in manifests.shims.model.shims.items():
        for arch_name in shim.configured_on:
            config = manifests.config(name, Arch(arch_name))
            for key in (*FILE_KEYS, "guest_extension_images"):
                value = config.values.get(key)
                if value is None:
                    continue
                origin = config.origin[key]
                for i, path in enumerate(value if isinstance(value, list) else [value]):
                    where = (*origin, i) if isinstance(value, list) else origin
                    if (where, path) not in seen:
                        seen.add((where, path))
                        yield name, Arch(arch_name), key, path, where


_PLACEHOLDER = re.compile(r"@[A-Z0-9_]+@|[{}<>$]")


@rule("KB231", "a placeholder that nothing replaced", acceptable=True)
def placeholders(manifests: Manifests) -> Iterator[Problem]:
    """A configuration value still has the form of a placeholder, such as @KERNELPATH@.

    The build of the runtime replaces such words; one that it does not know stays in the file, and the runtime looks for a file of
    that name.

    Repair: give the value, or unset the key where the file has no such line.

    False alarm: upstream's build leaves one in, and the catalog records it: accept it in ignores.toml.
    """
    for shim, arch, key, path, origin in _configured(manifests):
        if _PLACEHOLDER.search(path):
            message = f'"{key}" of shim "{shim}" on {arch} is the placeholder "{path.removeprefix(f"{PREFIX}/")}"'
            yield Problem(document=manifests.shims.document, key=origin, message=message)


@rule("KB232", "a path that ends before the file's name", acceptable=True)
def empty_binaries(manifests: Manifests) -> Iterator[Problem]:
    """A configuration names a folder where a file has to be named: a variable in the file's name was empty.

    Repair: give the file's name, or remove the architecture from "configured_on".

    False alarm: upstream generates such a file for architectures that lack the emulator and never installs it there: accept it in
    ignores.toml.
    """
    for shim, arch, key, path, origin in _configured(manifests):
        if path.endswith("/"):
            message = f'"{key}" of shim "{shim}" on {arch} is the folder "{path}", expected a file'
            yield Problem(document=manifests.shims.document, key=origin, message=message)


@rule("KB230", "a path outside the allowed folders", acceptable=True)
def outside_the_prefix(manifests: Manifests) -> Iterator[Problem]:
    """A configuration names a file of the host, or a component has a file outside bin, libexec, runtime-rs and share.

    Components are installed below one prefix and own nothing else. A file of the host is there only if somebody else put it
    there.

    Repair: name the file below the prefix, without a leading slash.

    False alarm: a shim for one kind of host that brings the file itself. Accept it in ignores.toml and name the host.
    """
    for shim, arch, key, path, origin in _configured(manifests):
        if not path.startswith((f"{PREFIX}/", "@")):
            message = f'"{key}" of shim "{shim}" on {arch} is "{path}", outside {PREFIX}'
            yield Problem(document=manifests.shims.document, key=origin, message=message)
    document = manifests.components.document
    components = manifests.components.model
    layers = [
        *((("components", name), entry) for name, entry in components.components.items()),
        *((("groups", name), entry) for name, entry in components.groups.items()),
    ]
    for where, layer in layers:
        lists: list[tuple[KeyPath, list[str]]] = [((*where, "paths"), layer.paths or [])]
        lists += [((*where, "paths_on", arch), paths) for arch, paths in (layer.paths_on or {}).items()]
        for key_path, paths in lists:
            for i, path in enumerate(paths):
                if path.partition("/")[0] not in {"bin", "libexec", "runtime-rs", "share"}:
                    message = f'"{where[1]}" has "{path}", outside bin, libexec, runtime-rs and share'
                    yield Problem(document=document, key=(*key_path, i), message=message)


_NOT_IN_TABLE = {
    "remote": ("kernel", "image", "initrd", "firmware_volume", "shared_fs", "virtio_fs_daemon", "default_memory_mib"),
    "firecracker": ("firmware", "firmware_volume", "shared_fs", "virtio_fs_daemon", "guest_extension_images"),
    "dragonball": ("virtio_fs_daemon", "firmware_volume"),
    "clh": ("firmware_volume",),
}


@rule("KB233", "a setting in the wrong table", acceptable=True)
def misplaced_settings(manifests: Manifests) -> Iterator[Problem]:
    """A configuration has a setting that its hypervisor's table or its runtime does not know.

    Firecracker has no firmware and shares no file system, Dragonball brings its own daemon, a remote guest is described by
    another service, and "overhead_memory_mib" is a setting of the Rust runtime only. The runtime ignores such a line or refuses
    the file.

    Repair: unset the key for the shim, or move it to the group of the shims that know it.

    False alarm: none known; tell us of a hypervisor that has learnt the setting.
    """
    for name, shim in manifests.shims.model.shims.items():
        for arch in shim.configured_on:
            config = manifests.config(name, Arch(arch))
            wrong = list(_NOT_IN_TABLE.get(shim.hypervisor, ()))
            if shim.family == "go":
                wrong.append("overhead_memory_mib")
            for key in wrong:
                if config.values.get(key) and config.values[key] != []:
                    table = f'"{shim.hypervisor}"' if key != "overhead_memory_mib" else "the Go runtime"
                    message = f'shim "{name}" on {arch} has "{key}", which {table} does not know'
                    yield _of_shim(manifests, name, config.origin[key], message)


def _of_shim(manifests: Manifests, shim: str, origin: KeyPath, message: str) -> Problem:
    """Return a problem at ``origin`` when the shim's own table says it, else at the shim, which inherits it."""
    document = manifests.shims.document
    if origin[:2] == ("shims", shim):
        return Problem(document=document, key=origin, message=message)
    related = ((document, origin), (document, ("shims", shim, "groups")))
    return Problem(document=document, key=("shims", shim, "config"), message=message, of_key=True, related=related)


@rule("KB234", "a guest that cannot start", acceptable=True)
def incomplete_guests(manifests: Manifests) -> Iterator[Problem]:
    """A configuration lacks what its guest cannot do without, or names two things of which it takes one.

    A guest needs a kernel and either an image or an initrd, never both; with Secure Execution neither, since the kernel's file
    is the sealed whole. Sharing a file system over virtio-fs needs a daemon, and every guest of ours a size. The Rust runtime
    needs "overhead_memory_mib".

    Repair: set or unset the key that the message names.

    False alarm: none known.
    """
    document = manifests.shims.document
    for name, shim in manifests.shims.model.shims.items():
        if shim.hypervisor == "remote":
            continue
        for arch in shim.configured_on:
            config = manifests.config(name, Arch(arch))
            values = config.values
            for key, gap in _gaps(values, sealed=shim.tee == "se", rust=shim.family == "rust"):
                origin = config.origin.get(key, ("shims", name, "config"))
                message = f'shim "{name}" on {arch}: {gap}'
                yield Problem(
                    document=document,
                    key=("shims", name, "config"),
                    message=message,
                    of_key=True,
                    related=tuple((document, place) for place in (origin, *layers_of(name, shim))),
                )


def layers_of(name: str, shim: ShimEntry) -> tuple[KeyPath, ...]:
    """Return the places in shims.toml that can set a value for a shim."""
    return (
        ("shims", name, "groups"),
        ("config",),
        ("families", shim.family, "config"),
        *(("groups", group, "config") for group in shim.groups),
    )


def _gaps(values: dict[str, object], *, sealed: bool, rust: bool) -> Iterator[tuple[str, str]]:
    initrd = values.get("installed_initrd") or values.get("initrd")
    if not values.get("kernel"):
        yield "kernel", "there is no kernel"
    if sealed:
        for key in ("image", "initrd"):
            if values.get(key):
                yield key, f'the sealed kernel leaves no place for "{key}"'
    elif not values.get("image") and not initrd:
        yield "image", "there is neither an image nor an initrd"
    elif values.get("image") and values.get("initrd"):
        yield "initrd", "there are an image and an initrd, expected one of them"
    if values.get("shared_fs") in {"virtio-fs", "virtio-fs-nydus"} and not values.get("virtio_fs_daemon"):
        yield "virtio_fs_daemon", f'shared_fs = "{values["shared_fs"]}" needs a daemon'
    if values.get("default_memory_mib") is None:
        yield "default_memory_mib", "the guest has no memory"
    if rust and values.get("overhead_memory_mib") is None:
        yield "overhead_memory_mib", 'the Rust runtime needs "overhead_memory_mib"'
