"""Which root hash fills which make variable: the shim's build script hands the hashes of measured images to make.

Format: ``GO_EXTRA_OPTS``, ``RUST_EXTRA_OPTS`` and ``EXTRA_OPTS`` (both runtimes) made of ``$(read_verity_param "<variant>"
"<VARIABLE>")`` in the shim's build script, and the list ``MEASURED_ROOTFS_VARIANTS`` of the script that builds components (both
since 2026). Trees that do it in another way have no hashes here, and nothing is checked about them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.manifest.catalog import RuntimeFamily
from kata_bundle.manifest.upstream.facts import Item, Listing, Role, Verity
from kata_bundle.manifest.upstream.readers.chart import FOLDER

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.texts import Reading

__all__ = ["read_verity"]

_SHIM: Final = "tools/packaging/static-build/shim-v2/build.sh"
_COMPONENTS: Final = f"{FOLDER}/local-build/kata-deploy-binaries.sh"
_READ: Final = re.compile(
    r"^[ \t]*(?:(GO|RUST)_)?EXTRA_OPTS\+?=.*\$\(read_verity_param \"([a-z0-9-]+)\" \"([A-Z0-9_]+)\"\)", re.MULTILINE
)
_CALL: Final = re.compile(r"\$\(read_verity_param\b")
_VARIANTS: Final = re.compile(r"MEASURED_ROOTFS_VARIANTS=\(\n(.*?)\n\s*\)", re.DOTALL)
_FAMILIES: Final = {
    "GO": (RuntimeFamily.GO,),
    "RUST": (RuntimeFamily.RUST,),
    None: (RuntimeFamily.GO, RuntimeFamily.RUST),
}


def read_verity(reading: Reading) -> Verity | None:
    """Return variables and variants, ``None`` when the build script does not read hashes in the known form."""
    text = reading.text(_SHIM)
    found: dict[RuntimeFamily, dict[str, Item]] = {}
    if text is None:
        return None
    understood = set()
    for match in _READ.finditer(text.text):
        understood.add(text.lines.place(match.start(2)).line)
        for family in _FAMILIES[match.group(1)]:
            found.setdefault(family, {})[match.group(3)] = text.item(match, 2)
    for call in _CALL.finditer(text.text):
        if text.lines.place(call.start()).line not in understood:
            reading.not_understood(text.span(call.start(), call.end()), "a root hash that is read in another form")
    if not found:
        return None
    variants = None
    script = reading.text(_COMPONENTS)
    match_or_none = None if script is None else _VARIANTS.search(script.text)
    if script is not None and match_or_none is not None:
        items = tuple(script.words(match_or_none.start(1), match_or_none.end(1), r"[a-z0-9][a-z0-9-]*"))
        span = script.line_span(script.lines.place(match_or_none.start()).line)
        variants = Listing(what="the list of measured variants", span=span, items=items, role=Role.SELECTION)
    return Verity(variables=found, variants=variants)
