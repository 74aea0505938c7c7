"""Make the message classes from the definitions: ``python -m kata_bundle.build.reapi.generate``.

``remote_execution.proto`` and ``semver.proto`` are those of the Remote APIs repository (bazelbuild/remote-apis, commit becdd8f),
``bytestream.proto``, ``operations.proto`` and ``status.proto`` those of the Google APIs; all Apache-2.0, see ``LICENSE``; each
says what was changed. Needs grpcio-tools, which only development installs; a test compares what this makes with what is
committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.protocols import ROOT, compile_definitions

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["GENERATED", "generate"]

_NAMES = ("bytestream", "operations", "remote_execution", "semver", "status")
GENERATED = tuple(f"{name}_pb2.{suffix}" for name in _NAMES for suffix in ("py", "pyi"))
_FOLDER = "kata_bundle/build/reapi"


def generate(target: Path) -> None:
    """Write the message classes and their types below ``target``, in the package's own folders.

    Raises :class:`HostError` when the compiler is not installed or refuses a definition.
    """
    compile_definitions(_FOLDER, _NAMES, target)


if __name__ == "__main__":
    generate(ROOT)
