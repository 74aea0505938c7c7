"""The corpus: two releases on two architectures, as trees, as upstream's tarballs, and as bundles of this program.

    FOLDER/<kind>/
      corpus.json                     the shape: sizes, files, packed sizes, what changed between the releases
      r1/amd64/trees/<component>/     the content, ``opt/kata`` below
      r1/amd64/tarballs/              kata-static-<component>.tar.zst as upstream makes them (one frame, level 10), with a
                                      shim-components.json: what peers unpack, and what `kata-bundle install` takes as well
      r1/amd64/layers/                the same components as this program packs them (links into the store)
      r1/bundle/                      an OCI layout of all architectures
      store/                          this program's store
      made/                           what each part was made from; a part whose sources changed is made again

The folder is ``--corpus``, else ``KATA_BUNDLE_BENCH``, else ``kata-bundle/bench`` in the cache folder of the user. ``full`` needs
root, a Debian mirror, and 16 GB; ``smoke`` needs nothing and takes seconds.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import parts, smoke
from bench.debs import LOCK, RELEASES, AptRoot, closure, fetch, load_lock, write_lock
from bench.images import EPOCH
from kata_bundle.core.arch import Arch
from kata_bundle.core.componentmap import FILE_NAME, tarball_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.store.records import LayerRecord

__all__ = ["ARCHES", "Corpus", "default_folder", "ensure_corpus", "relock"]

ARCHES: Final = {"amd64": Arch.X86_64, "arm64": Arch.AARCH64}
LEVEL: Final = 10
CONTENT_VERSION: Final = 1
"""Raised when the same packages are laid out in another way, or the smoke corpus is made in another way."""
_PACKING: Final = (
    "archive/layer.py", "archive/tarwriter.py", "archive/tarheader.py", "archive/framewriter.py", "archive/toc.py",
    "archive/zstd.py", "bundle/pack.py", "oci/bundle.py", "oci/bundleindex.py", "oci/image.py",
)  # fmt: skip
"""Modules that decide the bytes of layers and bundles."""


def default_folder() -> Path:
    """Return where corpora are kept when nobody says otherwise."""
    chosen = os.environ.get("KATA_BUNDLE_BENCH")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(chosen) if chosen else Path(cache) / "kata-bundle/bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """A corpus on disk. ``kind`` is ``full`` or ``smoke``; architectures are ``amd64`` and ``arm64``."""

    root: Path
    kind: str

    def components(self, arch: str) -> tuple[str, ...]:
        """Return all components of an architecture."""
        return parts.COMPONENTS[arch]

    def shims(self, arch: str) -> dict[str, tuple[str, ...]]:
        """Return shim → components."""
        return dict(parts.SHIMS[arch])

    def tree(self, release: str, arch: str, component: str) -> Path:
        """Return the folder that has the component's ``opt/kata``."""
        return self.root / release / arch / "trees" / component

    def tarballs(self, release: str, arch: str) -> Path:
        """Return the folder of upstream's tarballs (single frame)."""
        return self.root / release / arch / "tarballs"

    def layers(self, release: str, arch: str) -> Path:
        """Return the folder of this program's layers, named like upstream's tarballs."""
        return self.root / release / arch / "layers"

    def bundle(self, release: str) -> Path:
        """Return the OCI layout of a release, all architectures in it."""
        return self.root / release / "bundle"

    @property
    def store(self) -> Path:
        """The store that everything was packed from."""
        return self.root / "store"

    def shape(self) -> dict[str, Any]:
        """Return ``corpus.json``."""
        return json.loads((self.root / "corpus.json").read_text())


def ensure_corpus(kind: str, folder: Path | None = None) -> Corpus:
    """Return the corpus of that kind, making what is missing or out of date."""
    corpus = Corpus(root=(folder or default_folder()) / kind, kind=kind)
    corpus.root.mkdir(parents=True, exist_ok=True)
    for release in RELEASES:
        for arch in ARCHES:
            if _is_stale(corpus, f"{release}-{arch}-trees", _content_key(kind)):
                with _remade(corpus, f"{release}-{arch}-trees", corpus.root / release / arch, keep=True):
                    _make_trees(corpus, release, arch)
            if _is_stale(corpus, f"{release}-{arch}-tarballs", _content_key(kind)):
                with _remade(corpus, f"{release}-{arch}-tarballs", corpus.tarballs(release, arch), keep=True):
                    _make_tarballs(corpus, release, arch)
        if _is_stale(corpus, f"{release}-bundle", _packing_key(kind)):
            with _remade(corpus, f"{release}-bundle", corpus.bundle(release)):
                _make_bundle(corpus, release)
    if _is_stale(corpus, "shape", _packing_key(kind)):
        with _remade(corpus, "shape", corpus.root / "corpus.json"):
            (corpus.root / "corpus.json").write_text(json.dumps(_shape(corpus), indent=1) + "\n")
    return corpus


def relock() -> None:
    """Choose versions again from what the mirror has today, and write the lock."""
    lock = {}
    with tempfile.TemporaryDirectory() as folder:
        for arch, groups in parts.GROUPS.items():
            apt = AptRoot(Path(folder) / arch, arch)
            apt.update()
            stanzas = apt.stanzas()
            lock[arch] = {
                release: {group: _choose(stanzas, group, names.split(), release) for group, names in groups.items()}
                for release in RELEASES
            }
    write_lock(lock)


def _choose(stanzas: list[dict[str, str]], group: str, names: list[str], release: str) -> dict[str, Any]:
    found = closure(stanzas, names, newest=release == RELEASES[-1])
    if group in parts.FLAT:
        return {name: found[name] for name in names}
    if group.startswith("kernel"):  # what the metapackage names
        return {name: package for name, package in found.items() if name.startswith("linux-image-") and name not in names}
    return found


def _digest(*paths: Path) -> str:
    state = hashlib.sha256()
    for path in sorted(paths):
        state.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return state.hexdigest()


def _content_key(kind: str) -> str:
    return f"{CONTENT_VERSION} {_digest(LOCK)}" if kind == "full" else f"{CONTENT_VERSION}"


def _packing_key(kind: str) -> str:
    import kata_bundle

    package = Path(kata_bundle.__file__).parent
    sources = [package / name for name in _PACKING]
    cells = hashlib.sha256(repr(parts.SHIMS).encode()).hexdigest()
    return _content_key(kind) + cells + _digest(*sources)


def _is_stale(corpus: Corpus, part: str, key: str) -> bool:
    mark = corpus.root / "made" / part
    return not mark.is_file() or mark.read_text() != key


class _remade:  # noqa: N801 - reads as a statement
    """A context in which a part is made anew: its place is emptied before, and marked as made after."""

    def __init__(self, corpus: Corpus, part: str, place: Path, *, keep: bool = False) -> None:
        """With ``keep``, what an interrupted run left for the same key is gone on from."""
        self._mark = corpus.root / "made" / part
        self._key = _content_key(corpus.kind) if part.endswith(("trees", "tarballs")) else _packing_key(corpus.kind)
        self._place = place
        self._begun = self._mark.with_name(f"{part}.begun") if keep else None

    def __enter__(self) -> None:
        print(f"corpus: making {self._mark.name}", flush=True)
        self._mark.parent.mkdir(exist_ok=True)
        self._mark.unlink(missing_ok=True)
        if self._begun is not None and self._begun.is_file() and self._begun.read_text() == self._key:
            return
        if self._place.is_dir():
            shutil.rmtree(self._place)
        if self._begun is not None:
            self._begun.write_text(self._key)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._mark.write_text(self._key)
            if self._begun is not None:
                self._begun.unlink()


def _make_trees(corpus: Corpus, release: str, arch: str) -> None:
    out = corpus.root / release / arch / "trees"
    out.mkdir(parents=True, exist_ok=True)
    if corpus.kind == "smoke":
        smoke.lay_out(release, arch, out)
        return
    if os.geteuid() != 0:
        msg = "the full corpus needs root: files in guest images belong to several users"
        raise SystemExit(msg)
    groups = load_lock()[arch][release]
    debs = corpus.root.parent / "debs"
    fetch({p.file_name: p for group in groups.values() for p in group.values()}.values(), arch, debs)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory, prefix="kata-bundle-corpus-") as work:
        parts.lay_out(arch, groups, debs, Path(work), out)


def _make_tarballs(corpus: Corpus, release: str, arch: str) -> None:
    out = corpus.tarballs(release, arch)
    out.mkdir(parents=True, exist_ok=True)
    for component in corpus.components(arch):
        target = out / tarball_name(component)
        if target.is_file():
            continue
        archive = subprocess.Popen(
            ["tar", "--sort=name", f"--mtime=@{EPOCH}", "--owner=0", "--group=0", "--numeric-owner", "-cf", "-", "./opt"],
            cwd=corpus.tree(release, arch, component), stdout=subprocess.PIPE,
        )  # fmt: skip
        partial = target.with_suffix(".partial")
        with partial.open("wb") as sink:
            subprocess.run(["zstd", f"-{LEVEL}", "-q", "-c"], stdin=archive.stdout, stdout=sink, check=True)
        if archive.wait():
            msg = f"tar failed for {component}"
            raise SystemExit(msg)
        partial.rename(target)


def _make_bundle(corpus: Corpus, release: str) -> None:
    from kata_bundle.archive.zstd import current_recipe
    from kata_bundle.bundle.pack import Content, pack_contents
    from kata_bundle.oci import BundleIndex, write_bundle
    from kata_bundle.store import Store

    store = Store(corpus.store)
    indexes = {}
    for name, arch in ARCHES.items():
        contents = [
            Content(
                component=component, arch=arch,
                tree=store.ingest_directory(corpus.tree(release, name, component) / "opt/kata").digest,
                origin="foreign", version=release, rule_key=None, hermetic=False,
            )
            for component in corpus.components(name)
        ]  # fmt: skip
        packed = pack_contents(contents, store, recipe=current_recipe(LEVEL), source_date=EPOCH, jobs=os.cpu_count() or 1)
        records = {one.layer.component: one.layer for one in packed}
        indexes[arch] = BundleIndex(
            arch=arch,
            shims=corpus.shims(name),
            layers={component: record.to_bundle_layer() for component, record in sorted(records.items())},
            default_shim="qemu",
            default_shims=("qemu",),
        )
        folder = corpus.layers(release, name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for component, record in records.items():
            _link(store.path(record.packed), folder / tarball_name(component))
        rows = {shim: {arch.value: list(needed)} for shim, needed in corpus.shims(name).items()}
        for place in (folder, corpus.tarballs(release, name)):
            (place / FILE_NAME).write_text(json.dumps({"shims": rows}, indent=1) + "\n")
    write_bundle(corpus.bundle(release), indexes, store.verified_path, created=EPOCH)
    gc.collect()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def _records(corpus: Corpus) -> Iterator[LayerRecord]:
    from kata_bundle.store import Store

    yield from Store(corpus.store, create=False).layers()


def _shape(corpus: Corpus) -> dict[str, Any]:
    document: dict[str, Any] = {"kind": corpus.kind, "level": LEVEL, "releases": {}}
    for release in RELEASES:
        document["releases"][release] = {
            arch: {component: _component_shape(corpus, release, arch, component) for component in corpus.components(arch)}
            for arch in ARCHES
        }
    if corpus.kind == "full":
        lock = load_lock()
        document["packages"] = {}
        for arch, releases in lock.items():
            old, new = ({p.name: p for group in releases[r].values() for p in group.values()} for r in RELEASES)
            changed = sorted(name for name, package in old.items() if new.get(name) != package)
            document["packages"][arch] = {"all": len(old), "changed": len(changed), "names": changed}
    return document


def _component_shape(corpus: Corpus, release: str, arch: str, component: str) -> dict[str, int]:
    tree = corpus.tree(release, arch, component)
    found = [path.lstat() for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        "files": len(found),
        "bytes": sum(one.st_size for one in found),
        "tarball_bytes": (corpus.tarballs(release, arch) / tarball_name(component)).stat().st_size,
        "layer_bytes": (corpus.layers(release, arch) / tarball_name(component)).stat().st_size,
    }
