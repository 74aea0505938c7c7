"""Which Debian packages the corpus is made of, by version and sha256, and how they are fetched.

A *release* is a choice of versions: ``r1`` the oldest and ``r2`` the newest version that the suite, its updates and its security
archive have of each package, so the step from one to the other is a point upgrade. The choice is written to ``corpus.lock.json``
once (``python -m bench corpus --relock``) and read from there afterwards. Must not know: components, images.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.core.record import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["LOCK", "RELEASES", "SUITE", "AptRoot", "Package", "closure", "extract", "fetch", "load_lock", "write_lock"]

SUITE: Final = "bookworm"
RELEASES: Final = ("r1", "r2")
LOCK: Final = Path(__file__).with_name("corpus.lock.json")
LEFT_OUT: Final = frozenset(
    ("perl", "libperl5.36", "perl-modules-5.36", "python3", "python3-minimal", "python3.11", "python3.11-minimal",
     "libpython3.11-stdlib", "libpython3.11-minimal", "libpython3-stdlib", "debconf", "gnupg", "gnupg-l10n", "dirmngr",
     "libclang-common-15-dev", "libstdc++-12-dev", "libgcc-12-dev", "libc6-dev", "binutils")
)  # fmt: skip
"""Interpreters and compilers that dependencies would bring in; builders of guest images leave them out as well."""
_BATCH: Final = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One package of one architecture, as the signed lists describe it."""

    name: str
    version: str
    architecture: str
    size_bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        """The name ``apt-get download`` gives it."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


class AptRoot:
    """A private apt for one architecture: the suite, its updates and its security archive, through the machine's own mirror."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.folder = folder
        self.architecture = architecture
        self._conf = folder / "apt.conf"

    def update(self) -> None:
        """Fetch the package lists."""
        from kata_bundle.build.apt import machine_source

        for name in ("etc/apt/sources.list.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("var/cache/apt/archives/partial", "var/lib/dpkg"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "var/lib/dpkg/status").touch()
        source = machine_source()
        # Debian's mirrors keep the security archive beside the main one.
        security = replace(source, uris=source.uris.rstrip("/") + "-security")
        text = source.render(f"{SUITE} {SUITE}-updates") + "\n" + security.render(f"{SUITE}-security")
        (self.folder / "etc/apt/sources.list.d/debian.sources").write_text(text)
        settings = {
            "Dir": f"{self.folder}/",
            "Dir::State::status": f"{self.folder}/var/lib/dpkg/status",
            "Dir::Etc::trustedparts": "/etc/apt/trusted.gpg.d/",
            "APT::Architecture": self.architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::GzipIndexes": "false",
            "Acquire::Retries": "3",
        }
        lines = ["#clear APT::Architectures;", f'APT::Architectures {{ "{self.architecture}"; }};']
        self._conf.write_text("\n".join([*lines, *(f'{key} "{value}";' for key, value in settings.items())]) + "\n")
        self._apt(["-qq", "update"])

    def stanzas(self) -> list[dict[str, str]]:
        """Return every package that the lists have, as fields."""
        found = []
        for path in sorted((self.folder / "var/lib/apt/lists").glob("*_Packages")):
            for stanza in path.read_text().split("\n\n"):
                lines = (line.partition(":") for line in stanza.splitlines() if line[:1] not in {"", " "})
                fields = {key: value.strip() for key, _, value in lines}
                if "Package" in fields:
                    found.append(fields)
        return found

    def download(self, packages: Sequence[Package], folder: Path) -> None:
        """Put the files of ``packages`` into ``folder``."""
        for start in range(0, len(packages), _BATCH):
            batch = packages[start : start + _BATCH]
            self._apt(["-qq", "download", *(f"{p.name}={p.version}" for p in batch)], cwd=folder)

    def _apt(self, arguments: Sequence[str], cwd: Path | None = None) -> None:
        subprocess.run(["apt-get", "-c", str(self._conf), *arguments], cwd=cwd, check=True)


def closure(stanzas: Iterable[Mapping[str, str]], names: Sequence[str], *, newest: bool) -> dict[str, Package]:
    """Return ``names`` and all they depend on, each in its newest or else oldest version."""
    versions: dict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
    providers: dict[str, set[str]] = defaultdict(set)
    for stanza in stanzas:
        versions[stanza["Package"]][stanza["Version"]] = stanza
        for provided in stanza.get("Provides", "").split(","):
            if provided.strip():
                providers[provided.split()[0]].add(stanza["Package"])
    chosen: dict[str, Package] = {}
    pending = list(reversed(names))
    while pending:
        name = pending.pop()
        if name not in versions:
            if any(one in chosen for one in providers[name]):
                continue
            name = min(providers[name], default="")
        if not name or name in chosen or name in LEFT_OUT:
            continue
        ordered = sorted(versions[name], key=functools.cmp_to_key(_compare))
        stanza = versions[name][ordered[-1 if newest else 0]]
        chosen[name] = Package(
            name=name, version=stanza["Version"], architecture=stanza["Architecture"],
            size_bytes=int(stanza["Size"]), sha256=stanza["SHA256"],
        )  # fmt: skip
        for field in ("Pre-Depends", "Depends"):
            for dependency in stanza.get(field, "").split(","):
                alternatives = [re.split(r"[ :(]", one.strip())[0] for one in dependency.split("|") if one.strip()]
                if alternatives:
                    pending.append(next((one for one in alternatives if one in versions), alternatives[0]))
    return chosen


@functools.cache
def _compare(left: str, right: str) -> int:
    if left == right:
        return 0
    return 1 if subprocess.run(["dpkg", "--compare-versions", left, "gt", right], check=False).returncode == 0 else -1


Lock = dict[str, dict[str, dict[str, dict[str, Package]]]]
"""Architecture → release → group → package name → package."""


def write_lock(lock: Lock) -> None:
    """Write the choice of versions to ``corpus.lock.json``."""
    packages = {
        p.file_name: p for arches in lock.values() for groups in arches.values() for g in groups.values() for p in g.values()
    }
    document = {
        "suite": SUITE,
        "groups": {
            arch: {release: {group: sorted(p.file_name for p in found.values()) for group, found in groups.items()}
                   for release, groups in releases.items()}
            for arch, releases in lock.items()
        },
        "packages": {name: [p.name, p.version, p.architecture, p.size_bytes, p.sha256] for name, p in sorted(packages.items())},
    }  # fmt: skip
    text = json.dumps(document, indent=1, sort_keys=True)
    text = re.sub(r"\[\s+((?:[^\[\]]|\n)*?)\s+\]", lambda found: "[" + re.sub(r",\s+", ", ", found[1]) + "]", text)
    LOCK.write_text(text + "\n")


def load_lock() -> Lock:
    """Return the choice of versions that was written."""
    document = json.loads(LOCK.read_text())
    packages = {
        name: Package(name=row[0], version=row[1], architecture=row[2], size_bytes=row[3], sha256=row[4])
        for name, row in document["packages"].items()
    }
    return {
        arch: {
            release: {group: {packages[f].name: packages[f] for f in files} for group, files in groups.items()}
            for release, groups in releases.items()
        }
        for arch, releases in document["groups"].items()
    }


def fetch(packages: Iterable[Package], architecture: str, folder: Path) -> None:
    """Put every package into ``folder``, checked; what is there already is kept.

    Ends the program with a word on what to do when the mirror no longer has a version.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [p for p in packages if not (folder / p.file_name).is_file()]
    if missing:
        total = sum(p.size_bytes for p in missing)
        print(f"fetching {len(missing)} packages for {architecture}, {total / 1e6:.0f} MB", flush=True)
        partial = folder / f".partial-{os.getpid()}"
        partial.mkdir()
        try:
            apt = AptRoot(partial / "apt", architecture)
            apt.update()
            apt.download(missing, partial)
            for package in missing:
                path = partial / package.file_name
                if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
                    msg = f"{package.file_name} is not what the lock says; python -m bench corpus --relock"
                    raise SystemExit(msg)
                path.rename(folder / package.file_name)
        except subprocess.CalledProcessError as error:
            msg = f"{error}\nhint: the mirror may have dropped a version: python -m bench corpus --relock"
            raise SystemExit(msg) from None
        finally:
            shutil.rmtree(partial)


def extract(packages: Iterable[Package], debs: Path, target: Path) -> None:
    """Unpack ``packages`` one over the other in the order of their names."""
    target.mkdir(parents=True, exist_ok=True)
    for package in sorted(packages, key=lambda p: p.name):
        subprocess.run(["dpkg-deb", "-x", debs / package.file_name, target], check=True)
