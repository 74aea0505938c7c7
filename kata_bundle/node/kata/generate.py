"""The Kata configuration of one generation: every per-shim and custom directory, link, drop-in and wrapper, as an overlay.

A pure function of the payload, the configuration and the facts about shims. Everything is made from nothing, so nothing of an
earlier install can stay. Order, where it shows: standard shims first, so that custom runtimes inherit what was edited in their
copies (installer specification §5.4, points 6 and 7). Must not know generations, hosts or container runtimes beyond a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import field, record
from kata_bundle.core.relpath import RelPath, parents
from kata_bundle.core.tree import Directory, Tree
from kata_bundle.node.handlers import handler
from kata_bundle.node.kata import devkit, edits, prefix, reconcile
from kata_bundle.node.kata.check import absent_paths, has_two_root_file_systems
from kata_bundle.node.kata.configfile import lookup, merge_drop_ins, parse_config
from kata_bundle.node.kata.dropins import DropIn, common_drop_ins, render_drop_in
from kata_bundle.node.kata.header import with_header
from kata_bundle.node.kata.places import custom_place, shim_place
from kata_bundle.node.overlay import Overlay, OverlayFile, OverlayLink, overlay_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.tree import Entry
    from kata_bundle.node.config.model import CustomRuntime, NodeConfig
    from kata_bundle.node.kata.check import AbsentPath
    from kata_bundle.node.kata.places import ConfigPlace
    from kata_bundle.node.overlay import Payload
    from kata_bundle.node.shimfacts import Facts, ShimFacts

__all__ = ["VERSIONS_FILE", "KataConfiguration", "kata_configuration"]

VERSIONS_FILE: Final = RelPath("versions.yaml")


@record
class KataConfiguration:
    """The overlay, and what was noticed while making it."""

    overlay: Overlay
    notes: tuple[str, ...]
    """What an operator should know: one sentence each."""
    absent: tuple[AbsentPath, ...]
    """Every absolute path of the effective configurations that is not in the tree, with the reason where that is right."""


@record(kw_only=False, frozen=False)
class _Build:
    """A configuration under way."""

    payload: Payload
    config: NodeConfig
    facts: Facts
    runtime: str
    user_files: Mapping[RelPath, bytes]
    files: dict[RelPath, OverlayFile | OverlayLink] = field(default_factory=dict)
    directories: set[RelPath] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    parsed: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    effective: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    """Handler, section, and what the runtime will make of its files."""


def kata_configuration(
    payload: Payload,
    config: NodeConfig,
    facts: Facts,
    *,
    runtime: str,
    versions: bytes | None = None,
    user_files: Mapping[RelPath, bytes] | None = None,
) -> KataConfiguration:
    """Return what is laid over ``payload`` for ``config``, whose shims all have components in it.

    ``runtime`` is the name of the node's container runtime; ``versions`` the content of the version record; ``user_files`` the
    administrators' drop-ins that will be carried into the generation, which are only looked at. Raises :class:`HostError` for a
    shim or base whose configuration is missing or malformed, :class:`UnknownShimError` for a shim nothing is known of.
    """
    build = _Build(payload, config, facts, runtime, user_files or {})
    for name in config.shims:
        _add_shim(build, facts.shim(name))
    for custom in config.custom_runtimes:
        _add_custom(build, custom, facts.shim(custom.base))
    if versions is not None:
        build.files[VERSIONS_FILE] = OverlayFile(data=versions)
    unwanted = reconcile.unwanted_files(debug=config.debug, devkit_is_on=config.devkit)
    overlay = Overlay(
        files=build.files,
        directories=frozenset(build.directories),
        removals=frozenset(path for path in unwanted if path in payload.tree.entries),
    )
    absent = _check(build, overlay)
    return KataConfiguration(overlay=overlay, notes=tuple(dict.fromkeys(build.notes)), absent=absent)


def _add_shim(build: _Build, shim: ShimFacts) -> None:
    config, place = build.config, shim_place(shim)
    original = RelPath(shim.original_config)
    data = _original(build.payload, shim)
    if data is None:
        msg = f'shim "{shim.name}" has no configuration: the payload has no "{original}"'
        raise HostError(msg, hint=f"leave the shim out on {config.machine}, or install a payload that has the file")
    base = _parsed(build, data, str(original))
    copy = edits.edited(
        with_header(data),
        shim.section,
        edits.annotations_for(shim.name, config.annotation_rules),
        forces_guest_pull=shim.name in config.forced_guest_pull,
        name=str(place.config),
    )
    build.files[original] = OverlayLink(target=f"runtimes/{shim.name}/{shim.config_file}")
    user = config.shim_drop_ins.get(shim.name)
    own = {} if user is None else {DropIn.SHIM_USER: OverlayFile(data=user)}
    _add_directory(build, place, shim, handler(shim.name, config.suffix), base=base, copy=copy, own=own, is_debug=False)


def _add_custom(build: _Build, custom: CustomRuntime, shim: ShimFacts) -> None:
    place = custom_place(custom, shim)
    data = _original(build.payload, shim)
    if data is None:
        # Registered without it, the handler would name a file that is not there (D3).
        msg = f'custom runtime "{custom.handler}" is based on "{shim.name}", whose configuration the payload does not have'
        raise HostError(msg, hint=f"base it on a shim that has components on {build.config.machine}")
    edited = build.files.get(shim_place(shim).config)
    copy = edited.data if isinstance(edited, OverlayFile) else with_header(data)
    base = _parsed(build, data, shim.original_config)
    own: dict[DropIn, OverlayFile] = {}
    if custom.is_devkit:
        own[DropIn.DEVKIT] = _devkit(build, base, shim)
    if custom.drop_in is not None:
        own[DropIn.CUSTOM_USER] = OverlayFile(data=custom.drop_in)
    _add_directory(build, place, shim, custom.handler, base=base, copy=copy, own=own, is_debug=custom.is_debug)


def _original(payload: Payload, shim: ShimFacts) -> bytes | None:
    """Return the shim's configuration as the payload has it. In a tree that was configured in place before, the original may be
    a link to the copy, or only the copy may be left: then that is it (D22)."""
    for path in (shim.original_config, str(shim_place(shim).config)):
        try:
            return payload.read(RelPath(path))
        except KeyError:
            continue
    return None


def _devkit(build: _Build, base: Mapping[str, Any], shim: ShimFacts) -> OverlayFile:
    dest = build.config.dest
    try:
        verity = devkit.first_line(build.payload.read(devkit.ROOT_HASH))
    except KeyError:
        verity = None
    if verity is None:
        build.notes.append(f'the devkit extension has no root hash ("{devkit.ROOT_HASH}"), so guests do not verify it')
    extensions = devkit.read_extensions(base, shim.section)
    values = devkit.devkit_values(shim.section, extensions, f"{dest}/{devkit.IMAGE}", verity, dest=dest)
    return OverlayFile(data=render_drop_in(DropIn.DEVKIT, values).data)


def _add_directory(
    build: _Build,
    place: ConfigPlace,
    shim: ShimFacts,
    name: str,
    *,
    base: dict[str, Any],
    copy: bytes,
    own: Mapping[DropIn, OverlayFile],
    is_debug: bool,
) -> None:
    """Add one handler's directory: the configuration, the drop-ins that all directories have, and its ``own`` ones."""
    config = build.config
    common = common_drop_ins(base, shim, config, runtime=build.runtime, is_debug=is_debug, name=shim.original_config)
    drop_ins = {str(key): OverlayFile(data=item.data, mode=item.mode) for key, item in common.items()}
    drop_ins |= {str(key): item for key, item in own.items()}
    build.directories.add(place.drop_ins)
    build.files[place.config] = OverlayFile(data=copy)
    for key, item in drop_ins.items():
        build.files[place.drop_in(key)] = item
    if DropIn.PREFIX in common:
        wrapper = prefix.qemu_wrapper(base, shim, config.machine)
        if wrapper is not None:
            build.files[RelPath(wrapper.path)] = OverlayFile(data=wrapper.script(config.dest), mode=0o755)
    texts = {key: item.data for key, item in drop_ins.items()}
    texts |= {
        path.rpartition("/")[2]: data for path, data in build.user_files.items() if path.rpartition("/")[0] == place.drop_ins
    }
    parsed = {key: _parse_drop_in(build, place.drop_in(key), data) for key, data in sorted(texts.items())}
    if DropIn.KERNEL_PARAMETERS in common:
        for key, values in parsed.items():
            if key > DropIn.KERNEL_PARAMETERS and lookup(values, "hypervisor", shim.section, "kernel_params") is not None:
                build.notes.append(
                    f'handler "{name}": {key} sets kernel_params and so discards the parameters of {DropIn.KERNEL_PARAMETERS}'
                )
    effective = merge_drop_ins(_parsed(build, copy, str(place.config)), parsed.values())
    build.effective.append((name, shim.section, effective))


def _parsed(build: _Build, data: bytes, name: str) -> dict[str, Any]:
    """Return a parsed configuration, which must not be changed. Parsing is most of the work, so copies and variants share it."""
    found = build.parsed.get(data)
    if found is None:
        found = build.parsed[data] = parse_config(data, name)
        build.parsed[with_header(data)] = found
    return found


def _parse_drop_in(build: _Build, path: RelPath, data: bytes) -> dict[str, Any]:
    try:
        return parse_config(data, f'"{path}"')
    except HostError as error:
        # Somebody's own file: not ours to refuse an install for, but the runtime will.
        build.notes.append(f"{error}; the runtime will refuse it")
        return {}


def _check(build: _Build, overlay: Overlay) -> tuple[AbsentPath, ...]:
    tree = _tree_with(build.payload.tree, overlay)
    found: list[AbsentPath] = []
    for name, section, effective in build.effective:
        absent = absent_paths(effective, handler=name, section=section, tree=tree, dest=build.config.dest)
        build.notes += [path.note for path in absent if path.reason is None]
        found += absent
        if has_two_root_file_systems(effective, section):
            build.notes.append(f'handler "{name}": both image and initrd are set, which the runtime refuses')
    return tuple(found)


def _tree_with(tree: Tree, overlay: Overlay) -> Tree:
    """Return the tree for looking things up: links and directories of the overlay included, nothing checked or sorted."""
    entries: dict[RelPath, Entry] = {path: entry for path, entry in tree.entries.items() if path not in overlay.removals}
    for path, item in overlay.files.items():
        entries[path] = overlay_entry(item)
        for parent in parents(path):
            entries.setdefault(parent, Directory())
    return Tree(entries)
