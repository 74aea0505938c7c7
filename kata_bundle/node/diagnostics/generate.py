"""Make the message classes: ``python -m kata_bundle.node.diagnostics.generate``.

``ttrpc.proto`` is an unchanged copy of the envelope definition of ttrpc (containerd/ttrpc-rust, Apache-2.0, see ``LICENSE``),
``agent.proto`` is this project's own. Needs grpcio-tools, which only development installs; a test compares what this makes with
what is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.protocols import ROOT, compile_definitions

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GENERATED", "generate"]

GENERATED = ("agent_pb2.py", "agent_pb2.pyi", "ttrpc_pb2.py", "ttrpc_pb2.pyi")
_FOLDER = "kata_bundle/node/diagnostics"


def generate(target: Path) -> None:
    """Write the message classes and their types below ``target``, in the package's own folders.

    Raises :class:`HostError` when the compiler is not installed or refuses a definition.
    """
    compile_definitions(_FOLDER, ("agent", "ttrpc"), target)


if __name__ == "__main__":
    generate(ROOT)
