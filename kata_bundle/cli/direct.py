"""A plainly spelled ``install`` of a folder, carried out without a command line library, whose import takes a tenth of its time.

Takes what ``cli.quick`` can read and the real parser would accept; everything else, right or wrong, is left to that. A test
compares words, exit codes and trees. Must not know: what an install does.
"""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

from kata_bundle.cli.quick import MOST_KEPT, is_path, plain_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kata_bundle.cli.quick import Settings

__all__ = ["install", "is_direct"]


def install(arguments: Sequence[str]) -> int | None:
    """Carry out ``install`` with ``arguments`` and return the exit code; ``None`` when that is not for here."""
    settings = plain_settings(arguments)
    if settings is None or not is_direct(settings):
        return None
    # Nothing that imports make is garbage: looking for some, again and again, takes a fifth of their time.
    gc.disable()
    from pathlib import Path

    import kata_bundle.archive.extract
    import kata_bundle.node.install
    import kata_bundle.oci.bundle  # noqa: F401 - what the work will import
    from kata_bundle.cli.ending import concluded
    from kata_bundle.cli.installing import Choices, run_install
    from kata_bundle.cli.invocation import App
    from kata_bundle.node.source import open_source

    gc.freeze()
    gc.enable()
    app = App(json=settings.json, quiet=settings.quiet)
    place = Path(settings.bundle)
    try:
        run_install(app, open_source(place), place, settings, Choices())
        app.close()
    except (Exception, KeyboardInterrupt) as error:
        return concluded(app, error)
    return 0


def is_direct(settings: Settings) -> bool:
    """Return whether the command would take these settings, without configuration, from a folder."""
    bundle, root = settings.bundle, settings.root
    is_simple = settings.spec is None and settings.runtime is None and settings.keep <= MOST_KEPT
    return is_simple and is_path(bundle) and os.path.isdir(bundle) and (os.path.isdir(root) or not os.path.lexists(root))
