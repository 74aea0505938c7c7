"""Whether the paths in an effective Kata configuration exist: a runtime refuses to start a pod over one that does not.

Both runtimes resolve kernel, image, initrd, firmware, hypervisor and guest extensions when they load the file (installer
specification D1 asks for this check). Must not know how the configuration came about.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.record import record
from kata_bundle.core.relpath import RelPath
from kata_bundle.node.kata.configfile import iter_strings, lookup
from kata_bundle.node.kata.prefix import PAYLOAD_PREFIX
from kata_bundle.node.overlay import follow
from kata_bundle.node.tomltext import format_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.core.tree import Tree

__all__ = ["AbsentPath", "absent_paths", "has_two_root_file_systems"]

_VIRTIO_FS: Final = frozenset({"", "virtio-fs", "virtio-fs-nydus"})
"""Values of ``shared_fs`` with which a runtime starts the daemon; an empty one means virtio-fs."""
_DAEMON_KEYS: Final = frozenset({"virtio_fs_daemon", "valid_virtio_fs_daemon_paths"})
_GLOB: Final = frozenset("*?[")


@record
class AbsentPath:
    """An absolute path in a configuration that is not in the install tree.

    ``reason`` says why that is as it should be; ``None`` means that the handler will not work.
    """

    handler: str
    key: str
    path: str
    reason: str | None

    @property
    def note(self) -> str:
        """One sentence for people."""
        if self.reason is not None:
            return f'handler "{self.handler}": {self.key} names {self.path}: {self.reason}'
        return f'handler "{self.handler}": {self.key} names {self.path}, which no selected component brings'


def absent_paths(effective: Mapping[str, Any], *, handler: str, section: str, tree: Tree, dest: str) -> tuple[AbsentPath, ...]:
    """Return every absolute path in ``effective`` (base and drop-ins merged) that ``tree``, installed at ``dest``, lacks."""
    shared_fs = lookup(effective, "hypervisor", section, "shared_fs")
    uses_daemon = shared_fs is None or shared_fs in _VIRTIO_FS
    found = []
    for key, path in iter_strings(dict(effective)):
        if not path.startswith("/"):
            continue
        if path == dest or path.startswith(dest + "/"):
            if _exists(tree, path[len(dest) :].strip("/"), dest):
                continue
            is_unused = key[-1] in _DAEMON_KEYS and not uses_daemon
            reason = f'not used with shared_fs = "{shared_fs}"' if is_unused else None
        elif path == PAYLOAD_PREFIX or path.startswith(PAYLOAD_PREFIX + "/"):
            reason = None
        else:
            reason = "a path of the host"
        found.append(AbsentPath(handler=handler, key=format_path(key), path=path, reason=reason))
    return tuple(dict.fromkeys(found))


def has_two_root_file_systems(effective: Mapping[str, Any], section: str) -> bool:
    """Return whether both image and initrd are set, which the runtimes refuse."""
    return all(lookup(effective, "hypervisor", section, key) for key in ("image", "initrd"))


def _exists(tree: Tree, path: str, dest: str) -> bool:
    if not path:
        return True
    if _GLOB & set(path):
        return any(fnmatchcase(name, path) for name in tree.entries)
    return follow(tree, RelPath(path), dest) is not None
