"""shim-components.json: shim → architecture → components, in upstream's own format.

The one manifest that a node reads too (the payload image carries it), so it lives below both the catalog and the installer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kata_bundle.core import canonical
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "COMPONENT_NAME",
    "FILE_NAME",
    "TARBALL_PREFIX",
    "TARBALL_SUFFIX",
    "ComponentMap",
    "Selected",
    "component_of_tarball",
    "tarball_name",
]

FILE_NAME = "shim-components.json"
TARBALL_PREFIX = "kata-static-"
TARBALL_SUFFIX = ".tar.zst"
COMPONENT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
"""What a component or shim may be called: the name becomes part of file names and annotations."""


def tarball_name(component: str) -> str:
    """Return the file name of ``component`` as a tarball: ``kata-static-<component>.tar.zst``."""
    return f"{TARBALL_PREFIX}{component}{TARBALL_SUFFIX}"


def component_of_tarball(file_name: str) -> str | None:
    """Return the component whose tarball is called ``file_name``, ``None`` when it is no tarball's name."""
    if not (file_name.startswith(TARBALL_PREFIX) and file_name.endswith(TARBALL_SUFFIX)):
        return None
    name = file_name[len(TARBALL_PREFIX) : -len(TARBALL_SUFFIX)]
    return name if COMPONENT_NAME.fullmatch(name) else None


@record
class Selected:
    """What a list of shims needs on one architecture."""

    components: tuple[str, ...]
    """Sorted, each once."""
    needed_by: Mapping[str, tuple[str, ...]]
    """Component → the shims that list it, in the order asked for."""
    shims_without_row: tuple[str, ...]
    """Shims the map has no row for on this architecture, in the order asked for."""


@record(kw_only=False)
class ComponentMap:
    """The parsed map. Architectures are kept as the text of the file: a map may know more of them than we do."""

    shims: Mapping[str, Mapping[str, tuple[str, ...]]]

    @classmethod
    def parse(cls, data: bytes | str, *, what: str = FILE_NAME) -> ComponentMap:
        """Return the map in ``data``; raise :class:`IntegrityError` naming ``what`` and the key that is wrong."""
        document = canonical.loads(data, what=what)
        shims = document.get("shims") if isinstance(document, dict) else None
        if not isinstance(shims, dict):
            msg = f'{what}: expected an object with the key "shims"'
            raise IntegrityError(msg)
        return cls({name: _rows(f"{what}: shims.{name}", row) for name, row in shims.items()})

    def components(self, shim: str, arch: str) -> tuple[str, ...] | None:
        """Return the components of a cell in file order, or ``None`` when the map has no such row."""
        return self.shims.get(shim, {}).get(arch)

    def cells(self) -> tuple[tuple[str, str], ...]:
        """Return all (shim, architecture) pairs in file order."""
        return tuple((shim, arch) for shim, row in self.shims.items() for arch in row)

    def select(self, shims: Iterable[str], arch: str) -> Selected:
        """Return the union of the component lists of ``shims`` on ``arch``."""
        needed: dict[str, list[str]] = {}
        missing: list[str] = []
        for shim in dict.fromkeys(shims):
            row = self.components(shim, arch)
            if row is None:
                missing.append(shim)
                continue
            for component in row:
                needed.setdefault(component, []).append(shim)
        return Selected(
            components=tuple(sorted(needed)),
            needed_by={name: tuple(needed[name]) for name in sorted(needed)},
            shims_without_row=tuple(missing),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the document in upstream's format."""
        return {"shims": {shim: {arch: list(names) for arch, names in row.items()} for shim, row in self.shims.items()}}


def _rows(where: str, row: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(row, dict):
        msg = f"{where}: expected an object of architecture to component list, found {type(row).__name__}"
        raise IntegrityError(msg)
    result: dict[str, tuple[str, ...]] = {}
    for arch, names in row.items():
        # A name becomes part of a file name (kata-static-<name>.tar.zst), so its alphabet is checked here, once.
        if not isinstance(names, list) or not all(isinstance(n, str) and COMPONENT_NAME.fullmatch(n) for n in names):
            msg = f"{where}.{arch}: expected a list of component names (lower-case letters, digits, '.', '_', '-')"
            raise IntegrityError(msg)
        result[arch] = tuple(names)
    return result
