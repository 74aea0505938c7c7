"""Build and test matrices of the pipeline.

Format: GitHub workflows. Understood are the keys ``asset`` (what is built) and ``vmm`` (which shim is tested) of a job's matrix,
as a list, as values of a list of tables, in ``include`` and ``exclude``; and components that a step makes by name. A value that
is an expression is not one of these, and is counted among what was not understood only where something is built.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Report, Span
from kata_bundle.core.errors import UsageError
from kata_bundle.manifest.document import parse_document
from kata_bundle.manifest.upstream import codes
from kata_bundle.manifest.upstream.facts import Artefact, Item, Matrix
from kata_bundle.manifest.upstream.readers.expressions import read_expressions, read_lone_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.document import Document
    from kata_bundle.manifest.positions import KeyPath
    from kata_bundle.manifest.upstream.facts import Expression
    from kata_bundle.manifest.upstream.texts import Reading, Text

__all__ = ["FOLDER", "is_wanted", "read_artefacts", "read_matrices"]

FOLDER: Final = ".github/workflows"
_BUILD: Final = re.compile(rf"{re.escape(FOLDER)}/build-kata-static-tarball-([a-z0-9_]+)\.ya?ml")
_ARTEFACT: Final = re.compile(
    r"^[ \t]*(?:name|pattern):[ \t]*[\"']?kata-(?:artifacts|static|tools-static|go-static)-"
    r"(amd64|arm64|s390x|ppc64le|riscv64|x86_64|aarch64)(?![a-z0-9])",
    re.MULTILINE,
)
_OLD_BUILD: Final = re.compile(r".*/(?:kata-deploy-push|kata-deploy-test|payload-after-push|release)(?:-([a-z0-9_]+))?\.ya?ml")
"""Workflows that built for themselves until the spring of 2023, for amd64 when their name does not say."""
_MAKES: Final = re.compile(
    r"\bmake\b[^\n]*(?:KATA_ASSET|matrix\.asset)[^\n]*-tarball|kata-deploy-binaries-in-docker\.sh[^\n]*--build=[^\n]*KATA_ASSET"
)
_MAKES_NAMED: Final = re.compile(r"\bmake\b(?:[ \t]+[A-Z_]+=\S*)*[ \t]+([a-z0-9][a-z0-9-]*)-tarball\b")
_LITERAL: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_KEYS: Final = ("asset", "vmm")
_STAND_IN: Final = "fake-"
"""Prefix of a matrix value that builds a stand-in of a component for those who may not see its secrets."""
_OTHER_ARCHITECTURES: Final = frozenset({"riscv64"})
"""Architectures that upstream builds for and never released."""


def is_wanted(name: str) -> bool:
    """Return whether ``name`` is a workflow."""
    return name.startswith(f"{FOLDER}/") and name.endswith((".yaml", ".yml"))


def read_matrices(reading: Reading) -> tuple[list[Matrix], list[Expression], list[Item]]:
    """Return the matrices of all workflows, in the order of their names.

    Return as well, of those that build, the names in expressions, and keys of matrices that have no list.
    """
    found: list[Matrix] = []
    expressions: list[Expression] = []
    lone: list[Item] = []
    names = sorted(n for n in reading.files.names if is_wanted(n))
    pattern = _BUILD if any(_BUILD.fullmatch(name) for name in names) else _OLD_BUILD
    for name in names:
        text = reading.text(name)
        if text is None:
            continue
        build = pattern.fullmatch(name)
        if not re.search(r"\b(?:asset|vmm)\b", text.text) and (build is None or pattern is _OLD_BUILD):
            continue
        document = _document(reading, text)
        if document is None:
            continue
        arch_name = (build.group(1) or "amd64") if build else None
        found += _matrices(reading, text, document, arch_name, strict=pattern is _BUILD)
        if build is not None and pattern is _BUILD:
            expressions += read_expressions(document)
            lone += read_lone_values(document)
    if not any(matrix.builds for matrix in found):
        reading.not_understood(Span(path=FOLDER), "no workflow that builds components was found", code=codes.MISSING)
    return found, expressions, lone


def _document(reading: Reading, text: Text) -> Document | None:
    quiet = Report()
    document = parse_document(text.text.encode(), text.path, quiet)
    for finding in quiet if document is None else ():
        reading.not_understood(finding.span, f"this workflow was not read: {finding.message}")
    return document


def read_artefacts(reading: Reading) -> list[Artefact]:
    """Return the names of artefacts that build workflows of one architecture hand on or fetch."""
    found = []
    for name in sorted(n for n in reading.files.names if is_wanted(n)):
        build = _BUILD.fullmatch(name)
        text = None if build is None else reading.text(name)
        if build is not None and text is not None:
            found += [Artefact(arch=build.group(1), named=text.item(match)) for match in _ARTEFACT.finditer(text.text)]
    return found


def _matrices(reading: Reading, text: Text, document: Document, arch_name: str | None, *, strict: bool) -> Iterator[Matrix]:
    arch = None
    if arch_name is not None and arch_name not in _OTHER_ARCHITECTURES:
        try:
            arch = Arch.parse(arch_name)
        except UsageError:
            reading.not_understood(Span(path=text.path), f'"{arch_name}" is not an architecture')
    jobs = document.data.get("jobs") if isinstance(document.data, dict) else None
    if not isinstance(jobs, dict):
        reading.not_understood(document.span(()), 'expected a table "jobs"')
        return
    seen = False
    for job, table in jobs.items():
        if not isinstance(table, dict):
            continue
        for matrix in _of_job(reading, document, str(job), table, arch):
            seen = seen or matrix.builds
            yield matrix
    if arch is None:
        return
    named = [text.item(match) for match in _MAKES_NAMED.finditer(text.text)]
    if named and strict:
        yield Matrix(path=text.path, job="", key="asset", arch=arch, items=tuple(named), builds=True)
    elif not seen and strict:
        reading.not_understood(document.span(("jobs",), of_key=True), "expected jobs with a matrix of assets that they make")


def _of_job(reading: Reading, document: Document, job: str, table: dict[str, object], arch: Arch | None) -> Iterator[Matrix]:
    written_out = tuple(_written_out(document, job, table))
    if arch is not None and written_out:
        yield Matrix(path=document.path, job=job, key="asset", arch=arch, items=written_out, builds=True)
    strategy = table.get("strategy")
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    if matrix is None:
        return
    where: KeyPath = ("jobs", job, "strategy", "matrix")
    builds = arch is not None and _makes(table)
    if not isinstance(matrix, dict):
        if builds:
            reading.not_understood(document.span(where), "the matrix is an expression")
        return
    dropped, not_released = _excluded(matrix.get("exclude"))
    for key in _KEYS:
        items = []
        for item in _values(document, where, {k: v for k, v in matrix.items() if k != "exclude"}, key):
            if "${{" in item.name:
                if builds:
                    reading.not_understood(item.span, f"{item.name} is an expression")
            elif item.name not in dropped and not item.name.startswith(_STAND_IN):
                items.append(item)
        if items:
            yield Matrix(
                path=document.path,
                job=job,
                key=key,
                arch=arch,
                items=tuple(items),
                builds=builds and key == "asset",
                not_released=frozenset(not_released),
            )


def _makes(table: dict[str, object]) -> bool:
    steps = table.get("steps")
    runs = [step.get("run") for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
    return any(isinstance(run, str) and _MAKES.search(run) for run in runs)


def _written_out(document: Document, job: str, table: dict[str, object]) -> Iterator[Item]:
    """Yield the components whose name a step that makes one has in its environment, or the job in its own."""
    steps = table.get("steps")
    for i, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict) or not isinstance(step.get("run"), str) or not _MAKES.search(step["run"]):
            continue
        places: tuple[tuple[object, KeyPath], ...] = ((step, ("jobs", job, "steps", i)), (table, ("jobs", job)))
        for holder, where in places:
            environment = holder.get("env") if isinstance(holder, dict) else None
            name = environment.get("KATA_ASSET") if isinstance(environment, dict) else None
            if isinstance(name, str):
                if _LITERAL.fullmatch(name):
                    yield Item(name, document.span((*where, "env", "KATA_ASSET")))
                break


def _values(document: Document, where: KeyPath, value: object, key: str) -> Iterator[Item]:
    """Yield the texts that ``key`` has anywhere below ``value``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            below = (*where, name)
            if name != key:
                yield from _values(document, below, inner, key)
            elif isinstance(inner, str):
                yield Item(inner, document.span(below))
            elif isinstance(inner, list):
                for i, item in enumerate(inner):
                    if isinstance(item, str):
                        yield Item(item, document.span((*below, i)))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _values(document, (*where, i), item, key)


def _excluded(value: object) -> tuple[set[str], set[str]]:
    """Return the assets that ``exclude`` drops always, and those it drops in releases."""
    always: set[str] = set()
    released: set[str] = set()
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("asset"), str):
            others = {k: v for k, v in entry.items() if k != "asset"}
            if not others:
                always.add(entry["asset"])
            elif others == {"stage": "release"}:
                released.add(entry["asset"])
    return always, released
