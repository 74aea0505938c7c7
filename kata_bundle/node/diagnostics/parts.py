"""What goes into an archive for a bug report: each part with its name, where it is from, and how to read it when its turn comes.

Listing looks at names only. Must not know: bounds, secrets, archives.
"""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, Final

from kata_bundle.core import canonical
from kata_bundle.core.errors import HostError
from kata_bundle.core.record import record
from kata_bundle.node.cri_api.values import CriError, cri_socket, our_sandboxes
from kata_bundle.node.handlers import handler
from kata_bundle.node.machine import Machine
from kata_bundle.node.runtime import UNITS_TO_ASK, Runtime
from kata_bundle.node.site import STATE, Site, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kata_bundle.node.config.resolve import Effective
    from kata_bundle.node.diagnostics.address import AgentAddress
    from kata_bundle.node.diagnostics.agent import LogType
    from kata_bundle.node.systemd import Systemd

__all__ = ["Guest", "Part", "Subject", "list_parts"]

_RECORDS: Final = ("origin.json", "journal.json", "undo.json", "paused.json")
_SHIM_FOLDER: Final = "share/defaults/kata-containers"
_RUNTIME_FOLDERS: Final = (
    "/etc/containerd", "/etc/crio", "/etc/k0s", "/var/lib/rancher/k3s/agent/etc/containerd",
    "/var/lib/rancher/rke2/agent/etc/containerd", "/var/snap/microk8s/current/args",
)  # fmt: skip
_RUNTIME_SUBFOLDERS: Final = ("", "conf.d", "config.toml.d", "config-v3.toml.d", "containerd.d", "crio.conf.d")
_RUNTIME_FILES: Final = (".toml", ".tmpl", ".conf", ".bak", ".kata-deploy-created")
_UNIT_FOLDER: Final = "/etc/systemd/system"
_HOST_FILES: Final = ("/etc/os-release", "/proc/version", "/proc/mounts")
_ASK_S: Final = 5.0
_DEPTH: Final = 6


@record
class Part:
    """One file of the archive. ``read`` may raise whatever reading raises, and may take long."""

    name: str
    source: str
    read: Callable[[], bytes]


@record
class Guest:
    """A container inside a guest, and the types of text to ask its agent for."""

    address: AgentAddress
    container: str
    kinds: tuple[LogType, ...]


@record
class Subject:
    """What is looked at: one install on the host below ``site.root``, its configuration if known, and guests."""

    site: Site
    effective: Callable[[], Effective]
    open_systemd: Callable[[], Systemd]
    guests: tuple[Guest, ...] = ()
    limit_bytes: int = 4 << 20
    """Most bytes read of one file; one more is read to tell that there are more."""


def list_parts(subject: Subject) -> Iterator[Part]:
    """Yield every part, the most telling first: where bounds are met, what follows is left out."""
    site = subject.site
    yield Part(name="install/status.json", source="what is installed, and what drifted", read=lambda: _status(site))
    yield from (_file(subject, f"install/{name}", f"{site.dest}/{STATE}/{name}") for name in _there(site.state, _RECORDS))
    for number in reversed(site.numbers(site.receipts, ".json")):
        yield _file(subject, f"install/receipts/{number}.json", f"{site.dest}/{STATE}/receipts/{number}.json")
    yield Part(name="plans/uninstall.json", source="what an uninstall would do now", read=lambda: _uninstall_plan(site))
    yield Part(name="node/config.json", source="the effective configuration", read=lambda: _config(subject))
    yield Part(name="node/doctor.json", source="the host check", read=lambda: _doctor(subject))
    yield Part(name="node/units.json", source="states of the units that matter", read=lambda: _units(subject))
    yield Part(name="node/cri.json", source="what the container runtime serves", read=lambda: _cri(subject))
    for guest in subject.guests:
        for kind in guest.kinds:
            yield Part(
                name=f"guest/{_plain(guest.container)}/{kind.name}.txt",
                source=f"{kind.about} ({guest.address})",
                read=_guest_reader(subject, guest, kind),
            )
    for path in _HOST_FILES:
        if os.path.exists(resolve(site.root, path, follow=True)):
            yield _file(subject, f"host{path}", path)
    for folder in _RUNTIME_FOLDERS:
        for below in _RUNTIME_SUBFOLDERS:
            yield from _files_of(subject, posixpath.join(folder, below) if below else folder, _RUNTIME_FILES)
    yield from _files_of(subject, f"{site.dest}/containerd/config.d", (".toml",))
    yield from _files_of(subject, _UNIT_FOLDER, (".service",), start="nydus-for-kata-tee")
    yield from _tree(subject, f"{site.dest}/{_SHIM_FOLDER}", (".toml",), _DEPTH)


def _files_of(subject: Subject, folder: str, endings: Sequence[str], start: str = "") -> Iterator[Part]:
    is_crio = folder.endswith("/crio.conf.d")
    for name, mode in _entries(subject.site.root, folder):
        if stat.S_ISDIR(mode) or not name.startswith(start) or not (is_crio or name.endswith(tuple(endings))):
            continue
        yield _file(subject, f"host{folder}/{_plain(name)}", f"{folder}/{name}")


def _tree(subject: Subject, folder: str, endings: Sequence[str], depth: int) -> Iterator[Part]:
    """Yield the files below ``folder``; a link to a file is told by its target elsewhere in the tree, so it is left out."""
    for name, mode in _entries(subject.site.root, folder):
        path = f"{folder}/{name}"
        if stat.S_ISDIR(mode) and depth:
            yield from _tree(subject, path, endings, depth - 1)
        elif stat.S_ISREG(mode) and name.endswith(tuple(endings)):
            yield _file(subject, f"host{folder}/{_plain(name)}", path)


def _entries(root: str, folder: str) -> Iterator[tuple[str, int]]:
    try:
        place = resolve(root, folder, follow=True)
        names = sorted(os.listdir(place))
    except (OSError, HostError):
        return
    for name in names:
        try:
            yield name, os.lstat(os.path.join(place, name)).st_mode
        except OSError:
            continue


def _there(folder: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if os.path.lexists(os.path.join(folder, name))]


def _plain(name: str) -> str:
    """Return a name as the archive may have it: printable, and one component."""
    return "".join(c if c.isprintable() and c != "/" else "_" for c in name).strip(".") or "_"


def _file(subject: Subject, name: str, path: str) -> Part:
    def read() -> bytes:
        place = resolve(subject.site.root, path, follow=True)
        # A FIFO or a device somebody put there must not be waited for.
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        with open(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                msg = f"{path} is no regular file"
                raise HostError(msg)
            return stream.read(subject.limit_bytes + 1)

    return Part(name=name, source=path, read=read)


def _json(value: object) -> bytes:
    return canonical.dumps_pretty(value).encode()


def _status(site: Site) -> bytes:
    from kata_bundle.node.status import status

    return _json(status(Machine(site)).to_dict())


def _uninstall_plan(site: Site) -> bytes:
    from kata_bundle.node.uninstall import plan_uninstall

    return _json(plan_uninstall(Machine(site)).to_dict())


def _config(subject: Subject) -> bytes:
    from kata_bundle.node.config.show import config_document

    return _json(config_document(subject.effective()))


def _doctor(subject: Subject) -> bytes:
    from kata_bundle.node.hostcheck.doctor import examine

    warnings: list[str] = []
    report = examine(subject.effective().config, root=subject.site.root, warn=warnings.append)
    return _json({**report.to_dict(), "warnings": [*warnings, *report.warnings]})


def _units(subject: Subject) -> bytes:
    systemd = subject.open_systemd()
    names = ["containerd.service", "crio.service", "kubelet.service", *UNITS_TO_ASK]
    names += [name for name, _ in _entries(subject.site.root, _UNIT_FOLDER) if name.startswith("nydus-for-kata-tee")]
    found = []
    for name in dict.fromkeys(names):
        state = systemd.unit_state(name)
        if state.load_state != "not-found":
            found.append({
                "unit": state.name, "load_state": state.load_state, "active_state": state.active_state,
                "sub_state": state.sub_state, "active_since_us": state.active_since_us,
            })  # fmt: skip
    return _json({"units": found})


def _cri(subject: Subject) -> bytes:
    from kata_bundle.node.cri_api.client import CriClient
    from kata_bundle.node.state import load_state

    ours = {handler(shim, receipt.suffix) for receipt in load_state(subject.site).receipts.values() for shim in receipt.shims}
    found: list[object] = []
    for path in dict.fromkeys(cri_socket(runtime) for runtime in Runtime):
        place = os.path.join(subject.site.root, path.lstrip("/"))
        if not os.path.exists(place):
            continue
        client = CriClient(place, timeout_s=_ASK_S)
        try:
            version, status, sandboxes = client.version(), client.status(), client.sandboxes()
        except CriError as error:
            found.append({"socket": path, "error": str(error)})
            continue
        found.append({
            "socket": path,
            "runtime": f"{version.runtime_name} {version.runtime_version}",
            "conditions": [
                {"kind": c.kind, "is_true": c.is_true, "reason": c.reason, "message": c.message} for c in status.conditions
            ],
            "handlers": None if status.handlers is None else list(status.handlers),
            "our_sandboxes": [
                {"id": s.sandbox_id, "handler": s.handler, "is_ready": s.is_ready} for s in our_sandboxes(sandboxes, ours)
            ],
        })  # fmt: skip
    return _json({"sockets": found})


def _guest_reader(subject: Subject, guest: Guest, kind: LogType) -> Callable[[], bytes]:
    def read() -> bytes:
        from kata_bundle.node.diagnostics.agent import diagnostic_data

        return diagnostic_data(guest.address, kind, guest.container, root=subject.site.root, timeout_s=_ASK_S).encode()

    return read
