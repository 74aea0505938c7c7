"""``kata-bundle node diagnostics``: one archive with what a bug report needs, without secrets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, PathName, dry_run_option, json_option, pass_app, quiet_option
from kata_bundle.cli.site_options import site_options

if TYPE_CHECKING:
    from kata_bundle.node.diagnostics.collect import Collected
    from kata_bundle.node.diagnostics.parts import Guest, Subject

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node diagnostics --dry-run
  kata-bundle node diagnostics --spec node.toml -o report.tar.zst
  kubectl exec -n kube-system kata-deploy-x7k2p -- kata-bundle node diagnostics -o - > report.tar.zst
  kata-bundle node diagnostics --agent hvsock:///run/vc/vm/ID/root/kata.hvsock:1024 --container ID"""
)
@click.option(
    "-o", "--output", metavar="FILE", type=PathName(dir_okay=False, allow_dash=True), default="kata-bundle-diagnostics.tar.zst",
    show_default=True, help="The archive to write; - is standard output.",
)  # fmt: skip
@click.option("--spec", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Configuration of the node.")
@click.option("--arch", metavar="ARCH", help="Architecture of the node [default: this machine's].")
@site_options
@click.option("--agent", metavar="ADDRESS", help="Ask the guest's agent there too: vsock://, hvsock:// or unix://.")
@click.option("--container", "containers", metavar="ID", multiple=True, help="A container in that guest; may be repeated.")
@click.option("--log-type", "kinds", metavar="TYPE", multiple=True, help="Text to ask the agent for [default: every known type].")
@click.option(
    "--within", type=click.FloatRange(min=0.1), metavar="SECONDS", default=30.0, show_default=True, help="Take no longer."
)
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    *,
    output: str,
    spec: str | None,
    arch: str | None,
    root: str,
    dest: str,
    suffix: str | None,
    agent: str | None,
    containers: tuple[str, ...],
    kinds: tuple[str, ...],
    within: float,
) -> None:
    """Collect what a bug report needs into one .tar.zst: receipts, journal, plans, configuration, host check, unit states.

    What cannot be had is named in the archive's summary.json and is no error. Secrets are taken out; have a look before you
    send it all the same. Nothing on the node is changed.
    """
    from kata_bundle.node.diagnostics.collect import Bounds, collect, pack
    from kata_bundle.node.diagnostics.parts import list_parts

    if output == "-" and app.json and not app.dry_run:
        message = "--json and -o - both want standard output"
        raise click.UsageError(message)
    subject = _subject(spec, arch, root, dest, suffix, _guests(agent, containers, kinds))
    parts = list_parts(subject)
    if app.dry_run:
        rows = [(part.name, part.source) for part in parts]
        document = {"dry_run": True, "output": output, "parts": [{"name": name, "source": source} for name, source in rows]}
        app.emit(document, lambda: _table(rows))
        return
    collected = collect(parts, Bounds(within_s=within))
    data = pack(collected)
    _write(output, data)
    from kata_bundle.core.digest import digest_bytes

    if output == "-":
        app.say(_text(collected, "standard output", len(data)))
        return
    document = {**collected.to_dict(), "dry_run": False, "output": output, "size_bytes": len(data), "digest": digest_bytes(data)}
    app.emit(document, lambda: _text(collected, output, len(data)))


def _guests(agent: str | None, containers: tuple[str, ...], kinds: tuple[str, ...]) -> tuple[Guest, ...]:
    from kata_bundle.core.errors import UsageError
    from kata_bundle.node.diagnostics.address import parse_address
    from kata_bundle.node.diagnostics.agent import LOG_TYPES, log_type
    from kata_bundle.node.diagnostics.parts import Guest

    if (agent is None) != (not containers):
        message = "--agent and --container belong together"
        raise UsageError(message, hint="the agent gives text of one container at a time")
    asked = tuple(log_type(name) for name in kinds) or tuple(LOG_TYPES.values())
    if agent is None:
        return ()
    address = parse_address(agent)
    return tuple(Guest(address=address, container=container, kinds=asked) for container in dict.fromkeys(containers))


def _subject(spec: str | None, arch: str | None, root: str, dest: str, suffix: str | None, guests: tuple[Guest, ...]) -> Subject:
    from kata_bundle.cli.node.config_cmd import effective_config
    from kata_bundle.core.errors import UsageError
    from kata_bundle.node.diagnostics.parts import Subject
    from kata_bundle.node.site import Site, destination
    from kata_bundle.node.systemd import open_systemd

    if not os.path.isdir(root):
        message = f"root {root} does not exist"
        raise UsageError(message)
    return Subject(
        site=Site(os.path.realpath(root), destination(dest, suffix)),
        effective=lambda: effective_config(spec, arch, root),
        open_systemd=lambda: open_systemd(root, timeout_s=5.0, job_timeout_s=5.0),
        guests=guests,
    )


def _write(output: str, data: bytes) -> None:
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    from kata_bundle.core.fsops import FileOps

    folder, name = os.path.split(output)
    FileOps().replace_file(output, data, temporary=os.path.join(folder, f".{name}.new"), mode=0o600)


def _table(rows: list[tuple[str, str]]) -> str:
    from kata_bundle.cli.render import table_text
    from kata_bundle.core.relpath import printable

    return table_text(("part", "from"), [(printable(name), printable(source)) for name, source in rows])


def _text(collected: Collected, output: str, size_bytes: int) -> str:
    from kata_bundle.cli.render import plural, size_text
    from kata_bundle.core.relpath import printable

    had = [piece for piece in collected.pieces if piece.data is not None]
    count = sum(piece.redactions for piece in had)
    lines = [f"without {printable(piece.name)}: {piece.trouble}" for piece in collected.pieces if piece.data is None]
    lines += [f"{printable(piece.name)}: {piece.trouble}" for piece in had if piece.trouble]
    if collected.trouble:
        lines.append(collected.trouble)
    lines.append(f"{plural(len(had), 'part')} in {output} ({size_text(size_bytes)}), {plural(count, 'secret')} taken out")
    return "\n".join(lines)
