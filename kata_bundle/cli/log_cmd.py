"""``kata-bundle log``: what the programs printed that made a component, or failed to."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import click

from kata_bundle.cli.app import (
    App,
    arch_option,
    json_option,
    manifests_option,
    pass_app,
    profile_option,
    quiet_option,
    rules_option,
    source_option,
    store_option,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kata_bundle.build import Rulebook, Target
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest
    from kata_bundle.store import Store

__all__ = ["command"]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Log:
    target: Target
    key: Digest
    action: Digest | None
    failed: Path | None
    """The kept work folder of the failure that it is of."""
    size_bytes: int
    open: Callable[[], BinaryIO]


@click.command(
    epilog="""\b
Examples:
  kata-bundle log rootfs-image --arch x86_64
  kata-bundle log kernel --arch aarch64 --failed | less"""
)
@click.argument("component")
@arch_option
@click.option("--failed", "only_failed", is_flag=True, help="Print the log of the newest failure, even when there is a result.")
@rules_option
@store_option
@manifests_option
@profile_option
@source_option
@json_option
@quiet_option
@pass_app
def command(app: App, component: str, arches: tuple[Arch, ...], only_failed: bool, rules: str | None) -> None:
    """Print what the programs printed that made COMPONENT, or found its result in the store or a cache.

    Without a result of today's rule, the log of the newest failure whose work folder is kept. Of a very long log the middle is
    left out.
    """
    from pathlib import Path

    from kata_bundle.build import Rulebook

    book = Rulebook.load(app.catalog(), Path(rules) if rules else None, profile=app.profile, given=app.given())
    targets = book.targets_of(component, arches)
    store = app.store(create=False)
    logs = [_find(book, store, target, only_failed=only_failed) for target in targets]
    if app.json:
        app.emit({"logs": [_document(log) for log in logs]}, str)
        return
    for log in logs:
        if log.failed is not None:
            app.say(f"{log.target.text}: of the failure whose work folder is {log.failed}")
        elif len(logs) > 1 or not log.size_bytes:
            app.say(f"{log.target.text}:{'' if log.size_bytes else ' its programs printed nothing'}")
        sys.stdout.flush()
        with log.open() as stream:
            while data := stream.read(1 << 16):
                sys.stdout.buffer.write(data)
        sys.stdout.flush()


def _find(book: Rulebook, store: Store, target: Target, *, only_failed: bool) -> _Log:
    from kata_bundle.core.errors import BuildError

    key = book.key(target)
    result = None if only_failed else store.result_record(key)
    if result is not None and result.log is not None and (size := store.size(result.log)) is not None:
        digest = result.log
        return _Log(target=target, key=key, action=result.action, failed=None, size_bytes=size, open=lambda: store.open(digest))
    folder = None if result is not None else _failure(store, target)
    if folder is not None:
        path = folder / "log"
        return _Log(
            target=target, key=key, action=None, failed=folder, size_bytes=path.stat().st_size, open=lambda: path.open("rb")
        )
    if result is not None and result.action is None:
        message = f"{target.text} was made without running programs of a rule, or by an earlier version: there is no log"
        raise BuildError(message)
    what = "no work folder of a failure is kept" if only_failed else "it was not made with today's rule, and no failure is kept"
    message = f"{target.text} has no log: {what}"
    raise BuildError(message, hint=f"kata-bundle build {target.component} --arch {target.arch.value}")


def _failure(store: Store, target: Target) -> Path | None:
    """Return the newest kept work folder of a failure of the target's action."""
    import re

    from kata_bundle.build.sandbox.execute import SANDBOXES

    parent = store.root / SANDBOXES
    name = re.compile(re.escape(f"{target.component}-{target.arch.value}"[:60]) + r"-[a-z0-9_]{8}")
    found = [
        path for path in (parent.iterdir() if parent.is_dir() else ()) if name.fullmatch(path.name) and (path / "log").is_file()
    ]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _document(log: _Log) -> dict[str, object]:
    with log.open() as stream:
        text = stream.read().decode("utf-8", "replace")
    return {
        "component": log.target.component,
        "arch": log.target.arch.value,
        "key": log.key,
        "action": log.action,
        "failed": log.failed is not None,
        "folder": None if log.failed is None else str(log.failed),
        "size_bytes": log.size_bytes,
        "text": text,
    }
