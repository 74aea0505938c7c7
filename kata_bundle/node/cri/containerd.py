"""Plan containerd's configuration for an install (installer specification §15).

One rule for the drop-in's own ``version``: it states the version of the root configuration and uses that version's table
names. It is the only choice that every containerd from 2.0 on loads completely; docs/reference/containerd-configuration.md says
what each release does. containerd 1.x replaces a plugin's whole section by an imported one, so there the tables go into the file
itself.

Pure: the host is seen as it would be without this install's edits. Must not write; undoing is done from receipts, or by
``node.cri.removal`` where there is none.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from kata_bundle.node.cri.checks import check_request, check_root
from kata_bundle.node.cri.layouts import Layout, resolve_layout
from kata_bundle.node.cri.migration import own_files_elsewhere
from kata_bundle.node.cri.model import CriPlan, CriRequest
from kata_bundle.node.cri.tables import DEBUG_LEVEL, annotations_table, root_version, runtime_plugin, runtime_tables
from kata_bundle.node.cri.versions import schema_for_release
from kata_bundle.node.cri.wholefile import whole_file_edits, without_own_keys
from kata_bundle.node.hostedit import EditKind, HostEdit
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.snapshotters import EROFS, NYDUS, erofs, nydus, snapshotter_name, snapshotters_used
from kata_bundle.node.tomledit import TomlFile, element_key
from kata_bundle.node.tomltext import render_document

if TYPE_CHECKING:
    from kata_bundle.node.hostedit import HostView
    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = ["containerd_values", "layout_of", "plan_containerd", "read_schema", "watched_files"]

_COMMENT = "Made by kata-bundle; replaced at every install. Put settings of your own into a file of your own."


def layout_of(host: HostView, request: CriRequest) -> Layout:
    """Return where everything of ``request`` goes on ``host``."""
    return resolve_layout(
        host,
        runtime=request.runtime,
        version=request.version,
        dest=request.dest,
        suffix=request.suffix,
        config_dir=request.config_dir,
        config_file_name=request.config_file_name,
    )


def read_schema(host: HostView, request: CriRequest, layout: Layout) -> tuple[int | None, bool]:
    """Return the root configuration's schema version, and whether the file is still to be made.

    Only plain containerd gets one made, when its directory is there. Raises :class:`RefusedError` when there is none to read.
    """
    content = host.read(layout.config_file)
    if content is None and layout.rendered_file is None:
        if request.runtime is Runtime.CONTAINERD and host.is_directory(posixpath.dirname(layout.config_file)):
            return schema_for_release(request.version), True
        msg = f"{layout.config_file} does not exist or cannot be read"
        raise RefusedError(
            Refusal.UNREADABLE_CONFIG, msg, hint="start the distribution's containerd once, so that the file is there"
        )
    schema = None if content is None else root_version(content.decode(errors="replace"))
    if schema is None and layout.rendered_file is not None:
        rendered = host.read(layout.rendered_file)
        schema = None if rendered is None else root_version(rendered.decode(errors="replace"))
    return schema, False


def containerd_values(request: CriRequest, schema: int | None, config_file: str) -> dict[KeyPath, TomlValue]:
    """Return every key that containerd has to read, for a configuration of ``schema``.

    Raises :class:`RefusedError` for a snapshotter that schema 1 cannot have.
    """
    plugin = runtime_plugin(schema)
    values: dict[KeyPath, TomlValue] = {}
    for handler in request.handlers:
        word = handler.snapshotter
        values |= runtime_tables(plugin, handler, None if word is None else snapshotter_name(word, request.suffix))
    for name in snapshotters_used(request.runtime, request.snapshotters):
        if name == NYDUS:
            paths = nydus.nydus_paths(request.dest, request.suffix)
            values |= nydus.containerd_keys(paths, annotations_table(plugin, config_file))
        elif name == EROFS:
            values |= erofs.containerd_keys(request.erofs)
    if request.debug:
        values[DEBUG_LEVEL] = "debug"
    return values


def plan_containerd(host: HostView, request: CriRequest) -> CriPlan:
    """Return the edits that make containerd offer every handler of ``request``.

    Raises :class:`RefusedError` for every combination that containerd would load wrongly or not at all; ``TomlError`` for an
    administrator's file that cannot be edited. Nothing depends on the edits having been made before.
    """
    layout = layout_of(host, request)
    check_request(request, layout)
    schema, is_new = read_schema(host, request, layout)
    warnings = check_root(host, request, layout, schema)
    values = containerd_values(request, schema, layout.config_file)
    if layout.use_drop_in:
        edits = _drop_in_edits(host, request, layout, schema, values, is_new=is_new)
    else:
        edits = whole_file_edits(host, request, layout, schema, values, is_new=is_new)
    edits += own_files_elsewhere(host, request, layout)
    decisions: dict[str, str | int | bool | None] = {
        "runtime": request.runtime.value,
        "version": request.version,
        "mode": layout.mode.value,
        "schema": schema,
        "config_file": layout.config_file,
        "imports_file": layout.imports_file,
        "output_file": layout.output_file,
        "user_drop_in_file": layout.user_drop_in_file if request.user_drop_in is not None else None,
        "created_config": is_new,
    }
    return CriPlan(
        edits=tuple(edits),
        decisions=decisions,
        warnings=tuple(warnings),
        watched=watched_files(layout),
        restart_unit=None if request.runtime.is_k0s else request.runtime.unit,
    )


def watched_files(layout: Layout) -> tuple[str, ...]:
    """Return the files of which containerd's configuration consists as far as we change it, the output file first."""
    files = [layout.output_file, layout.user_drop_in_file, *([layout.imports_file] if layout.imports_file else [])]
    return tuple(dict.fromkeys(files))


def _drop_in_edits(
    host: HostView,
    request: CriRequest,
    layout: Layout,
    schema: int | None,
    values: dict[KeyPath, TomlValue],
    *,
    is_new: bool,
) -> list[HostEdit]:
    """Return the drop-in, made from nothing, the user's, and the import of both, in that order."""
    document: dict[str, TomlValue] = {} if schema is None else {"version": schema}
    for path, value in values.items():
        _put(document, path, value)
    edits = [
        HostEdit(
            path=layout.drop_in_file,
            after=render_document(document, comment=_COMMENT).encode(),
            reason=f"{len(request.handlers)} runtime handlers for {request.runtime.value}",
            loaded_by="containerd",
        )
    ]
    if request.user_drop_in is not None:
        edits.append(
            HostEdit(
                path=layout.user_drop_in_file,
                after=request.user_drop_in,
                reason="the user's containerd drop-in, which sorts behind ours",
                loaded_by="containerd",
            )
        )
    if layout.imports_file is not None:
        edits += _root_edits(host, request, layout, schema, is_new=is_new)
    return edits


def _put(document: dict[str, TomlValue], path: KeyPath, value: TomlValue) -> None:
    table = document
    for part in path[:-1]:
        below = table.setdefault(part, {})
        if not isinstance(below, dict):  # pragma: no cover - our own keys do not collide
            msg = f"{path} runs through a value"
            raise TypeError(msg)
        table = below
    table[path[-1]] = value


def _root_edits(host: HostView, request: CriRequest, layout: Layout, schema: int | None, *, is_new: bool) -> list[HostEdit]:
    """Return the edits of the root configuration: the file itself when there is none, and the imports."""
    edits: list[HostEdit] = []
    if is_new:
        edits.append(
            HostEdit(path=layout.created_record, after=b"", reason=f"says that {layout.config_file} was made by an install")
        )
    before = f"version = {schema}\n".encode() if is_new else host.read(layout.config_file)
    if before is not None and host.read(layout.backup_file) is not None:
        # Edited whole under an older containerd, by an install that left no receipt.
        before = without_own_keys(before, request.dest, request.suffix)
    file = TomlFile.parse(before, name=layout.config_file)
    wanted = [layout.drop_in_file, *([layout.user_drop_in_file] if request.user_drop_in is not None else [])]
    if request.user_drop_in is None:
        file.remove(("imports",), layout.user_drop_in_file)
    for path in wanted:
        file.append(("imports",), path)
    edits.append(
        HostEdit(
            path=layout.config_file,
            after=file.render().encode(),
            reason="imports the drop-in" if not is_new else "made, because containerd has none: imports the drop-in",
            kind=EditKind.KEYS,
            keys=tuple(element_key(("imports",), path) for path in wanted),
            loaded_by="containerd",
        )
    )
    return edits
