"""Make the message classes from ``api.proto``: ``python -m kata_bundle.node.cri_api.generate``.

``api.proto`` is an unchanged copy of the Kubernetes CRI definition v1 (cri-api 0.36.4, Apache-2.0, see ``LICENSE``). Needs
grpcio-tools, which only development installs; a test compares what this makes with what is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.protocols import ROOT, compile_definitions

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GENERATED", "generate"]

GENERATED = ("api_pb2.py", "api_pb2.pyi")
_FOLDER = "kata_bundle/node/cri_api"


def generate(target: Path) -> None:
    """Write the message classes and their types below ``target``, in the package's own folders.

    Raises :class:`HostError` when the compiler is not installed or refuses the definition.
    """
    compile_definitions(_FOLDER, ("api",), target)


if __name__ == "__main__":
    generate(ROOT)
