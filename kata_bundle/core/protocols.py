"""Message classes of vendored protocol definitions. Must not know: which protocols there are."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ROOT", "compile_definitions"]

ROOT: Final = Path(__file__).resolve().parents[2]
"""The folder that has the package in it."""


def compile_definitions(folder: str, names: Sequence[str], target: Path) -> None:
    """Write the classes and types of ``<folder>/<name>.proto`` below ``target``, in the package's own folders.

    ``folder`` is relative to the project, with slashes: a definition's path becomes part of the classes' registry, so it has the
    package in it. Raises :class:`HostError` when the compiler (grpcio-tools, which only development installs) is not there or
    refuses a definition.
    """
    try:
        compiler = import_module("grpc_tools.protoc")
    except ImportError:
        msg = "the protocol compiler is not installed"
        raise HostError(msg, hint="install the development dependencies (grpcio-tools)") from None
    well_known = Path(str(compiler.__file__)).parent / "_proto"
    files = [f"{folder}/{name}.proto" for name in names]
    status = compiler.main(["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={target}", f"--pyi_out={target}", *files])
    if status:
        msg = f"the protocol compiler exited with {status}"
        raise HostError(msg)
