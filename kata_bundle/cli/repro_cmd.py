"""``kata-bundle repro``: make components twice under changed conditions and compare."""

from __future__ import annotations

from dataclasses import dataclass
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

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kata_bundle.build import Rulebook, Target
    from kata_bundle.build.repro import Condition, Origin, Verdict
    from kata_bundle.core.arch import Arch
    from kata_bundle.store import Store

__all__ = ["Checked", "command"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """One component's verdict, its layer's when that was asked for, and what was made to look at."""

    target: Target
    version: str
    verdict: Verdict | None
    """``None`` when it could not be made at all."""
    error: str = ""
    layer: Verdict | None = None
    kept: Path | None = None
    diffoscope: str = ""

    @property
    def is_same(self) -> bool:
        """Whether everything that was made twice came out the same."""
        return self.verdict is not None and self.verdict.is_same and (self.layer is None or self.layer.is_same)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "component": self.target.component,
            "arch": self.target.arch.value,
            "version": self.version,
            "identical": self.is_same,
            "error": self.error or None,
            "tree": None if self.verdict is None else self.verdict.to_dict(),
            "layer": None if self.layer is None else self.layer.to_dict(),
            "kept": None if self.kept is None else str(self.kept),
            "diffoscope": self.diffoscope or None,
        }


def _complete_conditions(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from kata_bundle.build.repro import Condition

    done, comma, last = incomplete.rpartition(",")
    return [f"{done}{comma}{one}" for one in (*Condition, "all", "none") if one.startswith(last)]


def _complete_rules(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from kata_bundle.build.rulefile import rules_folder

    return sorted(
        path.stem for path in rules_folder().glob("*.toml") if path.stem.startswith(incomplete) and "." not in path.stem
    )


@click.command(
    epilog="""\b
Examples:
  kata-bundle repro rootfs-initrd --arch x86_64
  kata-bundle repro kernel --profile source --vary time,path,user --keep differing
  kata-bundle repro qemu --layer --find-cause --diffoscope
  kata-bundle repro --all --arch x86_64,aarch64 --markdown"""
)
@click.argument("components", nargs=-1, metavar="[RULE]...", shell_complete=_complete_rules)
@click.option("--all", "is_all", is_flag=True, help="Every component that has a rule for the architecture.")
@arch_option
@profile_option
@source_option
@click.option(
    "--vary",
    metavar="CONDITION[,…]",
    default="all",
    shell_complete=_complete_conditions,
    help="Changed for the second build: time, path, user, host, cpus, order, umask, locale, env, all, none [default: all].",
)
@click.option("--layer", is_flag=True, help="Pack each component twice, too, and compare the bytes.")
@click.option("--find-cause", is_flag=True, help="When results differ, build again with one condition changed at a time.")
@click.option("--keep", metavar="DIR", type=click.Path(file_okay=False), help="Write both trees of each component there.")
@click.option("--diffoscope", "is_explained", is_flag=True, help="When results differ, show what diffoscope says of them.")
@click.option("--markdown", is_flag=True, help="Print the result as a Markdown table.")
@rules_option
@store_option
@manifests_option
@sandbox_option
@jobs_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(
    app: App,
    components: tuple[str, ...],
    is_all: bool,
    arches: tuple[Arch, ...],
    vary: str,
    layer: bool,
    find_cause: bool,
    keep: str | None,
    is_explained: bool,
    markdown: bool,
    rules: str | None,
) -> None:
    """Make components twice, the second time under other conditions, and say whether the same came out.

    Neither build is taken from the store or remembered there; what a component needs is. When trees differ, they are kept and the
    exit code is 6.
    """
    from pathlib import Path

    from kata_bundle.build import Rulebook
    from kata_bundle.build.repro import Origin, parse_conditions
    from kata_bundle.build.repro.diffoscope import find_diffoscope
    from kata_bundle.cli.repro_text import dry_text, markdown_text, verdicts_text
    from kata_bundle.core.errors import ReproducibilityError, UsageError

    conditions = parse_conditions(vary)
    folder = Path(rules) if rules else None
    given = app.given()
    book = Rulebook.load(app.catalog(), folder, profile=app.profile, given=given)
    targets = _targets(book, components, arches, is_all=is_all)
    if markdown and app.json:
        msg = "--markdown and --json are two forms of one result"
        raise UsageError(msg)
    if app.dry_run:
        document = {
            "components": [{"component": one.component, "arch": one.arch.value} for one in targets],
            "vary": sorted(conditions),
        }
        app.emit(document, lambda: dry_text(book, targets, conditions))
        return
    program = find_diffoscope() if is_explained else None
    run = _Run(
        app=app,
        book=book,
        store=app.store(),
        conditions=conditions,
        origin=Origin(manifests=Path(app.manifests) if app.manifests else None, rules=folder, given=given),
        find_cause=find_cause,
        is_packed=layer,
        keep=Path(keep) if keep else None,
        diffoscope=program,
    )
    checked = run.check_all(targets)
    app.close()
    document = {"profile": app.profile.value, "components": [one.to_dict() for one in checked]}
    app.emit(document, lambda: markdown_text(checked) if markdown else verdicts_text(checked))
    failed = [one for one in checked if one.verdict is None]
    different = [one.target.text for one in checked if one.verdict is not None and not one.is_same]
    if different:
        msg = f"not reproducible: {', '.join(different)}"
        raise ReproducibilityError(msg, hint=None if find_cause else "--find-cause says what made the difference")
    if failed:
        from kata_bundle.core.errors import BuildError

        msg = f"could not be made: {', '.join(one.target.text for one in failed)}"
        raise BuildError(msg)


def _targets(book: Rulebook, components: tuple[str, ...], arches: tuple[Arch, ...], *, is_all: bool) -> list[Target]:
    from kata_bundle.build import Target
    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import UsageError

    if bool(components) == is_all:
        msg = "name components, or say --all" if not components else "--all is every component: name none"
        raise UsageError(msg, hint="kata-bundle build --list shows what there is")
    names = sorted(book.rules) if is_all else list(dict.fromkeys(components))
    for name in names:
        if name not in book.rules:
            msg = f'component "{name}" has no build rule'
            raise UsageError(msg, hint=did_you_mean(name, book.rules) or "kata-bundle build --list shows those that have one")
        if not is_all and not any(book.rules[name].find(arch, book.profile) for arch in arches):
            msg = f'component "{name}" has no rule for {", ".join(arches)}'
            raise UsageError(msg)
    return [
        Target(arch=arch, component=name)
        for arch in arches
        for name in names
        if book.rules[name].find(arch, book.profile) is not None
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    app: App
    book: Rulebook
    store: Store
    conditions: frozenset[Condition]
    origin: Origin
    find_cause: bool
    is_packed: bool
    keep: Path | None
    diffoscope: str | None

    def check_all(self, targets: Sequence[Target]) -> list[Checked]:
        """Return what was found of each target; one that cannot be made does not stop the others."""
        from kata_bundle.build.schedule import Cancelled, run_graph

        cancelled = Cancelled()
        found, errors = run_graph(
            targets,
            {},
            lambda target: self._check(target, cancelled),
            jobs=self.app.job_count,
            cancelled=cancelled,
            keep_going=True,
        )
        for error in errors.values():
            raise error
        return [found[target] for target in targets]

    def _check(self, target: Target, cancelled: Any) -> Checked:
        from kata_bundle.build import Workshop
        from kata_bundle.build.repro import check_component, check_layer
        from kata_bundle.build.sandbox import Backend
        from kata_bundle.core import clock
        from kata_bundle.core.errors import BuildError, LockError, RemoteError

        version, layer = self.book.version(target), None
        progress, store = self.app.progress, self.store
        try:
            verdict = check_component(
                self.book, store, target, vary=self.conditions, find_cause=self.find_cause, origin=self.origin,
                workshop=Workshop(backend=Backend(self.app.sandbox)), cancelled=cancelled, progress=progress,
            )  # fmt: skip
            if self.is_packed and verdict.is_same:
                layer = check_layer(
                    store, verdict.first.digest, target, vary=self.conditions, source_date=clock.source_date(),
                    find_cause=self.find_cause, cancelled=cancelled, progress=progress,
                )  # fmt: skip
        except (BuildError, LockError, RemoteError) as error:
            if cancelled.is_set():
                raise
            self.app.say(f"{target.text}: {error}")
            return Checked(target=target, version=version, verdict=None, error=str(error))
        kept = self._kept(target, verdict) if self.keep is not None or not verdict.is_same else None
        text = ""
        if kept is not None and self.diffoscope is not None and not verdict.is_same and verdict.second is not None:
            from kata_bundle.build.repro.diffoscope import explain_difference

            text = explain_difference(self.diffoscope, kept / "first", kept / "second", is_cancelled=cancelled.is_set)
        return Checked(target=target, version=version, verdict=verdict, layer=layer, kept=kept, diffoscope=text)

    def _kept(self, target: Target, verdict: Verdict) -> Path:
        """Write the trees for people to look at, in place of those of an earlier run, and return the folder."""
        import shutil

        from kata_bundle.build.sandbox.checkout import write_tree

        folder = (self.keep or self.store.root / "repro") / f"{target.component}-{target.arch}"
        for name, tree in (("first", verdict.first), ("second", verdict.second)):
            place = folder / name
            shutil.rmtree(place, ignore_errors=True)
            if tree is not None:
                place.mkdir(parents=True)
                write_tree(self.store, tree, place)
        return folder
