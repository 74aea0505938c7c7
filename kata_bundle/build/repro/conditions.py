"""What is changed between two builds of one thing, and what this machine can change.

Must not know: rules, stores, how a build is run.

References: faketime(1), namespaces(7), tmpfs(5), reproducible-builds.org for the list of what usually makes builds differ.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.build.sandbox import Backend
from kata_bundle.build.sandbox.surroundings import USUAL, Surroundings
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Condition", "Host", "Variation", "changed", "parse_conditions", "plan_variation", "room_for"]

OTHER_DATE_S: Final = 34_671_545.0
"""How far the second build's clock is ahead, 401 days and some hours: year, month, weekday and time of day are others."""
OTHER_FOLDER: Final = "srv/kata-bundle-elsewhere/build"
OTHER_TEMPORARY: Final = "srv/kata-bundle-elsewhere/scratch"
OTHER_USER: Final = 4242
OTHER_GROUP: Final = 4343
OTHER_HOST: Final = "elsewhere-4"
OTHER_UMASK: Final = 0o077
OTHER_LOCALE: Final = {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "LANGUAGE": "tr", "TZ": "KBT-11:30"}
"""Turkish, where "i" is no small "I"; and a zone stated as a rule, which needs no table of zones."""
NOISE: Final = {"KATA_BUNDLE_NOISE": "means nothing, 4242"}
_LIBRARY: Final = "faketime/libfaketimeMT.so.1"
_ROOM: Final = 1 << 30


class Condition(StrEnum):
    """One thing that may be another when the same is built again."""

    TIME = "time"
    PATH = "path"
    USER = "user"
    HOST = "host"
    CPUS = "cpus"
    ORDER = "order"
    UMASK = "umask"
    LOCALE = "locale"
    ENV = "env"

    @property
    def text(self) -> str:
        """What the second build finds changed, in words."""
        return {
            "time": "the clock is 401 days ahead, as far as programs ask the C library",
            "path": f"the work folder is /{OTHER_FOLDER}, temporary files are in /{OTHER_TEMPORARY}",
            "user": f"user {OTHER_USER}, group {OTHER_GROUP}",
            "host": f'the host is named "{OTHER_HOST}"',
            "cpus": "one processor",
            "order": "folders on a tmpfs, names of inputs listed in reverse",
            "umask": f"umask {OTHER_UMASK:04o} before the rule sets its own",
            "locale": f"LC_ALL={OTHER_LOCALE['LC_ALL']}, TZ={OTHER_LOCALE['TZ']}",
            "env": "one variable more",
        }[self.value]


def parse_conditions(text: str) -> frozenset[Condition]:
    """Return the conditions of a list with commas, ``all`` or ``none``; raise :class:`UsageError` for other words."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words in (["all"], ["none"]):
        return frozenset(Condition) if words == ["all"] else frozenset()
    for word in words:
        if word not in set(Condition):
            msg = f'there is no condition "{word}" to vary'
            raise UsageError(msg, hint=did_you_mean(word, list(Condition)) or f"known are {', '.join(Condition)}, all and none")
    if not words:
        msg = "no condition to vary"
        raise UsageError(msg, hint=f"known are {', '.join(Condition)}, all and none")
    return frozenset(map(Condition, words))


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What this machine can change."""

    processors: int
    clock_library: Path | None
    tmpfs: Path | None
    """A folder on a tmpfs that programs may be run from."""

    @classmethod
    def look(cls) -> Host:
        """Return what this machine has."""
        return cls(processors=len(os.sched_getaffinity(0)), clock_library=_clock_library(), tmpfs=_tmpfs())


@dataclass(frozen=True, kw_only=True, slots=True)
class Variation:
    """What is changed between two builds, and what was asked for and cannot be, with the reason."""

    varied: frozenset[Condition]
    left: Mapping[Condition, str]
    host: Host


def plan_variation(
    wanted: frozenset[Condition], host: Host, *, backend: Backend, needs_bytes: int = 0, is_action: bool = True
) -> Variation:
    """Return which of the ``wanted`` conditions are changed for one build.

    ``needs_bytes`` is the size of its inputs; ``is_action`` whether it runs programs in walls.
    """
    left: dict[Condition, str] = {}
    if host.clock_library is None:
        left[Condition.TIME] = "the second build begins at another second, no more: libfaketime is not installed"
    if host.processors < 2:
        left[Condition.CPUS] = "there is one processor only"
    if not is_action:
        left[Condition.ORDER] = "it is made without reading folders"
    elif host.tmpfs is None:
        left[Condition.ORDER] = "there is no tmpfs to run programs from"
    elif (room := room_for(host.tmpfs)) < (need := 4 * needs_bytes + _ROOM):
        left[Condition.ORDER] = f"{host.tmpfs} and memory have room for {room >> 20} MiB, {need >> 20} MiB may be needed"
    if backend is Backend.NONE:
        if is_action:
            left[Condition.PATH] = "without walls every build has a path of its own anyway"
        left[Condition.USER] = "there are no walls to be somebody else in"
        left[Condition.HOST] = "there are no walls to be elsewhere in"
    varied = frozenset(condition for condition in wanted if condition not in left)
    return Variation(varied=varied, left={one: left[one] for one in Condition if one in wanted and one in left}, host=host)


def changed(
    conditions: Iterable[Condition], host: Host, *, scratch: Path | None = None, clock_at: float | None = None
) -> Surroundings:
    """Return the surroundings in which ``conditions`` are others than usual.

    ``scratch`` is the folder on a tmpfs that :attr:`Condition.ORDER` needs. With ``clock_at`` the clock says that when the build
    begins, plus the change of :attr:`Condition.TIME`, if this machine has a library for it.
    """
    chosen = frozenset(conditions)
    is_late = Condition.TIME in chosen
    ahead = OTHER_DATE_S if is_late else 0.0
    env: dict[str, str] = {}
    if Condition.LOCALE in chosen:
        env |= OTHER_LOCALE
    if Condition.ENV in chosen:
        env |= NOISE
    return Surroundings(
        folder=OTHER_FOLDER if Condition.PATH in chosen else USUAL.folder,
        temporary=OTHER_TEMPORARY if Condition.PATH in chosen else USUAL.temporary,
        user_id=OTHER_USER if Condition.USER in chosen else USUAL.user_id,
        group_id=OTHER_GROUP if Condition.USER in chosen else USUAL.group_id,
        host_name=OTHER_HOST if Condition.HOST in chosen else USUAL.host_name,
        env=env,
        umask=OTHER_UMASK if Condition.UMASK in chosen else 0o022,
        processors=1 if Condition.CPUS in chosen else None,
        clock_library=host.clock_library if is_late or clock_at is not None else None,
        clock_shift_s=ahead,
        clock_at=None if clock_at is None else clock_at + ahead,
        scratch=scratch if Condition.ORDER in chosen else None,
    )


def room_for(folder: Path) -> int:
    """Return how many bytes may be put into a tmpfs: what it and half of the free memory have room for."""
    stat = os.statvfs(folder)
    free = stat.f_bavail * stat.f_frsize
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return min(free, int(line.split()[1]) * 1024 // 2)
    return free


def _clock_library() -> Path | None:
    for folder in sorted(Path("/usr/lib").glob("*-linux-gnu*")):
        if (folder / _LIBRARY).exists():
            return (folder / _LIBRARY).resolve()
    return None


def _tmpfs() -> Path | None:
    """Return the largest place for temporary files that is a tmpfs and lets programs be run."""
    candidates = {"/dev/shm", "/tmp", "/run/shm", os.environ.get("TMPDIR", ""), os.environ.get("XDG_RUNTIME_DIR", "")}  # noqa: S108
    found: list[tuple[int, Path]] = []
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields, _, rest = line.partition(" - ")
        place, options = fields.split()[4], fields.split()[5].split(",")
        if place in candidates and rest.startswith("tmpfs ") and "noexec" not in options and "ro" not in options:
            path = Path(place)
            if os.access(path, os.W_OK | os.X_OK):
                found.append((room_for(path), path))
    return max(found)[1] if found else None
