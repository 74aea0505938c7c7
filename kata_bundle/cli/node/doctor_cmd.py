"""``kata-bundle node doctor``: everything that would keep an install on this host from working."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from kata_bundle.cli.app import App, json_option, pass_app, quiet_option

if TYPE_CHECKING:
    from kata_bundle.node.hostcheck import HostReport

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle node doctor
  kata-bundle node doctor --spec node.toml --json
  kata-bundle node doctor --root /proc/$PID/root"""
)
@click.option("--spec", metavar="FILE", type=click.Path(exists=True, dir_okay=False), help="Read this TOML or JSON file instead.")
@click.option("--arch", metavar="ARCH", help="Architecture of the node [default: this machine's].")
@click.option(
    "--root",
    metavar="DIR",
    default="/",
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="Directory that stands for the host's root.",
)
@json_option
@quiet_option
@pass_app
def command(app: App, spec: str | None, arch: str | None, root: str) -> int:
    """Check a host's prerequisites without changing anything, and name every problem with what to do about it.

    The configuration is read as "node config" reads it. Exits with 9 when there are problems.
    """
    from kata_bundle.cli.node.config_cmd import effective_config
    from kata_bundle.node.hostcheck.doctor import examine

    effective = effective_config(spec, arch, root)
    warnings = list(effective.warnings)
    report = examine(effective.config, root=root, warn=warnings.append)
    warnings += report.warnings
    document = {**report.to_dict(), "warnings": warnings}
    app.emit(document, lambda: _text(report, warnings))
    return 9 if report.problems else 0


def _text(report: HostReport, warnings: list[str]) -> str:
    from kata_bundle.cli.render import plural

    runtime = report.runtime.value if report.runtime is not None else "not known"
    lines = [f"container runtime: {runtime}" + (f" ({report.version})" if report.version else "")]
    for problem in report.problems:
        lines.append(f"problem: {problem.message}")
        if problem.hint:
            lines.append(f"  hint: {problem.hint}")
    lines += [f"warning: {warning}" for warning in warnings]
    lines.append(plural(len(report.problems), "problem") if report.problems else "no problems")
    return "\n".join(lines)
