"""What is generated from the catalog, where a checkout keeps it, and whether a file still is what the catalog gives.

Must not know: the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import UsageError
from kata_bundle.generate.chart import render_chart
from kata_bundle.generate.chartschema import render_chart_schema
from kata_bundle.generate.chartvalues import render_chart_values
from kata_bundle.generate.defaultshims import render_default_shims
from kata_bundle.generate.nodefacts import render_node_facts
from kata_bundle.generate.releaselists import render_release_lists
from kata_bundle.generate.shimcomponents import render_component_map
from kata_bundle.generate.shimdocs import NOTE, render_shim_docs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kata_bundle.manifest.catalog import Catalog

__all__ = ["ARTEFACTS", "Artefact", "FileState", "compare_files", "read_existing", "write_files"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefact:
    """One thing generated: a file, or the files of a folder."""

    name: str
    render: Callable[[Catalog, Mapping[str, str]], Mapping[str, str]]
    """From the catalog and the texts there already to file name → text; a single file has the empty name."""
    home: str | None = None
    """Where a checkout keeps it, relative to its root; ``None``: nowhere."""
    is_folder: bool = False
    mark: str | None = None
    """How every file of the folder begins: a file that does and is no longer made is left over, any other is somebody's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileState:
    """A file compared with what the catalog gives."""

    path: Path
    state: str
    """``current``, ``changed``, ``missing`` or ``left over``."""
    line: int | None = None
    """The first line that differs, of a changed file."""

    def __str__(self) -> str:
        how = {"changed": f"differs from line {self.line} on", "missing": "is missing", "left over": "is no longer made"}
        return f"{self.path} {how.get(self.state, 'is current')}"


def _single(render: Callable[[Catalog], str]) -> Callable[[Catalog, Mapping[str, str]], Mapping[str, str]]:
    return lambda catalog, _existing: {"": render(catalog)}


ARTEFACTS: Final[Mapping[str, Artefact]] = {
    artefact.name: artefact
    for artefact in (
        Artefact(
            name="shim-components",
            home="manifests/shim-components.json",
            render=lambda catalog, existing: {"": render_component_map(catalog.component_map, existing.get(""))},
        ),
        Artefact(name="default-shims", render=_single(render_default_shims)),
        Artefact(name="release-lists", render=_single(render_release_lists)),
        Artefact(name="chart-values", render=_single(render_chart_values)),
        Artefact(name="chart-schema", render=_single(render_chart_schema)),
        Artefact(
            name="chart",
            home="charts/kata-bundle",
            is_folder=True,
            render=lambda catalog, _existing: render_chart(catalog),
        ),
        Artefact(name="node-facts", home="kata_bundle/node/facts.json", render=_single(render_node_facts)),
        Artefact(
            name="shim-docs",
            home="docs/shims",
            is_folder=True,
            mark=NOTE,
            render=lambda catalog, _existing: render_shim_docs(catalog),
        ),
    )
}
"""By name. RuntimeClasses depend on choices and have a command of their own."""


def read_existing(target: Path, *, is_folder: bool) -> dict[str, str]:
    """Return the texts at ``target`` by name within it (a single file: the empty name); what is not there is left out.

    Raises :class:`UsageError` when a file is where a folder should be or the reverse, and for a text that is not UTF-8.
    """
    try:
        if not is_folder:
            return {"": target.read_bytes().decode()}
        if not any(target.iterdir()):
            return {}
        found = sorted(path for path in target.rglob("*") if path.is_file())
        return {path.relative_to(target).as_posix(): path.read_bytes().decode() for path in found}
    except FileNotFoundError:
        return {}
    except (NotADirectoryError, IsADirectoryError):
        msg = f"{target} is a {'file' if is_folder else 'folder'}, expected a {'folder' if is_folder else 'file'}"
        raise UsageError(msg) from None
    except UnicodeDecodeError:
        msg = f"{target} holds a text that is not UTF-8"
        raise UsageError(msg) from None


def compare_files(
    target: Path, existing: Mapping[str, str], wanted: Mapping[str, str], *, mark: str | None = None
) -> tuple[FileState, ...]:
    """Return the state of every file of ``wanted`` below ``target``, and of every left-over one, by name."""
    states = []
    for name in sorted({*wanted, *existing}):
        path = target / name if name else target
        old, new = existing.get(name), wanted.get(name)
        if new is None:
            if mark is not None and old is not None and old.startswith(mark):
                states.append(FileState(path=path, state="left over"))
        elif old is None:
            states.append(FileState(path=path, state="missing"))
        else:
            states.append(FileState(path=path, state="current" if old == new else "changed", line=_first_difference(old, new)))
    return tuple(states)


def write_files(target: Path, states: tuple[FileState, ...], wanted: Mapping[str, str]) -> None:
    """Write every file of ``states`` that is not current, each replaced at once, and remove those left over."""
    from kata_bundle.core.fsops import write_atomic

    for state in states:
        if state.state == "left over":
            state.path.unlink()
        elif state.state != "current":
            state.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(
                state.path, wanted["" if state.path == target else state.path.relative_to(target).as_posix()].encode(), mode=0o644
            )


def _first_difference(old: str, new: str) -> int | None:
    if old == new:
        return None
    before, after = old.split("\n"), new.split("\n")
    return next((i for i, (a, b) in enumerate(zip(before, after, strict=False), 1) if a != b), min(len(before), len(after)) + 1)
