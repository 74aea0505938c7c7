"""What ``check`` makes of mutants: found at the right place, found elsewhere, missed, or no mistake at all.

``python -m tests.property.manifest.mutation`` tries all of them and writes docs/findings/survivors.md.
"""

from __future__ import annotations

import json
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
                same = (
                    self._same_data(mutant) or _normal(_plain(loaded.catalog)) == self.catalog and mutant.file not in UNRESOLVED
                )
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


if __name__ == "__main__":
    mutants = all_mutants(SHIPPED)
    if len(sys.argv) > 1:
        mutants = sample(mutants, int(sys.argv[1]), 1)
    verdicts = run(mutants)
    print(len(mutants), Counter(v.outcome for v in verdicts), figures(verdicts), max(v.seconds for v in verdicts))
    print(Counter((v.mutant.operator, v.outcome) for v in verdicts if v.outcome in {"survived", "elsewhere"}))
    print(Counter((v.mutant.file, v.outcome) for v in verdicts if v.outcome in {"survived", "elsewhere"}))
    for v in verdicts:
        if v.outcome in {"survived", "elsewhere"}:
            print(v.outcome, v.mutant.operator, v.mutant.file, v.mutant.what, sorted(v.mutant.lines)[:4], v.codes)
