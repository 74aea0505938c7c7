"""The devkit: a guest extension image with tools, added for devkit variants (installer specification §12.3).

Must not know which directory a drop-in goes to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kata_bundle.core.relpath import RelPath
from kata_bundle.node.kata.configfile import lookup
from kata_bundle.node.kata.prefix import moved

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["COMPONENT", "IMAGE", "ROOT_HASH", "devkit_values", "first_line", "read_extensions"]

COMPONENT: Final = "rootfs-image-devkit-extension"
IMAGE: Final = RelPath("share/kata-containers/kata-containers-devkit-extension.img")
ROOT_HASH: Final = RelPath("share/kata-containers/root_hash_devkit-extension.txt")

_NAME: Final = "devkit"
_KEY: Final = "guest_extension_images"


def read_extensions(base: Mapping[str, Any], section: str) -> list[dict[str, str]]:
    """Return the guest extensions of a configuration in order: name, path, and verity parameters where it has them.

    Entries without name or path, and any devkit, are left out.
    """
    entries = lookup(base, "hypervisor", section, _KEY)
    found = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        texts = {key: entry[key] for key in ("name", "path", "verity_params") if isinstance(entry.get(key), str)}
        if texts.get("name") and texts.get("path") and texts["name"] != _NAME:
            found.append(texts)
    return found


def devkit_values(
    section: str, existing: Iterable[Mapping[str, str]], image: str, verity: str | None, *, dest: str
) -> dict[str, Any]:
    """Return the drop-in's data: the debug console, and all extensions with the devkit ``image`` (absolute) last.

    All are listed, because a drop-in replaces an array; paths of ``existing`` ones follow the install to ``dest``.
    """
    extensions = [{key: moved(text, dest) for key, text in entry.items()} for entry in existing]
    extensions.append({"name": _NAME, "path": image, **({} if verity is None else {"verity_params": verity})})
    return {"agent": {"kata": {"debug_console_enabled": True}}, "hypervisor": {section: {_KEY: extensions}}}


def first_line(data: bytes) -> str | None:
    """Return the first line of ``data`` that is not blank, trimmed; ``None`` when there is none or it is no text."""
    try:
        lines = [line.strip() for line in data.decode().splitlines()]
    except UnicodeDecodeError:
        return None
    return next((line for line in lines if line), None)
