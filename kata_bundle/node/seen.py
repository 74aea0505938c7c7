"""What an install was last found to be, as file times: how a command that has nothing to do finds out without reading a byte.

The record ``.kata-bundle/seen`` lists every path that the last answer "up to date" depends on with its ``lstat`` result: the
active generation, receipts and kept contents, links, the host files that planning looked at, the source, and the request itself.
As long as each is the same, so is the answer. Any difference, or no record, means nothing but that the long way is taken, which
hashes what differs. A change that keeps size, times and inode is found only by hashing everything: ``verify``, ``install
--verify``.

Format version 1, a line per item, names escaped (``\\n``, ``\\s``, ``\\\\``): a reader that imports nothing takes a millisecond.
Must not know: what receipts, sources and requests mean. Imports ``os`` alone, on purpose.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "FILE_NAME",
    "SETTLED_NS",
    "Record",
    "Request",
    "boot_id",
    "facts_now",
    "is_of_this_boot",
    "is_same_file",
    "kind_of",
    "load_record",
    "signature",
    "state_folder",
    "still_true",
]

FILE_NAME = "seen"
SETTLED_NS = 12_000_000
"""A change within this time of the one before may leave the same time on the file (ns): kernels before 6.13 count in ticks of at
most 10 ms."""

_HEADER = "kata-bundle seen 1"
_END = "end"
_MAX_BYTES = 64 << 20
_NONE = "-"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"

Request = tuple[tuple[str, str], ...]
"""The settings of a command that an answer depends on, by name."""


class Record:
    """A request, what was answered to it, and the paths that the answer depends on with what they were.

    ``boot`` is the start of the system that it is of, ``facts`` what matters of the process.

    ``stats`` maps a path to a :func:`signature`, ``kinds`` to a file mode where nothing else matters, ``names`` to the sorted
    names in a directory. Without a request the record only saves hashing.
    """

    __slots__ = ("answer", "boot", "facts", "generation", "kinds", "names", "request", "said", "stats")

    def __init__(
        self,
        *,
        generation: int,
        boot: str,
        stats: Mapping[str, str],
        facts: str = "",
        request: Request | None = None,
        answer: str = "",
        said: Sequence[str] = (),
        kinds: Mapping[str, str] | None = None,
        names: Mapping[str, str] | None = None,
    ) -> None:
        self.generation = generation
        self.boot = boot
        self.stats = stats
        self.facts = facts
        self.request = request
        self.answer = answer
        self.said = tuple(said)
        self.kinds = kinds or {}
        self.names = names or {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Record) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the document."""
        lines = [_HEADER, f"generation {self.generation}", f"boot {_escaped(self.boot)}"]
        if self.request is not None:
            lines += [f"facts {_escaped(self.facts)}", f"answer {_escaped(self.answer)}"]
            lines += [f"say {_escaped(line)}" for line in self.said]
            lines += [f"request {name} {_escaped(value)}" for name, value in self.request]
        lines += [f"names {_escaped(text)} {_escaped(path)}" for path, text in sorted(self.names.items())]
        lines += [f"kind {kind} {_escaped(path)}" for path, kind in sorted(self.kinds.items())]
        lines += [f"stat {text} {_escaped(path)}" for path, text in sorted(self.stats.items())]
        lines.append(_END)
        return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")

    @classmethod
    def from_bytes(cls, data: bytes) -> Record | None:
        """Return the record of a document; ``None`` for anything else: then nothing is known."""
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        if lines[0] != _HEADER or lines[-2:] != [_END, ""]:
            return None
        paths: dict[str, dict[str, str]] = {"stat": {}, "kind": {}, "names": {}}
        texts: dict[str, list[str]] = {"say": [], "request": [], "facts": [], "answer": [], "generation": [], "boot": []}
        for line in lines[1:-2]:
            word, _, rest = line.partition(" ")
            if word in paths:
                text, _, path = rest.partition(" ")
                paths[word][_plain(path)] = text
            elif word in texts:
                texts[word].append(_plain(rest))
            else:
                return None
        if len(texts["generation"]) != 1 or not texts["generation"][0].isdecimal():
            return None
        pairs = (text.partition(" ") for text in texts["request"])
        return cls(
            generation=int(texts["generation"][0]),
            boot="".join(texts["boot"]),
            stats=paths["stat"],
            facts="".join(texts["facts"]),
            request=tuple((name, value) for name, _, value in pairs) if texts["facts"] else None,
            answer="".join(texts["answer"]),
            said=texts["say"],
            kinds=paths["kind"],
            names={path: _plain(text) for path, text in paths["names"].items()},
        )


def load_record(path: str) -> Record | None:
    """Return the record in file ``path``, ``None`` when there is none that can be used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        data = b"" if size > _MAX_BYTES else os.read(descriptor, size + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return Record.from_bytes(data)


def still_true(record: Record, request: Request, facts: str) -> bool:
    """Return whether ``record`` answers ``request`` and everything in it is as it was."""
    if record.request != request or record.facts != facts or not is_of_this_boot(record):
        return False
    try:
        return (
            all("/".join(sorted(os.listdir(path))) == names for path, names in record.names.items())
            and all(kind_of(path) == kind for path, kind in record.kinds.items())
            and all(signature(path) == text for path, text in record.stats.items())
        )
    except (OSError, ValueError):
        return False


def is_of_this_boot(record: Record) -> bool:
    """Return whether ``record`` was made since the system started: what was not flushed when it stopped may be gone."""
    return record.boot != _NONE and record.boot == boot_id()


def boot_id() -> str:
    """Return what the kernel calls this start of the system, ``"-"`` when it does not say."""
    try:
        with open(_BOOT_ID, "rb") as stream:
            return stream.read(64).decode("ascii", "replace").strip() or _NONE
    except OSError:
        return _NONE


def signature(path: str, found: os.stat_result | None = None) -> str:
    """Return what ``lstat`` says of ``path``, as text without blanks; ``"-"`` when nothing is there.

    Kind and mode, owner, inode and device, length, and the times of the last change of content and of the inode in nanoseconds.
    ``found`` is a result that is at hand. Raises ``OSError`` when it cannot be told.
    """
    if found is None:
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return _NONE
    return (
        f"{found.st_mode:o},{found.st_uid},{found.st_gid},{found.st_ino},{found.st_dev},"
        f"{found.st_size},{found.st_mtime_ns},{found.st_ctime_ns}"
    )


def is_same_file(one: str, other: str) -> bool:
    """Return whether two signatures differ at most in the time of the inode's change, which linking and renaming set."""
    return one.rpartition(",")[0] == other.rpartition(",")[0] != ""


def kind_of(path: str) -> str:
    """Return kind and permission bits of what ``path`` is, ``"-"`` when nothing is there."""
    try:
        return f"{os.lstat(path).st_mode:o}"
    except (FileNotFoundError, NotADirectoryError):
        return _NONE


def state_folder(root: str, dest: str, suffix: str | None) -> str | None:
    """Return where the state folder of an install is, for a plainly written ``dest`` without links on the way; else ``None``.

    The short form of :func:`kata_bundle.node.site.destination` and :class:`~kata_bundle.node.site.Site` for the cases in which
    nothing has to be decided.
    """
    if not dest.startswith("/") or os.path.normpath(dest) != dest or dest.startswith("//"):
        return None
    whole = dest if not suffix or dest.endswith(f"-{suffix}") else f"{dest}-{suffix}"
    folder = os.path.join(os.path.realpath(root), whole[1:])
    return os.path.join(folder, ".kata-bundle") if os.path.realpath(folder) == folder else None


def facts_now(version: str, package: str) -> str:
    """Return what the answer depends on of this process: program, user, machine. ``package`` is a file of the program."""
    return " ".join((version, signature(package), f"{os.geteuid()}:{os.getegid()}", os.uname().machine))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace(" ", "\\s")


def _plain(text: str) -> str:
    if "\\" not in text:
        return text
    return "\\".join(part.replace("\\n", "\n").replace("\\s", " ") for part in text.split("\\\\"))
