"""Plan CRI-O's configuration (installer specification §18, D6, D17).

CRI-O reads every file of its drop-in directory in name order, and an array in a later file replaces an earlier one. Must not
write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.node.cri.imports import parse_config
from kata_bundle.node.cri.model import CriPlan, CriRequest, RuntimeHandler
from kata_bundle.node.hostedit import HostEdit
from kata_bundle.node.tomltext import render_document

if TYPE_CHECKING:
    from kata_bundle.node.hostedit import HostView
    from kata_bundle.node.tomltext import TomlValue

__all__ = ["CONF_DIR", "debug_file", "is_present", "plan_crio", "plan_removal", "runtime_file", "runtime_table"]

CONF_DIR = "/etc/crio/crio.conf.d"
_MAIN = "/etc/crio/crio.conf"
_SHARED_DEBUG = f"{CONF_DIR}/100-debug"
_STORAGE_OPTION = "overlay.skip_mount_home=true"
_COMMENT = "Made by kata-bundle; replaced at every install. Put settings of your own into a file of your own."
_GUEST_PULL = "guest-pull"


def _name(base: str, suffix: str | None) -> str:
    return f"{CONF_DIR}/{base}-{suffix}" if suffix else f"{CONF_DIR}/{base}"


def runtime_file(suffix: str | None) -> str:
    """Return the file that holds the handlers."""
    return _name("99-kata-deploy", suffix)


def debug_file(suffix: str | None) -> str:
    """Return the file that raises CRI-O's log level; there only while debugging is asked for."""
    return _name("100-kata-deploy-debug", suffix)


def runtime_table(handler: RuntimeHandler) -> dict[str, TomlValue]:
    """Return what CRI-O reads for one handler."""
    table: dict[str, TomlValue] = {
        "runtime_path": handler.runtime_path,
        "runtime_type": "vm",
        "runtime_root": "/run/vc",
        "runtime_config_path": handler.config_path,
        "privileged_without_host_devices": True,
    }
    if handler.pull_type == _GUEST_PULL:
        table["runtime_pull_image"] = True
    return table


def debug_values() -> dict[str, TomlValue]:
    """Return the content of the debug file."""
    return {"crio": {"runtime": {"log_level": "debug"}}}


def plan_crio(host: HostView, request: CriRequest) -> CriPlan:
    """Return the edits that make CRI-O offer every handler of ``request``; a suffix is fine (D6), snapshotters are not for it."""
    document: dict[str, TomlValue] = {
        "crio": {
            "storage_option": _storage_options(host, request.suffix),
            "runtime": {"runtimes": {handler.name: runtime_table(handler) for handler in request.handlers}},
        }
    }
    edits = [
        HostEdit(
            path=runtime_file(request.suffix),
            after=render_document(document, comment=_COMMENT).encode(),
            reason=f"{len(request.handlers)} runtime handlers for CRI-O",
            loaded_by="crio",
        )
    ]
    if request.debug:
        content = render_document(debug_values(), comment=_COMMENT).encode()
        edits.append(HostEdit(path=debug_file(request.suffix), after=content, reason="debug logging of CRI-O", loaded_by="crio"))
    edits += _removed(host, *([] if request.debug else [debug_file(request.suffix)]), *_old_debug_file(host, request.suffix))
    asked = [name for name in request.snapshotters if name]
    warnings = (f"CRI-O has no snapshotters: {', '.join(asked)} skipped",) if asked else ()
    return CriPlan(
        edits=tuple(edits),
        decisions={"runtime": "crio", "version": request.version, "output_file": runtime_file(request.suffix)},
        warnings=warnings,
        watched=(runtime_file(request.suffix), debug_file(request.suffix)),
        restart_unit=request.runtime.unit,
    )


def plan_removal(host: HostView, request: CriRequest) -> CriPlan:
    """Return the edits that take the install out when no receipt says what was done; the debug file always."""
    edits = _removed(host, *_old_debug_file(host, request.suffix), debug_file(request.suffix), runtime_file(request.suffix))
    return CriPlan(edits=tuple(edits), restart_unit=request.runtime.unit)


def is_present(host: HostView, request: CriRequest) -> bool:
    """Return whether the install's configuration is there."""
    return host.read(runtime_file(request.suffix)) is not None


def _removed(host: HostView, *paths: str) -> list[HostEdit]:
    return [
        HostEdit(path=path, after=None, reason="a file of this install, no longer wanted", loaded_by="crio")
        for path in paths
        if host.read(path) is not None
    ]


def _storage_options(host: HostView, suffix: str | None) -> list[TomlValue]:
    """Return the administrator's storage options with ours added, since our array replaces theirs."""
    options: list[TomlValue] = []
    ours = runtime_file(suffix).rpartition("/")[2]
    earlier = [f"{CONF_DIR}/{name}" for name in host.names(CONF_DIR) if name < ours and "kata-deploy" not in name]
    for path in (_MAIN, *earlier):
        crio: Any = (parse_config(host.read(path)) or {}).get("crio")
        found = crio.get("storage_option") if isinstance(crio, dict) else None
        if isinstance(found, list):
            options = [item for item in found if isinstance(item, str)]
    return options if _STORAGE_OPTION in options else [*options, _STORAGE_OPTION]


def _old_debug_file(host: HostView, suffix: str | None) -> list[str]:
    """Return the debug file that the reference shared with everybody, if it says nothing but what the reference wrote.

    Only where the reference has been, for nobody else: its runtime file is there, does not come from us, and is the only one.
    """
    reference = host.read(runtime_file(suffix))
    debug = host.read(_SHARED_DEBUG)
    others = [name for name in host.names(CONF_DIR) if name.startswith("99-kata-deploy")]
    if reference is None or debug is None or _COMMENT.encode() in reference or len(others) > 1:
        return []
    return [_SHARED_DEBUG] if parse_config(debug) in ({}, debug_values()) else []
