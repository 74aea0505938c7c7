"""A whole install from a source and a configuration: payload, Kata configuration, runtime configuration, snapshotters.

The one place where the node's rooms meet; each of them stays a pure function of values. Must not know how anything is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import field, record, replace
from kata_bundle.core.relpath import RelPath
from kata_bundle.node.cri.compose import cri_request, plan_cri, traces
from kata_bundle.node.cri.layouts import host_config_dir
from kata_bundle.node.cri.model import CriPlan
from kata_bundle.node.desired import Desired
from kata_bundle.node.kata.generate import kata_configuration
from kata_bundle.node.overlay import Overlay, OverlayFile
from kata_bundle.node.runtime import Evidence, check_declared, detect_runtime
from kata_bundle.node.selection import extra_components, installable
from kata_bundle.node.snapshotters import NYDUS, snapshotters_used
from kata_bundle.node.snapshotters.nydus import (
    BINARIES,
    FOLDER,
    after_containerd,
    after_files,
    host_edits,
    nydus_paths,
    uninstall_calls,
)
from kata_bundle.node.source import select

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kata_bundle.core.arch import Arch
    from kata_bundle.core.fields import JsonValue
    from kata_bundle.node.config.model import NodeConfig
    from kata_bundle.node.config.resolve import Effective
    from kata_bundle.node.cri.model import CriRequest, UnitCall
    from kata_bundle.node.hostedit import HostEdit, HostView
    from kata_bundle.node.overlay import Payload
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.shimfacts import Facts
    from kata_bundle.node.source import Source

__all__ = ["EXTRA_FILES", "Extras", "compose", "runtime_of"]

_NYDUS_TEMPLATES: Final = ("config-guest-pulling.toml", "nydus-snapshotter.service")
_VERSIONS: Final = "versions.yaml"
_NYDUS_FOLDER: Final = "nydus-snapshotter"
EXTRA_FILES: Final = (_VERSIONS, *(f"{_NYDUS_FOLDER}/{name}" for name in (*BINARIES, *_NYDUS_TEMPLATES)))
"""What :meth:`Extras.read` looks for."""


@record
class Extras:
    """What an installer image carries beside the components: the version record and the nydus snapshotter's files."""

    versions: bytes | None = None
    nydus: dict[str, bytes] = field(default_factory=dict)
    """File name → content, as in the image's folder ``nydus-snapshotter``."""

    @classmethod
    def read(cls, view: HostView, folder: str) -> Extras:
        """Return what ``folder`` of ``view`` holds."""
        nydus = {}
        for name in (*BINARIES, *_NYDUS_TEMPLATES):
            data = view.read(f"{folder}/{_NYDUS_FOLDER}/{name}")
            if data is not None:
                nydus[name] = data
        return cls(versions=view.read(f"{folder}/{_VERSIONS}"), nydus=nydus)


def runtime_of(config: NodeConfig, active_units: frozenset[str] | None) -> Runtime:
    """Return the node's container runtime from the configuration and the units that are active (``None``: nobody could be asked).

    Raises :class:`RefusedError` when it cannot be told, is not supported, or is none of the declared distribution's.
    """
    runtime = detect_runtime(Evidence(version=config.runtime_version, active_units=active_units, declared=config.distribution))
    check_declared(config.distribution, runtime.value)
    return runtime


def compose(
    source: Source,
    arch: Arch,
    effective: Effective,
    facts: Facts,
    *,
    runtime: Runtime | None,
    extras: Extras | None = None,
    config_dir: str | None = None,
) -> Desired:
    """Return the install that ``effective`` asks for, from the components of ``source``.

    With ``runtime`` ``None`` the container runtime's configuration is left alone. ``config_dir`` is where the runtime's own
    directory is seen: in a pod it is mounted elsewhere than on the host, which is the default. Shims without components on
    ``arch`` are left out with a note. Raises :class:`UsageError` for a shim that the source has never heard of,
    :class:`HostError` for a custom runtime without a base and for a snapshotter whose files are missing, and when the plan is
    made what the rooms raise.
    """
    extras = extras or Extras()
    config, notes = effective.config, [*effective.warnings]
    known = source.known_shims()
    shims = [shim for shim in config.payload_shims if shim in known]
    notes += [f'shim "{shim}" is not in this source and is left out' for shim in config.payload_shims if shim not in known]
    available = source.components(arch)
    selection = select(source, arch, shims, extra=extra_components(config, available))
    missing = {*selection.without_row, *(shim for shim in config.payload_shims if shim not in known)}
    config, left_out = installable(config, missing)
    notes += left_out
    nydus = runtime is not None and NYDUS in snapshotters_used(runtime.value, config.snapshotter_setup)
    if nydus and any(name not in extras.nydus for name in BINARIES):
        msg = f"the source has no {' and '.join(n for n in BINARIES if n not in extras.nydus)} for the nydus snapshotter"
        raise HostError(msg, hint="install from an installer image's folder, or leave nydus out of the snapshotters to set up")

    def overlay(payload: Payload) -> Overlay:
        kata = kata_configuration(
            payload, config, facts, runtime="" if runtime is None else runtime.value, versions=extras.versions
        )
        files = dict(kata.overlay.files)
        if nydus and runtime is not None:
            files |= _nydus_files(config, runtime, extras)
        return replace(kata.overlay, files=files, notes=(*notes, *kata.notes))

    def request_for(runtime: Runtime) -> CriRequest:
        if config.runtime_version is None:
            msg = f"the version of {runtime} is not known"
            hint = "set CONTAINER_RUNTIME_VERSION, or container_runtime_version in the file, such as containerd://2.1.9"
            raise HostError(msg, hint=hint)
        return cri_request(
            config,
            facts,
            runtime=runtime,
            version=config.runtime_version,
            config_dir=config_dir or host_config_dir(runtime),
        )

    def planned(host: HostView) -> CriPlan:
        return CriPlan(edits=()) if runtime is None else plan_cri(host, request_for(runtime))

    def left_behind(host: HostView) -> Mapping[str, bytes | None]:
        return {} if runtime is None else traces(host, request_for(runtime))

    def edits(host: HostView) -> Sequence[HostEdit]:
        if runtime is None:
            return ()
        plan = planned(host)
        unit = _nydus_unit(config, runtime, extras) if nydus else ()
        if plan.restart_unit is None:
            # The runtime picks changes up by itself: nothing has to be restarted for them.
            return (*unit, *(replace(edit, loaded_by=None) for edit in plan.edits))
        return (*unit, *plan.edits)

    calls: list[UnitCall] = []
    stopping: tuple[UnitCall, ...] = ()
    stopped: tuple[UnitCall, ...] = ()
    if nydus:
        paths = nydus_paths(config.dest, config.suffix)
        calls += [*after_files(paths), *after_containerd(paths)]
        stopping, stopped = uninstall_calls(paths, has_unit=True)
    program = None if runtime is None else "containerd" if runtime.is_containerd else "crio"
    restarts = {}
    if runtime is not None and program is not None and not runtime.is_k0s:
        restarts = {program: {"verb": "restart", "unit": runtime.unit}}
    return Desired(
        source=source,
        selection=selection,
        dest=config.dest,
        suffix=config.suffix,
        overlay=overlay,
        edits=edits,
        traces=left_behind,
        notes=lambda host: planned(host).warnings,
        decisions=lambda host: dict(planned(host).decisions),
        services=_plain(calls),
        stopping=_plain(stopping),
        stopped=_plain(stopped),
        restarts=restarts,
    )


def _plain(calls: Iterable[UnitCall]) -> tuple[dict[str, JsonValue], ...]:
    return tuple({"verb": call.verb, "unit": call.unit, **({"may_fail": True} if call.may_fail else {})} for call in calls)


def _nydus_files(config: NodeConfig, runtime: Runtime, extras: Extras) -> dict[RelPath, OverlayFile]:
    paths = nydus_paths(config.dest, config.suffix)
    files = {RelPath(f"{FOLDER}/{name}"): OverlayFile(data=extras.nydus[name], mode=0o755) for name in BINARIES}
    for edit in _nydus_edits(config, runtime, extras):
        if edit.path.startswith(f"{paths.folder}/") and edit.after is not None:
            files[RelPath(edit.path.removeprefix(f"{config.dest}/"))] = OverlayFile(data=edit.after)
    return files


def _nydus_unit(config: NodeConfig, runtime: Runtime, extras: Extras) -> tuple[HostEdit, ...]:
    # Its configuration and programs are part of the generation; what is left is the unit file.
    folder = nydus_paths(config.dest, config.suffix).folder
    return tuple(edit for edit in _nydus_edits(config, runtime, extras) if not edit.path.startswith(f"{folder}/"))


def _nydus_edits(config: NodeConfig, runtime: Runtime, extras: Extras) -> tuple[HostEdit, ...]:
    templates = [extras.nydus.get(name) for name in _NYDUS_TEMPLATES]
    config_template, unit_template = (None if t is None else t.decode("utf-8", "replace") for t in templates)
    return host_edits(
        nydus_paths(config.dest, config.suffix), runtime.unit, config_template=config_template, unit_template=unit_template
    )
