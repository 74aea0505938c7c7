"""Where the program finds what it works with: the host's files, sockets, the payload, the API. One value for tests to replace.

In a pod, directories of the host are mounted where installer specification §28 says. Must not know: what is done with them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.core.record import field, record
from kata_bundle.node.actions import MACHINE_ID_FILE, LogLevel
from kata_bundle.node.cri_api.values import cri_socket
from kata_bundle.node.hostcheck.programs import HOST_PROGRAM_DIRECTORIES
from kata_bundle.node.systemd import open_systemd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from kata_bundle.node.hostservices import Cri
    from kata_bundle.node.kube.client import KubeClient
    from kata_bundle.node.pause import Pause
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.systemd import Systemd

__all__ = ["CONFIG_DIR", "PAYLOAD_FOLDER", "PAYLOAD_VARIABLE", "Around", "Log"]

PAYLOAD_FOLDER: Final = "/opt/kata-artifacts"
"""Where an installer image holds the components, ``shim-components.json`` and the nydus snapshotter's files."""
PAYLOAD_VARIABLE: Final = "KATA_BUNDLE_PAYLOAD"
"""Names another folder, a bundle's folder, or a bundle in a registry by digest."""
CONFIG_DIR: Final = "/etc/containerd"
"""Where a pod sees the container runtime's own directory, wherever the distribution has it on the host."""


class Log(Protocol):
    """Who is told what happens."""

    def say(self, level: LogLevel, message: str) -> None:
        """Tell one line, or nothing when ``level`` is below what was asked for."""


@record
class Around:
    """The surroundings of one process."""

    environment: Mapping[str, str]
    log: Log
    root: str = "/"
    """Directory that stands for the container's root."""
    payload: str = PAYLOAD_FOLDER
    machine_id_file: str = MACHINE_ID_FILE
    program_directories: Sequence[str] = HOST_PROGRAM_DIRECTORIES
    config_dir: str = CONFIG_DIR
    termination_log: str = "/dev/termination-log"
    command: Sequence[str] = field(default=())
    """Absolute program path and arguments that start this program again, without an action."""

    @classmethod
    def of_process(cls, environment: Mapping[str, str], log: Log, command: Sequence[str]) -> Around:
        """Return the surroundings of a process in the installer's pod."""
        payload = environment.get(PAYLOAD_VARIABLE) or PAYLOAD_FOLDER
        return cls(environment=environment, log=log, payload=payload, command=command)

    @property
    def extras(self) -> str:
        """The folder with what is no component: beside the payload, or the image's own where the payload is in a registry."""
        return self.payload if os.path.isdir(self.payload) else self.at(PAYLOAD_FOLDER)

    def at(self, path: str) -> str:
        """Return the real path of ``path``."""
        return os.path.join(self.root, path.lstrip("/"))

    def open_systemd(self) -> Systemd:
        """Return the host's systemd. Raises :class:`~kata_bundle.node.systemd.SystemdUnavailableError`."""
        return open_systemd(self.root)

    def open_cri(self, runtime: Runtime) -> Cri | None:
        """Return the CRI of ``runtime``; ``None`` where the directory of its socket is not mounted: it cannot be asked."""
        from kata_bundle.node.cri_api.client import CriClient

        place = self.at(cri_socket(runtime))
        return CriClient(place) if os.path.isdir(os.path.dirname(place)) else None

    def open_client(self, pause: Pause) -> AbstractContextManager[KubeClient]:
        """Return a client of the cluster's API. Raises :class:`UsageError` or :class:`HostError` when there is none."""
        from kata_bundle.node.kube.access import load_access
        from kata_bundle.node.kube.client import KubeClient

        return KubeClient(load_access(self.environment), pause=pause)
