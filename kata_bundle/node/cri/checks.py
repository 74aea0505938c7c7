"""What containerd would load wrongly, in silence or not at all, found before anything is written.

Each rule stands for a combination that was tried on real releases (docs/reference/containerd-configuration.md). Must not plan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.node.cri.imports import imported_files, parse_config
from kata_bundle.node.cri.layouts import drop_in_directory, has_drop_in_import, is_split_cri
from kata_bundle.node.cri.tables import IMAGES_PLUGIN, LEGACY_PLUGIN, RUNTIME_PLUGIN, root_version, runtime_plugin
from kata_bundle.node.cri.versions import at_least, check_erofs_version, check_snapshotter_mapping_version
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.snapshotters import EROFS, check_snapshotters
from kata_bundle.node.snapshotters.erofs import check_go_shims

if TYPE_CHECKING:
    from kata_bundle.node.cri.layouts import Layout
    from kata_bundle.node.cri.model import CriRequest
    from kata_bundle.node.hostedit import HostView

__all__ = ["check_request", "check_root"]

_CRI_PLUGINS = frozenset({"cri", LEGACY_PLUGIN, RUNTIME_PLUGIN, IMAGES_PLUGIN})


def check_request(request: CriRequest, layout: Layout) -> None:
    """Raise :class:`RefusedError` for what the request asks and this containerd, by its version, cannot do."""
    mapped = [handler.snapshotter for handler in request.handlers if handler.snapshotter]
    check_snapshotters(request.snapshotters)
    check_snapshotter_mapping_version(request.version, has_mapping=bool(mapped))
    check_go_shims(request.handlers, request.erofs.merge_mode)
    if EROFS in mapped or EROFS in request.snapshotters:
        check_erofs_version(request.version)
    if request.suffix and not layout.use_drop_in:
        msg = f'install "{request.suffix}" beside another needs containerd 2.0 or newer, the node has "{request.version}"'
        raise RefusedError(Refusal.NO_DROP_IN_SUPPORT, msg, hint="leave MULTI_INSTALL_SUFFIX empty, or upgrade containerd")
    if request.user_drop_in is not None and not layout.use_drop_in:
        msg = f'a drop-in of your own needs containerd 2.0 or newer, the node has "{request.version}"'
        hint = f"put its content into {layout.config_file} and leave CONTAINERD_USER_DROP_IN_SOURCE_FILE empty"
        raise RefusedError(Refusal.NO_DROP_IN_SUPPORT, msg, hint=hint)


def check_root(host: HostView, request: CriRequest, layout: Layout, schema: int | None) -> list[str]:
    """Raise :class:`RefusedError` when the root configuration and ours do not go together; return mere warnings."""
    if layout.rendered_file is not None:
        _check_rendered(host, request, layout)
    root = layout.rendered_file or layout.config_file
    data = parse_config(host.read(root))
    _check_schema(request, root, schema, is_drop_in=layout.use_drop_in)
    disabled = (data or {}).get("disabled_plugins", [])
    if isinstance(disabled, list) and (off := sorted({str(name) for name in disabled} & _CRI_PLUGINS)):
        msg = f'{root} disables containerd\'s CRI plugin ("{off[0]}" in disabled_plugins), so no runtime handler can be served'
        raise RefusedError(Refusal.CRI_DISABLED, msg, hint=f'take "{off[0]}" out of disabled_plugins in {root}')
    if not layout.use_drop_in:
        _check_overriding_imports(host, root, runtime_plugin(schema))
    if request.user_drop_in is not None:
        _check_user_drop_in(request.user_drop_in, schema)
    warnings = []
    if layout.use_drop_in and schema == 2 and any(handler.snapshotter for handler in request.handlers):
        warnings.append(
            f"{root} is of version 2, in which containerd 2 does not tell its image service about a handler's snapshotter: images"
            " are unpacked for the default one first; bring it to version 3 with: containerd config migrate"
        )
    return warnings


def _check_schema(request: CriRequest, root: str, schema: int | None, *, is_drop_in: bool) -> None:
    is_second = at_least(request.version, (2, 0))
    if is_drop_in and (schema is None or schema < 2):
        stated = "no version" if schema is None else f"version {schema}"
        msg = f"{root} states {stated}: releases of containerd do not agree on how to read that beside a drop-in"
        hint = f"bring {root} to version 3 (containerd config migrate), or add the line: version = 3"
        raise RefusedError(Refusal.UNSUPPORTED_SCHEMA, msg, hint=hint)
    if not is_second and not request.runtime.is_k0s and schema is not None and schema >= 3:
        msg = f'{root} states version {schema}, which containerd before 2.0 does not read; the node has "{request.version}"'
        raise RefusedError(Refusal.UNSUPPORTED_SCHEMA, msg, hint=f"write {root} in version 2, or upgrade containerd")


def _check_rendered(host: HostView, request: CriRequest, layout: Layout) -> None:
    """Check what k3s or rke2 rendered: it has to be there, load our directory, and be for a containerd that merges."""
    rendered_file = layout.rendered_file or ""
    content = host.read(rendered_file)
    if content is None:
        msg = f"{rendered_file} does not exist or cannot be read"
        raise RefusedError(Refusal.UNREADABLE_CONFIG, msg, hint=f"start {request.runtime.unit} once, so that it is rendered")
    rendered = content.decode(errors="replace")
    split = is_split_cri(rendered, request.version)
    # The schema does not say: a template of version 2 is fine with containerd 2, which merges.
    if not at_least(request.version, (2, 0)):
        msg = (
            f'{request.runtime.value} has "{request.version}": containerd before 2.0 replaces the rendered CRI section by an'
            " imported one, so the node's own runtimes would be gone"
        )
        hint = f"upgrade {request.runtime.value} to a release with containerd 2"
        raise RefusedError(Refusal.MERGE_REPLACES, msg, hint=hint)
    name = layout.drop_in_file.rpartition("/")[2]
    if not has_drop_in_import(rendered, split_cri=split, name=name):
        directory = drop_in_directory(split_cri=split)
        msg = f"{rendered_file} does not import {directory}/*.toml, so containerd would not load {name}"
        hint = f"the template {layout.config_file} must import the directory {directory}; then restart {request.runtime.unit}"
        raise RefusedError(Refusal.MISSING_IMPORT, msg, hint=hint)


def _check_overriding_imports(host: HostView, root: str, plugin: str) -> None:
    """On containerd 1.x the last file with a plugin's section wins whole: what we write into the root must not be that loser."""
    for path, content in imported_files(host, root, parse_config(host.read(root))):
        plugins = (content or {}).get("plugins", {})
        if isinstance(plugins, dict) and (plugin in plugins or (plugin == LEGACY_PLUGIN and "cri" in plugins)):
            msg = f'{root} imports {path}, whose section plugins."{plugin}" replaces that of {root} in containerd before 2.0'
            hint = f"move the section from {path} into {root}, or upgrade containerd"
            raise RefusedError(Refusal.IMPORT_OVERRIDES, msg, hint=hint)


def _check_user_drop_in(content: bytes, schema: int | None) -> None:
    data = parse_config(content)
    if data is None:
        msg = "the user's containerd drop-in is not valid TOML; containerd would not start with it"
        raise RefusedError(Refusal.BAD_USER_DROP_IN, msg, hint="correct the text in containerd.userDropIn")
    stated = root_version(content.decode(errors="replace"))
    if stated is not None and stated != schema:
        msg = f"the user's containerd drop-in states version {stated}, the root configuration version {schema}"
        hint = f"write the drop-in in version {schema} of containerd's configuration, or leave its version out"
        raise RefusedError(Refusal.BAD_USER_DROP_IN, msg, hint=hint)
