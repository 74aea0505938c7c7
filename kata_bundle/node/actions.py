"""The actions of the ``kata-deploy`` program and what every one checks first (installer specification §1.1, §1.2, D30).

Pure but for reading one file. Must not know: what an action does.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "MACHINE_ID_FILE",
    "Action",
    "Invocation",
    "LogLevel",
    "check_machine",
    "check_root_user",
    "help_text",
    "parse_arguments",
]

MACHINE_ID_FILE = "/host-machine-id"
"""Where a pod sees the host's ``/etc/machine-id``."""


class Action(StrEnum):
    """What the program can be told to do."""

    INSTALL = "install"
    CLEANUP = "cleanup"
    RESET = "reset"
    STAGE_HOST_CHECK = "install-stage-host-check"
    STAGE_ARTIFACTS = "install-stage-artifacts"
    STAGE_CRI = "install-stage-cri"
    STAGE_REVERT_CRI = "cleanup-stage-revert-cri"
    STAGE_REMOVE_ARTIFACTS = "cleanup-stage-remove-artifacts"
    POST_INSTALL_WAIT = "internal-post-install-wait"

    @property
    def is_stage(self) -> bool:
        """Whether it is one stage of job mode: such a process holds no API credentials."""
        return "-stage-" in self.value

    @property
    def is_hidden(self) -> bool:
        """Whether only the program itself asks for it."""
        return self is Action.POST_INSTALL_WAIT

    @property
    def needs_lock(self) -> bool:
        """Whether it changes the host, so that the node-wide lock is held (installer specification §1.4)."""
        return self not in {Action.STAGE_HOST_CHECK, Action.POST_INSTALL_WAIT}

    @property
    def summary(self) -> str:
        """One line of help."""
        return _SUMMARIES[self]


_SUMMARIES = {
    Action.INSTALL: "Install on this node and stay until SIGTERM, then clean up.",
    Action.CLEANUP: "Remove what this install put on the node.",
    Action.RESET: "Give up the node's labels and restart the container runtime.",
    Action.STAGE_HOST_CHECK: "Check the host's prerequisites; change nothing.",
    Action.STAGE_ARTIFACTS: "Put the components and snapshotter files in place.",
    Action.STAGE_CRI: "Configure the container runtime, restart it, wait for it.",
    Action.STAGE_REVERT_CRI: "Undo the container runtime's configuration.",
    Action.STAGE_REMOVE_ARTIFACTS: "Remove the install directory's content.",
    Action.POST_INSTALL_WAIT: "Wait for SIGTERM after an install.",
}


class LogLevel(StrEnum):
    """How much is told."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    DEBUG = "debug"
    TRACE = "trace"


@record
class Invocation:
    """A parsed command line. ``action`` is ``None`` when only help is asked for; ``log_level`` when the environment decides."""

    action: Action | None
    log_level: LogLevel | None = None


def parse_arguments(arguments: Sequence[str]) -> Invocation:
    """Return what the command line asks for.

    Raises :class:`UsageError` for anything but one known action and ``--log-level LEVEL`` before or after it.
    """
    action: Action | None = None
    level: LogLevel | None = None
    wants_help = False
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in {"-h", "--help"}:
            wants_help = True
        elif word == "--log-level" or word.startswith("--log-level="):
            level = _level(word.partition("=")[2] if "=" in word else (rest.pop(0) if rest else ""))
        elif word.startswith("-") and len(word) > 1:
            msg = f'unknown option "{word}"'
            raise UsageError(msg, hint="the only options are --log-level LEVEL and --help")
        elif action is not None:
            msg = f'unexpected argument "{word}" after action "{action}"'
            raise UsageError(msg)
        else:
            action = _action(word)
    if wants_help:
        return Invocation(action=None, log_level=level)
    if action is None:
        msg = "no action given"
        raise UsageError(msg, hint=f"one of {', '.join(a for a in Action if not a.is_hidden)}")
    return Invocation(action=action, log_level=level)


def help_text() -> str:
    """Return the help of the program; the internal action is not in it."""
    shown = [action for action in Action if not action.is_hidden]
    width = max(len(action) for action in shown)
    lines = "\n".join(f"  {action:<{width}}  {action.summary}" for action in shown)
    return (
        "Usage: kata-deploy [--log-level LEVEL] ACTION\n\n"
        "Install Kata Containers on this node, configured by environment variables.\n\n"
        f"Actions:\n{lines}\n\n"
        f"Options:\n  --log-level {{{','.join(LogLevel)}}}  [default: debug with DEBUG, else info]\n  -h, --help\n"
    )


def check_root_user(euid: int) -> None:
    """Raise :class:`HostError` unless the effective user is root."""
    if euid != 0:
        msg = f"the effective user is {euid}, and only root can change the host"
        raise HostError(msg, hint="run as root")


def check_machine(action: Action, expected: str | None, *, path: str = MACHINE_ID_FILE) -> None:
    """Raise :class:`HostError` when a stage runs on another machine than the one it was made for (D30).

    ``expected`` is the machine id that the dispatcher passed; without one, and for other actions, nothing is checked.
    """
    if not action.is_stage or not expected or not expected.strip():
        return
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            found = stream.read(4096).strip()
    except OSError as error:
        msg = f"cannot read this machine's id from {path}: {error.strerror}"
        raise HostError(msg, hint=f"mount the host's /etc/machine-id at {path}") from error
    if found != expected.strip():
        msg = f'this machine is "{found}", the work was meant for "{expected.strip()}"; nothing was changed'
        raise HostError(msg, hint="the node was replaced by another of the same name; dispatch again")


def _action(word: str) -> Action:
    try:
        return Action(word)
    except ValueError:
        shown = [action.value for action in Action if not action.is_hidden]
        msg = f'unknown action "{word}"'
        raise UsageError(msg, hint=did_you_mean(word, shown) or f"one of {', '.join(shown)}") from None


def _level(word: str) -> LogLevel:
    try:
        return LogLevel(word)
    except ValueError:
        msg = f'unknown log level "{word}"'
        raise UsageError(msg, hint=f"one of {', '.join(LogLevel)}") from None
