"""How components are built: the targets of the local makefile, and what the script behind them can build.

Formats: tools/packaging/kata-deploy/local-build/Makefile, whose targets ``<component>-tarball`` call the script
kata-deploy-binaries.sh with the component's name, which has one ``case`` arm per component.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Span
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Item, Listing, LocalBuild, Role
from kata_bundle.manifest.upstream.make import evaluate, is_known
from kata_bundle.manifest.upstream.readers.chart import FOLDER

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.make import Makefile, Place
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["read_local_build"]

_MAKEFILE: Final = f"{FOLDER}/local-build/Makefile"
_SCRIPT: Final = f"{FOLDER}/local-build/kata-deploy-binaries.sh"
_END: Final = "-tarball"
_CASE: Final = re.compile(r"^handle_build\s*\(\)\s*\{.*?^\tcase \"?\$\{?build_target\}?\"? in$", re.MULTILINE | re.DOTALL)
_ARM: Final = re.compile(r"^\t([a-z0-9][a-z0-9|-]*)\)", re.MULTILINE)
_HELP: Final = re.compile(r"^--build=<asset>[^\n]*\n((?:[ \t]+[a-z0-9-]+[ \t]*\n)+)", re.MULTILINE)
_DEFAULTS: Final = re.compile(r"^\s*(?:local\s+)?build_targets=\(\n(.*?)\n\s*\)", re.MULTILINE | re.DOTALL)
_CALLS: Final = re.compile(r"^\t([a-z0-9][a-z0-9-]*)\)[ \t]*(install_[a-z0-9_]+)[ \t]*;;", re.MULTILINE)
_NEXT: Final = r"[ \t\\\n]+"
_NAMES_ITSELF: Final = (
    re.compile(rf"install_kernel_helper{_NEXT}\"[^\"]*\"{_NEXT}\"([^\"]+)\""),
    re.compile(rf"install_qemu_helper{_NEXT}\"[^\"]*\"{_NEXT}\"[^\"]*\"{_NEXT}\"([^\"]+)\""),
    re.compile(rf"install_cached_(?:kernel_)?tarball_component{_NEXT}\"([^\"]+)\""),
)
_CALLED: Final = re.compile(r"(?:^|[;&|)]|\bthen\b|\bdo\b|\belse\b)[ \t]*(install_[a-z0-9_]+)(?![\w-]|[ \t]*\(\))", re.MULTILINE)
_DEFINED: Final = re.compile(r"^[ \t]*(?:function[ \t]+)?(install_[a-z0-9_]+)[ \t]*\(\)", re.MULTILINE)
_SUFFIX: Final = re.compile(r"^\s*(?:export\s+|local\s+)?qemu_suffix=\"([a-z0-9-]+)\"", re.MULTILINE)
_NO_COMPONENTS: Final = frozenset({"all", "dummy"})
"""Arms that stand for no component."""


def read_local_build(reading: Reading) -> LocalBuild | None:
    """Return targets, handlers and lists, ``None`` when the tree has no such makefile."""
    text = reading.text(_MAKEFILE)
    if text is None:
        reading.not_understood(Span(path=_MAKEFILE), "the makefile that builds components was not found", code=codes.MISSING)
        return None
    makefiles: dict[Arch, Makefile] = {}
    for arch in Arch:
        outputs = {"uname -m": arch.value}
        makefile = evaluate(reading.files, _MAKEFILE, command_line={}, environment={}, outputs=outputs)
        if makefile is not None:
            makefiles[arch] = makefile
    targets: dict[str, Item] = {}
    others: set[str] = set()
    references: dict[tuple[str, Span], Item] = {}
    made_of: dict[str, set[str]] = {}
    lists: dict[Arch, Listing] = {}
    for arch, makefile in makefiles.items():
        for target in makefile.targets:
            component = target.name.removesuffix(_END)
            if target.name.endswith(_END) and any("$@-build" in line for line in target.recipe):
                targets.setdefault(component, Item(component, _span(text, target.place, target.name)))
            else:
                others.add(target.name)
            if target.name.startswith("."):
                continue
            for name in target.prerequisites:
                made_of.setdefault(component, set()).add(name.removesuffix(_END))
                item = Item(name, _span(text, target.place, name))
                references[item.name, item.span] = item
        lists[arch] = _built(text, makefile, arch)
    handlers, mentioned, cached = _script(reading)
    return LocalBuild(
        targets=targets,
        other_targets=frozenset(others),
        references=tuple(references.values()),
        made_of={component: frozenset(names) for component, names in made_of.items() if component in targets},
        lists=lists,
        handlers=handlers,
        mentioned=mentioned,
        cached=cached,
        undefined=_undefined(reading),
    )


def _span(text: Text, place: Place, word: str) -> Span:
    """Return where ``word`` stands: in the rule at ``place``, else on the first line that names it, else the rule."""
    if place.path != text.path:
        return Span(path=place.path, line=place.line)
    line = text.line_span(place.line)
    pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])")
    start = text.lines.offset(place.line, 1)
    end = text.text.find("\n", start)
    match = pattern.search(text.text, start, len(text.text) if end < 0 else end) or pattern.search(text.text)
    return line if match is None else text.span(match.start(), match.end())


def _built(text: Text, makefile: Makefile, arch: Arch) -> Listing:
    """Return what ``kata-tarball`` makes by ``all-parallel``: targets it needs, those they need, and those their recipes make."""
    by_name: dict[str, list[str]] = {}
    for target in makefile.targets:
        words = list(target.prerequisites)
        for line in target.recipe:
            expanded = makefile.expand(line)
            words += [w for w in expanded.split() if w.endswith(_END)] if is_known(expanded) else []
            if "all" in line.split():
                words.append("all")
        by_name.setdefault(target.name, []).extend(words)
    wanted, found = ["kata-tarball", "all-parallel"], dict[str, None]()
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        found[name] = None
        wanted += by_name.get(name, [])
    items = []
    for name in sorted(found):
        if name.endswith(_END) and name != "kata-tarball":
            match = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text.text)
            span = text.line_span(1) if match is None else text.span(match.start(), match.end())
            items.append(Item(name.removesuffix(_END), span))
    head = next((t for t in makefile.targets if t.name == "all"), None)
    span = text.line_span(head.place.line if head is not None and head.place.path == text.path else 1)
    return Listing(what=f'what "make kata-tarball" builds on {arch}', span=span, items=tuple(items), role=Role.SELECTION)


def _script(reading: Reading) -> tuple[Listing | None, tuple[Listing, ...], dict[str, Item]]:
    text = reading.text(_SCRIPT)
    if text is None:
        reading.not_understood(Span(path=_SCRIPT), "the script that builds components was not found", code=codes.MISSING)
        return None, (), {}
    head = _CASE.search(text.text)
    if head is None:
        reading.not_understood(text.line_span(1), "expected a function handle_build with a case per component")
        return None, (), {}
    end = text.text.find("\n\tesac", head.end())
    items = [
        item
        for arm in _ARM.finditer(text.text, head.end(), len(text.text) if end < 0 else end)
        for item in text.words(arm.start(1), arm.end(1), r"[a-z0-9-]+")
        if item.name not in _NO_COMPONENTS
    ]
    handlers = Listing(what="the build script", span=text.line_span(text.lines.place(head.end()).line), items=tuple(items))
    mentioned = []
    for pattern, what in ((_HELP, "the build script's help"), (_DEFAULTS, "the build script's defaults")):
        match = pattern.search(text.text)
        if match is not None:
            words = text.words(match.start(1), match.end(1), r"[a-z0-9][a-z0-9-]*")
            found = tuple(item for item in words if item.name not in _NO_COMPONENTS)
            span = text.line_span(text.lines.place(match.start()).line)
            mentioned.append(Listing(what=what, span=span, items=found, role=Role.SELECTION))
    return handlers, tuple(mentioned), _cached(text, head.end(), len(text.text) if end < 0 else end)


def _cached(text: Text, start: int, end: int) -> dict[str, Item]:
    """Return the name under which each component's function looks for a cached result, where it is a plain text."""
    found: dict[str, Item] = {}
    for arm in _CALLS.finditer(text.text, start, end):
        body = re.compile(rf"^{re.escape(arm.group(2))}\s*\(\)\s*\{{(.*?)^\}}", re.MULTILINE | re.DOTALL).search(text.text)
        if body is None:
            continue
        for pattern in _NAMES_ITSELF:
            match = pattern.search(text.text, body.start(1), body.end(1))
            if match is None:
                continue
            suffix = _SUFFIX.search(text.text, body.start(1), body.end(1))
            name = match.group(1).replace("${qemu_suffix}", suffix.group(1) if suffix else "${qemu_suffix}")
            if "$" not in name:
                found[arm.group(1)] = Item(name, text.span(match.start(1), match.end(1)))
            break
    return found


def _undefined(reading: Reading) -> tuple[Item, ...]:
    text = reading.text(_SCRIPT)
    if text is None:
        return ()
    # What the script takes in may define functions as well.
    texts = [text, *(t for n in reading.matching("tools/packaging/scripts/*.sh") if (t := reading.text(n)) is not None)]
    defined = {match.group(1) for t in texts for match in _DEFINED.finditer(t.text)}
    code = re.sub(r"(?m)^[ \t]*#[^\n]*", lambda match: " " * len(match.group()), text.text)
    calls = [text.item(match) for match in _CALLED.finditer(code)]
    return tuple(item for item in calls if item.name not in defined)
