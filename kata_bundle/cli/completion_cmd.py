"""``kata-bundle completion``: the script that teaches a shell to complete our commands, shims and architectures."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command(
    epilog="""\b
Examples:
  kata-bundle completion bash > ~/.local/share/bash-completion/completions/kata-bundle
  kata-bundle completion zsh > ~/.zfunc/_kata-bundle
  kata-bundle completion fish > ~/.config/fish/completions/kata-bundle.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL."""
    from kata_bundle.cli.root import command as root

    found = get_completion_class(shell)
    if found is None:  # pragma: no cover - the choice above lists click's own shells
        msg = f"click knows no shell {shell}"
        raise click.UsageError(msg)
    click.echo(found(root, {}, "kata-bundle", "_KATA_BUNDLE_COMPLETE").source())
