"""The vendored Remote Execution API: classes are what the definitions give, licences are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from kata_bundle.build.reapi import remote_execution_pb2
from kata_bundle.build.reapi.generate import GENERATED, generate


def test_the_message_classes_are_what_the_definitions_give(tmp_path):
    pytest.importorskip("grpc_tools", reason="the protocol compiler is a development dependency")
    generate(tmp_path)
    committed = Path(remote_execution_pb2.__file__).parent
    for name in GENERATED:
        made = (tmp_path / "kata_bundle/build/reapi" / name).read_text()
        assert made == (committed / name).read_text(), f"run: python -m kata_bundle.build.reapi.generate ({name})"


def test_every_definition_states_its_licence():
    folder = Path(remote_execution_pb2.__file__).parent
    assert "Apache License" in (folder / "LICENSE").read_text()
    definitions = list(folder.glob("*.proto"))
    assert len(definitions) == 5
    for path in definitions:
        assert "Licensed under the Apache License, Version 2.0" in path.read_text(), path
