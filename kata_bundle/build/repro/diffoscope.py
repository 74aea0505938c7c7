"""What diffoscope says of two folders: an optional program that looks into archives, images and executables.

Must not know: stores, rules.
"""

from __future__ import annotations

import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import HostError
from kata_bundle.core.process import base_environment, run_logged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["explain_difference", "find_diffoscope"]

_SHOWN: Final = 64 << 10
_TIMEOUT_S: Final = 900.0


def find_diffoscope() -> str:
    """Return the program's path; raise :class:`HostError` saying how to get it."""
    found = shutil.which("diffoscope")
    if found is None:
        msg = 'program "diffoscope" is not installed'
        raise HostError(msg, hint="apt-get install diffoscope-minimal, or leave out --diffoscope")
    return found


def explain_difference(
    program: str, first: Path, second: Path, *, is_cancelled: Callable[[], bool] = lambda: False, limit_bytes: int = _SHOWN
) -> str:
    """Return what diffoscope prints of two folders, at most ``limit_bytes`` of it; with a line when it does not end."""
    argv = [program, "--text", "-", "--max-text-report-size", str(limit_bytes), "--exclude-directory-metadata=yes"]
    with tempfile.TemporaryFile() as log:
        status = run_logged(
            [*argv, str(first), str(second)],
            log=log,
            env=base_environment(),
            cwd=first.parent,
            timeout_s=_TIMEOUT_S,
            is_cancelled=is_cancelled,
        )
        log.seek(0)
        text = log.read(limit_bytes + 1).decode("utf-8", "replace")
    if status is None:
        return f"{text}\n(diffoscope did not end within {_TIMEOUT_S:g} s)"
    if len(text.encode()) > limit_bytes:
        text = text[:limit_bytes] + "\n(cut here)"
    return text if status in {0, 1} else f"{text}\n(diffoscope failed with exit code {status})"
