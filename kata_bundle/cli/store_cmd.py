"""``kata-bundle store``: what the local store holds, whether it is sound, what of it can go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, pass_app, quiet_option, store_option

if TYPE_CHECKING:
    from kata_bundle.store.audit import Audit
    from kata_bundle.store.collect import Collected

__all__ = ["command"]

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Size(click.ParamType[int]):
    """A number of bytes, with K, M, G or T for powers of 1024."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number, or fail as click does."""
        if isinstance(value, int):
            return value
        number, unit = str(value).rstrip("iB").rstrip("KMGTkmgt"), str(value).rstrip("iB").lstrip("0123456789.").upper()
        try:
            return int(float(number) * _UNITS[unit])
        except (KeyError, ValueError, OverflowError):
            self.fail(f"{value!r} is no size; expected for example 500M or 20G", param, ctx)


@click.group()
def command() -> None:
    """Inspect, check and clean the local store."""


@command.command(
    epilog="""\b
Examples:
  kata-bundle store info
  kata-bundle store info --store .demo/store --json"""
)
@store_option
@json_option
@pass_app
def info(app: App) -> None:
    """Show where the store is, what it holds and how large it is."""
    store = app.store(create=False)
    digests = list(store.digests())
    layers = [layer.to_dict() for layer in store.layers()]
    document: dict[str, Any] = {
        "path": str(store.root),
        "blobs": len(digests),
        "size_bytes": sum(store.size(digest) or 0 for digest in digests),
        "layers": layers,
    }
    app.emit(document, lambda: _text(document))


@command.command(
    epilog="""\b
Examples:
  kata-bundle store gc --dry-run
  kata-bundle store gc --keep-days 7 --max-size 20G"""
)
@click.option("--keep-days", type=click.FloatRange(0), default=30.0, show_default=True, help="Keep what was made or used since.")
@click.option("--max-size", type=Size(), metavar="SIZE", help="Of that, keep the newest that fit, e.g. 20G.")
@click.option("--wait", is_flag=True, help="Wait for commands that work with the store, instead of giving up.")
@store_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def gc(app: App, keep_days: float, max_size: int | None, wait: bool) -> None:
    """Remove what was not used lately: results, layers, their blobs, checked-out trees, folders of failed actions.

    Imported tarballs stay. Safe beside builds: it waits, or with exit code 9 refuses, while another command works with the store.
    """
    from contextlib import nullcontext

    from kata_bundle.store.collect import collect

    store = app.store(hold=False)
    with nullcontext() if app.dry_run else store.alone(wait=wait):
        found = collect(store, keep_s=keep_days * 86400, max_bytes=max_size, dry_run=app.dry_run)
    document = {
        "records": list(found.records),
        "blobs": found.blobs,
        "freed_bytes": found.freed_bytes,
        "kept_blobs": found.kept_blobs,
        "kept_bytes": found.kept_bytes,
        "dry_run": app.dry_run,
    }
    app.emit(document, lambda: _collected(found, dry_run=app.dry_run))


@command.command(
    epilog="""\b
Example:
  kata-bundle store verify"""
)
@store_option
@json_option
@quiet_option
@pass_app
def verify(app: App) -> None:
    """Read every blob and follow every record; exit with 7 when something is damaged.

    A damaged blob or record is moved to the store's quarantine, so that it is made again when needed.
    """
    _audit(app, repairs=False)


@command.command(
    epilog="""\b
Example:
  kata-bundle store repair"""
)
@store_option
@json_option
@quiet_option
@pass_app
def repair(app: App) -> None:
    """Verify the store and drop the records that lead to nothing: what they remembered is made again when needed."""
    _audit(app, repairs=True)


@command.command(
    epilog="""\b
Example:
  kata-bundle store roots --json"""
)
@store_option
@json_option
@pass_app
def roots(app: App) -> None:
    """List what keeps blobs whatever their age."""
    found = app.store(create=False).roots()
    app.emit(
        {"roots": {name: list(digests) for name, digests in found.items()}},
        lambda: "\n".join(f"{name}: {len(digests)} digests" for name, digests in found.items()) or "no roots",
    )


def _audit(app: App, *, repairs: bool) -> None:
    from kata_bundle.core.errors import IntegrityError
    from kata_bundle.store.audit import audit
    from kata_bundle.store.audit import repair as drop

    store = app.store()
    found = audit(store, progress=app.progress)
    dropped = drop(store, found) if repairs else 0
    app.close()
    document = {
        "blobs": found.blobs,
        "size_bytes": found.size_bytes,
        "damaged": list(found.damaged),
        "incomplete": list(found.incomplete),
        "problems": list(found.problems),
        "dropped": dropped,
    }
    app.emit(document, lambda: _audited(found, dropped))
    if found and not repairs:
        message = f"the store {store.root} is damaged"
        raise IntegrityError(message, hint="kata-bundle store repair drops what leads nowhere; building again makes it anew")


def _audited(found: Audit, dropped: int) -> str:
    from kata_bundle.cli.render import plural, size_text

    lines = [f"{plural(found.blobs, 'blob')}, {size_text(found.size_bytes)} read"]
    lines += [f"damaged, now in quarantine: {digest}" for digest in found.damaged]
    lines += [f"leads nowhere: {name}" for name in found.incomplete]
    lines += [f"damaged record, now in quarantine: {problem}" for problem in found.problems]
    if dropped:
        lines.append(f"{plural(dropped, 'record')} dropped")
    return "\n".join(lines if found else [*lines, "all sound"])


def _collected(found: Collected, *, dry_run: bool) -> str:
    from kata_bundle.cli.render import plural, size_text

    said = "would remove" if dry_run else "removed"
    return (
        f"{said} {plural(len(found.records), 'record')} and {plural(found.blobs, 'blob')}, {size_text(found.freed_bytes)}; "
        f"{plural(found.kept_blobs, 'blob')} stay, {size_text(found.kept_bytes)}"
    )


def _text(document: dict[str, Any]) -> str:
    from kata_bundle.cli.render import plural, size_text, table_text

    rows = [
        (layer["component"], layer["arch"], layer["origin"], size_text(layer["packed_size_bytes"]), layer["packed"][:19] + "…")
        for layer in document["layers"]
    ]
    lines = [f"{document['path']}: {plural(document['blobs'], 'blob')}, {size_text(document['size_bytes'])}"]
    if rows:
        lines += ["", table_text(("layer", "arch", "origin", "packed", "digest"), rows, right=(3,))]
    return "\n".join(lines)
