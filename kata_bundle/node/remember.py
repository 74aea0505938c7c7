"""Writing the record of what was found in order (``node.seen``), at the end of an install.

After an install that changed something it holds the new generation's file times, so that nobody hashes it again. After one that
had nothing to do it also holds the request, the answer, and the times of everything the answer depends on: the next one like it
is answered from that. What may have changed within one tick of the clock is waited out or left out. Must not know: what requests
mean.
"""

from __future__ import annotations

import os
import posixpath
import time
from typing import TYPE_CHECKING

from kata_bundle.core import clock
from kata_bundle.core.record import record
from kata_bundle.node.seen import SETTLED_NS, Record, boot_id, is_of_this_boot, is_same_file, kind_of, load_record, signature
from kata_bundle.node.site import resolve
from kata_bundle.node.state import leftover_places, other_sites

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kata_bundle.core.relpath import RelPath
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.receipt import Receipt
    from kata_bundle.node.seen import Request

__all__ = ["Answered", "Asked", "remember_answer", "remember_tree"]


@record
class Asked:
    """What somebody asked for, to be answered from the record next time."""

    request: Request
    facts: str
    sources: tuple[str, ...]
    """Real paths of everything the request was read from, there or not."""
    folders: tuple[str, ...] = ()
    """Real paths of folders whose names count."""


@record
class Answered:
    """The answer to what was asked: the text for standard output, and the lines beside it."""

    asked: Asked
    answer: str
    said: tuple[str, ...]


def remember_tree(machine: Machine, receipt: Receipt, placed: Mapping[RelPath, str]) -> None:
    """Record a generation that was just made active; ``placed`` has what ``lstat`` said of its files when they were in place.

    Nothing is recorded when a file is not that one any more. What cannot be recorded is told and does no harm.
    """
    folder = machine.site.generation(receipt.generation)
    paths = [folder, *_walk(folder)]
    stats = {path: signature(path) for path in paths}
    if not all(is_same_file(stats.get(os.path.join(folder, path), ""), text) for path, text in placed.items()):
        return
    _settle(stats.values())
    if {path: signature(path) for path in paths} != stats:
        return
    receipt_file = machine.site.receipt(receipt.generation)
    _write(machine, Record(generation=receipt.generation, boot=boot_id(), stats={**stats, receipt_file: signature(receipt_file)}))


def remember_answer(
    machine: Machine, receipt: Receipt, stats: Mapping[RelPath, str], began: float, answered: Answered | None = None
) -> None:
    """Record that nothing had to be done, as was found out since ``began`` (seconds), and what was ``answered``.

    ``stats`` is what ``lstat`` said of the generation's entries before they were compared. Nothing is recorded when anything
    changed so shortly before ``began`` or after it that it may have been seen in two states.
    """
    site = machine.site
    folder = site.generation(receipt.generation)
    tree = {os.path.join(folder, path): text for path, text in stats.items() if path in receipt.tree.entries or _is_folder(text)}
    tree[folder] = signature(folder)
    receipt_file = site.receipt(receipt.generation)
    tree[receipt_file] = signature(receipt_file)
    if answered is None:
        known = load_record(site.seen)
        if (
            known is None
            or known.generation != receipt.generation
            or not is_of_this_boot(known)
            or any(known.stats.get(p) != s for p, s in tree.items())
        ):
            _write_settled(machine, Record(generation=receipt.generation, boot=boot_id(), stats=tree), began)
        return
    places = _Places(machine)
    places.state()
    if not places.host():
        return
    for path in answered.asked.sources:
        places.stat(path)
    for path in answered.asked.folders:
        places.names(path)
    record = Record(
        generation=receipt.generation,
        boot=boot_id(),
        stats={**places.stats, **tree},
        facts=answered.asked.facts,
        request=answered.asked.request,
        answer=answered.answer,
        said=answered.said,
        kinds=places.kinds,
        names={**places.lists, site.state: _names(site.state, os.path.basename(site.seen))},
    )
    _write_settled(machine, record, began)


class _Places:
    """Everything an answer depends on beside the generation, with what it is now."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.stats: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.lists: dict[str, str] = {}

    def stat(self, path: str) -> None:
        self.stats[path] = signature(path)

    def names(self, path: str) -> None:
        self.lists[path] = _names(path)

    def state(self) -> None:
        """The install directory, the state folder, and what an interrupted start or removal would have left."""
        site = self._machine.site
        self.stat(site.folder)
        for name in os.listdir(site.folder):
            if os.path.islink(os.path.join(site.folder, name)):
                self.stat(os.path.join(site.folder, name))
        for path in (site.current, site.origin, site.generations, site.receipts, site.objects):
            self.stat(path)
        for folder in (site.receipts, site.objects):
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                self.stat(os.path.join(folder, name))
        for path in leftover_places(site):
            self.kinds[path] = kind_of(path)
        self.names(site.at(os.path.dirname(site.dest), follow=True))
        for other in other_sites(site):
            for path in (other.current, other.origin, other.receipts, other.state):
                self.stat(path)

    def host(self) -> bool:
        """The files that planning looked at; return whether each is still there, or still absent."""
        root = self._machine.site.root
        for kind, path in sorted(self._machine.watched):
            for end in range(1, path.count("/") + 1):
                resolve(root, "/".join(path.split("/")[: end + 1]), follow=True, on_link=self.stat)
            real = resolve(root, posixpath.normpath(path), follow=True)
            if kind == "kind":
                self.kinds[real] = kind_of(real)
                continue
            self.stat(real)
            if kind in {"file", "none"} and (self.stats[real] == "-") != (kind == "none"):
                return False
        return True


def _walk(folder: str) -> Iterable[str]:
    for parent, directories, files in os.walk(folder):
        for name in (*directories, *files):
            yield os.path.join(parent, name)


def _names(path: str, *more: str) -> str:
    return "/".join(sorted({*os.listdir(path), *more}))


def _is_folder(text: str) -> bool:
    return text.startswith("4") and text.index(",") == 5


def _newest(texts: Iterable[str]) -> int:
    times = (text.rpartition(",")[2] for text in texts)
    return max((int(time) for time in times if time != "-"), default=0)


def _settle(texts: Iterable[str]) -> None:
    """Wait until a further change must leave another time."""
    left = _newest(texts) + SETTLED_NS - int(clock.now() * 1e9)
    if 0 < left <= SETTLED_NS:
        time.sleep(left / 1e9)


def _write_settled(machine: Machine, record: Record, began: float) -> None:
    """Write ``record``, unless something in it changed since shortly before ``began``, or it is there already."""
    if _newest(record.stats.values()) + SETTLED_NS <= began * 1e9 and load_record(machine.site.seen) != record:
        _write(machine, record)


def _write(machine: Machine, record: Record) -> None:
    path = machine.site.seen
    data = record.to_bytes()
    try:
        machine.files.replace_file(path, data, temporary=f"{path}.kata-bundle-new", mode=0o600)
    except OSError as error:
        machine.progress.note(f"{path} could not be written ({error.strerror}): the next install takes longer")
