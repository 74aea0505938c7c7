"""``kata-bundle check``: validate all manifests and report every finding at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, json_option, manifests_option, pass_app, quiet_option
from kata_bundle.cli.upstream_check import UpstreamChoice, check_upstream, tree_rules, upstream_options

if TYPE_CHECKING:
    from kata_bundle.manifest.load import Loaded

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle check
  kata-bundle check --manifests my-manifests/ --format json
  kata-bundle check --upstream ../kata-containers
  kata-bundle check --upstream --git kata-containers.git --rev my-branch --since main
  kata-bundle check --explain KB204"""
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default=None, help="Form of the report [default: text].")
@click.option("--explain", "code", metavar="CODE", help="Say what a finding's code means, and check nothing.")
@upstream_options
@manifests_option
@json_option
@quiet_option
@pass_app
def command(app: App, form: str | None, code: str | None, upstream: UpstreamChoice | None) -> None:
    """Validate all manifests; report every finding at once with its place. Exit with 3 when one is an error."""
    if code is not None:
        app.json = app.json or form == "json"
        _explain(app, code)
        return
    if upstream is not None:
        check_upstream(app, upstream, form)
        return
    from kata_bundle.cli.render import findings_text, plural
    from kata_bundle.core.errors import FindingsError
    from kata_bundle.core.resources import shipped
    from kata_bundle.manifest.load import load_manifests

    loaded = load_manifests(Path(app.manifests) if app.manifests else None, build_rules=shipped("buildrules"))
    report = loaded.report
    if app.json or form == "json":
        app.json = True
        app.emit(_document(loaded), str)
    elif len(report):
        click.echo(findings_text(report))
    if report.errors:
        counts = plural(report.errors, "error") + (f" and {plural(report.warnings, 'warning')}" if report.warnings else "")
        message = f"the manifests have {counts}"
        raise FindingsError(message, hint="kata-bundle check --explain CODE says more about a finding")
    app.say(_summary(loaded))


def _document(loaded: Loaded) -> dict[str, Any]:
    report = loaded.report
    return {
        "version": 1,
        "errors": report.errors,
        "warnings": report.warnings,
        "findings": [finding.to_dict() for finding in report],
        "accepted": [finding.to_dict() for finding in loaded.accepted],
    }


def _summary(loaded: Loaded) -> str:
    from kata_bundle.cli.render import plural

    found = [plural(loaded.report.warnings, "warning")] if loaded.report.warnings else ["no findings"]
    if loaded.accepted_findings:
        found.append(f"{len(loaded.accepted_findings)} accepted")
    manifests = loaded.manifests
    counts = (
        plural(loaded.documents, "document"),
        plural(len(manifests.shims.model.shims), "shim"),
        plural(len(manifests.components.model.components), "component"),
        plural(len(manifests.cells()), "cell"),
    )
    return f"{', '.join(counts)}: {', '.join(found)}"


def _explain(app: App, code: str) -> None:
    from kata_bundle.core.diagnostics import did_you_mean
    from kata_bundle.core.errors import UsageError
    from kata_bundle.manifest.rules import REGISTRY

    rules = {**REGISTRY, **tree_rules()}
    rule = rules.get(code.upper())
    if rule is None:
        message = f'no finding has the code "{code}"'
        raise UsageError(message, hint=did_you_mean(code.upper(), rules) or f"codes: {', '.join(sorted(rules))}")
    document = {
        "code": rule.code,
        "title": rule.title,
        "severity": rule.severity.value,
        "acceptable": rule.acceptable,
        "explanation": rule.explanation,
    }
    accept = "\n\nIt can be accepted, with a reason, in ignores.toml." if rule.acceptable else ""
    app.emit(document, lambda: f"{rule.code}: {rule.title} ({rule.severity})\n\n{rule.explanation}{accept}")
