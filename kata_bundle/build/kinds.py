"""From a recipe to an action: the steps of each kind, and the script that runs them.

Pure functions, tested by golden actions. The script is the only shell text there is, and nobody writes it: argument vectors are
quoted word by word, and only named places are expanded. It runs the same in a sandbox, on a server and without walls, since all
its paths are relative to the folder it starts in. Must not know: stores, sandboxes, where sources come from.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from kata_bundle.build.action import Action, Platform
from kata_bundle.build.action.model import ROOT
from kata_bundle.build.actionrules import WorkFolder
from kata_bundle.build.imagesteps import image_steps
from kata_bundle.build.rules import Kind
from kata_bundle.core.clock import DEFAULT_SOURCE_DATE
from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree, below

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kata_bundle.build.actionrules import ActionRecipe
    from kata_bundle.core.arch import Arch
    from kata_bundle.core.digest import Digest

__all__ = ["ACTION_VERSION", "OUTPUT", "PLACES", "action_of", "component_tree", "render_script", "steps_of"]

ACTION_VERSION: Final = "steps-1"
"""Raised by whoever changes what is made of equal recipes; part of every action's digest."""
OUTPUT: Final = RelPath("out")
PREFIX: Final = "opt/kata"
PLACES: Final = ("version", "arch", "out", "dest", "src", "deps", "jobs", "tmp")
"""What may stand in braces in a step or variable."""

_PLACE: Final = re.compile(r"\{([a-z]+)\}")
_SHELL: Final = {
    "out": '"$OUT"',
    "dest": '"$DEST"',
    "src": '"$SRC"',
    "deps": '"$DEPS"',
    "jobs": '"$JOBS"',
    "tmp": '"$TEMPORARY"',
}
_HEAD: Final = """\
#!/bin/sh
set -eu
umask 022
ulimit -s 8192 2>/dev/null || :
BUILD=$PWD
TEMPORARY=${TMPDIR:-/tmp}
SRC=$BUILD/src
DEPS=$BUILD/deps
DEST=$BUILD/out
OUT=$DEST/opt/kata
JOBS=$(nproc 2>/dev/null || echo 1)
export HOME="$TEMPORARY"
mkdir -p "$OUT" "$TEMPORARY/steps"
cd "$TEMPORARY/steps"
"""
_SERIES: Final = """\
if [ -f debian/patches/series ]; then
  while read -r name options || [ -n "$name" ]; do
    case $name in '' | '#'*) continue ;; esac
    patch -t -F 0 -N -p1 -E -s --no-backup-if-mismatch -r - -i "debian/patches/$name" || {
      echo "debian/patches/$name does not apply" >&2
      exit 1
    }
  done <debian/patches/series
  find . -newer debian/patches/series -exec touch -h -r debian/patches/series {} +
fi
"""
"""As dpkg-source applies a series: without fuzz, in order, all files of one date, so that make thinks none of another."""
_ENVIRONMENT: Final = {
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SOURCE_DATE_EPOCH": str(DEFAULT_SOURCE_DATE),
    "KBUILD_BUILD_USER": "kata-bundle",
    "KBUILD_BUILD_HOST": "kata-bundle",
    "PYTHONHASHSEED": "0",
    "PERL_HASH_SEED": "0",
}
_BY_KIND: Final[dict[Kind, tuple[tuple[str, ...], ...]]] = {
    Kind.MAKE: (("make", "-j{jobs}"), ("make", "install", "DESTDIR={dest}", "PREFIX=/opt/kata", "prefix=/opt/kata")),
    Kind.CARGO: (("cargo", "build", "--release", "--offline", "--frozen", "--target-dir", "{tmp}/target"),),
    Kind.GO: (("go", "build", "-trimpath", "-mod=vendor", "-buildvcs=false", "-o", "{out}/bin/", "./..."),),
}
_ENVIRONMENT_BY_KIND: Final[dict[Kind, dict[str, str]]] = {
    Kind.CARGO: {"CARGO_HOME": "/tmp/cargo", "CARGO_INCREMENTAL": "0"},  # noqa: S108 - inside the sandbox
    Kind.GO: {"GOCACHE": "/tmp/go-cache", "GOPATH": "/tmp/go", "GOFLAGS": "-p=2", "GOPROXY": "off", "CGO_ENABLED": "0"},  # noqa: S108
}


def steps_of(recipe: ActionRecipe, component: str) -> tuple[tuple[str, ...], ...]:
    """Return the argument vectors that the recipe runs: its own, else those of its kind, then those that make its image."""
    steps = recipe.steps or _BY_KIND.get(recipe.kind, ())
    if recipe.image is not None:
        steps += image_steps(recipe.image, component)
    if not steps:
        msg = f'component "{component}": a rule of kind {recipe.kind} has to state steps'
        raise BuildError(msg)
    return steps


def render_script(recipe: ActionRecipe, *, component: str, arch: Arch, version: str) -> bytes:
    """Return the script that carries the recipe out; raise :class:`BuildError` for a place that it cannot name."""
    lines = [_HEAD]
    if recipe.work is WorkFolder.COPY:
        if not recipe.sources:
            msg = f'component "{component}": there is no source to copy'
            raise BuildError(msg)
        first = recipe.sources[0]
        lines.append(f'cp -R -p "$SRC/{first.name}/." .\nchmod -R u+w .\n')
        if first.source_package and first.is_patched:
            lines.append(_SERIES)
    known = {"version": version, "arch": arch.value}
    for step in steps_of(recipe, component):
        words = " ".join(_word(word, known, component) for word in step)
        lines.append(f"{words}\n")
    for link in recipe.links:
        folder = link.at.rpartition("/")[0]
        lines.append(f'mkdir -p "$OUT"/{shlex.quote(folder)}\nln -s {shlex.quote(link.target)} "$OUT"/{shlex.quote(link.at)}\n')
    return "".join(lines).encode()


def action_of(  # noqa: PLR0917
    recipe: ActionRecipe,
    component: str,
    arch: Arch,
    version: str,
    builder: Tree,
    sources: Mapping[str, Tree],
    parents: Mapping[str, Tree],
    put_bytes: Callable[[bytes], Digest],
) -> Action:
    """Return the action that makes the component.

    ``builder`` is the toolchain's tree, ``sources`` and ``parents`` are trees by name, ``put_bytes`` keeps the script and returns
    its digest. Raises :class:`BuildError` for a recipe that cannot be carried out.
    """
    script = render_script(recipe, component=component, arch=arch, version=version)
    run = Tree.of({RelPath("run"): File(mode=0o755, size_bytes=len(script), digest=put_bytes(script))})
    inputs = {ROOT: builder, RelPath("build/rule"): run}
    inputs |= {RelPath(f"build/src/{name}"): tree for name, tree in sources.items()}
    inputs |= {RelPath(f"build/deps/{name}"): tree for name, tree in parents.items()}
    known = {"version": version, "arch": arch.value}
    env = {**_ENVIRONMENT, **_ENVIRONMENT_BY_KIND.get(recipe.kind, {})}
    env |= {name: _plain(value, known, component) for name, value in recipe.env}
    return Action(
        argv=("/bin/sh", "rule/run"),
        outputs=(OUTPUT,),
        platform=Platform(arch=recipe.machine),
        inputs=inputs,
        env=env,
        salt=ACTION_VERSION,
        name=f"{component}-{arch.value}",
        timeout_s=float(recipe.timeout_s),
    )


def component_tree(outputs: Tree, component: str) -> Tree:
    """Return what the action made below ``opt/kata``; raise :class:`BuildError` naming everything that it made elsewhere."""
    inside = f"{OUTPUT}/{PREFIX}"
    way = {RelPath(OUTPUT), RelPath(f"{OUTPUT}/opt"), RelPath(inside)}
    strays = [path for path in outputs.entries if not path.startswith(f"{inside}/") and path not in way]
    if strays:
        shown = ", ".join(f'"/{path.removeprefix(f"{OUTPUT}/")}"' for path in strays[:10])
        msg = f'component "{component}": the rule installs {shown}, which are not below "/{PREFIX}"'
        raise BuildError(msg)
    return below(outputs, inside)


def _word(text: str, known: Mapping[str, str], component: str) -> str:
    """Return one word of a step as the shell reads it: literal text quoted, places expanded."""
    parts = []
    last = 0
    for match in _PLACE.finditer(text):
        name = match.group(1)
        if match.start() > last:
            parts.append(shlex.quote(text[last : match.start()]))
        if name in known:
            parts.append(shlex.quote(known[name]))
        elif name in _SHELL:
            parts.append(_SHELL[name])
        else:
            msg = f'component "{component}": unknown place "{{{name}}}" in "{text}"'
            raise BuildError(msg, hint=f"known are {', '.join(f'{{{place}}}' for place in PLACES)}")
        last = match.end()
    if last < len(text) or not parts:
        parts.append(shlex.quote(text[last:]))
    return "".join(parts)


def _plain(text: str, known: Mapping[str, str], component: str) -> str:
    """Return a variable's value; places that only the script knows cannot stand in it."""

    def replace(match: re.Match[str]) -> str:
        if match.group(1) not in known:
            msg = f'component "{component}": "{match.group()}" cannot stand in an environment variable'
            raise BuildError(msg, hint="{version} and {arch} can")
        return known[match.group(1)]

    return _PLACE.sub(replace, text)
