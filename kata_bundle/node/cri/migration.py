"""Own files where an earlier install, an older containerd or the reference put them (D5, D7, installer specification §15.5).

A drop-in that stays behind keeps handlers whose binaries are gone, or makes containerd fail on an import of nothing. Must not
touch a file that may be another install's.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from kata_bundle.node.cri.imports import imports_of, parse_config
from kata_bundle.node.cri.layouts import (
    Mode,
    default_drop_in,
    drop_in_directory,
    drop_in_name,
    user_drop_in_name,
)
from kata_bundle.node.cri.ownership import has_foreign_handlers, own_handlers, own_keys
from kata_bundle.node.hostedit import EditKind, HostEdit
from kata_bundle.node.tomledit import TomlFile, remove_keys
from kata_bundle.node.tomltext import TomlError

if TYPE_CHECKING:
    from kata_bundle.node.cri.layouts import Layout
    from kata_bundle.node.cri.model import CriRequest
    from kata_bundle.node.hostedit import HostView

__all__ = ["drop_in_places", "own_files_elsewhere", "own_unsuffixed", "scrubbed_imports"]


def drop_in_places(request: CriRequest) -> tuple[str, ...]:
    """Return every path at which a drop-in of this install may be, whatever the node has now: ours, then the user's."""
    shared = _shared_folders(request)
    below = posixpath.dirname(default_drop_in(request.dest))
    ours = [f"{folder}/{drop_in_name(request.suffix)}" for folder in shared] + [default_drop_in(request.dest)]
    users = [f"{folder}/{user_drop_in_name(request.suffix)}" for folder in shared] + [f"{below}/{user_drop_in_name(None)}"]
    return (*ours, *users)


def _shared_folders(request: CriRequest) -> tuple[str, ...]:
    if request.runtime.is_k0s:
        names: tuple[str, ...] = ("containerd.d",)
    elif request.runtime.is_rancher:
        names = tuple(drop_in_directory(split_cri=split) for split in (True, False))
    else:
        names = ("conf.d",)
    return tuple(f"{request.config_dir}/{name}" for name in names)


def own_files_elsewhere(host: HostView, request: CriRequest, layout: Layout) -> list[HostEdit]:
    """Return the edits that take own files away from where they no longer belong, imports of them first."""
    edits = _stale_imports(host, request, layout)
    wanted = {layout.drop_in_file} if layout.use_drop_in else set()
    if request.user_drop_in is not None:
        wanted.add(layout.user_drop_in_file)
    for path in drop_in_places(request):
        if path not in wanted and host.read(path) is not None:
            edits.append(
                HostEdit(path=path, after=None, reason="a drop-in of this install, no longer used", loaded_by="containerd")
            )
    return [*edits, *own_unsuffixed(host, request)]


def scrubbed_imports(text: bytes | None, stale: tuple[str, ...], name: str) -> bytes | None:
    """Return the configuration ``text`` without imports of the files ``stale``; ``None`` when there is no such file.

    A file that does not parse is left alone: containerd does not load it either.
    """
    if text is None or not set(stale) & set(imports_of(parse_config(text))):
        return text
    file = TomlFile.parse(text, name=name)
    for path in stale:
        file.remove(("imports",), path)
    return file.render().encode()


def _stale_imports(host: HostView, request: CriRequest, layout: Layout) -> list[HostEdit]:
    """Where ``imports`` are not ours to edit, no import of a drop-in below the install directory may be left from before."""
    if layout.mode is not Mode.AUTOLOADED or request.runtime.is_rancher:
        return []
    before = host.read(layout.config_file)
    below = default_drop_in(request.dest)
    after = scrubbed_imports(before, (below, f"{posixpath.dirname(below)}/{user_drop_in_name(None)}"), layout.config_file)
    if after == before:
        return []
    reason = "the drop-in is loaded from elsewhere now"
    return [HostEdit(path=layout.config_file, after=after, reason=reason, kind=EditKind.KEYS, loaded_by="containerd")]


def own_unsuffixed(host: HostView, request: CriRequest) -> list[HostEdit]:
    """Return the edits that take what is ours out of an unsuffixed drop-in, which the reference shared between installs."""
    edits: list[HostEdit] = []
    if not request.suffix:
        return edits
    for folder in _shared_folders(request):
        path = f"{folder}/{drop_in_name(None)}"
        before = host.read(path)
        data = parse_config(before)
        if before is None or data is None or not own_handlers(data, request.dest):
            continue
        if not has_foreign_handlers(data, request.dest):
            reason = "an unsuffixed drop-in that holds only this install's handlers"
            edits.append(HostEdit(path=path, after=None, reason=reason, loaded_by="containerd"))
            continue
        try:
            after = remove_keys(before, own_keys(data, request.dest, request.suffix))
        except TomlError:
            continue
        reason = "this install's handlers have a drop-in of their own now"
        edits.append(HostEdit(path=path, after=after, reason=reason, kind=EditKind.KEYS, loaded_by="containerd"))
    return edits
