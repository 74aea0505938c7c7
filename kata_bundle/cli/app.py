"""What every command shares: options that mean the same everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.invocation import App
from kata_bundle.core.arch import Arch
from kata_bundle.core.profile import DEFAULT_PROFILE, Profile

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from kata_bundle.plan.selection import Selection

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
    "rules_option",
    "sandbox_option",
    "selection_options",
    "source_option",
    "store_option",
]


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


class GivenSources(click.ParamType[Any]):
    """Folders of sources as ``NAME=DIR``; the environment has one a line, since folders may hold any other character."""

    name = "source"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the word."""
        del param, ctx
        return value

    def split_envvar_value(self, rv: str) -> list[str]:
        """Return the lines that are not empty."""
        return [line.strip() for line in rv.splitlines() if line.strip()]


source_option = _option(
    "--source",
    target="sources",
    type=GivenSources(),
    multiple=True,
    metavar="NAME=DIR",
    envvar="KATA_BUNDLE_SOURCES",
    show_envvar=True,
    help="A folder for rules that use a source given by name, such as kata-containers=DIR.",
)
node_jobs_option = _option(
    "-j", "--jobs", target="jobs", type=click.IntRange(1, 256), metavar="N", help="Threads that unpack [default: 2]."
)
rules_option = click.option(
    "--rules",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Read the build rules there [default: the shipped ones].",
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
