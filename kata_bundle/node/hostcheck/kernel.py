"""Which features the running kernel has, from what it shows of itself (installer specification §20.1, D31).

The decision is pure; :func:`read_kernel` gathers what it needs. Must not know: who needs a feature.
"""

from __future__ import annotations

import gzip
import os
import zlib
from enum import Enum
from typing import TYPE_CHECKING

from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Feature", "KernelFacts", "has_feature", "read_kernel"]

_MAX_CONFIG = 4 << 20


class Feature(Enum):
    """A feature: the name of its module, and of the symbol that builds it in."""

    EROFS = ("erofs", "CONFIG_EROFS_FS")
    DEVICE_MAPPER = ("dm_mod", "CONFIG_BLK_DEV_DM")
    DM_VERITY = ("dm_verity", "CONFIG_DM_VERITY")
    FS_VERITY = ("fsverity", "CONFIG_FS_VERITY")

    @property
    def title(self) -> str:
        """The feature for people."""
        return {
            Feature.EROFS: "erofs",
            Feature.DEVICE_MAPPER: "device-mapper",
            Feature.DM_VERITY: "dm-verity",
            Feature.FS_VERITY: "fs-verity",
        }[self]

    @property
    def module(self) -> str:
        """Name of its module, with underscores."""
        return self.value[0]

    @property
    def symbol(self) -> str:
        """Kernel configuration symbol that builds it in."""
        return self.value[1]


@record
class KernelFacts:
    """What the kernel shows of itself.

    Names below ``/sys/module``, the text of ``/proc/modules``, the lines of its configuration, and the names of modules that can
    be loaded into it (from ``modules.dep`` and ``modules.builtin``).
    """

    release: str = ""
    sys_modules: Collection[str] = field(default_factory=frozenset)
    proc_modules: str = ""
    config_lines: Collection[str] = ()
    loadable: Collection[str] = field(default_factory=frozenset)


def has_feature(feature: Feature, facts: KernelFacts) -> bool:
    """Return whether the kernel has ``feature``: loaded, built in, or as a module that is there to be loaded."""
    if feature.module in facts.sys_modules or feature.module in facts.loadable:
        return True
    if any(line.split()[:1] == [feature.module] for line in facts.proc_modules.splitlines()):
        return True
    return any(line.strip() == f"{feature.symbol}=y" for line in facts.config_lines)


def read_kernel(root: str = "/", *, boot: str = "/boot") -> KernelFacts:
    """Return the facts of the running kernel.

    ``root`` is where ``/sys``, ``/proc`` and ``/lib`` are; what is not there is empty.
    """

    def at(path: str) -> str:
        return os.path.join(root, path)

    release = _text(at("proc/sys/kernel/osrelease")).strip()
    config = _unpacked(at("proc/config.gz")) or (_text(os.path.join(boot, f"config-{release}")) if release else "")
    modules = at(f"lib/modules/{release}")
    loadable = set()
    if release:
        for name in ("modules.dep", "modules.builtin"):
            for line in _text(os.path.join(modules, name)).splitlines():
                loadable.add(os.path.basename(line.partition(":")[0]).partition(".ko")[0].replace("-", "_"))
    try:
        sys_modules = frozenset(os.listdir(at("sys/module")))
    except OSError:
        sys_modules = frozenset()
    return KernelFacts(
        release=release,
        sys_modules=sys_modules,
        proc_modules=_text(at("proc/modules")),
        config_lines=tuple(config.splitlines()),
        loadable=frozenset(loadable - {""}),
    )


def _text(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            # In small pieces: the kernel refuses one large read of some files below /proc/sys.
            pieces, size = [], 0
            while size < _MAX_CONFIG and (piece := stream.read(4096)):
                pieces.append(piece)
                size += len(piece)
            return b"".join(pieces).decode("utf-8", "replace")
    except OSError:
        return ""


def _unpacked(path: str) -> str:
    try:
        with gzip.open(path) as stream:
            return stream.read(_MAX_CONFIG).decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error):
        return ""
