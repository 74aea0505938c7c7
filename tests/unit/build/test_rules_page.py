"""docs/reference/build-rules.md says what the code reads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kata_bundle.build.deblock import load_deb_lock
from kata_bundle.build.rulefile import DebDocument, FilesDocument, LinkDocument, RuleDocument
from kata_bundle.build.rules import Transform
from kata_bundle.core.arch import Arch

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "build-rules.md").read_text()


def keys_of(section: str) -> set[str]:
    """Return the keys in the first column of the first table of a section."""
    text = PAGE.partition(f"## {section}")[2].partition("\n\n|")[2].partition("\n\n")[0]
    return {
        key for line in text.splitlines()[1:] for key in re.findall(r"`([\w-]+)`", line.split("|")[1] if line[0] == "|" else line)
    }


def test_the_example_is_a_rule():
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    document = RuleDocument.model_validate(tomllib.loads(example))
    assert [arch for recipe in document.recipes for arch in recipe.arches] == list(Arch)


def test_every_key_of_a_recipe_is_described():
    for model in (DebDocument, FilesDocument, LinkDocument):
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}" in PAGE, name
    assert all(f'"{transform}"' in PAGE for transform in Transform)


def test_the_table_of_the_lock_has_every_key_that_is_written():
    written = set(re.findall(r"^(\w+) = ", load_deb_lock().to_toml().partition("[[pins]]")[2], flags=re.MULTILINE))
    assert keys_of("The package lock") == written
