"""Make the message classes from the definitions: ``python -m kata_bundle.build.reapi.generate``.

``remote_execution.proto`` and ``semver.proto`` are those of the Remote APIs repository (bazelbuild/remote-apis, commit becdd8f),
``bytestream.proto``, ``operations.proto`` and ``status.proto`` those of the Google APIs; all Apache-2.0, see ``LICENSE``; each
says what was changed. Needs grpcio-tools, which only development installs; a test compares what this makes with what is
committed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from kata_bundle.core.errors import HostError

__all__ = ["GENERATED", "generate"]

_NAMES = ("bytestream", "operations", "remote_execution", "semver", "status")
GENERATED = tuple(f"{name}_pb2.{suffix}" for name in _NAMES for suffix in ("py", "pyi"))
_HERE = Path(__file__).resolve().parent
_FOLDER = "kata_bundle/build/reapi"


def generate(target: Path) -> None:
    """Write the message classes and their types below ``target``, in the package's own folders.

    Raises :class:`HostError` when the compiler is not installed or refuses a definition.
    """
    try:
        compiler = import_module("grpc_tools.protoc")
    except ImportError:
        msg = "the protocol compiler is not installed"
        raise HostError(msg, hint="install the development dependencies (grpcio-tools)") from None
    # A definition's name becomes part of the classes' registry, so it has the package's folder in it.
    root = _HERE.parents[2]
    well_known = Path(str(import_module("grpc_tools").__file__)).parent / "_proto"
    files = [f"{_FOLDER}/{name}.proto" for name in _NAMES]
    status = compiler.main(["protoc", f"-I{root}", f"-I{well_known}", f"--python_out={target}", f"--pyi_out={target}", *files])
    if status:
        msg = f"the protocol compiler exited with {status}"
        raise HostError(msg)


if __name__ == "__main__":
    generate(_HERE.parents[2])
