"""``kata-bundle why``: the reason for a component or a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import (
    App,
    arch_option,
    json_option,
    manifests_option,
    pass_app,
    profile_option,
    source_option,
    store_option,
)

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.why import FileReason, Reason

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle why qemu ovmf --arch all
  kata-bundle why qemu-snp /opt/kata/share/ovmf/AMDSEV.fd --arch x86_64
  kata-bundle why qemu bin/qemu-system-x86_64 --arch x86_64 --json
  kata-bundle why clh virtiofsd"""
)
@click.argument("shim")
@click.argument("target")
@arch_option
@store_option
@manifests_option
@profile_option
@source_option
@json_option
@pass_app
def command(app: App, shim: str, target: str, arches: tuple[Arch, ...]) -> None:
    """Explain whether and what for SHIM needs TARGET, and who else does.

    TARGET is a component, a path (on the node, or below /opt/kata), or a file's name. Files come from what components declare,
    and where the store has a component already, from what it really holds.
    """
    from kata_bundle.plan.why import is_component, why_component

    catalog = app.catalog()
    if is_component(catalog, target):
        reasons = why_component(catalog, shim, target, arches)
        app.emit([reason.to_dict() for reason in reasons], lambda: "\n".join(_component_text(reason) for reason in reasons))
        return
    files = _files(app, catalog, shim, target, arches)
    app.emit([reason.to_dict() for reason in files], lambda: "\n".join(_file_text(reason) for reason in files))


def _files(app: App, catalog: Catalog, shim: str, target: str, arches: tuple[Arch, ...]) -> tuple[FileReason, ...]:
    from kata_bundle.cli.stored import existing_store, stored_trees
    from kata_bundle.plan.why import why_file

    store = existing_store(app)
    wanted = [(arch, name) for arch in arches for name in catalog.component_map.components(shim, arch) or ()]
    trees = stored_trees(catalog, store, wanted, profile=app.profile, given=app.given()) if store is not None and wanted else {}
    return why_file(catalog, shim, target, arches, trees)


def _component_text(reason: Reason) -> str:
    others = f"also needed by {', '.join(reason.also_needed_by)}" if reason.also_needed_by else "no other shim needs it"
    if not reason.listed:
        row = ", ".join(reason.siblings)
        lines = [f'{reason.arch}: "{reason.shim}" does not need "{reason.component}" (its components: {row})']
        lines += [f"  its configuration names {s.path} ({s.key}) all the same" for s in reason.settings]
    else:
        lines = [f'{reason.arch}: "{reason.shim}" needs "{reason.component}": {_MAP} lists it']
        if reason.is_runtime:
            lines.append("  it holds the shim's program and configuration")
        lines += [f"  the configuration names {setting.path} ({setting.key})" for setting in reason.settings]
        if not reason.has_config:
            lines.append(f"  no configuration is made for {reason.arch}, so nothing names its files")
        elif not reason.settings and not reason.is_runtime:
            lines.append(
                "  the configuration names none of its files" + (f"; optional: {reason.optional}" if reason.optional else "")
            )
    return "\n".join([*lines, f"  {others}"])


def _file_text(reason: FileReason) -> str:
    inside = [provider for provider in reason.providers if provider.in_cell]
    outside = [provider for provider in reason.providers if not provider.in_cell]
    if inside:
        names = ", ".join(f'"{provider.component}"' for provider in inside)
        lines = [f'{reason.arch}: "{reason.shim}" gets {inside[0].path} from {names}']
        lines += [
            _EVIDENCE[provider.evidence].format(provider.component) for provider in inside if provider.evidence in _EVIDENCE
        ]
    elif outside:
        lines = [f'{reason.arch}: "{reason.shim}" does not get {outside[0].path}']
    else:
        lines = [f'{reason.arch}: no component provides "{reason.target}"; it has to be on the host']
    lines += [f"  the configuration names it: {setting.key} = {setting.path}" for setting in reason.settings]
    if not reason.settings:
        lines.append("  the configuration does not name it")
    if outside:
        names = ", ".join(f'"{provider.component}"' for provider in outside)
        lines.append(
            f"  also provided by {names}, which it does not need" if inside else f"  provided by {names}, which it does not need"
        )
    return "\n".join(lines)


_MAP = "shim-components.json"
_EVIDENCE = {
    "described": '  known from what "{}" says of its outputs; the exact name is known once it is made',
    "made": '  seen in the made component "{}"',
}
