"""Make the message classes from ``api.proto``: ``python -m kata_bundle.node.cri_api.generate``.

``api.proto`` is an unchanged copy of the Kubernetes CRI definition v1 (cri-api 0.36.4, Apache-2.0, see ``LICENSE``). Needs
grpcio-tools, which only development installs; a test compares what this makes with what is committed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from kata_bundle.core.errors import HostError

__all__ = ["GENERATED", "generate"]

GENERATED = ("api_pb2.py", "api_pb2.pyi")
_HERE = Path(__file__).resolve().parent
_FOLDER = "kata_bundle/node/cri_api"


def generate(target: Path) -> None:
    """Write the message classes and their types below ``target``, in the package's own folders.

    Raises :class:`HostError` when the compiler is not installed or refuses the definition.
    """
    try:
        compiler = import_module("grpc_tools.protoc")
    except ImportError:
        msg = "the protocol compiler is not installed"
        raise HostError(msg, hint="install the development dependencies (grpcio-tools)") from None
    # The definition's name becomes part of the classes' registry, so it has the package's folder in it.
    root = _HERE.parents[2]
    status = compiler.main(["protoc", f"-I{root}", f"--python_out={target}", f"--pyi_out={target}", f"{_FOLDER}/api.proto"])
    if status:
        msg = f"the protocol compiler exited with {status}"
        raise HostError(msg)


if __name__ == "__main__":
    generate(_HERE.parents[2])
