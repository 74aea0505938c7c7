"""One invocation: output form, progress, the store; and what is written to a terminal.

Must not know: how a command line is parsed. Click is not imported here, so that a plain install need not pay for it.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.profile import DEFAULT_PROFILE, Profile
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kata_bundle.core.events import Progress
    from kata_bundle.manifest.catalog import Catalog
    from kata_bundle.store import Store

__all__ = ["App", "write"]


def write(text: str, *, to_people: bool = False) -> None:
    """Write ``text`` to standard output, or to standard error when it is words for people."""
    stream = sys.stderr if to_people else sys.stdout
    stream.write(text)
    stream.flush()


@record(kw_only=False, frozen=False)
class App:
    """State of one invocation. Data goes to standard output, words for people to standard error."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    dry_run: bool = False
    jobs: int = 0
    store_path: str | None = None
    sandbox: str = "bubblewrap"
    manifests: str | None = None
    profile: Profile = DEFAULT_PROFILE
    sources: tuple[str, ...] = ()
    _progress: Any = None

    def emit(self, document: object, text: Callable[[], str]) -> None:
        """Print a result: ``document`` as JSON with ``--json``, else the text that ``text()`` renders."""
        write(self.rendered(document, text))

    def rendered(self, document: object, text: Callable[[], str]) -> str:
        """Return what :meth:`emit` prints."""
        if self.json:
            from kata_bundle.core.canonical import dumps_pretty

            return dumps_pretty(document)
        return text().rstrip("\n") + "\n"

    def say(self, message: str) -> None:
        """Tell the person one line (standard error); silent with ``--quiet``."""
        if not self.quiet:
            if self._progress is not None:
                self._progress.note(message)
            else:
                write(f"{message}\n", to_people=True)

    @property
    def progress(self) -> Progress:
        """Progress bars on a terminal; without one only the lines that work notes; nothing with ``--quiet``."""
        if self.quiet:
            return NO_PROGRESS
        if self._progress is None:
            from kata_bundle.cli.progress import LineProgress, TerminalProgress

            self._progress = TerminalProgress() if sys.stderr.isatty() else LineProgress()
        progress: Progress = self._progress
        return progress

    def close(self) -> None:
        """End a live progress display, so that what is printed next stands on lines of its own."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    @property
    def job_count(self) -> int:
        """Number of worker threads: ``--jobs``, else the processors this process may use."""
        return self.jobs or len(os.sched_getaffinity(0))

    def given(self) -> Mapping[str, Path]:
        """Return the folders of ``--source`` by name; raises like :func:`parse_given`."""
        if not self.sources:
            return {}
        from kata_bundle.build.checkouts import parse_given

        return parse_given(self.sources)

    def catalog(self) -> Catalog:
        """Return the catalog of ``--manifests`` (default: the shipped one); findings of severity error stop the command."""
        from pathlib import Path

        from kata_bundle.cli.render import findings_text
        from kata_bundle.core.errors import FindingsError
        from kata_bundle.manifest import load_catalog

        catalog, report = load_catalog(Path(self.manifests) if self.manifests else None)
        if catalog is None:
            write(f"{findings_text(report)}\n", to_people=True)
            message = f"the manifests have {report.errors} error(s)"
            raise FindingsError(message, hint="kata-bundle check shows them with their places")
        return catalog

    def store(self, *, create: bool = True, hold: bool = True) -> Store:
        """Return the store of ``--store``, else the default one; with ``--dry-run`` or without ``create`` none is made.

        A store that may be written to is freed of what killed writers left and, with ``hold``, kept from collectors until the
        command ends.
        """
        from pathlib import Path

        from kata_bundle.store import Store

        is_writable = create and not self.dry_run
        store = Store(Path(self.store_path) if self.store_path else Store.default_root(), create=is_writable)
        if is_writable:
            if hold:
                store.hold()
            store.sweep()
        return store
