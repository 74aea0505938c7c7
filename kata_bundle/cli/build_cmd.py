"""``kata-bundle build``: make components and keep them in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import (
    App,
    arch_option,
    dry_run_option,
    jobs_option,
    json_option,
    manifests_option,
    pass_app,
    profile_option,
    quiet_option,
    rules_option,
    sandbox_option,
    source_option,
    store_option,
)
from kata_bundle.cli.eventstream import events_options, watching
from kata_bundle.cli.remote_options import remote_options
from kata_bundle.core.arch import Arch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kata_bundle.build import Built, DebPin, Rule, Rulebook, Target
    from kata_bundle.build.rules import Recipe
    from kata_bundle.cli.eventstream import EventsChoice
    from kata_bundle.cli.remote_options import RemoteChoice

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle build kernel qemu --arch x86_64,aarch64
  kata-bundle build --arch all
  kata-bundle build --remote-cache grpcs://cache.example --remote-instance kata
  kata-bundle build kernel --events-fd 3 3>events.jsonl
  kata-bundle build --list"""
)
@click.argument("components", nargs=-1, metavar="[COMPONENT]...")
@arch_option
@click.option("--list", "is_list", is_flag=True, help="Show what each component is made from on each architecture.")
@rules_option
@click.option("--keep-going", "-k", is_flag=True, help="After a failure make everything that does not need what failed.")
@remote_options
@events_options
@store_option
@manifests_option
@profile_option
@source_option
@sandbox_option
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    components: tuple[str, ...],
    arches: tuple[Arch, ...],
    is_list: bool,
    rules: str | None,
    keep_going: bool,
    remote: RemoteChoice,
    events: EventsChoice,
) -> None:
    """Make components, by default all that have a rule, and keep them in the store.

    What was made before from the same rule, pins and facts is found and not made again. Pinned packages come from this machine's
    Debian mirror, once. A fixture is a stand-in of the right shape that does not run.
    """
    from pathlib import Path

    from kata_bundle.build import Rulebook, build_plan, find_component
    from kata_bundle.cli.remote_options import open_workshop

    book = Rulebook.load(app.catalog(), Path(rules) if rules else None, profile=app.profile, given=app.given())
    known = book.rules
    if is_list:
        chosen = {name: rule for name, rule in known.items() if not components or name in components}
        app.emit(_list_document(book, chosen), lambda: _list_text(book, chosen))
        return
    targets = _targets(book, components, arches)
    workshop = open_workshop(app, remote)
    store = app.store()
    if app.dry_run:
        found = [(target, find_component(book, store, target)) for target in targets]
        document = {"components": [_dry_document(target, built) for target, built in found]}
        app.emit(document, lambda: _dry_text(book, found))
        return
    with watching(app, events) as watcher:
        built = build_plan(
            book,
            store,
            targets,
            jobs=app.job_count,
            workshop=workshop,
            keep_going=keep_going,
            progress=app.progress,
            watcher=watcher,
        )
    app.close()
    app.emit({"components": [one.to_dict() for one in built]}, lambda: _text(built))


def _targets(book: Rulebook, components: tuple[str, ...], arches: tuple[Arch, ...]) -> list[Target]:
    """Return what is to be made, sorted by name on each architecture; every wrong word is named at once."""
    from kata_bundle.build import Target
    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import UsageError

    rules = {name: recipes for name, rule in book.rules.items() if (recipes := rule.recipes_of(book.profile))}
    problems: list[str] = []
    hints: list[str] = []
    for name in dict.fromkeys(components):
        if name not in rules:
            problems.append(f'component "{name}" has no build rule')
            hints.append(did_you_mean(name, rules) or "kata-bundle build --list shows those that have one")
        elif not set(arches) & set(rules[name]):
            problems.append(f'component "{name}" has no rule for {", ".join(arches)}')
            hints.append(f'"{name}" has one for {", ".join(rules[name])}')
    if problems:
        raise UsageError("; ".join(problems), hint="; ".join(dict.fromkeys(hints)))
    names = sorted(set(components) or rules)
    return [Target(arch=arch, component=name) for arch in arches for name in names if arch in rules[name]]


def _text(built: Sequence[Built]) -> str:
    from kata_bundle.cli.render import plural, size_text, table_text

    rows = [
        (
            one.component,
            one.arch.value,
            size_text(one.size_bytes),
            f"real ({one.origin})" if one.is_real else "FIXTURE",
            one.version,
            "up to date" if one.is_cached else "made",
        )
        for one in built
    ]
    fresh = sum(not one.is_cached for one in built)
    lines = [table_text(("component", "arch", "size", "what it is", "version", ""), rows, right=(2,)), ""]
    if fresh:
        lines.append(f"{plural(len(built), 'component')}: {fresh} made, {len(built) - fresh} up to date")
    else:
        lines.append(f"{plural(len(built), 'component')}: all up to date, nothing was made")
    fixtures = _fixtures(built)
    if fixtures:
        lines.append(f"FIXTURES, not for production: {', '.join(fixtures)}")
    return "\n".join(lines)


def _fixtures(built: Sequence[Built]) -> list[str]:
    """Return the components that are stand-ins, with the architectures where only some of them are."""
    shown = []
    for name in sorted({one.component for one in built if not one.is_real}):
        arches = [one.arch.value for one in built if one.component == name and not one.is_real]
        is_partial = any(one.component == name and one.is_real for one in built)
        shown.append(f"{name} ({', '.join(arches)})" if is_partial else name)
    return shown


def _dry_document(target: Target, built: Built | None) -> dict[str, Any]:
    known = {} if built is None else built.to_dict()
    return {"component": target.component, "arch": target.arch.value, **known, "cached": built is not None}


def _dry_text(book: Rulebook, found: Sequence[tuple[Target, Built | None]]) -> str:
    from kata_bundle.cli.render import plural, table_text

    rows = [
        (
            target.component,
            target.arch.value,
            book.recipe(target).kind.value,
            "would be made" if built is None else "up to date",
        )
        for target, built in found
    ]
    count = sum(built is None for _, built in found)
    table = table_text(("component", "arch", "from", ""), rows)
    return f"{table}\n\nwould make {plural(count, 'component')}; nothing was changed"


def _list_document(book: Rulebook, rules: Mapping[str, Rule]) -> dict[str, Any]:
    from kata_bundle.build import Target
    from kata_bundle.core.profile import Profile

    return {
        "profile": book.profile.value,
        "components": {
            name: {
                arch.value: {
                    "kind": recipe.kind.value,
                    "real": recipe.kind.is_real,
                    "notes": recipe.notes.strip(),
                    "pins": [pin.text for pin in _pins(book, Target(arch=arch, component=name))],
                    "lacks": [
                        {"what": lack.what, "remedy": lack.remedy} for lack in book.lacks(Target(arch=arch, component=name))
                    ],
                    "profiles": {
                        profile.value: rule.recipe(arch, profile).kind.value
                        for profile in Profile
                        if (arch, profile) in rule.marked or (profile is Profile.PACKAGES and arch in rule.recipes)
                    },
                }
                for arch, recipe in rule.recipes_of(book.profile).items()
            }
            for name, rule in rules.items()
        },
    }


def _pins(book: Rulebook, target: Target) -> Sequence[DebPin]:
    """Return the pins that there are; what lacks is told beside them."""
    from kata_bundle.core.errors import LockError

    try:
        return book.pins(target)
    except LockError:
        return ()


def _lack_lines(book: Rulebook, rules: Mapping[str, Rule]) -> list[str]:
    """Return what lacks, each with the components that lack it themselves."""
    from kata_bundle.build import Target

    found: dict[str, dict[str, None]] = {}
    for name, rule in rules.items():
        for arch in rule.recipes_of(book.profile):
            for lack in book.lacks(Target(arch=arch, component=name)):
                found.setdefault(lack.text, {})[name] = None
    return [f"  {text}\n    for {', '.join(names)}" for text, names in sorted(found.items())]


def _list_text(book: Rulebook, rules: Mapping[str, Rule]) -> str:
    from kata_bundle.cli.render import table_text
    from kata_bundle.core.profile import Profile

    def word(recipe: Recipe) -> str:
        return f"real ({recipe.kind})" if recipe.kind.is_real else "FIXTURE"

    def cell(rule: Rule, arch: Arch) -> str:
        recipe = rule.find(arch, book.profile)
        others = [
            f"{profile}: {rule.marked[arch, profile].kind}"
            for profile in Profile
            if (arch, profile) in rule.marked and profile is not book.profile
        ]
        return ", ".join(["-" if recipe is None else word(recipe), *others])

    rows = [(name, *(cell(rule, arch) for arch in Arch)) for name, rule in rules.items()]
    table = table_text(("component", *(arch.value for arch in Arch)), rows)
    lines = _lack_lines(book, rules)
    lacks = "\n".join(["\n\nNot here yet, and what brings it:", *lines]) if lines else ""
    return (
        f"{table}\n\nProfile {book.profile}; behind it, what other profiles have of their own (--profile NAME). "
        "A fixture is a stand-in of the right shape that does not run. --json shows notes and pins."
        f"{lacks}"
    )
