"""Take an install out of containerd's configuration without a receipt (installer specification §15.11, D8, D26, D41).

Everything is recognised by name, by the backup and creation record, or by whose directory a handler points into. Absent means
done; what cannot be undone is reported and does not keep the rest back. Must not be used where there is a receipt: that undoes
exactly.
"""

from __future__ import annotations

import posixpath
from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.record import record
from kata_bundle.node.cri.imports import parse_config
from kata_bundle.node.cri.layouts import Layout, default_drop_in, drop_in_name, resolve_layout, user_drop_in_name
from kata_bundle.node.cri.migration import drop_in_places, own_unsuffixed, scrubbed_imports
from kata_bundle.node.cri.model import CriPlan, CriRequest
from kata_bundle.node.cri.tables import root_version
from kata_bundle.node.cri.wholefile import without_own_keys
from kata_bundle.node.hostedit import EditKind, HostEdit
from kata_bundle.node.refusal import RefusedError
from kata_bundle.node.tomltext import TomlError, same_value

if TYPE_CHECKING:
    from kata_bundle.node.hostedit import HostView

__all__ = ["Disposition", "disposition", "is_present", "plan_removal"]


class Disposition(StrEnum):
    """What becomes of a configuration that was edited whole."""

    KEEP = "keep"
    """No evidence of an install: it is left as it is."""
    DELETE = "delete"
    RESTORE = "restore"


def disposition(*, has_backup: bool, has_record: bool) -> Disposition:
    """Return what the evidence beside a configuration says; a backup wins over a creation record."""
    if has_backup:
        return Disposition.RESTORE
    return Disposition.DELETE if has_record else Disposition.KEEP


def _layout(host: HostView, request: CriRequest) -> Layout | None:
    try:
        return resolve_layout(
            host,
            runtime=request.runtime,
            version=request.version,
            dest=request.dest,
            suffix=request.suffix,
            config_dir=request.config_dir,
            config_file_name=request.config_file_name,
        )
    except RefusedError:
        return None


def is_present(host: HostView, request: CriRequest) -> bool:
    """Return whether an install's configuration may be there; what cannot be established counts as there."""
    layout = _layout(host, request)
    if layout is None:
        return True
    if any(host.read(path) is not None for path in drop_in_places(request)):
        return True
    return _evidence(host, layout) is not Disposition.KEEP


def _evidence(host: HostView, layout: Layout) -> Disposition:
    return disposition(
        has_backup=host.read(layout.backup_file) is not None, has_record=host.read(layout.created_record) is not None
    )


@record(kw_only=False, frozen=False)
class _Removal:
    edits: list[HostEdit]
    warnings: list[str]
    left: list[str]


def plan_removal(host: HostView, request: CriRequest) -> CriPlan:
    """Return the edits that take the install out: imports first, then the files they name. Never raises for the host's state."""
    out = _Removal([], [], [])
    layout = _layout(host, request)
    # k3s and rke2 make their file anew from the template, which is never edited.
    if layout is not None and not request.runtime.is_rancher:
        _root(host, request, layout, out)
    elif layout is None:
        out.warnings.append(
            f"which containerd {request.runtime.value} has could not be established; drop-ins are removed by name"
        )
    for path in drop_in_places(request):
        if host.read(path) is not None:
            out.edits.append(HostEdit(path=path, after=None, reason="a drop-in of this install", loaded_by="containerd"))
    out.edits += own_unsuffixed(host, request)
    return CriPlan(
        edits=tuple(out.edits),
        warnings=tuple(out.warnings),
        left=tuple(out.left),
        restart_unit=None if request.runtime.is_k0s else request.runtime.unit,
    )


def _root(host: HostView, request: CriRequest, layout: Layout, out: _Removal) -> None:
    content, backup = host.read(layout.config_file), host.read(layout.backup_file)
    record = host.read(layout.created_record)
    if content is None:
        for path, what in ((layout.backup_file, backup), (layout.created_record, record)):
            if what is not None:
                out.edits.append(HostEdit(path=path, after=None, reason=f"{layout.config_file} is gone"))
        return
    try:
        original = backup if record is None else b"version = 2\n"
        rest = without_own_keys(content, request.dest, request.suffix, original=original)
        rest = _without_imports(rest, request, layout)
    except TomlError as error:
        out.warnings.append(f"{layout.config_file} could not be cleaned: {error}")
        out.left.append(layout.config_file)
        return
    evidence = disposition(has_backup=backup is not None, has_record=record is not None)
    if backup is not None and _says_the_same(rest, backup):
        _edit(out, layout.config_file, content, backup, "put back as it was before the first install")
        out.edits.append(HostEdit(path=layout.backup_file, after=None, reason="put back"))
        return
    if backup is not None:
        out.warnings.append(
            f"{layout.config_file} was edited since the install: only our tables are removed, {layout.backup_file} is kept"
        )
        out.left.append(layout.backup_file)
    if evidence is Disposition.DELETE and _only_states_version(rest):
        out.edits.append(
            HostEdit(path=layout.config_file, after=None, reason="made by an install, unchanged", loaded_by="containerd")
        )
    else:
        _edit(out, layout.config_file, content, rest, "without this install's keys")
    if record is not None:
        out.edits.append(HostEdit(path=layout.created_record, after=None, reason="no longer true"))
    if evidence is Disposition.KEEP and not layout.use_drop_in and rest == content:
        out.warnings.append(f"{layout.config_file} has no backup and nothing that is ours: left as it is")


def _edit(out: _Removal, path: str, before: bytes, after: bytes, reason: str) -> None:
    if after != before:
        out.edits.append(HostEdit(path=path, after=after, reason=reason, kind=EditKind.KEYS, loaded_by="containerd"))


def _without_imports(text: bytes, request: CriRequest, layout: Layout) -> bytes:
    below = posixpath.dirname(default_drop_in(request.dest))
    stale = (default_drop_in(request.dest), f"{below}/{user_drop_in_name(None)}", f"{below}/{drop_in_name(request.suffix)}")
    return scrubbed_imports(text, stale, layout.config_file) or text


def _says_the_same(rest: bytes, backup: bytes) -> bool:
    """Return whether the cleaned file and the backup differ in blank lines and emptied tables at most."""
    if _lines(rest) == _lines(backup):
        return True
    one, other = parse_config(rest), parse_config(backup)
    if one is None or other is None or _comments(rest) != _comments(backup):
        return False
    return same_value(_pruned(one), _pruned(other))


def _pruned(data: object) -> object:
    if not isinstance(data, dict):
        return data
    below = {key: _pruned(item) for key, item in data.items()}
    return {key: item for key, item in below.items() if item not in ({}, [])}


def _lines(text: bytes) -> list[bytes]:
    return [line for line in text.splitlines() if line.strip()]


def _comments(text: bytes) -> list[bytes]:
    return [line.strip() for line in text.splitlines() if line.lstrip().startswith(b"#")]


def _only_states_version(text: bytes) -> bool:
    data = parse_config(text)
    meaning = _pruned(data) if data is not None else None
    return isinstance(meaning, dict) and set(meaning) <= {"version"} and root_version(text.decode(errors="replace")) is not None
