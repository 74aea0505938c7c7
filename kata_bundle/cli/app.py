"""What every command shares: output form, progress, the store, and options that mean the same everywhere."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.core.arch import Arch
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.profile import DEFAULT_PROFILE, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.core.events import Progress
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.plan.selection import Selection
    from kata_bundle.store import Store

__all__ = [
    "App",
    "Names",
    "PathName",
    "arch_option",
    "dry_run_option",
    "jobs_option",
    "json_option",
    "known_shims",
    "manifests_option",
    "node_jobs_option",
    "pass_app",
    "profile_option",
    "quiet_option",
    "sandbox_option",
    "selection_options",
    "store_option",
]


@dataclass(slots=True)
class App:
    """State of one invocation. Data goes to standard output, words for people to standard error."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    dry_run: bool = False
    jobs: int = 0
    store_path: str | None = None
    sandbox: str = "bubblewrap"
    manifests: str | None = None
    profile: Profile = DEFAULT_PROFILE
    _progress: Any = field(default=None)

    def emit(self, document: object, text: Callable[[], str]) -> None:
        """Print a result: ``document`` as JSON with ``--json``, else the text that ``text()`` renders."""
        click.echo(self.rendered(document, text), nl=False)

    def rendered(self, document: object, text: Callable[[], str]) -> str:
        """Return what :meth:`emit` prints."""
        if self.json:
            from kata_bundle.core.canonical import dumps_pretty

            return dumps_pretty(document)
        return text().rstrip("\n") + "\n"

    def say(self, message: str) -> None:
        """Tell the person one line (standard error); silent with ``--quiet``."""
        if not self.quiet:
            if self._progress is not None:
                self._progress.note(message)
            else:
                click.echo(message, err=True)

    @property
    def progress(self) -> Progress:
        """Progress bars on a terminal; without one only the lines that work notes; nothing with ``--quiet``."""
        if self.quiet:
            return NO_PROGRESS
        if self._progress is None:
            from kata_bundle.cli.progress import LineProgress, TerminalProgress

            self._progress = TerminalProgress() if sys.stderr.isatty() else LineProgress()
        progress: Progress = self._progress
        return progress

    def close(self) -> None:
        """End a live progress display, so that what is printed next stands on lines of its own."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    @property
    def job_count(self) -> int:
        """Number of worker threads: ``--jobs``, else the processors this process may use."""
        return self.jobs or len(os.sched_getaffinity(0))

    def catalog(self) -> Catalog:
        """Return the catalog of ``--manifests`` (default: the shipped one); findings of severity error stop the command."""
        from pathlib import Path

        from kata_bundle.cli.render import findings_text
        from kata_bundle.core.errors import FindingsError
        from kata_bundle.manifest import load_catalog

        catalog, report = load_catalog(Path(self.manifests) if self.manifests else None)
        if catalog is None:
            click.echo(findings_text(report), err=True)
            message = f"the manifests have {report.errors} error(s)"
            raise FindingsError(message, hint="kata-bundle check shows them with their places")
        return catalog

    def store(self, *, create: bool = True, hold: bool = True) -> Store:
        """Return the store of ``--store``, else the default one; with ``--dry-run`` or without ``create`` none is made.

        A store that may be written to is freed of what killed writers left and, with ``hold``, kept from collectors until the
        command ends.
        """
        from pathlib import Path

        from kata_bundle.store import Store

        is_writable = create and not self.dry_run
        store = Store(Path(self.store_path) if self.store_path else Store.default_root(), create=is_writable)
        if is_writable:
            if hold:
                store.hold()
            store.sweep()
        return store


pass_app = click.make_pass_decorator(App, ensure=True)


class PathName(click.Path):
    """A path that is not empty: what an unset variable leaves must not come to mean the current folder."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path, or fail as click does."""
        if not value:
            self.fail("an empty path", param, ctx)
        return super().convert(value, param, ctx)


def _into_app(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        if value is not None:
            setattr(ctx.ensure_object(App), name, value)
        return value

    return callback


def _option(*names: str, target: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, expose_value=False, callback=_into_app(target), **settings)


json_option = _option("--json", target="json", is_flag=True, help="Print the result as JSON.")
quiet_option = _option("-q", "--quiet", target="quiet", is_flag=True, help="Print nothing but the result and errors.")
dry_run_option = _option("--dry-run", target="dry_run", is_flag=True, help="Show what would be done; change nothing.")
jobs_option = _option(
    "-j", "--jobs", target="jobs", type=click.IntRange(1, 256), metavar="N", help="Worker threads [default: processors]."
)
sandbox_option = _option(
    "--sandbox",
    target="sandbox",
    type=click.Choice(["bubblewrap", "none"]),
    envvar="KATA_BUNDLE_SANDBOX",
    show_envvar=True,
    help="Walls around programs that rules run; what is made with none is not hermetic and never shared [default: bubblewrap].",
)


class ProfileName(click.ParamType[Profile]):
    """A profile of recipes; a wrong name is answered with the nearest."""

    name = "profile"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Profile:
        """Return the profile, or raise :class:`UsageError`."""
        del param, ctx
        return value if isinstance(value, Profile) else Profile.parse(str(value))

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Complete a profile's name."""
        del ctx, param
        from click.shell_completion import CompletionItem

        return [CompletionItem(profile.value) for profile in Profile if profile.startswith(incomplete)]


profile_option = _option(
    "--profile",
    target="profile",
    type=ProfileName(),
    metavar="NAME",
    envvar="KATA_BUNDLE_PROFILE",
    show_envvar=True,
    help="Which recipes are used where a component has several: packages (repacked ones), source (compiled from the "
    f"distribution's sources) or upstream (from upstream's own) [default: {DEFAULT_PROFILE}].",
)
node_jobs_option = _option(
    "-j", "--jobs", target="jobs", type=click.IntRange(1, 256), metavar="N", help="Threads that unpack [default: 2]."
)
store_option = _option(
    "--store",
    target="store_path",
    metavar="DIR",
    type=PathName(file_okay=False),
    envvar="KATA_BUNDLE_STORE",
    show_envvar=True,
    help="The local store [default: kata-bundle/store in the user's cache folder].",
)
manifests_option = _option(
    "--manifests",
    target="manifests",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Read the manifests there [default: the shipped ones].",
)


class Names(click.ParamType[tuple[str, ...]]):
    """A comma-separated list of names, completed from ``known()``."""

    name = "names"

    def __init__(self, known: Callable[[], list[str]]) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the names, blanks and empty ones dropped."""
        del param, ctx
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Complete the name after the last comma."""
        del ctx, param
        from click.shell_completion import CompletionItem

        done, comma, last = incomplete.rpartition(",")
        return [CompletionItem(done + comma + name) for name in self._known() if name.startswith(last)]


def known_shims() -> list[str]:
    """Return the shims of the shipped component map, for completion; empty when it cannot be read."""
    from kata_bundle.core.componentmap import FILE_NAME, ComponentMap
    from kata_bundle.core.errors import BundleError
    from kata_bundle.core.resources import shipped

    try:
        return sorted(ComponentMap.parse((shipped("manifests") / FILE_NAME).read_bytes()).shims)
    except (BundleError, OSError):
        return []


def _flatten(values: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in values for name in group))


def arch_option(function: Any) -> Any:
    """Add ``--arch``: one or more architectures in any spelling, ``all``; default: this machine's."""

    def callback(ctx: click.Context, parameter: click.Parameter, value: tuple[tuple[str, ...], ...]) -> tuple[Arch, ...]:
        names = _flatten(value)
        if not all(value):
            message = "no architecture named"
            raise click.BadParameter(message, ctx=ctx, param=parameter)
        if not names:
            return (Arch.of_this_machine(),)
        if names == ("all",):
            return tuple(Arch)
        return tuple(dict.fromkeys(Arch.parse(name) for name in names))

    return click.option(
        "--arch",
        "arches",
        multiple=True,
        type=Names(lambda: [*Arch, "all"]),
        callback=callback,
        metavar="ARCH[,ARCH…]",
        help='Architectures, or "all" [default: this machine\'s].',
    )(function)


def selection_options(function: Any) -> Any:
    """Add ``--shim`` and ``--arch``; the command gets them as one ``selection``."""
    from functools import wraps

    @wraps(function)
    def wrapper(*args: Any, shims: tuple[tuple[str, ...], ...], arches: tuple[Arch, ...], **kwargs: Any) -> Any:
        from kata_bundle.plan.selection import Selection

        selection: Selection = Selection(shims=_flatten(shims), arches=arches)
        return function(*args, selection=selection, **kwargs)

    option = click.option(
        "--shim",
        "shims",
        multiple=True,
        required=True,
        type=Names(known_shims),
        metavar="SHIM[,SHIM…]",
        help='Shims to select, "default" for each architecture\'s defaults, or "all".',
    )
    return option(arch_option(wrapper))
