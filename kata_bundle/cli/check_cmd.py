"""``kata-bundle check``: validate all manifests and report every finding at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import App, dry_run_option, json_option, manifests_option, pass_app, quiet_option
from kata_bundle.cli.upstream_check import UpstreamChoice, check_upstream, tree_rules, upstream_options

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.load import Loaded

__all__ = ["command"]

FORMS = ("text", "json", "sarif", "github", "junit")


@click.command(
    epilog="""\b
Examples:
  kata-bundle check
  kata-bundle check --manifests my-manifests/ --format sarif >findings.sarif
  kata-bundle check --fix --dry-run
  kata-bundle check --weigh out/
  kata-bundle check --upstream ../kata-containers
  kata-bundle check --upstream --git kata-containers.git --rev my-branch --since main
  kata-bundle check --explain KB204"""
)
@click.option("--format", "form", type=click.Choice(FORMS), default=None, help="Form of the report [default: text].")
@click.option("--fix", is_flag=True, help="Repair what needs no judgement, then check; with --dry-run only show the changes.")
@click.option("--explain", "code", metavar="CODE", help="Say what a finding's code means, and check nothing.")
@click.option(
    "--weigh", "bundle", metavar="BUNDLE", type=click.Path(exists=True, file_okay=False),
    help="Compare the layers of a bundle with the declared size budgets, too.",
)  # fmt: skip
@upstream_options
@manifests_option
@dry_run_option
@json_option
@quiet_option
@pass_app
def command(app: App, form: str | None, fix: bool, code: str | None, bundle: str | None, upstream: UpstreamChoice | None) -> None:
    """Validate all manifests; report every finding at once with its place. Exit with 3 when one is an error."""
    if code is not None:
        app.json = app.json or form == "json"
        _explain(app, code)
        return
    if upstream is not None:
        if fix:
            message = "--fix repairs our own manifests only"
            raise click.UsageError(message)
        if bundle is not None:
            message = "--weigh is about our own manifests: an upstream tree declares no budgets"
            raise click.UsageError(message)
        check_upstream(app, upstream, "json" if app.json else form or "text")
        return
    from kata_bundle.cli.render import plural
    from kata_bundle.core.errors import FindingsError

    loaded = _load(app, bundle)
    if fix:
        if app.dry_run:
            app.emit(*_planned(loaded))
            return
        loaded = _repaired(app, loaded, bundle)
    report = loaded.report
    _render(app, "json" if app.json else form or "text", loaded)
    if report.errors:
        counts = plural(report.errors, "error") + (f" and {plural(report.warnings, 'warning')}" if report.warnings else "")
        message = f"the manifests have {counts}"
        raise FindingsError(message, hint="kata-bundle check --explain CODE says more about a finding")
    app.say(_summary(loaded))


def _load(app: App, bundle: str | None) -> Loaded:
    from kata_bundle.core.resources import shipped
    from kata_bundle.manifest.load import load_manifests

    folder = Path(app.manifests) if app.manifests else None
    weights = None if bundle is None else _weights(Path(bundle))
    return load_manifests(folder, build_rules=shipped("buildrules"), weights=weights)


def _weights(bundle: Path) -> dict[tuple[str, Arch], int]:
    from kata_bundle.oci.bundle import open_bundle

    opened = open_bundle(bundle)
    return {
        (name, arch): layer.packed_size_bytes for arch in opened.arches() for name, layer in opened.index(arch).layers.items()
    }


def _render(app: App, form: str, loaded: Loaded) -> None:
    report = loaded.report
    if form == "text":
        from kata_bundle.cli.render import findings_text

        if len(report):
            click.echo(findings_text(report))
        return
    if form == "json":
        app.json = True
        app.emit(_document(loaded), str)
        return
    from kata_bundle import __version__
    from kata_bundle.cli.reports import github_text, junit_text, sarif_document
    from kata_bundle.core.canonical import dumps_pretty
    from kata_bundle.manifest.rules import REGISTRY

    if form == "sarif":
        accepted = [(found.finding(), found.reason or "") for found in loaded.accepted_findings]
        click.echo(dumps_pretty(sarif_document(report, REGISTRY, version=__version__, accepted=accepted)), nl=False)
    elif form == "junit":
        click.echo(junit_text(report, REGISTRY))
    elif len(report):
        click.echo(github_text(report))


def _changed(loaded: Loaded) -> dict[str, tuple[str, str, int]]:
    """Return, by path, the text before and after repairs and how many findings they repair."""
    from kata_bundle.manifest.fixes import fix_text

    report = loaded.report
    changed = {}
    for path in sorted({finding.span.path for finding in report}):
        text = report.source(path)
        fixed = None if text is None else fix_text(path, text, report)
        if text is not None and fixed is not None and fixed.findings:
            changed[path] = (text, fixed.text, len(fixed.findings))
    return changed


def _planned(loaded: Loaded) -> tuple[dict[str, Any], Any]:
    import difflib

    changed = _changed(loaded)
    lines = [
        line
        for path, (before, after, _) in changed.items()
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm="")
    ]
    document = {"files": {path: {"repaired": count} for path, (_, _, count) in changed.items()}, "diff": "\n".join(lines)}
    return document, lambda: "\n".join(lines) or "nothing to repair"


def _repaired(app: App, loaded: Loaded, bundle: str | None) -> Loaded:
    from kata_bundle.core.fsops import write_atomic

    count, files = 0, set()
    for _ in range(16):  # each round can uncover what a repaired mistake hid
        changed = _changed(loaded)
        if not changed:
            break
        for path, (_before, after, repaired) in changed.items():
            write_atomic(Path(path), after.encode())
            files.add(path)
            count += repaired
        loaded = _load(app, bundle)
    from kata_bundle.cli.render import plural

    app.say(f"{plural(count, 'finding')} repaired in {plural(len(files), 'file')}" if count else "nothing to repair")
    return loaded


def _document(loaded: Loaded) -> dict[str, Any]:
    report = loaded.report
    return {
        "version": 1,
        "errors": report.errors,
        "warnings": report.warnings,
        "findings": [finding.to_dict() for finding in report],
        "accepted": [found.finding().to_dict() | {"reason": found.reason} for found in loaded.accepted_findings],
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
    from kata_bundle.manifest.fixes import FIXABLE
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
        "repairable": rule.code in FIXABLE,
        "explanation": rule.explanation,
    }
    more = "\n\nIt can be accepted, with a reason, in ignores.toml." if rule.acceptable else ""
    if rule.code in FIXABLE:
        more += "\n\nkata-bundle check --fix repairs it where that needs no judgement."
    app.emit(document, lambda: f"{rule.code}: {rule.title} ({rule.severity})\n\n{rule.explanation}{more}")
