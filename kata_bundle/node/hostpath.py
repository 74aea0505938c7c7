"""Reading and replacing single files of a host, wherever links lead, without a half-written file at any moment.

Must not know: what the files mean, who owns them.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import HostError
from kata_bundle.node.receipt import FileState

if TYPE_CHECKING:
    from kata_bundle.core.fsops import FileOps
    from kata_bundle.node.site import Site

__all__ = ["HostFiles"]


class HostFiles:
    """Files by host path below the root of ``site``. A path that is a link stands for the file the link leads to.

    Every file that is read is added to ``watched``.
    """

    def __init__(self, site: Site, files: FileOps, watched: set[tuple[str, str]] | None = None) -> None:
        self._site = site
        self._files = files
        self._watched = set() if watched is None else watched

    def state(self, path: str) -> FileState | None:
        """Return the regular file ``path`` as it is now, ``None`` for none. Raises :class:`HostError` for a directory."""
        found = self.load(path)
        return None if found is None else found[0]

    def load(self, path: str) -> tuple[FileState, bytes] | None:
        """Return state and content of ``path``, ``None`` when it is not there."""
        real = self._site.at(path, follow=True)
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            self._watched.add(("none", path))
            return None
        self._watched.add(("file", path))
        with open(descriptor, "rb") as stream:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                msg = f'"{path}" is not a regular file'
                raise HostError(msg)
            data = stream.read()
        state = FileState(
            digest=digest_bytes(data),
            mode=stat.S_IMODE(found.st_mode),
            uid=found.st_uid,
            gid=found.st_gid,
            mtime_ns=max(found.st_mtime_ns, 0),
        )
        return state, data

    def replace(self, path: str, data: bytes, *, mode: int, owner: tuple[int, int] | None, mtime_ns: int | None = None) -> None:
        """Make the file ``path`` have ``data``; extended attributes of a file that is there are kept."""
        real = self._site.at(path, follow=True)
        temporary = self._temporary(real)
        labels = _labels(real)
        self._files.replace_file(real, data, temporary=temporary, mode=mode, owner=owner, mtime_ns=mtime_ns, attributes=labels)

    def remove(self, path: str) -> None:
        """Remove the file ``path``, or what a link there leads to; absent is fine."""
        self._files.unlink(self._site.at(path, follow=True))

    def clean(self, path: str) -> None:
        """Remove what an interrupted :meth:`replace` of ``path`` left."""
        real = self._site.at(path, follow=True)
        if not os.path.isdir(os.path.dirname(real)):
            return
        temporary = self._temporary(real)
        if os.path.lexists(temporary):
            self._files.unlink(temporary)

    @staticmethod
    def _temporary(real: str) -> str:
        """Return where a new version of ``real`` is written first.

        Some programs load every name in a directory called ``….d``, so there it lies in the parent, unless a file system ends
        between the two.
        """
        folder, name = os.path.split(real)
        parent = os.path.dirname(folder)
        if folder.endswith(".d") and os.lstat(folder).st_dev == os.lstat(parent).st_dev:
            folder = parent
        return os.path.join(folder, f".{name}.kata-bundle-new")


def _labels(real: str) -> dict[str, bytes]:
    try:
        return {name: os.getxattr(real, name, follow_symlinks=False) for name in os.listxattr(real, follow_symlinks=False)}
    except OSError:
        return {}
