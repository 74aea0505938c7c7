"""Look at a host for the host check and for telling which container runtime it has. Reads only.

Must not know: what follows from what is found.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.core.errors import BundleError
from kata_bundle.node.cri_api.values import CriError, cri_socket
from kata_bundle.node.hostcheck.check import HostFacts
from kata_bundle.node.hostcheck.kernel import read_kernel
from kata_bundle.node.hostcheck.programs import MKFS_EROFS, find_program_file
from kata_bundle.node.hostcheck.space import SpaceFacts, read_space
from kata_bundle.node.hostedit import HostDirectory
from kata_bundle.node.runtime import UNITS_TO_ASK, Evidence, Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kata_bundle.node.config.model import NodeConfig
    from kata_bundle.node.hostedit import HostView
    from kata_bundle.node.systemd import Systemd

__all__ = ["gather_evidence", "gather_facts", "version_from_cri"]

_PROGRAM_DIRECTORIES = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin")


def gather_evidence(
    config: NodeConfig,
    open_systemd: Callable[[], Systemd],
    versions: Sequence[Callable[[], str | None]],
    *,
    warn: Callable[[str], None],
) -> Evidence:
    """Return what tells which container runtime the node has.

    The version is the configured one, else the first that one of ``versions`` gives; an error of one of them leads to the next.
    A systemd that cannot be asked is recorded as such, never as "nothing is active" (D33).
    """
    version = config.runtime_version
    for ask in versions:
        if version is not None:
            break
        try:
            version = ask()
        except BundleError as error:
            warn(f"the container runtime's version: {error}")
    active: frozenset[str] | None = None
    try:
        systemd = open_systemd()
        active = frozenset(unit for unit in UNITS_TO_ASK if systemd.unit_state(unit).is_active)
    except BundleError as error:
        warn(str(error))
    return Evidence(version=version, active_units=active, declared=config.distribution)


def version_from_cri(root: str) -> str | None:
    """Return the version string that a runtime below ``root`` would report to Kubernetes, ``None`` when none answers."""
    from kata_bundle.node.cri_api.client import CriClient

    for path in dict.fromkeys(cri_socket(runtime) for runtime in Runtime):
        place = os.path.join(root, path.lstrip("/"))
        if not os.path.exists(place):
            continue
        try:
            found = CriClient(place).version()
        except CriError:
            continue
        return f"{found.runtime_name}://{found.runtime_version}"
    return None


def gather_facts(
    config: NodeConfig,
    evidence: Evidence,
    *,
    root: str = "/",
    host: HostView | None = None,
    program_directories: Sequence[str] | None = None,
    boot: str = "/boot",
    needed_bytes: int = 0,
    missing_archives: tuple[tuple[str, str], ...] = (),
    shims_without_row: tuple[str, ...] = (),
    kubelet_warning: str | None = None,
) -> HostFacts:
    """Return the facts of the host whose files are below ``root``.

    In a pod, pass ``HOST_PROGRAM_DIRECTORIES`` as ``program_directories``: there the host's programs are mounted apart. The
    kernel's own files are always this machine's.
    """
    directories = program_directories
    if directories is None:
        directories = [os.path.join(root, directory.lstrip("/")) for directory in _PROGRAM_DIRECTORIES]
    return HostFacts(
        evidence=evidence,
        host=HostDirectory(root) if host is None else host,
        kernel=read_kernel(boot=boot),
        mkfs_erofs=find_program_file(MKFS_EROFS, directories),
        space=_space(os.path.join(root, config.dest.lstrip("/"))),
        needed_bytes=needed_bytes,
        missing_archives=missing_archives,
        shims_without_row=shims_without_row,
        kubelet_warning=kubelet_warning,
    )


def _space(dest: str) -> SpaceFacts | None:
    try:
        return read_space(dest)
    except OSError:
        return None
