"""OCI image layouts (image-spec 1.1, "Image Layout"): a folder with ``oci-layout``, ``index.json`` and ``blobs/sha256``.

Reading trusts nothing: a path is made from a checked digest only, links, FIFOs and devices are refused at every step below the
folder, documents have size limits, and content is checked against digest and size before its end is handed out. Writing puts
``index.json`` last: a folder without it is no layout, so a half-written one is never used. Must not know: bundles, Kata.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from kata_bundle.core import canonical
from kata_bundle.core.blobs import BLOB_MODE, link_or_copy, open_blob_file, verifying_stream
from kata_bundle.core.digest import digest_bytes, hex_part
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.core.fields import Fields
from kata_bundle.core.fsops import FileOps, fsync_directory, write_atomic
from kata_bundle.oci import mediatypes
from kata_bundle.oci.descriptor import Descriptor
from kata_bundle.oci.documents import MAX_CONFIG, MAX_MANIFEST, Index, Manifest, image_index

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kata_bundle.core.digest import Digest

__all__ = ["INDEX_FILE", "LAYOUT_FILE", "Layout", "root_entries"]

LAYOUT_FILE: Final = "oci-layout"
INDEX_FILE: Final = "index.json"
_LAYOUT_VERSION: Final = "1.0.0"
_MARKER = canonical.dumps({"imageLayoutVersion": _LAYOUT_VERSION})
_MAX_MARKER = 4096


class Layout:
    """An image layout in ``directory``. Make one with :meth:`open` or :meth:`create`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def open(cls, directory: Path) -> Layout:
        """Return the existing layout; raise :class:`IntegrityError` when ``directory`` is none."""
        layout = cls(directory)
        what = f"{directory / LAYOUT_FILE}"
        fields = Fields(canonical.loads(layout._read_top(LAYOUT_FILE, _MAX_MARKER), what=what), what)
        version = fields.text("imageLayoutVersion")
        if version != _LAYOUT_VERSION:
            msg = f'{what}: imageLayoutVersion is "{version[:40]}", this program reads "{_LAYOUT_VERSION}"'
            raise IntegrityError(msg)
        layout.index()
        return layout

    @classmethod
    def check_target(cls, directory: Path) -> None:
        """Raise :class:`UsageError` unless ``directory`` can be written to: not there, empty, or a layout with one image.

        That one is going to be replaced. What the new index does not name gets removed, so nothing else may be there.
        """
        try:
            names = os.listdir(directory)
        except FileNotFoundError:
            names = []
        except NotADirectoryError:
            msg = f"{directory} is a file, expected a folder"
            raise UsageError(msg) from None
        strangers = [name for name in names if name not in {LAYOUT_FILE, INDEX_FILE, "blobs"} and ".tmp-" not in name]
        if strangers:
            msg = f'{directory} holds "{min(strangers)}", which is no part of an image layout'
            raise UsageError(msg, hint="name a new or empty folder")
        if INDEX_FILE in names and len(root_entries(cls(directory).index())) > 1:
            msg = f"{directory} is a layout with several images"
            raise UsageError(msg, hint="name a new or empty folder")

    @classmethod
    def create(cls, directory: Path) -> Layout:
        """Return a layout to write to, its folders made; raises like :meth:`check_target`."""
        cls.check_target(directory)
        directory.parent.mkdir(parents=True, exist_ok=True)
        for folder in (Path(os.path.realpath(directory)), directory / "blobs", directory / "blobs" / "sha256"):
            try:
                FileOps().make_directory(os.fspath(folder))
            except FileExistsError:
                msg = f"{folder} is a file or link, expected a folder"
                raise UsageError(msg, hint="name a new or empty folder") from None
        return cls(directory)

    # Reading

    def index(self) -> Index:
        """Return what ``index.json`` holds; raises :class:`IntegrityError`."""
        data = self._read_top(INDEX_FILE, MAX_MANIFEST)
        return Index.parse(data, what=f"{self.directory / INDEX_FILE}")

    def choose(self, name: str | None = None) -> Descriptor:
        """Return the entry of ``index.json`` named ``name``, or the only image; :class:`IntegrityError` for none or several."""
        index = self.index()
        entries = root_entries(index) if name is None else index.manifests
        named = [entry for entry in entries if name is None or entry.annotations.get(mediatypes.ANNOTATION_REF_NAME) == name]
        if len(named) == 1:
            return named[0]
        names = sorted({entry.annotations.get(mediatypes.ANNOTATION_REF_NAME, "(unnamed)") for entry in entries})
        wanted = "one image" if name is None else f'one image named "{name}"'
        msg = f"{self.directory} holds {len(named)} images, expected {wanted}"
        raise IntegrityError(msg, hint=f"images here: {', '.join(names)}" if names else None)

    def read_index(self, descriptor: Descriptor) -> Index:
        """Return the checked image index that ``descriptor`` names; raises :class:`IntegrityError`."""
        self._expect(descriptor, mediatypes.IMAGE_INDEX)
        return Index.parse(self.read(descriptor, MAX_MANIFEST), what=f"index {descriptor.digest}")

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """Return the checked image manifest that ``descriptor`` names; raises :class:`IntegrityError`."""
        self._expect(descriptor, mediatypes.IMAGE_MANIFEST)
        return Manifest.parse(self.read(descriptor, MAX_MANIFEST), what=f"manifest {descriptor.digest}")

    def config(self, descriptor: Descriptor) -> bytes:
        """Return the checked bytes of the image config that ``descriptor`` names; raises :class:`IntegrityError`."""
        self._expect(descriptor, mediatypes.IMAGE_CONFIG)
        return self.read(descriptor, MAX_CONFIG)

    def read(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """Return the checked content of a small blob; raises :class:`IntegrityError`, also when it exceeds ``limit_bytes``."""
        if descriptor.size_bytes > limit_bytes:
            msg = f"blob {descriptor.digest} has {descriptor.size_bytes} bytes, more than the {limit_bytes} allowed for its kind"
            raise IntegrityError(msg)
        with self.open_blob(descriptor) as stream:
            return stream.read()

    def open_blob(self, descriptor: Descriptor) -> BinaryIO:
        """Return a stream over the blob that checks size at once and digest before its last bytes; it cannot seek.

        Raises :class:`IntegrityError` when the blob is missing, no regular file, or not what the descriptor says.
        """
        return verifying_stream(
            self.open_file(descriptor.digest),
            descriptor.digest,
            what=f"blob {descriptor.digest} of {self.directory}",
            size_bytes=descriptor.size_bytes,
        )

    def open_file(self, digest: Digest) -> int:
        """Return a file descriptor of the blob's unchecked file; raises :class:`IntegrityError` when it is no regular file."""
        what = f"blob {digest} of {self.directory}"
        folder = self._blob_folder()
        try:
            return open_blob_file(hex_part(digest), what=what, dir_fd=folder)
        except FileNotFoundError:
            msg = f"{what} is missing"
            raise IntegrityError(msg) from None
        finally:
            os.close(folder)

    def has(self, digest: Digest) -> bool:
        """Return whether there is a file for the blob, whatever is in it."""
        return os.path.lexists(self._path(digest))

    def blob_path(self, descriptor: Descriptor) -> Path:
        """Return the path of the blob's file, checked to be a regular file of the right size. Its content is not checked."""
        file = self.open_file(descriptor.digest)
        try:
            size = os.fstat(file).st_size
        finally:
            os.close(file)
        if size != descriptor.size_bytes:
            msg = f"blob {descriptor.digest} of {self.directory} has {size} bytes, expected {descriptor.size_bytes}"
            raise IntegrityError(msg)
        return self._path(descriptor.digest)

    # Writing

    def add_bytes(self, data: bytes, media_type: str) -> Descriptor:
        """Write a document as a blob and return its descriptor."""
        digest = digest_bytes(data)
        write_atomic(self._path(digest), data, mode=BLOB_MODE)
        return Descriptor(media_type=media_type, digest=digest, size_bytes=len(data))

    def add_blob(self, source: Path, descriptor: Descriptor) -> bool:
        """Place the blob in the finished file ``source``: a hard link where possible, else a verified copy.

        Returns whether it is a link. Raises :class:`IntegrityError` when ``source`` is missing, no regular file, of another size,
        or turns out to be other content while it is copied. A link is not read: give a file that was checked.
        """
        what = f"blob file {source}"
        try:
            size = os.lstat(source).st_size
            if size == descriptor.size_bytes:
                return link_or_copy(source, self._path(descriptor.digest), descriptor.digest, what=what)
        except FileNotFoundError:
            if source.exists():
                raise
            msg = f"{what} is missing"
            raise IntegrityError(msg) from None
        msg = f"{what} has {size} bytes, expected {descriptor.size_bytes}"
        raise IntegrityError(msg)

    def write_index(self, manifests: Sequence[Descriptor]) -> None:
        """Make the layout hold exactly ``manifests``, whose blobs must all be there. The last step: from here it is usable."""
        fsync_directory(self.directory / "blobs" / "sha256")
        write_atomic(self.directory / LAYOUT_FILE, _MARKER)
        write_atomic(self.directory / INDEX_FILE, image_index(manifests))

    def prune(self, keep: Collection[Digest]) -> None:
        """Remove blobs other than ``keep``, and what an interrupted writer left."""
        kept = {hex_part(digest) for digest in keep}
        for folder in (self.directory, self.directory / "blobs" / "sha256"):
            for name in os.listdir(folder):
                stale = ".tmp-" in name or (folder != self.directory and _is_hex(name) and name not in kept)
                if stale:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(folder / name)

    # Paths

    def _path(self, digest: Digest) -> Path:
        return self.directory / "blobs" / "sha256" / hex_part(digest)

    def _blob_folder(self) -> int:
        current = self._top_folder()
        for name in ("blobs", "sha256"):
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
            except OSError as error:
                msg = f'{self.directory}: "blobs/sha256" {_why_no_folder(error)}'
                raise IntegrityError(msg) from None
            finally:
                os.close(current)
            current = below
        return current

    def _top_folder(self) -> int:
        try:
            return os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            msg = f"{self.directory} {_why_no_folder(error)}"
            raise IntegrityError(msg, hint="expected the folder of an OCI image layout") from None

    def _read_top(self, name: str, limit_bytes: int) -> bytes:
        what = f"{self.directory / name}"
        folder = self._top_folder()
        try:
            file = open_blob_file(name, what=what, dir_fd=folder)
        except FileNotFoundError:
            msg = f"{self.directory} is no OCI image layout, or an unfinished one: it has no {name}"
            raise IntegrityError(msg) from None
        finally:
            os.close(folder)
        with open(file, "rb") as stream:
            data = stream.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            msg = f"{what} has more than the {limit_bytes} bytes allowed"
            raise IntegrityError(msg)
        return data

    @staticmethod
    def _expect(descriptor: Descriptor, media_type: str) -> None:
        if descriptor.media_type == media_type:
            return
        docker = {mediatypes.DOCKER_INDEX, mediatypes.DOCKER_MANIFEST}
        msg = f'{descriptor.digest} has media type "{descriptor.media_type}", expected "{media_type}"'
        raise IntegrityError(
            msg, hint="it was converted to Docker's formats on its way" if descriptor.media_type in docker else None
        )


def root_entries(index: Index) -> tuple[Descriptor, ...]:
    """Return the entries of ``index.json`` that stand for images of their own.

    Those with a name; where none has one, all but artefacts. Other tools list there also what images consist of, and we, as ORAS
    does, what is attached to them.
    """
    named = tuple(entry for entry in index.manifests if mediatypes.ANNOTATION_REF_NAME in entry.annotations)
    return named or tuple(entry for entry in index.manifests if entry.artifact_type is None)


def _is_hex(name: str) -> bool:
    return len(name) == 64 and not name.strip("0123456789abcdef")


def _why_no_folder(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "is missing"
    if error.errno in {errno.ENOTDIR, errno.ELOOP}:
        return "is not a folder"
    return f"cannot be opened: {os.strerror(error.errno or 0)}"
