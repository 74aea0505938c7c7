"""What ``install`` does once its arguments are known: ask for the plan or carry it out, and say what was done.

Must not know: how a command line is parsed. Click is not imported here, so that a plain install need not pay for it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kata_bundle.cli.quick import facts, request_of
from kata_bundle.cli.sites import live_machine, machine_for, show_plan, tell_restarts
from kata_bundle.core.arch import Arch
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from kata_bundle.cli.invocation import App
    from kata_bundle.cli.quick import Settings
    from kata_bundle.core.digest import Digest
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.install import Installed
    from kata_bundle.node.remember import Answered, Asked
    from kata_bundle.node.source import Source
    from kata_bundle.oci.registry import Reference

__all__ = ["Choices", "node_architecture", "run_install"]


@record
class Choices:
    """What of an install is asked for rarely; an answer to one is never recorded."""

    from_environment: bool = False
    plan_only: bool = False
    approved: Digest | None = None
    accept_gap: bool = False
    hash_all: bool = False
    verify_files: bool = False
    durable: bool | None = None

    @property
    def is_usual(self) -> bool:
        """Whether the same request may be answered from a record."""
        others = self.from_environment or self.accept_gap or self.approved or self.hash_all or self.verify_files
        return not others and self.durable is None


def node_architecture(text: str | None) -> Arch:
    """Return the architecture ``--arch`` names, this machine's without it; raise :class:`UsageError` for an unknown one."""
    return Arch.of_this_machine() if text is None else Arch.parse(text)


def run_install(app: App, source: Source, place: Reference | Path, settings: Settings, choices: Choices) -> None:
    """Install from ``source``, which ``place`` names, and print what was done; raises what the installer raises."""
    from pathlib import Path

    from kata_bundle.node.install import fetch_layers, install, plan_install
    from kata_bundle.node.lock import node_lock
    from kata_bundle.node.remember import Answered

    asked = _asked(source, place, settings) if choices.is_usual and not _is_movable(place) else None
    is_configured = settings.spec is not None or choices.from_environment
    said: list[str] = []
    if is_configured:
        wanted = _configured(source, place, settings)
    else:
        machine = machine_for(app, settings.root, settings.dest, settings.suffix, may_be_missing=True)
        wanted = _desired(source, machine.site.dest, settings, said)
    machine = live_machine(app, settings.root, wanted.dest, None, desired=wanted, may_be_missing=True)
    if app.dry_run or choices.plan_only:
        _say(app, said)
        show_plan(app, plan_install(machine, wanted, hash_all=choices.hash_all))
        return
    Path(settings.root).mkdir(parents=True, exist_ok=True)
    if not is_configured:
        said.append("note: payload only; --spec FILE or --from-environment configures the shims and the container runtime too")
    _say(app, said)

    def answer(done: Installed) -> Answered | None:
        if asked is None:
            return None
        lines = (*said, *(f"note: {note}" for note in done.plan.notes))
        return Answered(asked=asked, answer=app.rendered(_document(done), lambda: _text(done)), said=lines)

    if source.is_elsewhere:
        fetch_layers(machine, wanted, hash_all=choices.hash_all)
    with node_lock(machine.site, app.progress):
        done = install(
            machine,
            wanted,
            keep=settings.keep,
            approved=choices.approved,
            accept_gap=choices.accept_gap,
            hash_all=choices.hash_all,
            verify_files=choices.verify_files,
            durable=choices.durable,
            answer=answer,
        )
    _say(app, [f"note: {note}" for note in done.plan.notes])
    tell_restarts(app, machine)
    app.emit(_document(done), lambda: _text(done))


def _asked(source: Source, place: Reference | Path, settings: Settings) -> Asked:
    from kata_bundle.node.remember import Asked

    return Asked(request=request_of(settings), facts=facts(), sources=_sources(source, place, settings.spec))


def _say(app: App, lines: Iterable[str]) -> None:
    for line in lines:
        app.say(line)


def _is_movable(place: Reference | Path) -> bool:
    """Return whether a name may mean something else next time without a trace on this machine."""
    from pathlib import Path

    return not isinstance(place, Path) and place.digest is None


def _sources(source: Source, place: Reference | Path, spec: str | None) -> tuple[str, ...]:
    """Return the real paths of what a request is read from."""
    from pathlib import Path

    folder = os.path.realpath(place) if isinstance(place, Path) else None
    places = [] if folder is None else [folder, *source.places()]
    if spec is not None:
        from kata_bundle.node.compose import EXTRA_FILES

        places.append(os.path.realpath(spec))
        places += () if folder is None else (os.path.join(folder, name) for name in EXTRA_FILES)
    return tuple(places)


def _configured(source: Source, place: Reference | Path, settings: Settings) -> Desired:
    from pathlib import Path

    from kata_bundle.node.compose import Extras, compose, runtime_of
    from kata_bundle.node.config import from_environment, from_file
    from kata_bundle.node.hostedit import HostDirectory
    from kata_bundle.node.runtime import Runtime
    from kata_bundle.node.shimfacts import load_facts

    arch = node_architecture(settings.arch)
    if settings.spec is not None:
        effective = from_file(Path(settings.spec).read_bytes(), settings.spec, arch.value)
    else:
        effective = from_environment(os.environ, arch.value, HostDirectory("/"))
    found = None
    if not settings.payload_only:
        # A directory that no system runs from has no units; the version string and the declaration decide there.
        active = frozenset[str]() if os.path.realpath(settings.root) != "/" else None
        found = Runtime(settings.runtime) if settings.runtime is not None else runtime_of(effective.config, active)
    extras = Extras.read(HostDirectory(os.path.realpath(place)), "") if isinstance(place, Path) else Extras()
    return compose(source, arch, effective, load_facts(), runtime=found, extras=extras)


def _desired(source: Source, dest: str, settings: Settings, said: list[str]) -> Desired:
    from kata_bundle.core.errors import HostError, UsageError
    from kata_bundle.node.desired import Desired
    from kata_bundle.node.source import select

    arch = node_architecture(settings.arch)
    if arch not in source.arches():
        message = f"there is nothing for {arch} in it, only for {', '.join(source.arches())}"
        raise HostError(message, hint="bundle that architecture, or name another one with --arch")
    groups = [[name.strip() for name in text.split(",") if name.strip()] for text in settings.shims]
    if not all(groups):
        message = "no shim named"
        raise UsageError(message, hint=f"leave --shim out, or name some of: {', '.join(sorted(source.shims(arch)))}")
    names = tuple(name for group in groups for name in group) or source.default_shims(arch)
    if not names:
        message = "no shim was named and the source states no defaults"
        raise UsageError(message, hint=f"--shim with some of: {', '.join(sorted(source.shims(arch)))}")
    selection = select(source, arch, names)
    said += (f'warning: shim "{shim}" has no components for {arch}: it is left out' for shim in selection.without_row)
    return Desired(source=source, selection=selection, dest=dest, suffix=settings.suffix)


def _document(done: Installed) -> dict[str, object]:
    return {
        "dry_run": False,
        "plan": done.plan.to_dict(),
        "recovered": done.recovered.value,
        "generation": None if done.receipt is None else done.receipt.generation,
        "pruned": list(done.pruned),
    }


def _text(done: Installed) -> str:
    from kata_bundle.cli.render import plural, size_text

    if done.receipt is None:
        return "nothing was installed"
    receipt, plan = done.receipt, done.plan
    if plan.changes_nothing:
        return f"generation {receipt.generation} in {receipt.dest} is up to date: nothing was written"
    what = f"{', '.join(receipt.shims)}: {plural(len(receipt.layers), 'component')}, {size_text(receipt.tree.size_bytes)}"
    lines = [f"installed generation {receipt.generation} in {receipt.dest} ({what})"]
    if done.pruned:
        lines.append(f"removed {plural(len(done.pruned), 'old generation')}: {', '.join(map(str, done.pruned))}")
    return "\n".join(lines)
