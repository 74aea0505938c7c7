"""Small named records, one file each: replaced by rename, checked on reading, set aside when damaged.

A file holds ``{"digest", "kind", "name", "value"}``; the digest covers the other three, so a flipped bit and a file under a
wrong name are both found. Must not know: what values mean.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from kata_bundle.core import canonical, clock
from kata_bundle.core.blobs import open_blob_file
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.fsops import TEMPORARY_MARK, FileOps, write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from kata_bundle.core.fields import JsonValue

__all__ = ["Refs", "check_name"]

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_+@=:-]*(?:\.[A-Za-z0-9_+@=:-]+)*")
_MAX_PART = 200
_MAX_RECORD = 16 << 20
_STALE_AFTER_S = 60.0


def check_name(name: str) -> str:
    """Return ``name`` when it can be a record's name; raise :class:`IntegrityError` otherwise.

    Allowed: parts of letters, digits and ``_+@=:-`` joined by single dots, parts joined by ``/``. So no name is hidden, leaves
    its folder, or looks like a temporary file.
    """
    if not _is_name(name):
        msg = f"{name[:80]!a} cannot name a record"
        raise IntegrityError(msg, hint="letters, digits and _+@=:- joined by single dots; parts joined by /")
    return name


class Refs:
    """The records in one folder."""

    def __init__(self, folder: Path, kind: str, quarantine: Path, *, durable: bool) -> None:
        self._folder = folder
        self._kind = kind
        self._quarantine = quarantine
        self._durable = durable

    def put(self, name: str, value: Mapping[str, JsonValue]) -> None:
        """Write the record ``name``, replacing an older one; readers see the old or the new."""
        path = self._folder / check_name(name)
        body: dict[str, JsonValue] = {"kind": self._kind, "name": name, "value": dict(value)}
        data = canonical.dumps({**body, "digest": digest_bytes(canonical.dumps(body))})
        self._ensure_folder(path.parent)
        write_atomic(path, data, mode=0o644, durable=self._durable)

    def get(self, name: str) -> dict[str, JsonValue] | None:
        """Return the record's value, ``None`` when there is no such record.

        A damaged one is moved to quarantine and :class:`IntegrityError` raised: the next call finds none.
        """
        path = self._folder / check_name(name)
        what = f"record {path}"
        try:
            with open(open_blob_file(path, what=what), "rb") as stream:
                data = stream.read(_MAX_RECORD + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            return self._parse(data, name, what)
        except IntegrityError as error:
            target = self._quarantine / f"{self._kind}.{os.path.basename(name)}.{os.urandom(4).hex()}"
            try:
                os.rename(path, target)
                hint = f"moved to {target}; what it remembered is made again when needed"
            except OSError as failure:
                hint = f"it could not be moved to quarantine ({failure.strerror}); remove {path}"
            msg = str(error)
            raise IntegrityError(msg, hint=hint) from None

    def renew(self, name: str) -> None:
        """Give the record today's date, so that a collector sees it was used."""
        with contextlib.suppress(OSError):  # gone meanwhile, or somebody else's store
            os.utime(self._folder / check_name(name))

    def delete(self, name: str) -> bool:
        """Remove the record; return whether it was there."""
        try:
            os.unlink(self._folder / check_name(name))
        except FileNotFoundError:
            return False
        return True

    def names(self, below: str = "") -> Iterator[str]:
        """Yield the names of all records, or of those in the folder ``below``, in byte order."""
        start = self._folder / check_name(below) if below else self._folder
        found = []
        for folder, _, files in os.walk(start):
            prefix = os.path.relpath(folder, self._folder)
            found += [name if prefix == "." else f"{prefix}/{name}" for name in files]
        yield from sorted(name for name in found if _is_name(name))

    def sweep(self) -> int:
        """Remove records that killed writers had not named yet; return their size in bytes."""
        freed = 0
        for folder, _, files in os.walk(self._folder):
            for name in files:
                _, is_temporary, process = name.partition(TEMPORARY_MARK)
                if not is_temporary or _is_alive(process.partition("-")[0]):
                    continue
                with contextlib.suppress(OSError):
                    path = os.path.join(folder, name)
                    status = os.lstat(path)
                    if abs(clock.now() - status.st_mtime) >= _STALE_AFTER_S:
                        os.unlink(path)
                        freed += status.st_size
        return freed

    def _parse(self, data: bytes, name: str, what: str) -> dict[str, JsonValue]:
        if len(data) > _MAX_RECORD:
            msg = f"{what} has more than the {_MAX_RECORD} bytes allowed"
            raise IntegrityError(msg)
        fields = Fields(canonical.loads(data, what=what), what)
        stated = fields.digest("digest")
        value = fields.child("value").plain()
        body = {"kind": fields.text("kind"), "name": fields.text("name"), "value": value}
        fields.done()
        if digest_bytes(canonical.dumps(body)) != stated:
            msg = f"{what} does not have the digest it states"
            raise IntegrityError(msg)
        if (body["kind"], body["name"]) != (self._kind, name):
            msg = f'{what} is of {body["kind"]} "{body["name"]}", expected {self._kind} "{name}"'
            raise IntegrityError(msg)
        return value

    def _ensure_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._ensure_folder(folder.parent)
        FileOps().make_directory(os.fspath(folder))


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except OSError:
        pass  # somebody else's
    return True


def _is_name(name: str) -> bool:
    return TEMPORARY_MARK not in name and all(_PART.fullmatch(part) and len(part) <= _MAX_PART for part in name.split("/"))
