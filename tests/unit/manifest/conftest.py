"""A copy of the shipped manifests to damage, and what is found in it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from kata_bundle.manifest.load import load_manifests
from tests.fixtures.manifestcache import cached_reading

SHIPPED = Path(__file__).parents[3] / "manifests"


@dataclass
class Folder:
    path: Path

    def edit(self, file, old, new, *, count=1):
        """Replace ``old``, which has to be there, the first ``count`` times; without it, write or remove the file."""
        target = self.path / file
        if old is None:
            if new is None:
                target.unlink()
            else:
                target.write_bytes(new if isinstance(new, bytes) else new.encode())
            return
        text = target.read_text(encoding="utf-8")
        assert old in text, f"{old!r} is not in {file}"
        target.write_text(text.replace(old, new, count), encoding="utf-8")

    def load(self, weights=None):
        return load_manifests(self.path, build_rules=self.path.parent / "buildrules", weights=weights)

    def findings(self):
        """Return (code, file, source line without blanks around it, message) of every finding; files as seen from the folder."""
        report = self.load().report
        return [
            (
                f.code,
                os.path.relpath(f.span.path, self.path),
                (report.source_line(f.span) or "").strip(),
                f.message,
            )
            for f in report
        ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # documents have the same names in every test, so that they are known again
    target = tmp_path / "manifests"
    shutil.copytree(SHIPPED, target)
    shutil.copytree(SHIPPED.parent / "buildrules", tmp_path / "buildrules")
    with cached_reading():
        yield Folder(target)
