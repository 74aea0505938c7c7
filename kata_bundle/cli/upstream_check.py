"""``kata-bundle check --upstream``: check an upstream tree instead of our own manifests.

Options and words of that form; what it does is in ``manifest.upstream``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.cli.app import App
    from kata_bundle.core.diagnostics import Report
    from kata_bundle.manifest.rules import Rule
    from kata_bundle.manifest.upstream.check import Checked
    from kata_bundle.manifest.upstream.source import Files

__all__ = ["UpstreamChoice", "check_upstream", "tree_rules", "upstream_options"]

_WITHOUT_PATH = "\0"
"""What ``--upstream`` gives when no path follows; no path can be that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamChoice:
    """Which tree to check: a folder, or a revision of a repository; and the revision whose findings are left out."""

    folder: str | None
    repository: str | None
    revision: str
    since: str | None
    ask_make: bool


def upstream_options(function: Any) -> Any:
    """Add the options that choose an upstream tree; the command gets ``upstream``, ``None`` without ``--upstream``."""
    for decorate in (
        click.option(
            "--eval-make",
            "ask_make",
            is_flag=True,
            help="With --upstream: ask make itself for values, in a sandbox without network (needs bwrap).",
        ),
        click.option(
            "--since",
            metavar="REV",
            help="With --upstream: report only what revision REV of the same repository did not have.",
        ),
        click.option("--rev", metavar="REV", help="With --git: the revision to read [default: HEAD]."),
        click.option(
            "--git",
            "repository",
            metavar="REPO",
            type=click.Path(exists=True, file_okay=False),
            help="With --upstream: read a revision of this git repository, which may be bare.",
        ),
        click.option(
            "--upstream",
            "folder",
            metavar="[PATH]",
            is_flag=False,
            flag_value=_WITHOUT_PATH,
            help="Check the upstream checkout at PATH instead of our own manifests; nothing of it is executed.",
        ),
    ):
        function = decorate(function)
    return _with_choice(function)


def _with_choice(function: Callable[..., Any]) -> Callable[..., Any]:
    from functools import wraps

    @wraps(function)
    def command(
        *arguments: Any,
        folder: str | None,
        repository: str | None,
        rev: str | None,
        since: str | None,
        ask_make: bool,
        **others: Any,
    ) -> Any:
        if folder is None and (repository is not None or rev is not None or since is not None or ask_make):
            message = "--git, --rev, --since and --eval-make are about an upstream tree: give --upstream too"
            raise click.UsageError(message)
        if folder is None:
            return function(*arguments, upstream=None, **others)
        if "" in (folder, repository):
            message = "an empty path names no tree"
            raise click.UsageError(message)
        path = None if folder == _WITHOUT_PATH else folder
        if path is not None and repository is not None:
            message = "give --upstream a path, or --git a repository, not both"
            raise click.UsageError(message)
        if path is None and repository is None:
            message = "--upstream needs the path of a checkout, or --git with a repository"
            raise click.UsageError(message)
        if rev is not None and repository is None:
            message = "--rev names a revision of the repository that --git names"
            raise click.UsageError(message)
        choice = UpstreamChoice(folder=path, repository=repository, revision=rev or "HEAD", since=since, ask_make=ask_make)
        return function(*arguments, upstream=choice, **others)

    return command


def tree_rules() -> dict[str, Rule]:
    """Return the rules for upstream trees by code, to be explained beside our own."""
    from kata_bundle.manifest.upstream.rules import TREE_RULES

    return dict(TREE_RULES)


def check_upstream(app: App, choice: UpstreamChoice, form: str) -> None:
    """Check the chosen tree and show what was found as ``form``; raise :class:`FindingsError` when something is an error."""
    from kata_bundle.cli.render import plural
    from kata_bundle.core.errors import FindingsError
    from kata_bundle.manifest.upstream.check import check_tree, new_findings, relocated

    checked = check_tree(_files(choice), ask_make=choice.ask_make)
    report = checked.report
    if choice.since is not None:
        report = new_findings(checked, check_tree(_since(choice, choice.since), ask_make=choice.ask_make))
    report = relocated(report, _prefix(choice))
    _render(app, form, report, choice)
    news = f" that {choice.since} did not have" if choice.since is not None else ""
    if report.errors:
        counts = plural(report.errors, "error") + (f" and {plural(report.warnings, 'warning')}" if report.warnings else "")
        message = f"the tree has {counts}{news}"
        raise FindingsError(message, hint="kata-bundle check --explain CODE says more about a finding")
    found = plural(report.warnings, "warning") if report.warnings else "no findings"
    app.say(f"{_summary(checked)}: {found}{news}")


def _render(app: App, form: str, report: Report, choice: UpstreamChoice) -> None:
    if form == "json":
        app.json = True
        app.emit(_document(report, choice), str)
    elif form == "text":
        from kata_bundle.cli.render import findings_text

        if len(report):
            click.echo(findings_text(report))
    else:
        from kata_bundle import __version__
        from kata_bundle.cli.reports import github_text, junit_text, sarif_document
        from kata_bundle.core.canonical import dumps_pretty
        from kata_bundle.manifest.rules import REGISTRY

        rules = {**REGISTRY, **tree_rules()}
        if form == "sarif":
            click.echo(dumps_pretty(sarif_document(report, rules, version=__version__, accepted=[])), nl=False)
        elif form == "junit":
            click.echo(junit_text(report, rules))
        elif len(report):
            click.echo(github_text(report))


def _files(choice: UpstreamChoice) -> Files:
    from kata_bundle.manifest.upstream.source import DirectoryFiles, GitFiles, git_directory

    if choice.folder is not None:
        return DirectoryFiles(Path(choice.folder))
    return GitFiles.open(git_directory(Path(choice.repository or ".")), choice.revision)


def _since(choice: UpstreamChoice, revision: str) -> Files:
    from kata_bundle.manifest.upstream.source import GitFiles, git_directory

    return GitFiles.open(git_directory(Path(choice.folder or choice.repository or ".")), revision)


def _prefix(choice: UpstreamChoice) -> str:
    """Return what to put before paths: the checkout as the person named it, nothing where that is the working directory."""
    if choice.folder is None or Path(choice.folder).resolve() == Path.cwd():
        return ""
    return choice.folder.rstrip("/")


def _document(report: Report, choice: UpstreamChoice) -> dict[str, Any]:
    return {
        "version": 1,
        "revision": None if choice.folder is not None else choice.revision,
        "since": choice.since,
        "errors": report.errors,
        "warnings": report.warnings,
        "not_understood": sum(finding.code.startswith("KB9") for finding in report),
        "findings": [finding.to_dict() for finding in report],
    }


def _summary(checked: Checked) -> str:
    from kata_bundle.cli.render import plural

    tree = checked.tree
    configurations = sum(len(build.configurations) for build in tree.runtimes.values())
    counts = [
        plural(len(tree.shims()), "shim"),
        plural(len(tree.cells), "cell") if tree.cells is not None else "no component map",
        plural(configurations, "configuration"),
        plural(len(tree.matrices), "matrix").replace("matrixs", "matrices"),
    ]
    return ", ".join(counts)
