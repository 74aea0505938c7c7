"""Options of every command that carries out actions: caches and executors on other machines, and the workshop they make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from kata_bundle.cli.app import PathName

if TYPE_CHECKING:
    from kata_bundle.build import Workshop
    from kata_bundle.cli.app import App

__all__ = ["NO_REMOTE", "RemoteChoice", "open_workshop", "remote_options"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteChoice:
    """What the options say; nothing of it was looked at yet."""

    caches: tuple[str, ...] = ()
    executor: str | None = None
    instance: str = ""
    upload: bool = True
    only: bool = False
    token_file: str | None = None
    ca_file: str | None = None


NO_REMOTE = RemoteChoice()
"""Everything on this machine."""


def remote_options(function: Any) -> Any:
    """Add the options; the command gets them as one ``remote``, a :class:`RemoteChoice`."""

    @wraps(function)
    def wrapper(
        *args: Any,
        remote_caches: tuple[str, ...],
        remote_executor: str | None,
        remote_instance: str,
        remote_upload: bool,
        remote_only: bool,
        remote_token_file: str | None,
        remote_ca: str | None,
        **kwargs: Any,
    ) -> Any:
        remote = RemoteChoice(
            caches=tuple(dict.fromkeys(url for url in remote_caches if url)),
            executor=remote_executor or None,
            instance=remote_instance,
            upload=remote_upload,
            only=remote_only,
            token_file=remote_token_file,
            ca_file=remote_ca,
        )
        return function(*args, remote=remote, **kwargs)

    for option in (
        click.option(
            "--remote-ca", metavar="FILE", type=PathName(exists=True, dir_okay=False),
            envvar="KATA_BUNDLE_REMOTE_CA", show_envvar=True, help="Trust the PEM roots in FILE too.",
        ),
        click.option(
            "--remote-token-file", metavar="FILE", type=PathName(exists=True, dir_okay=False),
            envvar="KATA_BUNDLE_REMOTE_TOKEN_FILE", show_envvar=True,
            help="Send the bearer token in FILE to grpcs:// servers [default: the one in KATA_BUNDLE_REMOTE_TOKEN].",
        ),
        click.option(
            "--remote-only", is_flag=True, envvar="KATA_BUNDLE_REMOTE_ONLY", show_envvar=True,
            help="Run no action on this machine, even when caches and executor fail.",
        ),
        click.option(
            "--remote-upload/--no-remote-upload", default=True, envvar="KATA_BUNDLE_REMOTE_UPLOAD", show_envvar=True,
            help="Give caches what was made here [default: yes].",
        ),
        click.option(
            "--remote-instance", metavar="NAME", default="", envvar="KATA_BUNDLE_REMOTE_INSTANCE", show_envvar=True,
            help="Instance on the grpc servers [default: the unnamed one].",
        ),
        click.option(
            "--remote-executor", metavar="URL", envvar="KATA_BUNDLE_REMOTE_EXECUTOR", show_envvar=True,
            help="Have actions carried out by the Remote Execution server grpc://HOST:PORT or grpcs://HOST.",
        ),
        click.option(
            "--remote-cache", "remote_caches", metavar="URL", multiple=True,
            envvar="KATA_BUNDLE_REMOTE_CACHE", show_envvar=True,
            help="Look for results of actions there before making them: grpc://HOST:PORT, grpcs://HOST or oci://HOST/REPOSITORY; "
            "may be given more than once.",
        ),
    ):  # fmt: skip
        wrapper = option(wrapper)
    return wrapper


def open_workshop(app: App, remote: RemoteChoice = NO_REMOTE) -> Workshop:
    """Return how actions are carried out by what the options say; nothing is connected yet.

    Raises :class:`UsageError` for addresses that are none and for ``--remote-only`` without anything remote.
    """
    from pathlib import Path

    from kata_bundle.build import Workshop
    from kata_bundle.build.sandbox import Backend
    from kata_bundle.core.errors import UsageError

    backend = Backend(app.sandbox)
    if not remote.caches and remote.executor is None:
        if remote.only:
            msg = "--remote-only without anything remote"
            raise UsageError(msg, hint="name a --remote-cache, a --remote-executor, or both")
        return Workshop(backend=backend)
    from kata_bundle.build.remote import Guarded, open_cache, open_executor

    ca_file = Path(remote.ca_file) if remote.ca_file else None
    servers = [url for url in (*remote.caches, remote.executor) if url is not None and not url.startswith("oci://")]
    token = None
    if servers:
        from kata_bundle.build.remote.settings import read_token

        token = read_token(Path(remote.token_file) if remote.token_file else None)
    registry = None
    if len(servers) < len(remote.caches) + (remote.executor is not None):
        from kata_bundle.oci.registry import RegistrySettings

        registry = RegistrySettings(ca_file=ca_file)
    caches = tuple(
        Guarded(open_cache(url, instance=remote.instance, token=token, ca_file=ca_file, registry=registry), upload=remote.upload)
        for url in remote.caches
    )
    executor = None
    if remote.executor is not None:
        executor = open_executor(remote.executor, instance=remote.instance, token=token, ca_file=ca_file)
    return Workshop(backend=backend, caches=caches, executor=executor, is_remote_only=remote.only, progress=app.progress)
