"""The installer in the payload image: this very program, its dependencies as pinned wheels, and compiled byte code.

Wheels come through pip, by the hashes of the lock of Python packages, for the interpreter and architecture of the image. Byte
code is made with the image's own interpreter: the root file system is read-only there, and a waiting installer must not compile.
Formats: wheel (PEP 427), pip's requirements with hashes. Must not know: OCI, packages of the distribution.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from kata_bundle.build.image.base import PYTHON
from kata_bundle.core.errors import BuildError, RemoteError
from kata_bundle.core.process import base_environment, run
from kata_bundle.core.resources import shipped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kata_bundle.core.arch import Arch

__all__ = [
    "REQUIREMENTS", "SITE", "compile_python", "fetch_wheels", "install_program", "install_wheels", "lock_subset", "start_time",
]  # fmt: skip

REQUIREMENTS: Final = (
    "click", "grpclib", "jeepney", "jsonschema", "protobuf", "pydantic", "pyyaml", "rich", "urllib3", "zstandard",
)  # fmt: skip
"""What the program needs on a node: its dependencies and those of the extra ``node``."""

SITE: Final = "usr/lib/python3/dist-packages"
_SCRIPTS: Final = {"kata-bundle": "kata_bundle.cli", "kata-deploy": "kata_bundle.cli.deploy"}
_LOADERS: Final = {
    "x86_64": "ld-linux-x86-64.so.2",
    "aarch64": "ld-linux-aarch64.so.1",
    "s390x": "ld64.so.1",
    "ppc64le": "ld64.so.2",
}


def lock_file() -> Path:
    """Return the lock of Python packages: in a checkout its root's, else the shipped one."""
    return shipped("buildrules").parent / "requirements.lock"


def lock_subset(text: str, wanted: Iterable[str]) -> str:
    """Return the entries of the lock ``text`` for ``wanted`` packages and all that they need.

    Raises :class:`BuildError` naming a package that the lock does not have.
    """
    blocks: dict[str, str] = {}
    needed_by: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        name = re.match(r"[A-Za-z0-9._-]+", block)
        if name is None or "==" not in block:
            continue
        blocks[name[0].lower()] = "\n".join(line for line in block.splitlines() if not line.strip().startswith("#"))
        comments = " ".join(line.strip().lstrip("#") for line in block.splitlines() if line.strip().startswith("#"))
        needed_by[name[0].lower()] = set(comments.replace("via", " ").split())
    chosen = set(wanted)
    missing = sorted(chosen - set(blocks))
    if missing:
        msg = f"the lock of Python packages has no {', '.join(missing)}"
        raise BuildError(msg)
    while more := {name for name, users in needed_by.items() if users & chosen} - chosen:
        chosen |= more
    return "".join(f"{blocks[name]}\n" for name in sorted(chosen))


def fetch_wheels(arch: Arch, folder: Path) -> list[Path]:
    """Put the wheels of all dependencies for ``arch`` into ``folder`` and return their paths, sorted.

    Raises :class:`RemoteError` when one cannot be had, naming what pip said.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(lock_subset(lock_file().read_text("utf-8"), REQUIREMENTS), "utf-8")
    platforms = [part for tag in ("2_34", "2_28", "2_17") for part in ("--platform", f"manylinux_{tag}_{arch.value}")]
    argv = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
        "--only-binary", ":all:", "--implementation", "cp", "--python-version", PYTHON, *platforms,
        "--platform", f"manylinux2014_{arch.value}", "--dest", os.fspath(folder), "--requirement", os.fspath(requirements),
    ]  # fmt: skip
    kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name == "HOME"}
    try:
        run(argv, env=base_environment(**kept), timeout_s=900)
    except BuildError as error:
        msg = f"wheels for {arch}: {error}"
        raise RemoteError(msg, hint="a package without a wheel for this architecture cannot be in the image") from None
    return sorted(folder.glob("*.whl"))


def install_wheels(wheels: Iterable[Path], root: Path) -> None:
    """Unpack ``wheels`` below ``root``; their scripts and headers stay out."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                path = PurePosixPath(info.filename)
                parts = path.parts
                if parts[0].endswith(".data"):
                    if parts[1] not in {"purelib", "platlib"}:
                        continue
                    parts = parts[2:]
                if info.is_dir() or not parts:
                    continue
                if ".." in parts or path.is_absolute():
                    msg = f'{wheel.name} has a member "{info.filename}"'
                    raise BuildError(msg)
                _write(root / SITE / Path(*parts), archive.read(info))


def install_program(root: Path) -> None:
    """Copy this program below ``root`` with the documents it ships, and write the two commands."""
    package = Path(__file__).resolve().parents[2]
    for path in sorted(package.rglob("*")):
        name = path.relative_to(package)
        if path.is_file() and "__pycache__" not in name.parts and name.parts[0] != "data":
            _write(root / SITE / "kata_bundle" / name, path.read_bytes())
    for folder in ("manifests", "schemas", "buildrules"):
        for path in sorted(shipped(folder).rglob("*")):
            if path.is_file():
                _write(root / SITE / "kata_bundle/data" / folder / path.relative_to(shipped(folder)), path.read_bytes())
    for command, module in _SCRIPTS.items():
        script = root / "usr/bin" / command
        text = f"#!/usr/bin/python{PYTHON} -I\nimport sys\n\nfrom {module} import main\n\nsys.exit(main())\n"
        _write(script, text.encode())
        script.chmod(0o755)


def compile_python(root: Path, interpreter_root: Path, arch: Arch) -> None:
    """Compile every module below ``root``; ``interpreter_root`` is a base for ``arch``, which has to be this machine's.

    Byte code names paths as they are in the image and does not look at the sources' times.
    """
    argv = [
        *_interpreter(interpreter_root, arch), "-I", "-S", "-m", "compileall", "-q", "-f",
        "--invalidation-mode", "unchecked-hash", "-s", os.fspath(root), "-p", "/", os.fspath(root / "usr/lib"),
    ]  # fmt: skip
    run(argv, env=base_environment(PYTHONHOME=os.fspath(interpreter_root / "usr"), PYTHONHASHSEED="0"), timeout_s=900)


def start_time(base: Path, program: Path, arch: Arch) -> float:
    """Return the processor time, in seconds, that ``kata-deploy --help`` takes with the image's own files: the least of three.

    ``arch`` has to be this machine's.
    """
    place = os.fspath(program / SITE)
    code = f"import sys; sys.path.insert(0, {place!r}); from kata_bundle.cli.deploy import main; main(['--help'])"
    argv = [*_interpreter(base, arch), "-I", "-S", "-c", code]
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(argv, env=base_environment(PYTHONHOME=os.fspath(base / "usr"), PYTHONDONTWRITEBYTECODE="1"), timeout_s=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(min(times), 3)


def _interpreter(root: Path, arch: Arch) -> list[str]:
    """Return the command that runs the interpreter of the base ``root`` with that base's own loader and libraries."""
    loader = root / "usr/lib64" / _LOADERS[arch.value]
    if not loader.exists():
        loader = root / "usr/lib" / _LOADERS[arch.value]
    libraries = ":".join(os.fspath(path) for path in sorted((root / "usr/lib").glob("*-linux-gnu*")))
    return [os.fspath(loader), "--library-path", libraries, os.fspath(root / f"usr/bin/python{PYTHON}")]


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder with its links as they are."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o644)
