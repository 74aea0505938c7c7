"""Make the message classes: ``python -m kata_bundle.node.diagnostics.generate``.

``ttrpc.proto`` is an unchanged copy of the envelope definition of ttrpc (containerd/ttrpc-rust, Apache-2.0, see ``LICENSE``),
``agent.proto`` is this project's own. Needs grpcio-tools, which only development installs; a test compares what this makes with
what is committed.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from kata_bundle.core.errors import HostError

__all__ = ["GENERATED", "generate"]

GENERATED = ("agent_pb2.py", "agent_pb2.pyi", "ttrpc_pb2.py", "ttrpc_pb2.pyi")
_HERE = Path(__file__).resolve().parent
_FOLDER = "kata_bundle/node/diagnostics"


def generate(target: Path) -> None:
    """Write the message classes and their types below ``target``, in the package's own folders.

    Raises :class:`HostError` when the compiler is not installed or refuses a definition.
    """
    try:
        compiler = import_module("grpc_tools.protoc")
    except ImportError:
        msg = "the protocol compiler is not installed"
        raise HostError(msg, hint="install the development dependencies (grpcio-tools)") from None
    root = _HERE.parents[2]
    files = [f"{_FOLDER}/{name}.proto" for name in ("agent", "ttrpc")]
    status = compiler.main(["protoc", f"-I{root}", f"--python_out={target}", f"--pyi_out={target}", *files])
    if status:
        msg = f"the protocol compiler exited with {status}"
        raise HostError(msg)


if __name__ == "__main__":
    generate(_HERE.parents[2])
