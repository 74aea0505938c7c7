"""The local store: everything made once, found again by what it was made from.

::

    <root>/                         KATA_BUNDLE_STORE, else XDG_CACHE_HOME/kata-bundle/store, else ~/.cache/kata-bundle/store
      version                       format of the store: "kata-bundle-store 1"
      blobs/sha256/<64 hex>         content: files, tree documents, packed layers; mode 0444, never changed
      actions/<64 hex>              one record per action key: the result and the ingredients of the key
      refs/<kind>/<name>            one record per name; kind "layer": <component>/<arch>.<key>, packed layers by content
      roots/<name>                  one record per thing that keeps blobs alive: for a later garbage collection
      locks/<name>                  empty files for flock(2)
      quarantine/                   what failed its check, for people to look at; nothing reads it
      tmp/                          blobs being written, each locked by its writer

Crash story. A blob is written to ``tmp``, flushed, made read-only, closed, and only then renamed to its name: a process that
dies earlier leaves a file in ``tmp`` that nothing refers to and :meth:`Store.sweep` removes, since its lock died too. A record is
replaced by rename, after the names of the blobs it may refer to were flushed: after a power cut there is no record without its
blobs. Blobs and records are never changed in place and no file is shared by writers, so any number of processes may write at
once; who comes second with an equal blob finds it there. A blob that fails its check on reading is moved to ``quarantine`` and
named in the error; records that lead to missing blobs are treated as absent, so that the next run makes them again.

Who works with a store holds ``locks/gc`` shared; a collector (``store.collect``) holds it alone, and spares blobs younger than a
grace period besides; putting a blob that is there already renews its date for that reason. Records that are used are renewed too,
so that a collector can tell what was used lately. Must not know: rules, shims, archives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from kata_bundle.core.digest import hex_part, parse_digest
from kata_bundle.core.errors import HostError, IntegrityError, UsageError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.fsops import FileOps, write_atomic
from kata_bundle.core.tree import File, Tree
from kata_bundle.store.batch import Batch
from kata_bundle.store.blobs import Blobs, BlobWriter
from kata_bundle.store.ingest import ingest_directory
from kata_bundle.store.records import ActionResult, LayerRecord, layer_key
from kata_bundle.store.refs import Refs, check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.core.streams import Readable

__all__ = ["Store"]

_COLLECTORS: Final = "gc"
_VERSION = b"kata-bundle-store 1\n"
_FOLDERS = ("blobs", "blobs/sha256", "actions", "refs", "refs/layer", "roots", "locks", "quarantine", "tmp")


class Store:
    """A store below ``root``, made where there is none yet. Safe for many threads and processes at once.

    ``create=False`` makes nothing: a store that is not there is an empty one, which cannot be written to. ``durable=False``
    leaves flushing to the system: for throwaway stores, where a power cut may lose or damage what was written last (a damaged
    blob is still found on reading).
    """

    def __init__(self, root: Path, *, durable: bool = True, create: bool = True) -> None:
        self.root = root
        self._prepare(create=create)
        quarantine = root / "quarantine"
        self._blobs = Blobs(root, durable=durable)
        self._actions = Refs(root / "actions", "action", quarantine, durable=durable)
        self._layers = Refs(root / "refs" / "layer", "layer", quarantine, durable=durable)
        self._roots = Refs(root / "roots", "root", quarantine, durable=durable)

    @staticmethod
    def default_root() -> Path:
        """Return where the store is when nobody says: ``$KATA_BUNDLE_STORE``, else ``kata-bundle/store`` in the cache folder.

        The cache folder is ``$XDG_CACHE_HOME``, else ``~/.cache`` (XDG Base Directory Specification; a relative value is
        ignored, as it demands). Raises :class:`UsageError` when there is no home either.
        """
        if chosen := os.environ.get("KATA_BUNDLE_STORE"):
            return Path(chosen).absolute()
        cache = os.environ.get("XDG_CACHE_HOME", "")
        if not cache.startswith("/"):
            try:
                cache = os.fspath(Path.home() / ".cache")
            except RuntimeError:
                msg = "there is no home folder to keep the store in"
                raise UsageError(msg, hint="name a folder with --store or KATA_BUNDLE_STORE") from None
        return Path(cache) / "kata-bundle" / "store"

    # Blobs

    def has(self, digest: Digest) -> bool:
        """Return whether the blob is there (its content is checked on reading)."""
        return self._blobs.size(digest) is not None

    def size(self, digest: Digest) -> int | None:
        """Return the blob's length in bytes, ``None`` when it is not there."""
        return self._blobs.size(digest)

    def path(self, digest: Digest) -> Path:
        """Return the path of the blob's file, whether or not it is there. The file must not be written to."""
        return self._blobs.path(digest)

    def verified_path(self, digest: Digest) -> Path:
        """Return the path of the blob's file after reading it all; raises :class:`IntegrityError` like :meth:`open`."""
        self._blobs.verify(digest)
        return self._blobs.path(digest)

    def open(self, digest: Digest) -> BinaryIO:
        """Return a stream over the blob that checks the digest before it hands out the last bytes; it cannot seek.

        Raises :class:`IntegrityError`, at once when the blob is not there, on reading when it is corrupt: then it has been moved
        to quarantine, and whoever can make it again may put it again. A reader that stops before the end has checked nothing.
        """
        return self._blobs.open(digest)

    def read(self, digest: Digest) -> bytes:
        """Return the whole checked content of a blob; raises like :meth:`open`."""
        with self._blobs.open(digest) as stream:
            return stream.read()

    def new_blob(self) -> BlobWriter:
        """Return a context that writes a blob: fill its ``sink``, then call its ``publish()``."""
        return self._blobs.new()

    def scratch(self) -> AbstractContextManager[Path]:
        """Return a context that yields a new folder below the store, for work that ends with putting blobs."""
        return self._blobs.scratch()

    def batch(self) -> Batch:
        """Return a context that stores many blobs with few waits for the disk; see :class:`Batch`."""
        return Batch(self._blobs)

    def put_bytes(self, data: bytes) -> Digest:
        """Store ``data`` and return its digest."""
        return self._blobs.put_bytes(data)

    def put_stream(self, stream: Readable, expected: Digest | None = None) -> tuple[Digest, int]:
        """Store what is left of ``stream``; return digest and length in bytes.

        Raises :class:`IntegrityError`, storing nothing, when the digest is not ``expected``.
        """
        with self.batch() as batch:
            return batch.put_stream(stream, expected)

    def put_file(self, path: str | os.PathLike[str], expected: Digest | None = None) -> tuple[Digest, int]:
        """Store a copy of the regular file ``path``; return digest and length in bytes.

        Copied and never linked, since nobody can promise that the source stays as it is. Raises :class:`IntegrityError` when it
        is no regular file (links are not followed) or its digest is not ``expected``; ``OSError`` when it cannot be read.
        """
        with self.batch() as batch:
            return batch.put_file(path, expected)

    def digests(self) -> Iterator[Digest]:
        """Yield the digests of all blobs, sorted."""
        return self._blobs.digests()

    # Trees

    def put_tree(self, tree: Tree) -> Digest:
        """Store the tree's document and return its digest. The files it names are not looked for."""
        return self._blobs.put_bytes(tree.to_json())

    def get_tree(self, digest: Digest) -> Tree:
        """Return a stored tree; raises :class:`IntegrityError` when it is missing, corrupt or no tree."""
        return Tree.from_json(self.read(digest), what=f"tree {digest}")

    def has_tree(self, digest: Digest) -> bool:
        """Return whether the tree and all files it names are there. A corrupt tree document raises :class:`IntegrityError`."""
        return self.has(digest) and not self.missing_files(self.get_tree(digest))

    def missing_files(self, tree: Tree) -> tuple[Digest, ...]:
        """Return the digests of the tree's files that the store lacks or has with another length, sorted."""
        files = {entry.digest: entry.size_bytes for entry in tree.entries.values() if isinstance(entry, File)}
        return tuple(sorted(digest for digest, size in files.items() if self.size(digest) != size))

    def ingest_directory(self, directory: Path, *, progress: Progress = NO_PROGRESS) -> Tree:
        """Store the content of ``directory``, the tree's document included, and return the tree.

        Raises :class:`IntegrityError` for devices, FIFOs, sockets and directories that are not there.
        """
        tree = ingest_directory(self, directory, progress=progress)
        self.put_tree(tree)
        return tree

    # Records

    def put_result(self, key: Digest, result: ActionResult) -> None:
        """Remember what the action with ``key`` made, replacing what was remembered."""
        self._blobs.sync()
        self._actions.put(hex_part(key), result.to_dict())

    def get_result(self, key: Digest) -> ActionResult | None:
        """Return what the action with ``key`` made, ``None`` when that is not known or no longer complete in the store.

        Raises :class:`IntegrityError` for a damaged record or tree document, which is then in quarantine.
        """
        found = self.find_result(key)
        return None if found is None else found[0]

    def find_result(self, key: Digest) -> tuple[ActionResult, Tree] | None:
        """Return what :meth:`get_result` does and its tree; raises like it."""
        value = self._actions.get(hex_part(key))
        if value is None:
            return None
        result = ActionResult.from_dict(value)
        if not self.has(result.tree):
            return None
        tree = self.get_tree(result.tree)
        if self.missing_files(tree):
            return None
        self._actions.renew(hex_part(key))
        return result, tree

    def result_record(self, key: Digest) -> ActionResult | None:
        """Return what is remembered under ``key`` whether or not its files are still there, ``None`` when nothing is."""
        try:
            value = self._actions.get(hex_part(key))
        except IntegrityError:
            return None
        return None if value is None else ActionResult.from_dict(value)

    def results(self, problems: list[str] | None = None) -> Iterator[tuple[str, ActionResult]]:
        """Yield the name and value of every result, complete or not, sorted by name; what is damaged is told in ``problems``."""
        for name, value in self._readable(self._actions, problems):
            yield name, ActionResult.from_dict(value)

    def layer_records(self, problems: list[str] | None = None) -> Iterator[tuple[str, LayerRecord]]:
        """Yield the name and value of every layer record like :meth:`results`, whether or not its blob is there."""
        for name, value in self._readable(self._layers, problems):
            yield name, LayerRecord.from_dict(value)

    def put_layer(self, record: LayerRecord) -> None:
        """Remember a packed layer; raise :class:`IntegrityError` when its blob is not in the store."""
        if self.size(record.packed) != record.packed_size_bytes:
            msg = f'layer "{record.component}": blob {record.packed} of {record.packed_size_bytes} bytes is not in the store'
            raise IntegrityError(msg)
        self._blobs.sync()
        self._layers.put(f"{record.component}/{record.arch.value}.{hex_part(record.key)}", record.to_dict())

    def find_layer(
        self,
        component: str,
        tree: Digest,
        recipe: Mapping[str, JsonValue] | None,
        *,
        arch: Arch | None = None,
        source_date: int | None = None,
    ) -> LayerRecord | None:
        """Return the layer of ``tree`` packed by ``recipe`` with ``source_date``, ``None`` when the store has none.

        Without ``arch``, one of any architecture: equal trees make equal bytes. Provenance members (version, rule key) are those
        of whoever packed it last.
        """
        suffix = f".{hex_part(layer_key(tree, recipe, source_date))}"
        for record in self._records(component, suffix):
            if arch in {None, record.arch}:
                self._layers.renew(f"{record.component}/{record.arch.value}.{hex_part(record.key)}")
                return record
        return None

    def layers(self, component: str | None = None) -> Iterator[LayerRecord]:
        """Yield the records of all layers whose blob is there, of one component or all, sorted by name."""
        yield from self._records(component, "")

    def drop_layer(self, record: LayerRecord) -> bool:
        """Forget a layer record (its blob stays); return whether it was there."""
        return self._layers.delete(f"{record.component}/{record.arch.value}.{hex_part(record.key)}")

    def set_root(self, name: str, digests: Iterable[Digest]) -> None:
        """Record that ``name`` keeps ``digests`` and what they lead to."""
        self._blobs.sync()
        self._roots.put(name, {"digests": [*sorted(set(digests))]})

    def roots(self) -> dict[str, tuple[Digest, ...]]:
        """Return all roots by name."""
        result: dict[str, tuple[Digest, ...]] = {}
        for name in self._roots.names():
            value = self._roots.get(name)
            digests = None if value is None else value.get("digests")
            if isinstance(digests, list):
                result[name] = tuple(parse_digest(item) for item in digests)
        return result

    def drop_root(self, name: str) -> bool:
        """Forget a root; return whether it was there."""
        return self._roots.delete(name)

    # Housekeeping

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the store's lock ``name`` against every other process and thread; waits for it."""
        path = self.root / "locks" / check_name(name)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def hold(self) -> bool:
        """Keep collectors away as long as this object lives; return whether that could be asked for.

        It cannot of a store that may only be read. Waits while a collector is at work.
        """
        try:
            descriptor = os.open(self.root / "locks" / _COLLECTORS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError:
            return False
        weakref.finalize(self, os.close, descriptor)  # and with the process, however that ends
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        return True

    @contextlib.contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[None]:
        """Hold the store against everybody who holds it, as a collector has to; waits for them.

        Without ``wait``, raises :class:`HostError` when somebody does.
        """
        path = self.root / "locks" / _COLLECTORS
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                msg = f"another command works with the store {self.root}"
                raise HostError(msg, hint="try again when it has ended, or wait for it with --wait", retryable=True) from None
            yield
        finally:
            os.close(descriptor)

    def sweep(self) -> int:
        """Remove what killed writers left behind; return its size in bytes."""
        return self._blobs.sweep() + sum(refs.sweep() for refs in (self._actions, self._layers, self._roots))

    def _readable(self, refs: Refs, problems: list[str] | None) -> Iterator[tuple[str, dict[str, JsonValue]]]:
        for name in refs.names():
            try:
                value = refs.get(name)
            except IntegrityError as error:
                if problems is not None:
                    problems.append(str(error))
                continue
            if value is not None:
                yield name, value

    def _records(self, component: str | None, suffix: str) -> Iterator[LayerRecord]:
        for name in self._layers.names(component or ""):
            if not name.endswith(suffix):
                continue
            value = self._layers.get(name)
            if value is None:
                continue
            record = LayerRecord.from_dict(value)
            if self.size(record.packed) == record.packed_size_bytes:
                yield record

    def _prepare(self, *, create: bool) -> None:
        version = self.root / "version"
        try:
            found = version.read_bytes()
        except FileNotFoundError:
            self._refuse_strangers()
            if create:
                self._create(version)
            return
        except NotADirectoryError:
            found = b""
        if found != _VERSION:
            msg = f"{self.root} is not a store of this version of kata-bundle"
            raise UsageError(msg, hint="name another folder with --store or KATA_BUNDLE_STORE")
        if create and not all((self.root / folder).is_dir() for folder in _FOLDERS):
            self._make_folders()

    def _refuse_strangers(self) -> None:
        known = {folder.split("/")[0] for folder in _FOLDERS} | {"version"}
        try:
            names = os.listdir(self.root)
        except FileNotFoundError:
            return
        # Another process may be making the same store right now: its half is no stranger's file.
        if any(name not in known and not name.startswith("version.tmp-") for name in names):
            msg = f"{self.root} holds other files and is not a store"
            raise UsageError(msg, hint="name an empty or new folder with --store or KATA_BUNDLE_STORE")

    def _create(self, version: Path) -> None:
        root = Path(os.path.realpath(self.root))  # the store may be a link to where there is room
        root.parent.mkdir(parents=True, exist_ok=True)
        FileOps().make_directory(os.fspath(root))
        self._make_folders()
        # Last, so that a folder with this file is a complete store.
        write_atomic(version, _VERSION)

    def _make_folders(self) -> None:
        for folder in _FOLDERS:
            FileOps().make_directory(os.fspath(self.root / folder))
