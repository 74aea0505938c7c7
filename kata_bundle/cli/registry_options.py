"""Options of every command that talks to registries, and the client they make."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import PathName

if TYPE_CHECKING:
    from kata_bundle.cli.app import App
    from kata_bundle.oci.registry import Reference, RegistryClient, RegistrySettings

__all__ = ["open_client", "parse_remote", "registry_jobs", "registry_options"]

_USUAL_JOBS = 4


def registry_options(function: Any) -> Any:
    """Add the options; the command gets them as one ``registry``, a ``RegistrySettings``."""

    @wraps(function)
    def wrapper(
        *args: Any, plain_http: bool, ca_file: str | None, auth_file: str | None, token_hosts: tuple[str, ...], **kwargs: Any
    ) -> Any:
        from pathlib import Path

        from kata_bundle.oci.registry import RegistrySettings

        settings = RegistrySettings(
            plain_http=plain_http,
            ca_file=Path(ca_file) if ca_file else None,
            auth_file=Path(auth_file) if auth_file else None,
            token_hosts=frozenset(token_hosts),
        )
        return function(*args, registry=settings, **kwargs)

    for option in (
        click.option(
            "--token-host", "token_hosts", metavar="HOST", multiple=True,
            help="Send a login to the token service on HOST too, when the registry names it.",
        ),
        click.option(
            "--auth-file", metavar="FILE", type=PathName(exists=True, dir_okay=False),
            help="Read logins from this config.json only [default: Docker's and the container tools' files].",
        ),
        click.option(
            "--ca-file", metavar="FILE", type=PathName(exists=True, dir_okay=False),
            help="Trust the PEM roots in FILE too.",
        ),
        click.option("--plain-http", is_flag=True, help="Speak HTTP without TLS [default: to this machine only]."),
    ):  # fmt: skip
        wrapper = option(wrapper)
    return wrapper


def open_client(app: App, settings: RegistrySettings) -> RegistryClient:
    """Return a client that reports progress as the command does; use it as a context."""
    from kata_bundle.oci.registry import RegistryClient

    return RegistryClient(settings, progress=app.progress)


def registry_jobs(app: App) -> int:
    """Return how many transfers run at a time: ``--jobs``, else a few whatever the processors, since they mostly wait."""
    return app.jobs or _USUAL_JOBS


def parse_remote(text: str) -> Reference:
    """Return the reference in ``text``; raise :class:`UsageError` for a path or anything else."""
    from kata_bundle.oci.registry import parse_reference

    return parse_reference(text)
