"""Command groups that know their commands by name and help line, and import one only when it runs."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LazyCommand", "LazyGroup"]


class LazyCommand(NamedTuple):
    """A command not imported yet: the module that has it as ``command``, its one help line, its section in the help."""

    module: str
    short_help: str
    section: str = "Commands"


class LazyGroup(click.Group):
    """A group over a table of :class:`LazyCommand`; help and completion read the table alone."""

    def __init__(self, *args: Any, table: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in table order."""
        del ctx
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, ``None`` for an unknown name."""
        del ctx
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        command = import_module(entry.module).command
        if not isinstance(command, click.Command):  # pragma: no cover - a programming error caught by the table test
            msg = f"{entry.module} has no click command"
            raise TypeError(msg)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, adding a suggestion to the error for an unknown name."""
        if args and args[0] not in self.table and not args[0].startswith("-"):
            from kata_bundle.core.diagnostics import did_you_mean

            hint = did_you_mean(args[0], self.table)
            ctx.fail(f'no such command "{args[0]}"' + (f"; {hint}" if hint else f"; see {ctx.command_path} --help"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section from the table."""
        del ctx
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.table.items():
            sections.setdefault(entry.section, []).append((name, entry.short_help))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete command names from the table without importing them, and options as click does."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(n, help=e.short_help) for n, e in self.table.items() if n.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)
