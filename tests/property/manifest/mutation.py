"""What ``check`` makes of mutants: found at the right place, found elsewhere, missed, or no mistake at all.

``python -m tests.property.manifest.mutation`` tries all of them and writes docs/findings/survivors.md.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from kata_bundle.manifest import load as load_module
from kata_bundle.manifest.load import load_manifests
from tests.property.manifest.mutants import FILES, Mutant, all_mutants, sample

ROOT = Path(__file__).parents[3]
SHIPPED, RULES = ROOT / "manifests", ROOT / "buildrules"
LONGEST_S = 20.0


@dataclass(frozen=True)
class Verdict:
    """``outcome`` is found, elsewhere, survived or equal; ``codes`` are those of the findings in the right place, else of all."""

    mutant: Mutant
    outcome: str
    codes: tuple[str, ...]
    seconds: float


class Bench:
    """A copy of the manifests in which one document at a time is replaced. Documents that did not change are read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "manifests"
        shutil.copytree(SHIPPED, self.folder)
        self.original = {file: (self.folder / file).read_text(encoding="utf-8") for file in FILES}
        self.damaged: str | None = None
        self._read, self._validate = load_module.read_document, load_module.validate
        self._documents: dict[Path, object] = {}
        self._models: dict[int, object] = {}
        self.plain = load_manifests(self.folder, build_rules=RULES)
        assert not list(self.plain.report), "the shipped manifests have findings"
        self.catalog = _normal(_plain(self.plain.catalog))

    def _cached_read(self, file, shown, report):
        if self.damaged is not None and file == self.folder / self.damaged:
            return self._read(file, shown, report)
        if file not in self._documents:
            self._documents[file] = self._read(file, shown, report)
        return self._documents[file]

    def _cached_validate(self, document, schema, report):
        if document not in self._documents.values():
            return self._validate(document, schema, report)
        if id(document) not in self._models:
            self._models[id(document)] = self._validate(document, schema, report)
        return self._models[id(document)]

    def try_one(self, mutant: Mutant) -> Verdict:
        """Return what checking the mutant gives."""
        target = self.folder / mutant.file
        target.write_text(mutant.text, encoding="utf-8")
        self.damaged = mutant.file
        began = time.monotonic()
        try:
            with (
                mock.patch.object(load_module, "read_document", self._cached_read),
                mock.patch.object(load_module, "validate", self._cached_validate),
            ):
                loaded = load_manifests(self.folder, build_rules=RULES)
                took = time.monotonic() - began
                findings = list(loaded.report)
                right = tuple(sorted({f.code for f in findings if self._is_right(f, target, mutant.lines)}))
                if right:
                    return Verdict(mutant, "found", right, took)
                if findings:
                    return Verdict(mutant, "elsewhere", tuple(sorted({f.code for f in findings})), took)
                same = self._same_data(mutant)
                if not same and mutant.file not in UNRESOLVED:
                    same = _normal(_plain(loaded.catalog)) == self.catalog
                return Verdict(mutant, "equal" if same else "survived", (), took)
        finally:
            target.write_text(self.original[mutant.file], encoding="utf-8")
            self.damaged = None

    @staticmethod
    def _is_right(finding, target, lines):
        spans = (finding.span, *finding.related)
        return any((Path(span.path) == target or Path.cwd() / span.path == target) and span.line in lines for span in spans)

    def _same_data(self, mutant: Mutant) -> bool:
        parse = json.loads if mutant.file.endswith(".json") else tomllib.loads
        return _normal(parse(mutant.text)) == _normal(parse(self.original[mutant.file]))


UNRESOLVED = ("upstream.toml", "ignores.toml")
"""Documents whose data is not in the catalog."""


def _plain(catalog):
    return {
        "map": catalog.component_map.to_dict(),
        "shims": {name: shim.to_dict() for name, shim in catalog.shims.items()},
        "components": {name: entry.to_dict() for name, entry in catalog.components.items()},
        "classes": {name: entry.to_dict() for name, entry in catalog.runtime_classes.items()},
        "rest": [
            repr(catalog.families),
            repr(sorted(catalog.arches.items())),
            repr(catalog.default_class),
            repr(catalog.release),
        ],
    }


def _normal(data):
    """Return ``data`` without the order of lists and tables, and without texts for people."""
    if isinstance(data, dict) and "also_about" in data:  # two names, no matter which is the first
        data = data | dict(zip(("about", "also_about"), sorted((data["about"], data["also_about"])), strict=True))
    if isinstance(data, dict):
        return {key: _normal(value) for key, value in sorted(data.items()) if key not in {"notes", "_comment"}}
    if isinstance(data, list | tuple):
        return sorted((_normal(value) for value in data), key=repr)
    return str(data)


def run(mutants: list[Mutant]) -> list[Verdict]:
    """Return the verdicts on ``mutants``, in order."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        return [bench.try_one(mutant) for mutant in mutants]


def figures(verdicts: list[Verdict]) -> tuple[int, int, float]:
    """Return how many mutants are mistakes, how many of them were found in the right place, and the part."""
    mistakes = [v for v in verdicts if v.outcome != "equal"]
    found = sum(v.outcome == "found" for v in mistakes)
    return len(mistakes), found, found / max(len(mistakes), 1)


def page(verdicts: list[Verdict], whole: int) -> str:
    """Return docs/findings/survivors.md."""
    mistakes, found, part = figures(verdicts)
    equal = len(verdicts) - mistakes
    table = [
        "| operator | mistakes | found in place | found elsewhere | missed |",
        "|---|---:|---:|---:|---:|",
    ]
    for operator in ("drop", "rename", "misspell", "swap", "duplicate", "move", "number", "syntax"):
        counts = Counter(v.outcome for v in verdicts if v.mutant.operator == operator)
        total = counts["found"] + counts["elsewhere"] + counts["survived"]
        table.append(f"| {operator} | {total} | {counts['found']} | {counts['elsewhere']} | {counts['survived']} |")
    missed: dict[str, list[str]] = {reason: [] for _, _, reason in REASONS}
    for v in verdicts:
        if v.outcome == "survived":
            missed[_reason(v.mutant)].append(f"`{v.mutant.file}`: {v.mutant.operator}, {v.mutant.what}")
    lines = [
        "# Mistakes that no finding points at",
        "",
        "Written by `python -m tests.property.manifest.mutation`; a test compares it with what the program does.",
        "",
        f"The shipped manifests are changed in one place at a time, without knowing the rules: {whole} mutants,",
        f"of which {len(verdicts)} are tried (seed {SEED}). {equal} stand for the same data or the same catalog and are",
        f"no mistakes. Of the {mistakes} mistakes, {found} ({100 * part:.1f} %) are found at the right file and line: the",
        "changed line, for something that is gone also the line beside it or the key or header around it; the finding's own",
        'place or one that it says "see also" about. None makes the program fail, none hangs.',
        "",
        "Texts for people (notes, reasons, remarks about integrity and flags) are not changed, nor are acceptances removed:",
        "without one, what it accepted is found again, where it always was.",
        "",
        *table,
        "",
        '"Found elsewhere" is an error too, so nothing is built from such a catalog; it points at what contradicts the mistake.',
        "",
        "## Missed, and why",
        "",
    ]
    for reason, items in missed.items():
        if items:
            lines += [f"### {reason}", "", *(f"- {item}" for item in sorted(items)), ""]
    return "\n".join(lines)


REASONS = (
    (
        "components.toml",
        r"cache_key|builder_key|lists|sidecars",
        "What upstream's keys are made of is said once; nothing else depends on it",
    ),
    (
        "components.toml",
        r"scripts|version_keys|method|licence|outputs|removal_job|build_depends_on",
        "A fact about upstream's build that is said once, replaced by another that exists",
    ),
    (
        "components.toml",
        r"'kernel-nvidia-gpu-dragonball-experimental'|'stratovirt'",
        "Nothing ships an unused component, so nothing contradicts it",
    ),
    ("components.toml", r"", "A property of a component that no configuration and no other component depends on"),
    (
        "shims.toml",
        r"configured_on|'stratovirt'|'firecracker'|'on'",
        "An architecture without components: no cell depends on its configuration",
    ),
    (
        "shims.toml",
        r"config",
        "A value that all shims take from one place, or one shim chooses alone: there is no second statement of it",
    ),
    ("shims.toml", r"", "How a shim is offered is decided there and nowhere else"),
    ("runtimeclasses.toml", r"", "A figure or label of one class that has no sibling"),
    ("ignores.toml", r"", "An acceptance that became wider, and still accepts what it was written for"),
    ("upstream.toml", r"", "A name of upstream's tree that another one still covers"),
    ("", r"", "A list that may leave something out"),
)
"""(document, pattern of the place, why such a mistake is missed), the first that fits."""


def _reason(mutant: Mutant) -> str:
    return next(reason for file, pattern, reason in REASONS if file in mutant.file and re.search(pattern, mutant.what))


SEED = 20260822
SIZE = 3000
PAGE = ROOT / "docs" / "findings" / "survivors.md"

if __name__ == "__main__":
    everything = all_mutants(SHIPPED)
    tried = run(sample(everything, SIZE, SEED))
    PAGE.write_text(page(tried, len(everything)), encoding="utf-8")
    print(f"{PAGE}: {figures(tried)}", file=sys.stderr)
    for v in tried:
        if v.outcome in {"survived", "elsewhere"}:
            print(v.outcome, v.mutant.operator, v.mutant.file, v.mutant.what, sorted(v.mutant.lines)[:4], v.codes)
