"""Small contents that receipts and journals refer to by digest: before-images, after-images, layer trees, replaced payload files.

One file per content, named by its digest, written once and never changed. Must not know: who refers to what.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from kata_bundle.archive.durable import flush_files
from kata_bundle.core.digest import Digest, digest_bytes, hex_part, parse_digest
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Collection

    from kata_bundle.core.fsops import FileOps

__all__ = ["Objects"]

_OBJECT_MODE = 0o600
"""Configuration files of the host may hold secrets: only the owner reads the copies."""


class Objects:
    """The objects in ``folder``, which need not exist before the first one is put there."""

    def __init__(self, folder: str, files: FileOps) -> None:
        self._folder = folder
        self._files = files
        self._trees: dict[Digest, Tree] = {}

    def path(self, digest: Digest) -> str:
        """Return the path of an object, there or not."""
        return os.path.join(self._folder, hex_part(digest))

    def has(self, digest: Digest) -> bool:
        """Return whether the object is there, unchecked."""
        return os.path.lexists(self.path(digest))

    def get(self, digest: Digest) -> bytes:
        """Return the content; raise :class:`IntegrityError` when it is not there or not what its name says."""
        try:
            with open(self.path(digest), "rb") as stream:
                data = stream.read()
        except FileNotFoundError:
            msg = f"{self.path(digest)} is missing"
            raise IntegrityError(msg) from None
        if digest_bytes(data) != digest:
            msg = f"{self.path(digest)} has been changed"
            raise IntegrityError(msg)
        return data

    def tree(self, digest: Digest) -> Tree:
        """Return the tree whose document is the object ``digest``; raises like :meth:`get`. Each is parsed once."""
        data = self.get(digest)
        if digest not in self._trees:
            self._trees[digest] = Tree.from_json(data)
        return self._trees[digest]

    def put(self, data: bytes) -> Digest:
        """Keep ``data`` and return its digest; nothing is written when it is there already. The caller flushes."""
        digest = digest_bytes(data)
        if not self._holds(digest):
            self._files.make_directory(self._folder)
            temporary = self.path(digest) + ".tmp"
            self._files.create_file(temporary, data, _OBJECT_MODE)
            self._files.rename(temporary, self.path(digest))
        return digest

    def flush(self, digests: Collection[Digest]) -> None:
        """Make the objects ``digests`` survive a power cut."""
        if digests:
            self._files.announce("fsync", self._folder)
            flush_files([(Path(self._folder), RelPath(hex_part(digest))) for digest in sorted(digests)])
            self._files.sync_directory(self._folder)

    def adopt(self, path: str, digest: Digest) -> None:
        """Move the file ``path``, whose content has ``digest`` and which has no other name, here."""
        self._files.make_directory(self._folder)
        self._files.set_mode(path, _OBJECT_MODE)
        self._files.rename(path, self.path(digest))

    def sweep(self, keep: Collection[Digest]) -> None:
        """Remove every object that is not in ``keep``, and what interrupted writes left."""
        wanted = {hex_part(digest) for digest in keep}
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return
        for name in names:
            if name not in wanted:
                self._files.unlink(os.path.join(self._folder, name))

    def _holds(self, digest: Digest) -> bool:
        try:
            self.get(parse_digest(digest))
        except IntegrityError:
            return False
        return True
