"""A private apt: package lists and downloads of any suite and architecture without touching the machine's own.

Every (suite, architecture) gets a root of its own below one temporary directory: configuration, lists, an empty dpkg status. Of
the machine only the Debian mirror, its keys and proxy settings are used. Must not know: locks, rules, the store.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from kata_bundle.build.aptsources import debian_source
from kata_bundle.build.debsource import SourceFile, SourcePin
from kata_bundle.core.digest import Digest, parse_digest
from kata_bundle.core.errors import BuildError, IntegrityError, LockError, RemoteError
from kata_bundle.core.process import find_program, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kata_bundle.build.aptsources import ArchiveSource
    from kata_bundle.core.process import Completed

__all__ = ["Apt", "IndexEntry", "PackageSource", "machine_source"]

_KEYRINGS: Final = ("/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp")
_TIMEOUT_S: Final = 900.0
_ATTEMPTS: Final = 3
_SOURCE: Final = "source"
_PLANNED: Final = re.compile(r"^Inst ([a-z0-9][a-z0-9+.-]*)(?::[a-z0-9]+)? \((\S+) ", re.MULTILINE)
_TIDY: Final = ("Pre-Invoke", "Post-Invoke", "Post-Invoke-Success")


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexEntry:
    """A package as the signed lists of a suite describe it."""

    package: str
    version: str
    architecture: str
    size_bytes: int
    digest: Digest
    depends: tuple[str, ...]
    """Names of the packages it needs, alternatives left out."""


class PackageSource(Protocol):
    """Where packages come from; :class:`Apt` is the real one. Architectures are Debian's names."""

    def find(self, suite: str, architecture: str, package: str, version: str | None = None) -> IndexEntry | None:
        """Return that version of a package, by default the newest, or ``None`` when the suite does not have it."""

    def download(self, suite: str, architecture: str, package: str, version: str, folder: Path) -> Path:
        """Put the package's file into the empty ``folder`` and return its path."""

    def find_all(self, suite: str, architecture: str, wanted: Mapping[str, str]) -> Mapping[str, IndexEntry]:
        """Return those of ``wanted`` (package → version) that the suite has."""

    def download_all(self, suite: str, architecture: str, wanted: Mapping[str, str], folder: Path) -> tuple[Path, ...]:
        """Put the files of ``wanted`` (package → version) into the empty ``folder`` and return their paths, sorted."""

    def find_source(self, suite: str, name: str, version: str | None = None) -> SourcePin | None:
        """Return that version of a source package, by default the newest, or ``None`` when the suite does not have it."""

    def download_source(self, suite: str, name: str, version: str, files: Sequence[str], folder: Path) -> None:
        """Put ``files`` of that source package into the empty ``folder``."""


def machine_source() -> ArchiveSource:
    """Return the Debian archive that this machine's apt uses; raise :class:`HostError` when it uses none."""
    etc = Path("/etc/apt")
    paths = [etc / "sources.list", *(etc / "sources.list.d").glob("*.list"), *(etc / "sources.list.d").glob("*.sources")]
    files = {path.name: path.read_text("utf-8", "replace") for path in paths if path.is_file()}
    return debian_source(files, keyrings=[path for path in _KEYRINGS if os.path.exists(path)])


class Apt:
    """Package lists and downloads through the machine's apt programs; a context, on leaving it everything temporary is gone.

    Lists are read once per suite and architecture, when first needed. Safe for several threads: calls for one root wait for
    each other. Methods raise :class:`RemoteError` when the mirror cannot be reached or serves nonsense, :class:`HostError`
    without apt or without a Debian source on this machine.
    """

    def __init__(self, source: ArchiveSource | None = None) -> None:
        self._source = source
        self._folder: Path | None = None
        self._lock = threading.Lock()
        self._roots: dict[tuple[str, str], _Root] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            self._roots.clear()

    def find(self, suite: str, architecture: str, package: str, version: str | None = None) -> IndexEntry | None:
        """Return that version of a package, by default the newest, or ``None`` when the suite does not have it."""
        wanted = package if version is None else f"{package}={version}"
        done = self._root(suite, architecture).run("apt-cache", ["show", "--no-all-versions", wanted], check=False)
        entries = [_entry(stanza) for stanza in done.text().split("\n\n") if stanza.strip()] if not done.status else []
        matching = [entry for entry in entries if entry.package == package and version in {None, entry.version}]
        return matching[0] if matching else None

    def download(self, suite: str, architecture: str, package: str, version: str, folder: Path) -> Path:
        """Put the package's file into the empty ``folder`` and return its path."""
        self._root(suite, architecture).run("apt-get", ["-qq", "download", f"{package}={version}"], cwd=folder)
        found = sorted(folder.glob("*.deb"))
        if len(found) != 1:
            msg = f"downloading {package} {version} gave {len(found)} files, expected one"
            raise RemoteError(msg)
        return found[0]

    def find_all(self, suite: str, architecture: str, wanted: Mapping[str, str]) -> Mapping[str, IndexEntry]:
        """Return those of ``wanted`` (package → version) that the suite has; one run of apt for all."""
        names = [f"{package}={version}" for package, version in sorted(wanted.items())]
        done = self._root(suite, architecture).run("apt-cache", ["show", "--no-all-versions", *names], check=False)
        entries = map(_entry, filter(str.strip, done.text().split("\n\n")))
        return {entry.package: entry for entry in entries if wanted.get(entry.package) == entry.version}

    def download_all(self, suite: str, architecture: str, wanted: Mapping[str, str], folder: Path) -> tuple[Path, ...]:
        """Put the files of ``wanted`` (package → version) into the empty ``folder`` and return their paths, sorted.

        One run of apt: starting it costs more than a small package.
        """
        names = [f"{package}={version}" for package, version in sorted(wanted.items())]
        self._root(suite, architecture).run("apt-get", ["-qq", "download", *names], cwd=folder)
        return tuple(sorted(folder.glob("*.deb")))

    def closure(self, suite: str, architecture: str, names: Sequence[str]) -> tuple[IndexEntry, ...]:
        """Return the newest versions of packages ``names`` and of all that they depend on, sorted by name.

        What apt would install on an empty system without recommendations. Raises :class:`LockError` naming what cannot be had.
        """
        root = self._root(suite, architecture)
        plan = root.run("apt-get", ["-qq", "--simulate", "--no-install-recommends", "install", *names], check=False)
        if plan.status:
            said = (
                plan.stderr.decode("utf-8", "replace").strip().splitlines() or plan.text().strip().splitlines() or ["no reason"]
            )
            msg = f"{suite} cannot give {', '.join(names)} for {architecture}: {said[-1]}"
            raise LockError(msg, hint="change the packages of the toolchain")
        versions = {match[1]: match[2] for match in _PLANNED.finditer(plan.text())}
        wanted = [f"{name}={version}" for name, version in sorted(versions.items())]
        shown = root.run("apt-cache", ["show", "--no-all-versions", *wanted])
        entries = {entry.package: entry for entry in map(_entry, filter(str.strip, shown.text().split("\n\n")))}
        missing = sorted(set(versions) - set(entries))
        if missing:
            msg = f"the package lists of {suite} do not describe {', '.join(missing)}"
            raise RemoteError(msg)
        return tuple(entries[name] for name in sorted(versions))

    def find_source(self, suite: str, name: str, version: str | None = None) -> SourcePin | None:
        """Return that version of a source package, by default the newest, or ``None`` when the suite does not have it.

        Raises :class:`LockError` when it is in a form that this program does not read.
        """
        root = self._root(suite, _SOURCE)
        shown = root.run("apt-cache", ["showsrc", "--only-source", name], check=False)
        stanzas = [] if shown.status else [_fields(stanza) for stanza in shown.text().split("\n\n") if stanza.strip()]
        found = [one for one in stanzas if one.get("package") == name and version in {None, one.get("version")}]
        if version is None and len(found) > 1:
            # Only apt knows which of several versions is the newest: it names the one that it would fetch.
            said = root.run("apt-get", ["-qq", "--print-uris", "--only-source", _SOURCE, name]).text()
            found = [one for one in found if any(f" {line.split()[2]} " in f"{said} " for line in _file_lines(one))]
        return _source_pin(suite, found[0]) if found else None

    def download_source(self, suite: str, name: str, version: str, files: Sequence[str], folder: Path) -> None:
        """Put ``files`` of that source package into the empty ``folder``.

        apt fetches all files of the package. One that is not wanted may be missing on the mirror.
        """
        root = self._root(suite, _SOURCE)
        arguments = ["-qq", "--download-only", "--only-source", _SOURCE, f"{name}={version}"]
        for _ in range(_ATTEMPTS):
            done = root.run("apt-get", arguments, cwd=folder, check=False)
            missing = [file for file in files if not (folder / file).is_file()]
            if not missing:
                return
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason"]
        msg = f"source package {name} {version} of {suite}: the mirror does not give {', '.join(missing)}: {said[0]}"
        raise RemoteError(msg, hint="is the machine's Debian mirror reachable?", retryable=True)

    def _root(self, suite: str, architecture: str) -> _Root:
        with self._lock:
            if self._source is None:
                self._source = machine_source()
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="kata-bundle-apt-"))
            key = (suite, architecture)
            if key not in self._roots:
                self._roots[key] = _Root(self._folder / f"{suite}-{architecture}", suite, architecture, self._source)
            return self._roots[key]


class _Root:
    def __init__(self, folder: Path, suite: str, architecture: str, source: ArchiveSource) -> None:
        self._folder = folder
        self._suite = suite
        self._architecture = architecture
        self._source = source
        self._lock = threading.Lock()
        self._is_ready = False

    def run(self, program: str, arguments: Sequence[str], *, cwd: Path | None = None, check: bool = True) -> Completed:
        with self._lock:
            if not self._is_ready:
                self._prepare()
                self._apt("apt-get", ["-qq", "update"])
                self._is_ready = True
            return self._apt(program, arguments, cwd=cwd, check=check)

    def _apt(self, program: str, arguments: Sequence[str], *, cwd: Path | None = None, check: bool = True) -> Completed:
        path = find_program(program, package="apt")
        try:
            return run([path, "-c", f"{self._folder}/apt.conf", *arguments], cwd=cwd, timeout_s=_TIMEOUT_S, check=check)
        except BuildError as error:
            msg = f"{self._suite} packages for {self._architecture}: {error}"
            raise RemoteError(msg, hint="is the machine's Debian mirror reachable?", retryable=True) from None

    def _prepare(self) -> None:
        for name in (
            "etc/apt/sources.list.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
        ):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        (self._folder / "var/lib/dpkg/status").touch()
        # Lists of sources are the same for every architecture, but apt has to be on one.
        is_source = self._architecture == _SOURCE
        text = self._source.render(self._suite, "deb-src" if is_source else "deb")
        (self._folder / "etc/apt/sources.list.d/debian.sources").write_text(text, "utf-8")
        configuration = _configuration(self._folder, "amd64" if is_source else self._architecture)
        (self._folder / "apt.conf").write_text(configuration, "utf-8")


def _configuration(folder: Path, architecture: str) -> str:
    """Return the configuration laid over the machine's own, which apt has read by then (that is where proxies come from)."""
    settings: Mapping[str, str] = {
        "Dir": f"{folder}/",
        "Dir::State::status": f"{folder}/var/lib/dpkg/status",
        # Mirrors without Signed-By rely on the machine's trusted keys; nothing is written there.
        "Dir::Etc::trusted": "/etc/apt/trusted.gpg",
        "Dir::Etc::trustedparts": "/etc/apt/trusted.gpg.d/",
        "Dir::Cache::pkgcache": "pkgcache.bin",
        "Dir::Cache::srcpkgcache": "",
        "APT::Architecture": architecture,
        "APT::Update::Error-Mode": "any",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "false",
        "Acquire::Retries": "3",
    }
    lines = [f"#clear APT::Update::{name};" for name in _TIDY]  # the machine's hooks are about its own lists
    lines += ["#clear APT::Architectures;", f'APT::Architectures {{ "{architecture}"; }};']
    lines += [f'{name} "{value}";' for name, value in settings.items()]
    return "\n".join(lines) + "\n"


def _fields(stanza: str) -> dict[str, str]:
    """Return the fields of a stanza by lower-case name, the lines of a long one kept."""
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line[:1] in {" ", "\t"} and key:
            fields[key] += f"\n{line.strip()}"
        else:
            key, _, value = line.partition(":")
            key = key.lower()
            fields.setdefault(key, value.strip())
    return fields


def _file_lines(fields: Mapping[str, str]) -> list[str]:
    lines = [line for line in fields.get("checksums-sha256", "").splitlines() if line]
    if not lines or any(len(line.split()) != 3 for line in lines):
        msg = f'the lists of sources describe "{fields.get("package", "a package")}" without sha256 of its files'
        raise RemoteError(msg)
    return lines


def _source_pin(suite: str, fields: Mapping[str, str]) -> SourcePin:
    try:
        files = [
            SourceFile(name=name, size_bytes=int(size), digest=parse_digest(f"sha256:{sha256}"))
            for sha256, size, name in (line.split() for line in _file_lines(fields))
        ]
        return SourcePin(
            suite=suite, name=fields["package"], version=fields["version"], format=fields["format"], files=tuple(sorted(files))
        )
    except (KeyError, ValueError, IntegrityError):
        msg = f'the lists of sources describe "{fields.get("package", "a package")}" without version, format or digests'
        raise RemoteError(msg) from None


def _entry(stanza: str) -> IndexEntry:
    fields: dict[str, str] = {}
    for line in stanza.splitlines():
        if line[:1] not in {" ", "\t"}:
            key, _, value = line.partition(":")
            fields.setdefault(key.lower(), value.strip())
    try:
        return IndexEntry(
            package=fields["package"],
            version=fields["version"],
            architecture=fields["architecture"],
            size_bytes=int(fields["size"]),
            digest=parse_digest(f"sha256:{fields['sha256']}"),
            depends=tuple(
                part.split()[0].partition(":")[0]
                for part in fields.get("depends", "").split(",")
                if part.strip() and "|" not in part
            ),
        )
    except (KeyError, ValueError, IntegrityError):
        msg = f'the package lists describe "{fields.get("package", "a package")}" without version, size or sha256'
        raise RemoteError(msg) from None
