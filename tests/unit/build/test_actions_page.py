"""docs/reference/build-actions.md says what the code reads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from kata_bundle.build.actionfile import ActionDocument, ImageDocument, SourceDocument
from kata_bundle.build.kinds import PLACES
from kata_bundle.build.rulefile import RuleDocument
from kata_bundle.build.sandbox.backend import HOST_NAME, USER_ID
from kata_bundle.build.sandbox.execute import KEPT

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "build-actions.md").read_text()


def test_the_example_is_a_rule():
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    RuleDocument.model_validate(tomllib.loads(example))


def test_every_key_and_place_is_described():
    for model in (ActionDocument, SourceDocument, ImageDocument):
        for name, field in model.model_fields.items():
            assert f"`{field.alias or name}" in PAGE or name == "name", name
    assert all(f"`{{{place}}}`" in PAGE for place in PLACES)


def test_what_the_page_says_of_the_sandbox_is_so():
    assert f"user {USER_ID}" in PAGE
    assert f"host name `{HOST_NAME}`" in PAGE
    assert {5: "the newest five"}[KEPT] in PAGE
