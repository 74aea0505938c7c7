"""What build scripts change in a configuration after it was made: ``sed`` calls in the shim's build script and in makefile
recipes.

Knows: three forms of a sed script (delete a key, replace a key's line, take a key out of its comment), a shell loop over names of
hypervisors, ``if`` on the architecture. Any other call on a configuration is reported, since what it does is not known.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.catalog import PREFIX

if TYPE_CHECKING:
    from kata_bundle.manifest.upstream.texts import Reading

__all__ = ["Rewrite", "parse_sed", "read_script_rewrites"]

_SCRIPT: Final = "tools/packaging/static-build/shim-v2/build.sh"
_LOOP: Final = re.compile(r"^for vmm in \$\{?VMM_CONFIGS\}?; do$(.*?)^done$", re.MULTILINE | re.DOTALL)
_NAMES: Final = re.compile(r"^VMM_CONFIGS=\"([^\"]*)\"", re.MULTILINE)
_IF_ARCH: Final = re.compile(r"\s*if \[+ \"?\$\{?ARCH\}?\"? ==? \"?([a-z0-9_]+)\"? \]+; then")
_SED: Final = re.compile(r"\bsed\s+-i\s+(?:-e\s+)?(.*)$")
_DELETE: Final = re.compile(r"/\^([a-z_]+) =/d")
_REPLACE: Final = re.compile(r"s\|\^([a-z_]+) = \.\*\|([a-z_]+) = \"([^\"|]*)\"\|g?")
_UNCOMMENT: Final = re.compile(r"s/\^# ?\\\(([a-z_]+) =\.\*\\\)/\\1/g?")


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A change of the lines of a key, on one architecture or (``None``) all, in configurations whose name matches ``names``."""

    kind: str
    """``delete``, ``replace`` or ``uncomment``."""
    key: str
    new_key: str = ""
    value: str = ""
    names: tuple[str, ...] = ("*",)
    arch: Arch | None = None
    not_arch: Arch | None = None

    def applies(self, name: str, arch: Arch) -> bool:
        """Return whether the configuration file ``name`` is changed on ``arch``."""
        if (self.arch is not None and self.arch is not arch) or self.not_arch is arch:
            return False
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self.names)

    def apply(self, lines: list[str]) -> None:
        """Change ``lines`` in place; their number stays."""
        for i, line in enumerate(lines):
            if self.kind == "uncomment":
                match = re.match(rf"# ?({self.key} =.*)", line)
                if match is not None:
                    lines[i] = match.group(1)
            elif line.startswith(f"{self.key} ="):
                lines[i] = f'{self.new_key} = "{self.value}"' if self.kind == "replace" else ""


def parse_sed(script: str) -> Rewrite | None:
    """Return what a sed script does, ``None`` when it is none of the known forms. Names and architecture are left open."""
    match = _DELETE.fullmatch(script)
    if match is not None:
        return Rewrite("delete", match.group(1))
    match = _REPLACE.fullmatch(script)
    if match is not None:
        return Rewrite("replace", match.group(1), match.group(2), match.group(3))
    match = _UNCOMMENT.fullmatch(script)
    return None if match is None else Rewrite("uncomment", match.group(1))


def _unquoted(text: str) -> str:
    """Return a shell word without its quotes."""
    return re.sub(r"'([^']*)'|\"([^\"]*)\"", lambda m: m.group(1) if m.group(1) is not None else m.group(2), text)


def read_script_rewrites(reading: Reading) -> list[Rewrite]:
    """Return what the shim's build script changes in the Go runtime's configurations."""
    text = reading.text(_SCRIPT)
    if text is None:
        return []
    looped = _looped(text.text)
    found: list[Rewrite] = []
    arches: list[tuple[Arch | None, bool]] = []
    for number, line in enumerate(text.text.split("\n"), 1):
        word = line.strip()
        condition = _IF_ARCH.match(line)
        if condition is not None:
            arches.append((_arch(condition.group(1)), True))
        elif word.startswith("if "):
            arches.append((None, True))
        elif word == "else" and arches:
            arches[-1] = (arches[-1][0], False)
        elif word == "fi" and arches:
            arches.pop()
        sed = None if word.startswith("#") else _SED.search(line)
        if sed is None:
            continue
        script, _, target = sed.group(1).strip().rpartition(" ")
        patterns = looped if "config_file" in target else _named(target)
        rewrite = parse_sed(_unquoted(script.strip()).replace("${PREFIX}", PREFIX))
        if rewrite is None or not patterns:
            reading.not_understood(text.line_span(number), "a change of configurations that is not understood")
            continue
        arch = next((a for a, positive in arches if a is not None and positive), None)
        not_arch = next((a for a, positive in arches if a is not None and not positive), None)
        found.append(Rewrite(rewrite.kind, rewrite.key, rewrite.new_key, rewrite.value, patterns, arch, not_arch))
    return found


def _looped(text: str) -> tuple[str, ...]:
    """Return the patterns of file names that the loop over hypervisors goes through."""
    loop, names = _LOOP.search(text), _NAMES.search(text)
    if loop is None or names is None:
        return ()
    open_ended = re.search(r"vmm\}?\"?\*\.toml", loop.group(1)) is not None
    return tuple(f"configuration-{vmm}{'*' if open_ended else ''}.toml" for vmm in names.group(1).split())


def _named(target: str) -> tuple[str, ...]:
    name = target.strip("\"'").rsplit("/", 1)[-1]
    return (name,) if re.fullmatch(r"configuration-[a-z0-9-]+\.toml", name) else ()


def _arch(name: str) -> Arch | None:
    return next((arch for arch in Arch if name in {arch.value, arch.go_name}), None)
