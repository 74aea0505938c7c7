"""``kata-bundle ls``: what a repository holds, or what is behind one name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, jobs_option, json_option, pass_app, quiet_option
from kata_bundle.cli.registry_options import open_client, parse_remote, registry_jobs, registry_options

if TYPE_CHECKING:
    from kata_bundle.oci.registry import RegistrySettings
    from kata_bundle.oci.registry.listing import Listed

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle ls registry.example/kata
  kata-bundle ls registry.example/kata:v1
  kata-bundle ls registry.example/kata --referrers --json"""
)
@click.argument("reference", metavar="REF|REPOSITORY")
@click.option("--referrers", is_flag=True, help="Count what is attached to each tag too (shown anyway for one name).")
@registry_options
@jobs_option
@json_option
@quiet_option
@pass_app
def command(app: App, reference: str, referrers: bool, registry: RegistrySettings) -> None:
    """List the tags of a repository (HOST/REPOSITORY), or with a tag or digest show what is behind it.

    Architectures, shims, sizes and attached artefacts are read from documents; no layer is pulled.
    """
    from kata_bundle.oci.registry.listing import describe, list_tags

    target = parse_remote(reference)
    with open_client(app, registry) as client:
        repository = client.repository(target)
        if target.is_bare:
            tags = list_tags(repository, referrers=referrers, jobs=registry_jobs(app))
            document = {"repository": target.name, "tags": [tag.to_dict() for tag in tags]}
            app.emit(document, lambda: _tags_text(tags, target.name))
            return
        found = describe(repository)
    app.emit({"reference": str(target.at(found.digest)), **found.to_dict()}, lambda: _text(found, str(target.at(found.digest))))


def _tags_text(tags: tuple[Listed, ...], name: str) -> str:
    from kata_bundle.cli.render import plural, size_text, table_text
    from kata_bundle.core.relpath import printable

    if not tags:
        return f"{name} has no tags"
    rows = []
    for tag in tags:
        shims = sorted({shim for platform in tag.platforms for shim in platform.shims})
        attached = "" if tag.referrers is None else str(len(tag.referrers))
        rows.append(
            (
                tag.name,
                tag.digest[:19],
                tag.kind.value,
                ", ".join(printable(platform.platform) for platform in tag.platforms) or printable(tag.problem or ""),
                ", ".join(shims[:4]) + (f" and {len(shims) - 4} more" if len(shims) > 4 else ""),
                size_text(tag.size_bytes) if tag.platforms else "",
                attached,
            )
        )
    table = table_text(("tag", "digest", "kind", "platforms", "shims", "size", "attached"), rows, right=(5, 6))
    return f"{table}\n\n{plural(len(tags), 'tag')} of {name}"


def _text(found: Listed, where: str) -> str:
    from kata_bundle.cli.render import size_text, table_text
    from kata_bundle.core.relpath import printable

    lines = [f"{where}: {found.kind}, {size_text(found.size_bytes)}", ""]
    rows = [
        (printable(p.platform), p.digest[:19], str(p.layers), size_text(p.size_bytes), ", ".join(p.shims))
        for p in found.platforms
    ]
    lines.append(table_text(("platform", "digest", "layers", "size", "shims"), rows, right=(2, 3)))
    if found.referrers:
        attached = [(printable(r.artifact_type or "-"), r.digest, size_text(r.size_bytes)) for r in found.referrers]
        lines += ["", table_text(("attached", "digest", "manifest"), attached, right=(2,))]
    return "\n".join(lines)
