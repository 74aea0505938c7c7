"""A container's termination message, fetched from the guest and put where Kubernetes reads it (installer specification §31.1).

Needed where guest and host share no file system: what the container wrote never reaches the host by itself. Whoever stops
the container asks before it is gone. Every failure is a warning: a missing message must not keep a container from being stopped.
Must not know: who stops containers.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from kata_bundle.core import canonical
from kata_bundle.core.errors import BundleError, IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.core.record import record
from kata_bundle.node.diagnostics.agent import CALL_TIMEOUT_S, TERMINATION_LOG, diagnostic_data
from kata_bundle.node.site import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.node.diagnostics.address import AgentAddress

__all__ = ["PATH_ANNOTATION", "POLICY_ANNOTATION", "ContainerSpec", "load_container_spec", "message_target", "save_message"]

PATH_ANNOTATION: Final = "io.kubernetes.container.terminationMessagePath"
POLICY_ANNOTATION: Final = "io.kubernetes.container.terminationMessagePolicy"
_SPEC_LIMIT: Final = 16 << 20


@record
class ContainerSpec:
    """What is needed of a container's OCI configuration: annotations, and mounts as destination → source."""

    annotations: dict[str, str]
    mounts: dict[str, str]


def load_container_spec(path: str) -> ContainerSpec:
    """Return what the OCI ``config.json`` at ``path`` says. Raises ``OSError`` or :class:`IntegrityError`."""
    with open(path, "rb") as stream:
        data = stream.read(_SPEC_LIMIT + 1)
    if len(data) > _SPEC_LIMIT:
        msg = f"{path} has more than {_SPEC_LIMIT} bytes"
        raise IntegrityError(msg)
    fields = Fields(canonical.loads(data, what=path), path)
    annotations = fields.text_map("annotations") if fields.optional("annotations") is not None else {}
    mounts: dict[str, str] = {}
    if fields.optional("mounts") is not None:
        for mount in fields.children("mounts"):
            source = mount.optional_text("source")
            if source is not None:
                mounts[os.path.normpath(mount.text("destination"))] = source
    return ContainerSpec(annotations=annotations, mounts=mounts)


def message_target(spec: ContainerSpec, *, shared_fs: str) -> str | None:
    """Return the host file that a termination message belongs into, ``None`` where none has to be fetched.

    That is the source of the mount at the annotated path, when guest and host share nothing (``shared_fs`` is ``none``) and the
    policy is ``File``.
    """
    path = spec.annotations.get(PATH_ANNOTATION, "")
    if shared_fs != "none" or spec.annotations.get(POLICY_ANNOTATION) != "File" or not path:
        return None
    return spec.mounts.get(os.path.normpath(path))


def save_message(
    address: AgentAddress,
    container_id: str,
    target: str,
    *,
    root: str = "/",
    timeout_s: float = CALL_TIMEOUT_S,
    warn: Callable[[str], None],
) -> bool:
    """Fetch the termination message and write it to the existing or new file ``target``; return whether that was done.

    Never raises for what agent or disk do: the reason is told to ``warn``.
    """
    try:
        text = diagnostic_data(address, TERMINATION_LOG, container_id, root=root, timeout_s=timeout_s)
        _write(resolve(root, target, follow=False), text.encode())
    except (BundleError, OSError) as error:
        warn(f"no termination message of container {container_id}: {error}")
        return False
    return True


def _write(path: str, data: bytes) -> None:
    """Write in place: the file is mounted into the container by its inode, and the kubelet reads that."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            msg = f"{path} is no regular file"
            raise IntegrityError(msg)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, data)
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o644)
    finally:
        os.close(descriptor)
