"""Release allowlists: which components go into which bundle.

Format: a shell script with one function per bundle, in it one ``case`` arm per architecture with a here-document of tarball
names. Trees before the middle of 2026 have none: what was built was released.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import component_of_tarball
from kata_bundle.core.diagnostics import Span
from kata_bundle.core.errors import UsageError
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Allowlist, Item, Listing
from kata_bundle.manifest.upstream.readers.chart import FOLDER

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["read_allowlists"]

_SCRIPT: Final = f"{FOLDER}/local-build/kata-release-tarball-inputs.sh"
_FUNCTION: Final = re.compile(r"^(?:function\s+)?([a-z_]+)_tarball_inputs\s*\(\)\s*\{", re.MULTILINE)
_ARM: Final = re.compile(
    r"^[ \t]*([a-z0-9_|\" ]+)\)[ \t]*\n[ \t]*cat[ \t]*<<-?[ \t]*'?\"?(\w+)'?\"?[ \t]*\n(.*?)\n[ \t]*\2[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_LINE: Final = re.compile(r"^[ \t]*(\S+)[ \t]*$", re.MULTILINE)


def read_allowlists(reading: Reading) -> list[Allowlist]:
    """Return the allowlists in the order of the script."""
    name = reading.find(_SCRIPT, among="tools/packaging/")
    text = None if name is None else reading.text(name)
    if text is None:
        makefile = reading.text(f"{FOLDER}/local-build/Makefile")
        if makefile is not None and "kata-release-tarball-inputs" in makefile.text:
            reading.not_understood(Span(path=_SCRIPT), "the makefile calls this script, which is not there", code=codes.MISSING)
        return []
    found: list[Allowlist] = []
    functions = list(_FUNCTION.finditer(text.text))
    for i, function in enumerate(functions):
        end = functions[i + 1].start() if i + 1 < len(functions) else len(text.text)
        bundle = function.group(1).replace("_", "-")
        found += _arms(reading, text, bundle, function.end(), end)
    if not found:
        reading.not_understood(text.line_span(1), "expected functions …_tarball_inputs with a here-document per architecture")
    return found


def _arms(reading: Reading, text: Text, bundle: str, start: int, end: int) -> list[Allowlist]:
    found = []
    for match in _ARM.finditer(text.text, start, end):
        items = []
        for line in _LINE.finditer(text.text, match.start(3), match.end(3)):
            component = component_of_tarball(line.group(1).replace(".tar.xz", ".tar.zst"))
            if component is None:
                reading.not_understood(
                    text.span(line.start(1), line.end(1)), f'"{line.group(1)}" is not a tarball of a component'
                )
            else:
                items.append(Item(component, text.span(line.start(1), line.end(1))))
        for name in re.findall(r"[a-z0-9_]+", match.group(1)):
            try:
                arch = Arch.parse(name)
            except UsageError:
                reading.not_understood(text.span(match.start(1), match.end(1)), f'"{name}" is not an architecture')
                continue
            listing = Listing(
                what=f'the release list "{bundle}" on {arch}', span=text.span(match.start(1), match.end(1)), items=tuple(items)
            )
            found.append(Allowlist(bundle=bundle, arch=arch, listing=listing))
    return found
