"""What the installer has built in: names of shims, defaults per architecture, tables of shim to hypervisor and QEMU component.

Formats: Rust sources below kata-deploy/binary (since the end of 2025); the shell script kata-deploy.sh before. Of Rust only
lists of texts and ``match`` arms of texts are understood; test modules are passed over.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Span
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Installer, Item, Listing, Role
from kata_bundle.manifest.upstream.readers.chart import FOLDER

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["read_installer"]

_SCRIPT: Final = f"{FOLDER}/scripts/kata-deploy.sh"
_RUST_FOLDER: Final = f"{FOLDER}/binary"
_CONST: Final = r"const\s+{name}\s*:\s*&\[\s*&(?:'static\s+)?str\s*\]\s*=\s*&?\["
_TESTS: Final = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))?\s+)?mod\s")
_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ARM: Final = re.compile(r'((?:"[^"\n]*"\s*\|\s*)*"[^"\n]*"|_)\s*=>\s*(?:\{\s*)?(?:Ok\(\s*)?(?:Some\(\s*)?"([^"]*)"')
_FLAGGED: Final = re.compile(r'\binsert\(\s*"([a-z0-9][a-z0-9._-]*)"\.(?:to_string|into|to_owned)\(\)')
_SHELL_LIST: Final = re.compile(r'^SHIMS="\$\{SHIMS:-"?([^"}\n]*)"?\}"', re.MULTILINE)
_SHELL_ARRAY: Final = re.compile(r"^shims=\(\s*((?:\"[a-z0-9-]+\"\s*)+)\)", re.MULTILINE)
_SHELL_ADJUST: Final = re.compile(r"^function adjust_qemu_cmdline\(\) \{.*?^\}", re.MULTILINE | re.DOTALL)
_SHELL_SHARE: Final = re.compile(
    r"^\s*\[\[ \"\$\{shim\}\" (?:=~ \^\(|== \")([a-z0-9|-]+)(?:\)\$|\") \]\] && qemu_share=(\S+)", re.MULTILINE
)
_SHELL_ADJUSTED: Final = re.compile(r"\[\[ \"\$\{shim\}\" =~ \^\(([a-z0-9|-]+)\)\$ \]\] && \\\n\s*adjust_qemu_cmdline")
_SHELL_RUST: Final = re.compile(
    r"^[ \t]*([a-z0-9|\\ \t\n-]+)\)\s*\n\s*(?:runtime|config)_path=\"?[^\n]*(?:runtime-rs|rust_config_path)", re.MULTILINE
)


class _Arm(NamedTuple):
    patterns: tuple[Item, ...]
    result: Item


def read_installer(reading: Reading) -> tuple[Installer | None, list[Listing]]:
    """Return what the installer has built in, and its lists of shims."""
    sources = [name for name in reading.matching(f"{_RUST_FOLDER}/*.rs") if "/tests/" not in name]
    if sources:
        return _rust(reading, sources)
    script = reading.text(_SCRIPT)
    if script is not None:
        return _shell(reading, script)
    reading.not_understood(
        Span(path=FOLDER),
        "no installer was found: neither Rust sources in binary/ nor scripts/kata-deploy.sh",
        code=codes.MISSING,
    )
    return None, []


# ---- Rust ---------------------------------------------------------------------------------------------------------------------


def _rust(reading: Reading, names: list[str]) -> tuple[Installer | None, list[Listing]]:
    texts = [text for name in names if (text := reading.text(name)) is not None]
    every = _const(texts, "ALL_SHIMS", "the installer's list of shims")
    rust = _const(texts, "RUST_SHIMS", "the installer's list of runtime-rs shims")
    defaults = _function(texts, r"get_default_shims_for_arch")
    hypervisor = _function(texts, r"get_hypervisor_name")
    artifact = _function(texts, r"(?:get_qemu_(?:artifact|share)_name|adjust_qemu_cmdline)")
    wanted = {
        "a list ALL_SHIMS": every,
        "a list RUST_SHIMS": rust,
        "a function get_default_shims_for_arch": defaults,
        "a function get_hypervisor_name": hypervisor,
        "a function get_qemu_artifact_name": artifact,
    }
    for what, found in wanted.items():
        if found is None:
            reading.not_understood(Span(path=_RUST_FOLDER), f"expected {what} in the installer's sources")
    default = _function(texts, r"get_default_shim_for_arch") or []
    flagged = [text.item(match) for text in texts for match in _FLAGGED.finditer(text.text, 0, _end(text))]
    installer = Installer(
        path=every.span.path if every else _RUST_FOLDER,
        rust=rust,
        defaults=_defaults(texts, defaults or []),
        default={arch: arm.result for arm, arches in _by_arch(default) for arch in arches},
        hypervisor=_by_pattern(hypervisor),
        qemu_artifact=_by_pattern(artifact),
        qemu_default="qemu",
        binary=_by_pattern(_function(texts, r"get_hypervisor_path")),
        flagged=tuple(flagged),
        uses_component_map=any("shim-components.json" in text.text for text in texts),
        merges_layers=any("erofs_merge_mode" in text.text for text in texts),
    )
    return installer, [] if every is None else [every]


def _end(text: Text) -> int:
    tests = _TESTS.search(text.text)
    return len(text.text) if tests is None else tests.start()


def _const(texts: list[Text], name: str, what: str) -> Listing | None:
    pattern = re.compile(_CONST.format(name=name))
    for text in texts:
        match = pattern.search(text.text, 0, _end(text))
        if match is None:
            continue
        end = text.text.find("]", match.end())
        items = tuple(text.item(word) for word in _TEXT.finditer(_uncommented(text.text), match.end(), end))
        return Listing(what=what, span=text.span(match.start(), match.end()), items=items)
    return None


def _uncommented(text: str) -> str:
    """Return ``text`` with line comments blanked out, so that offsets stay."""
    return re.sub(r"(?m)(?<![:\"])//[^\n]*", lambda match: " " * len(match.group()), text)


def _function(texts: list[Text], name: str) -> list[_Arm] | None:
    """Return the ``match`` arms of the first function called ``name``."""
    pattern = re.compile(rf"\bfn\s+{name}\s*(?:<[^>]*>)?\s*\(")
    for text in texts:
        match = pattern.search(text.text, 0, _end(text))
        if match is None:
            continue
        opening = text.text.find("{", match.end())
        end = _closing_brace(text.text, opening)
        arms = []
        for arm in _ARM.finditer(_uncommented(text.text), opening, end):
            patterns = tuple(text.item(word) for word in _TEXT.finditer(text.text, arm.start(1), arm.end(1)))
            arms.append(_Arm(patterns, text.item(arm, 2)))
        return arms
    return None


def _closing_brace(text: str, at: int) -> int:
    """Return where the block opened at ``at`` ends. Braces inside texts of formats come in pairs."""
    depth = 0
    for match in re.compile(r"[{}]").finditer(text, max(at, 0)):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.start()
    return len(text)


def _by_pattern(arms: list[_Arm] | None) -> dict[str, Item] | None:
    return None if arms is None else {pattern.name: arm.result for arm in arms for pattern in arm.patterns}


def _by_arch(arms: list[_Arm]) -> list[tuple[_Arm, list[Arch]]]:
    """Return the architectures of each arm; an arm for everything else has those that no other arm names."""
    known = {arch.value: arch for arch in Arch}
    named = {pattern.name for arm in arms for pattern in arm.patterns}
    others = [arch for arch in Arch if arch.value not in named]
    return [
        (arm, [known[pattern.name] for pattern in arm.patterns if pattern.name in known] if arm.patterns else others)
        for arm in arms
    ]


def _defaults(texts: list[Text], arms: list[_Arm]) -> dict[Arch, Listing]:
    found: dict[Arch, Listing] = {}
    by_path = {text.path: text for text in texts}
    for arm, arches in _by_arch(arms):
        text = by_path[arm.result.span.path]
        start = text.lines.offset(arm.result.span.line, arm.result.span.column)
        items = tuple(text.words(start, start + len(arm.result.name)))
        for arch in arches:
            what = f"the installer's default shims on {arch}"
            found[arch] = Listing(what=what, span=arm.result.span, items=items, role=Role.SELECTION)
    return found


# ---- shell --------------------------------------------------------------------------------------------------------------------


def _shell(reading: Reading, script: Text) -> tuple[Installer, list[Listing]]:
    lists = []
    match = _SHELL_LIST.search(script.text) or _SHELL_ARRAY.search(script.text)
    if match is not None:
        items = tuple(script.words(match.start(1), match.end(1), r"[^\s\"]+"))
        span = script.span(match.start(), match.start() + len("SHIMS"))
        lists.append(Listing(what="the installer's default shims", span=span, items=items, role=Role.SELECTION))
    elif "$SHIMS" not in script.text and "${SHIMS" not in script.text:
        reading.not_understood(script.line_span(1), "expected the shims in a variable SHIMS")
    rust: dict[str, Item] = {}
    heads = list(_SHELL_RUST.finditer(script.text))
    for head in heads:
        for item in script.words(head.start(1), head.end(1), r"[a-z0-9-]+"):
            rust.setdefault(item.name, item)
    listing = None
    if heads:
        span = script.span(heads[0].start(1), heads[0].end(1))
        listing = Listing(what="the installer's list of runtime-rs shims", span=span, items=tuple(rust.values()))
    installer = Installer(
        path=script.path,
        rust=listing,
        defaults={},
        default={},
        hypervisor=None,
        qemu_artifact=_shell_flavours(script),
        qemu_default=None,
        binary=None,
        flagged=(),
        uses_component_map=False,
    )
    return installer, lists


def _shell_flavours(script: Text) -> dict[str, Item] | None:
    """Return the QEMU component whose folder the script gives each shim's QEMU, where it adjusts that at all.

    The function starts with the shim's own name and then has lines ``[[ condition on the shim ]] && qemu_share=…``. Shims of
    which no line speaks are not in the result unless the script passes them to the function: then they have their own name.
    """
    body = _SHELL_ADJUST.search(script.text)
    if body is None:
        return None
    found: dict[str, Item] = {}
    for call in _SHELL_ADJUSTED.finditer(script.text):
        for item in script.words(call.start(1), call.end(1), r"[a-z0-9-]+"):
            found[item.name] = item
    for line in _SHELL_SHARE.finditer(script.text, body.start(), body.end()):
        for item in script.words(line.start(1), line.end(1), r"[a-z0-9-]+"):
            share = line.group(2).strip('"').replace("${shim}", item.name)
            found[item.name] = Item(share, item.span)
    return found
