"""``kata-bundle explain``: which input differs from the last time."""

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
    quiet_option,
    rules_option,
    source_option,
    store_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.build.explain import Explanation
    from kata_bundle.core.arch import Arch

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle explain kernel --arch x86_64
  kata-bundle explain rootfs-image --arch x86_64 --against sha256:…"""
)
@click.argument("component")
@arch_option
@click.option("--against", metavar="KEY", help="Compare with the result of this rule key [default: the nearest].")
@rules_option
@store_option
@manifests_option
@profile_option
@source_option
@json_option
@quiet_option
@pass_app
def command(app: App, component: str, arches: tuple[Arch, ...], against: str | None, rules: str | None) -> None:
    """Say why COMPONENT would be made anew, or was: the inputs that differ from the nearest earlier result in the store.

    Nothing is built or fetched. A change behind a toolchain or a needed component is shown where it is.
    """
    from pathlib import Path

    from kata_bundle.build import Rulebook
    from kata_bundle.build.explain import explain
    from kata_bundle.core.digest import parse_digest

    book = Rulebook.load(app.catalog(), Path(rules) if rules else None, profile=app.profile, given=app.given())
    targets = book.targets_of(component, arches)
    store = app.store(create=False)
    digest = None if against is None else parse_digest(against)
    found = [explain(book, store, target, against=digest) for target in targets]
    document = {
        "components": [
            {
                "component": one.target.component,
                "arch": one.target.arch.value,
                "key": one.key,
                "known": one.is_known,
                "nearest": one.nearest,
                "changes": [{"where": list(change.where), "old": change.old, "new": change.new} for change in one.changes],
            }
            for one in found
        ]
    }
    app.emit(document, lambda: _text(found))


def _text(found: Sequence[Explanation]) -> str:
    from kata_bundle.cli.render import plural

    lines = []
    for one in found:
        state = "up to date" if one.is_known else "would be made"
        lines.append(f"{one.target.text}: {state}, key {one.key[:19]}…")
        if one.nearest is None:
            lines.append("  it was not made here before" if not one.is_known else "  there is no other result to compare with")
            continue
        lines.append(f"  {plural(len(one.changes), 'difference')} from the result with key {one.nearest[:19]}…")
        lines += [f"    {change.text}" for change in one.changes]
    return "\n".join(lines)
