"""Rules about what a component says twice: its name and its files, outputs and paths; and about licences."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.manifest.rules.buildfacts import (
    layers,
)
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.positions import KeyPath


__all__ = ["licences_exist", "names_agree", "outputs_and_paths"]

_FREE_FOLDERS = ("share/bash-completion/",)
"""What no configuration may ever name."""
_LICENCE_TEXT = """
0BSD Apache-2.0 BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSL-1.0 CC0-1.0 EPL-2.0 GPL-2.0-only GPL-2.0-or-later GPL-3.0-only
GPL-3.0-or-later ISC LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MIT MPL-2.0 MulanPSL-2.0 NOASSERTION NONE
OpenSSL PSF-2.0 Python-2.0 Unlicense Zlib
"""
_EXCEPTION_TEXT = "Linux-syscall-note GCC-exception-2.0 GCC-exception-3.1 LLVM-exception Classpath-exception-2.0"
_LICENCES = frozenset(_LICENCE_TEXT.split())
_EXCEPTIONS = frozenset(_EXCEPTION_TEXT.split())


@rule("KB247", "a component whose name does not fit its files", acceptable=True)
def names_agree(manifests: Manifests) -> Iterator[Problem]:
    """A component's name, suffix, variant or sidecars contradict each other.

    The name is the build target, the tarball and the entry in caches; its end is the suffix of its files, and without the hyphen
    the variant of its root hash. A sidecar has the component's name in its own.

    Repair: use one spelling everywhere.

    False alarm: files that are named after something else: do not use a suffix, write the paths.
    """
    document, model = manifests.components.document, manifests.components.model
    for name in model.components:
        facts = manifests.facts(name)
        values, origin = facts.values, facts.origin
        suffix = (values.get("suffix") or "").partition(" ")[0]
        if suffix and (not name.endswith(suffix) or name.removesuffix(suffix) not in model.components):
            message = f'the suffix "{suffix}" is not the end of "{name}" behind the name of another component'
            yield Problem(document=document, key=origin["suffix"], message=message)
        if not suffix and _wants_suffix(manifests, name):
            message = f'"{name}" has no suffix, so its files have the names of another component\'s'
            yield Problem(document=document, key=("components", name), message=message, of_key=True)
        variant = values.get("variant")
        expected = suffix.removeprefix("-") or "base"
        if variant is not None and variant != expected:
            message = f'the variant of "{name}" is "{variant}", expected "{expected}" as its suffix says'
            yield Problem(document=document, key=origin["variant"], message=message)
        for i, sidecar in enumerate(values.get("sidecars") or ()):
            if not re.search(rf"(^|kata-static-){re.escape(name)}-(modules\.tar\.zst|root_hash_)", sidecar):
                message = f'sidecar "{sidecar}" is not named after "{name}"'
                yield Problem(document=document, key=(*origin["sidecars"], i), message=message)


def _wants_suffix(manifests: Manifests, name: str) -> bool:
    """Return whether a component's files are named by suffix, and another one's name is the beginning of its own."""
    components = manifests.components.model.components
    entry = components[name]
    if entry.paths is not None or entry.outputs is not None:
        return False
    parts = name.split("-")
    mine = set(entry.groups)
    for size in range(1, len(parts)):
        base = components.get("-".join(parts[:size]))
        if base is not None and mine & set(base.groups) and any("{suffix}" in text for text in _raw_paths(manifests, name)):
            return True
    return False


def _raw_paths(manifests: Manifests, name: str) -> list[str]:
    groups = manifests.components.model.groups
    found: list[str] = []
    for group in manifests.components.model.components[name].groups:
        found += (groups[group].paths or []) if group in groups else []
    return found


@rule("KB277", "outputs and paths that disagree", acceptable=True)
def outputs_and_paths(manifests: Manifests) -> Iterator[Problem]:
    """ "paths" names a file that "outputs" does not mention, or "outputs" mentions a file of a fixed name that "paths" lacks.

    "paths" is what configurations may name, "outputs" what the component holds; the second contains the first.

    Repair: use the same name in both.

    False alarm: a file that no configuration may ever name: give it a pattern or a remark without a slash in "outputs".
    """
    document = manifests.components.document
    told: set[KeyPath] = set()
    for name in manifests.components.model.components:
        facts = manifests.facts(name)
        values = facts.values
        if values.get("guest") or values.get("kind") == "unused" or not values.get("outputs"):
            continue
        patterns = [_pattern(token) for text in values["outputs"] for token in _tokens(text)]
        given: list[tuple[KeyPath, str]] = []
        if "paths" in facts.origin:
            given += [((*facts.origin["paths"], i), path) for i, path in enumerate(values["paths"])]
        for arch, paths in (values.get("paths_on") or {}).items():
            given += [((*facts.origin["paths_on"], arch, i), path) for i, path in enumerate(paths)]
        for key, path in given:
            plain = path.replace("{emulator}", Arch.X86_64.emulator).rstrip("/")
            if key not in told and not any(pattern.fullmatch(plain) for pattern in patterns):
                told.add(key)
                message = f'"{path}" is not among the outputs of "{name}"'
                yield Problem(document=document, key=key, message=message, related=((document, facts.origin["outputs"]),))
        fixed = {path.rstrip("/") for _, path in given}
        for i, text in enumerate(values["outputs"]):
            for token in _tokens(text):
                key = (*facts.origin["outputs"], i)
                if "<" in token or key in told or token.startswith(_FREE_FOLDERS):
                    continue
                if token.rstrip("/") not in fixed and token.removesuffix("/*") not in fixed:
                    told.add(key)
                    message = f'"{token}" is not among the paths of "{name}"'
                    paths = facts.origin.get("paths", facts.origin.get("paths_on", ("components", name)))
                    yield Problem(document=document, key=key, message=message, related=((document, paths),))


def _tokens(text: str) -> list[str]:
    """Return the paths of an entry of outputs, which may have remarks behind and between them."""
    plain = re.sub(r"<[^>]*>", "<>", text)
    return [word.rstrip(",") for word in plain.split() if "/" in word]


def _pattern(token: str) -> re.Pattern[str]:
    escaped = re.escape(token.rstrip("/")).replace("<>", "[^/]+").replace(r"/\*", "(/.*)?").replace(r"\*", ".*")
    return re.compile(escaped)


@rule("KB278", "a licence that is no SPDX expression", acceptable=True)
def licences_exist(manifests: Manifests) -> Iterator[Problem]:
    """ "licence" is not an expression of SPDX identifiers joined by AND, OR and WITH.

    The expression goes into bills of materials and image labels, which other programs read.

    Repair: use the identifier of the SPDX list. NOASSERTION stands for collections of differently licensed packages.

    False alarm: an identifier that this program does not list, since it knows common ones only: accept it in ignores.toml.
    """
    for where, layer in layers(manifests):
        if layer.licence is None:
            continue
        wrong, before = None, "AND"
        for word in layer.licence.replace("(", " ").replace(")", " ").split():
            if before == "WITH":
                fits = word in _EXCEPTIONS
            elif before in {"AND", "OR"}:
                fits = word in _LICENCES
            else:
                fits = word in {"AND", "OR", "WITH"}
            if not fits and wrong is None:
                wrong = word
            before = word
        if wrong is None and before in {"AND", "OR", "WITH"}:
            wrong = before
        if wrong is not None:
            message = f'"{wrong}" in the licence of "{where[1]}" is not what SPDX calls it'
            hint = did_you_mean(wrong, _LICENCES | _EXCEPTIONS)
            yield Problem(document=manifests.components.document, key=(*where, "licence"), message=message, hint=hint)
