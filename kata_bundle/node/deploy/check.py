"""What every install does first: look at host and payload, and refuse with all problems at once (installer specification §20).

Reads only. Must not know: what follows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.node.hostcheck import check_host
from kata_bundle.node.hostcheck.gather import gather_facts
from kata_bundle.node.hostedit import HostDirectory
from kata_bundle.node.selection import extra_components
from kata_bundle.node.source import open_source, select
from kata_bundle.node.state import load_state

if TYPE_CHECKING:
    from kata_bundle.node.deploy.session import Session
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.source import Source

__all__ = ["FETCHED_FOLDER", "check", "payload_source"]

FETCHED_FOLDER: Final = "/tmp/kata-bundle-fetched"  # noqa: S108 - the pod's own scratch volume
"""Where fetched layers wait; a container that starts again goes on there."""
_REQUESTS: Final = 2


def payload_source(session: Session) -> Source:
    """Return the payload to install from: a folder, or a bundle in a registry, of which nothing but documents is fetched yet.

    Raises :class:`HostError` when it is none, :class:`UsageError` for a name in a registry without a digest (two nodes might get
    two things), :class:`~kata_bundle.oci.registry.RegistryError` when the registry cannot be asked.
    """
    from kata_bundle.oci.registry import RegistryClient, RegistrySettings, is_reference, open_remote_bundle, parse_reference

    around = session.around
    if not is_reference(around.payload):
        return open_source(Path(around.payload))
    from kata_bundle.node.remote import RegistrySource

    reference = parse_reference(around.payload)
    if reference.digest is None:
        msg = f"{reference} names no digest"
        raise UsageError(msg, hint="name the bundle as registry/repository@sha256:…, so that every node gets the same")
    session.enter("resolve")
    settings = RegistrySettings(environment=around.environment)
    client = session.resources.enter_context(RegistryClient(settings, progress=session, pause=session.pause))
    bundle = open_remote_bundle(client.repository(reference), arches={session.arch})
    return RegistrySource(bundle, Path(around.at(FETCHED_FOLDER)), jobs=_REQUESTS, progress=session)


def check(session: Session, source: Source) -> Runtime:
    """Return the node's container runtime once nothing keeps an install from working.

    Raises :class:`~kata_bundle.node.hostcheck.HostCheckError` with every problem; warnings are told.
    """
    session.enter("host-check")
    config, evidence = session.config, session.evidence or session.gather()
    config = session.config
    arch = session.arch
    known = source.known_shims()
    shims = [shim for shim in config.payload_shims if shim in known]
    selection = select(source, arch, shims, extra=extra_components(config, source.components(arch)))
    missing: list[tuple[str, str]] = []
    needed_bytes = 0
    is_fresh = load_state(session.site).active is None
    for component in selection.components:
        try:
            ref = source.layer(arch, component)
        except HostError as error:
            missing.append((component, str(error)))
        else:
            # Packed sizes are the least it will take; what is installed already is mostly linked.
            needed_bytes += ref.packed_size_bytes if is_fresh else 0
    facts = gather_facts(
        config,
        evidence,
        root=session.around.root,
        host=HostDirectory(session.around.root),
        program_directories=[session.around.at(directory) for directory in session.around.program_directories],
        boot=session.around.at("/boot"),
        needed_bytes=needed_bytes,
        missing_archives=tuple((component, path) for component, path in missing),
        shims_without_row=tuple(
            dict.fromkeys((*selection.without_row, *(shim for shim in config.payload_shims if shim not in known)))
        ),
        kubelet_warning=_kubelet_warning(session),
    )
    report = check_host(config, facts, session.cri_request)
    for warning in report.warnings:
        session.warn(warning)
    report.raise_if_any()
    if report.runtime is None:
        msg = "the node's container runtime could not be told"
        raise HostError(msg)
    session.info(f"container runtime {report.runtime.value} ({report.version}), nothing keeps the install from working")
    return report.runtime


def _kubelet_warning(session: Session) -> str | None:
    config = session.config
    if not session.uses_api or not (config.uses_guest_pull or "erofs" in config.snapshotter_setup):
        return None
    from kata_bundle.node.kube.nodeops import kubelet_timeout_warning

    with session.api() as api:
        return kubelet_timeout_warning(api, session.node)
