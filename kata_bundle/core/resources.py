"""Where the shipped data is: inside the installed package, or the repository's own folders in a checkout."""

from __future__ import annotations

from pathlib import Path

from kata_bundle.core.errors import BundleError

__all__ = ["shipped"]


def shipped(folder: str) -> Path:
    """Return the path of shipped ``folder`` (``manifests``, ``schemas`` or ``buildrules``).

    Raises :class:`BundleError` when the installation lacks it.
    """
    package = Path(__file__).resolve().parent.parent
    for candidate in (package / "data" / folder, package.parent / folder):
        if candidate.is_dir():
            return candidate
    msg = f'the installation lacks its "{folder}" folder'
    raise BundleError(msg, hint="install kata-bundle again")
