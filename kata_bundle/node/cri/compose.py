"""From a node's configuration to what is asked of its container runtime.

The one place that knows both. Must not know files of the host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.node.cri import containerd, crio, removal
from kata_bundle.node.cri.model import CriPlan, CriRequest, ErofsSettings
from kata_bundle.node.kata.places import runtime_handlers
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.node.config.model import NodeConfig
    from kata_bundle.node.hostedit import HostView
    from kata_bundle.node.shimfacts import Facts

__all__ = ["cri_request", "is_cri_configured", "plan_cri", "plan_cri_removal", "traces"]


def cri_request(
    config: NodeConfig, facts: Facts, *, runtime: Runtime, version: str, config_dir: str = "/etc/containerd"
) -> CriRequest:
    """Return what ``config`` asks of ``runtime``. Raises :class:`RefusedError` when the user's drop-in was not there to read."""
    user = config.containerd_user_drop_in
    if user is not None and user.data is None and runtime.is_containerd:
        msg = f"the containerd drop-in {user.source} does not exist"
        hint = "CONTAINERD_USER_DROP_IN_SOURCE_FILE must name a mounted file"
        raise RefusedError(Refusal.UNREADABLE_CONFIG, msg, hint=hint)
    return CriRequest(
        runtime=runtime,
        version=version,
        dest=config.dest,
        suffix=config.suffix,
        handlers=runtime_handlers(config, facts),
        config_dir=config_dir,
        config_file_name=config.containerd_config_name,
        debug=config.debug,
        snapshotters=config.snapshotter_setup,
        erofs=ErofsSettings(merge_mode=config.erofs_merge_mode, size=config.erofs_size, has_dm_verity=config.erofs_dmverity),
        user_drop_in=None if user is None else user.data,
    )


def plan_cri(host: HostView, request: CriRequest) -> CriPlan:
    """Return the edits for whichever runtime the node has. Raises as the runtime's own planner does."""
    return crio.plan_crio(host, request) if request.runtime is Runtime.CRIO else containerd.plan_containerd(host, request)


def plan_cri_removal(host: HostView, request: CriRequest) -> CriPlan:
    """Return the edits that take the install out where no receipt says what was done."""
    return crio.plan_removal(host, request) if request.runtime is Runtime.CRIO else removal.plan_removal(host, request)


def is_cri_configured(host: HostView, request: CriRequest) -> bool:
    """Return whether the runtime may hold configuration of the install; what cannot be established counts as yes."""
    return crio.is_present(host, request) if request.runtime is Runtime.CRIO else removal.is_present(host, request)


def traces(host: HostView, request: CriRequest) -> Mapping[str, bytes | None]:
    """Return the files that an installer without receipts left or edited, with the content they had without it.

    ``None`` means that there was no such file. Whoever adopts such a node records this as the state before, so that uninstalling
    does not put the other installer's handlers and imports back.
    """
    return {edit.path: edit.after for edit in plan_cri_removal(host, request).edits}
