"""The reference page names every variable, field and drop-in there is, and its example is valid."""

from __future__ import annotations

import re
from pathlib import Path

from kata_bundle.node.config import environment, from_file
from kata_bundle.node.config.specfile import NodeSpec
from kata_bundle.node.kata.dropins import DropIn

PAGE = (Path(__file__).parents[3] / "docs/reference/node-configuration.md").read_text()


def test_every_variable_is_documented():
    names = set(re.findall(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+|DEBUG|DEVKIT|SHIMS)"', Path(environment.__file__).read_text()))
    names -= set(environment.__all__)
    assert len(names) > 20
    assert not [name for name in sorted(names) if f"`{name}`" not in PAGE and f"`{name}_<ARCH>`" not in PAGE]


def test_every_field_is_documented():
    assert not [name for name in NodeSpec.model_fields if f"`{name}`" not in PAGE and name not in {"version", "arches"}]


def test_every_drop_in_is_documented():
    assert not [name for name in DropIn if f"`{name}`" not in PAGE]


def test_the_example_is_valid():
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert from_file(example.encode(), "node.toml", "s390x").config.shims == ("qemu", "qemu-se")
    assert from_file(example.encode(), "node.toml", "x86_64").config.dest == "/opt/kata-dev"
