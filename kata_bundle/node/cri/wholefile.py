"""Our tables inside the administrator's own file: what containerd 1.x needs (installer specification §15.5, D4, D41).

Two facts about 1.x decide: a section of an imported file replaces the whole section of the importing one, and a file that states
any runtime replaces the built-in ``runc``; without it the CRI plugin does not load at all. Must not know receipts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.node.cri.imports import parse_config
from kata_bundle.node.cri.ownership import BUILT_IN_RUNTIME, find, own_keys
from kata_bundle.node.cri.tables import handler_path, runtime_plugin
from kata_bundle.node.hostedit import EditKind, HostEdit
from kata_bundle.node.tomledit import TomlFile, emptied_key, remove_keys, replaced_key
from kata_bundle.node.tomltext import format_path, same_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.cri.layouts import Layout
    from kata_bundle.node.cri.model import CriRequest
    from kata_bundle.node.hostedit import HostView
    from kata_bundle.node.tomltext import KeyPath, TomlValue

__all__ = ["owned_keys_for", "whole_file_edits", "without_own_keys"]


def without_own_keys(text: bytes, dest: str, suffix: str | None, *, original: bytes | None = None) -> bytes:
    """Return a configuration without what can be recognised as this install's, with the ``original`` beside it if there is one.

    Unparsable text is returned as it is.
    """
    data = parse_config(text)
    return text if data is None else remove_keys(text, own_keys(data, dest, suffix, original=parse_config(original)))


def whole_file_edits(
    host: HostView,
    request: CriRequest,
    layout: Layout,
    schema: int | None,
    values: Mapping[KeyPath, TomlValue],
    *,
    is_new: bool,
) -> list[HostEdit]:
    """Return the backup or the creation record, then the edited configuration."""
    edits: list[HostEdit] = []
    content = host.read(layout.config_file)
    backup, record = host.read(layout.backup_file), host.read(layout.created_record)
    if is_new or content is None:
        base = f"version = {schema}\n".encode()
        edits.append(
            HostEdit(path=layout.created_record, after=b"", reason=f"says that {layout.config_file} was made by an install")
        )
    else:
        original = backup if record is None else f"version = {schema}\n".encode()
        base = without_own_keys(content, request.dest, request.suffix, original=original)
        if record is not None:
            edits.append(
                HostEdit(path=layout.created_record, after=record, reason=f"{layout.config_file} was made by an install")
            )
        elif backup is None:
            reason = f"{layout.config_file} as it was before the first install"
            edits.append(HostEdit(path=layout.backup_file, after=content, reason=reason, mode=0o600))
        elif base != content:
            # Made by an install that left no receipt: it stays what it is.
            edits.append(HostEdit(path=layout.backup_file, after=backup, reason=f"{layout.config_file} before the first install"))
    file = TomlFile.parse(base, name=layout.config_file)
    all_values = {**_built_in_runtime(file, schema), **values}
    keys = owned_keys_for(file.data, all_values)
    file.set_many(all_values)
    edits.append(
        HostEdit(
            path=layout.config_file,
            after=file.render().encode(),
            reason=f"{len(request.handlers)} runtime handlers; containerd before 2.0 does not merge imported sections",
            kind=EditKind.KEYS,
            keys=keys,
            loaded_by="containerd",
        )
    )
    return edits


def _built_in_runtime(file: TomlFile, schema: int | None) -> dict[KeyPath, TomlValue]:
    """Return the built-in runtime's keys when the file states no runtime, so that adding ours does not take it away."""
    path = handler_path(runtime_plugin(schema), "runc")
    runtimes: Any = file.data
    for part in path[:-1]:
        runtimes = runtimes.get(part, {}) if isinstance(runtimes, dict) else {}
    return {} if runtimes else {(*path, key): value for key, value in BUILT_IN_RUNTIME.items()}


def owned_keys_for(data: Mapping[str, Any], values: Mapping[KeyPath, TomlValue]) -> tuple[str, ...]:
    """Return the owned keys of setting ``values`` in a file that held ``data``, for undoing exactly that.

    A handler or proxy plugin that was not there is ours as a table; of a value that was there, the old one is recorded; a table
    that only came to hold a value of ours goes when it is empty.
    """
    keys: list[str] = []
    emptied: list[str] = []
    for path, value in values.items():
        own_table = _new_own_table(data, path)
        if own_table is not None:
            keys.append(format_path(own_table))
            # In a file with inline tables the parents that were made for it would stay behind, empty.
            for length in range(len(own_table) - 1, 0, -1):
                if find(data, own_table[:length])[0]:
                    break
                emptied.append(emptied_key(own_table[:length]))
            continue
        present, old = find(data, path)
        if not present:
            keys.append(format_path(path))
            if len(path) > 1 and not find(data, path[:-1])[0]:
                emptied.append(emptied_key(path[:-1]))
        elif not same_value(old, value):
            keys.append(replaced_key(path, new=value, old=old))
    return tuple(dict.fromkeys([*keys, *emptied]))


def _new_own_table(data: Mapping[str, Any], path: KeyPath) -> KeyPath | None:
    """Return the handler or proxy plugin table that ``path`` lies in, if the file has none of that name."""
    length = 5 if path[2:4] == ("containerd", "runtimes") else 2 if path[0] == "proxy_plugins" else 0
    return path[:length] if length and not find(data, path[:length])[0] else None
