"""Making components: once, from exactly what was pinned, in the same way whatever the number of threads."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from kata_bundle.build.components import build_component, build_plan, find_component
from kata_bundle.build.deblock import DebLock
from kata_bundle.build.rulebook import Rulebook, Target
from kata_bundle.build.rules import DebRecipe, FileMapping, FixtureRecipe, Package, Rule
from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import BuildError, IntegrityError, LockError, PinMissingError
from kata_bundle.core.events import NO_PROGRESS
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File
from kata_bundle.store import Store
from tests.fixtures.debs import MemoryPackages, Served, deb, program

X86, ARM = Arch.X86_64, Arch.AARCH64


def served(package: str, version: str, members, architecture="all") -> Served:
    return Served(package, version, architecture, deb(members))


VIRTIOFSD = served("virtiofsd", "1.2-3", [program("./usr/libexec/virtiofsd", b"daemon")])
OVMF = served("ovmf", "2025", [("./usr/share/ovmf/OVMF.fd", b"firmware" * 4096)])
EFI = served("qemu-efi-aarch64", "2025", [("./C.fd", b"code"), ("./V.fd", b"vars")])


def recipe(package: str, *files: tuple[str, str]) -> DebRecipe:
    return DebRecipe(
        suite="trixie",
        packages=(Package(name=package),),
        version_of=package,
        files=tuple(FileMapping(package=package, source=source, target=target) for source, target in files),
        links=(),
        notes="",
    )


DAEMON = recipe("virtiofsd", ("usr/libexec/virtiofsd", "libexec/virtiofsd"))
RULES = {
    "virtiofsd": Rule(component="virtiofsd", recipes={X86: DAEMON, ARM: DAEMON}),
    "ovmf": Rule(
        component="ovmf",
        recipes={
            X86: recipe("ovmf", ("usr/share/ovmf/OVMF.fd", "share/ovmf/OVMF.fd")),
            ARM: recipe("qemu-efi-aarch64", ("C.fd", "share/aavmf/AAVMF_CODE.fd"), ("V.fd", "share/aavmf/AAVMF_VARS.fd")),
        },
    ),
    "nydus": Rule(component="nydus", recipes={a: FixtureRecipe(links=(), notes="") for a in (X86, ARM)}),
}
LOCK = DebLock(tuple(s.pin for s in (OVMF, EFI, VIRTIOFSD)))
TARGETS = [Target(arch=arch, component=name) for arch in (X86, ARM) for name in RULES]


@pytest.fixture
def packages():
    return MemoryPackages([VIRTIOFSD, OVMF, EFI])


def make(catalog, store, packages, component="virtiofsd", arch=X86, *, rules=RULES, lock=LOCK):
    return build_component(Rulebook(catalog, rules, lock), store, Target(arch=arch, component=component), packages=packages)


def test_a_component_is_made_from_its_package(catalog, store, packages):
    built = make(catalog, store, packages)
    assert (built.origin, built.version, built.hermetic, built.is_cached, built.is_real) == ("deb", "1.2-3", True, False, True)
    tree = store.get_tree(built.tree)
    entry = tree.entries[RelPath("libexec/virtiofsd")]
    assert isinstance(entry, File)
    assert (entry.mode, store.read(entry.digest)) == (0o755, b"daemon")
    assert built.size_bytes == 6


def test_a_stand_in_says_so(catalog, store, packages):
    built = make(catalog, store, packages, "nydus")
    assert (built.origin, built.is_real, built.version) == ("fixture", False, "fixture-1")
    assert built.to_dict()["real"] is False
    assert packages.asked == []


def test_the_second_time_nothing_is_done_and_nobody_asked(catalog, store, packages):
    first = build_plan(Rulebook(catalog, RULES, LOCK), store, TARGETS, jobs=1, packages=packages)
    asked = list(packages.asked)
    blobs = list(store.digests())
    second = build_plan(Rulebook(catalog, RULES, LOCK), store, TARGETS, jobs=2, packages=packages)
    assert [b.is_cached for b in first] == [False] * 6
    assert second == tuple(replace(b, is_cached=True) for b in first)
    assert packages.asked == asked
    assert list(store.digests()) == blobs


def test_find_tells_what_is_there_without_making_it(catalog, store, packages):
    target = Target(arch=X86, component="virtiofsd")
    assert find_component(Rulebook(catalog, RULES, LOCK), store, target) is None
    built = make(catalog, store, packages)
    assert find_component(Rulebook(catalog, RULES, LOCK), store, target) == replace(built, is_cached=True)


def test_trees_do_not_depend_on_threads_and_results_come_in_order(catalog, tmp_path, packages):
    results = [
        build_plan(
            Rulebook(catalog, RULES, LOCK), Store(tmp_path / str(jobs), durable=False), TARGETS, jobs=jobs, packages=packages
        )
        for jobs in (1, 2, 6)
    ]
    assert results[0] == results[1] == results[2]
    assert [(b.arch, b.component) for b in results[0]] == [(t.arch, t.component) for t in TARGETS]


def test_a_package_that_two_components_need_is_fetched_once(catalog, store, packages):
    targets = [Target(arch=arch, component="virtiofsd") for arch in (X86, ARM)]
    build_plan(Rulebook(catalog, RULES, LOCK), store, targets, jobs=2, packages=packages)
    assert packages.downloads == ["virtiofsd"]


def test_a_changed_rule_makes_it_again_from_the_package_in_the_store(catalog, store, packages):
    first = make(catalog, store, packages)
    changed = replace(DAEMON, files=(*DAEMON.files, replace(DAEMON.files[0], target="libexec/again")))
    second = make(catalog, store, packages, rules={"virtiofsd": Rule(component="virtiofsd", recipes={X86: changed})})
    assert (second.is_cached, second.tree == first.tree) == (False, False)
    assert packages.downloads == ["virtiofsd"]


def test_pins_that_are_no_longer_served_are_all_named_with_the_command(catalog, store, packages):
    both = replace(DAEMON, packages=(Package(name="ovmf"), Package(name="virtiofsd")))
    packages.served = [replace(VIRTIOFSD, version="1.2-4"), EFI]
    with pytest.raises(PinMissingError) as caught:
        make(catalog, store, packages, rules={"virtiofsd": Rule(component="virtiofsd", recipes={X86: both})})
    assert "ovmf 2025 (all, trixie)" in str(caught.value)
    assert "virtiofsd 1.2-3 (all, trixie)" in str(caught.value)
    assert caught.value.hint.startswith("kata-bundle lock debian --refresh-missing")
    assert caught.value.exit_code == 4
    assert packages.downloads == []


def test_a_mirror_with_other_content_under_the_pinned_version_is_not_an_update(catalog, store, packages):
    packages.served = [replace(VIRTIOFSD, data=deb([program("./usr/libexec/virtiofsd", b"evil")]))]
    with pytest.raises(IntegrityError, match=r"has virtiofsd 1\.2-3 for all with digest"):
        make(catalog, store, packages)
    assert packages.downloads == []


@pytest.mark.parametrize("data", [b"", VIRTIOFSD.data + b"\0", bytes([VIRTIOFSD.data[0] ^ 1]) + VIRTIOFSD.data[1:]])
def test_a_download_that_is_not_what_was_pinned_is_refused_and_not_kept(catalog, store, packages, data):
    packages.tampered = {"virtiofsd": data}
    with pytest.raises(IntegrityError, match=r"package virtiofsd 1\.2-3"):
        make(catalog, store, packages)
    assert list(store.digests()) == []


def test_a_damaged_blob_is_made_again(catalog, store, packages):
    built = make(catalog, store, packages)
    entry = store.get_tree(built.tree).entries[RelPath("libexec/virtiofsd")]
    assert isinstance(entry, File)
    os.unlink(store.path(entry.digest))
    again = make(catalog, store, packages)
    assert (again.is_cached, again.tree) == (False, built.tree)
    assert store.read(entry.digest) == b"daemon"
    assert packages.downloads == ["virtiofsd"]


def test_a_damaged_package_in_the_store_is_noticed_and_then_fetched_again(catalog, store, packages):
    make(catalog, store, packages)
    path = store.path(LOCK.require("trixie", "virtiofsd", X86).digest)
    os.chmod(path, 0o644)
    path.write_bytes(VIRTIOFSD.data[:-1] + b"X")
    changed = {"virtiofsd": Rule(component="virtiofsd", recipes={X86: replace(DAEMON, links=())})}
    changed["virtiofsd"] = replace(
        changed["virtiofsd"], recipes={X86: replace(DAEMON, files=(*DAEMON.files, replace(DAEMON.files[0], target="x")))}
    )
    with pytest.raises(IntegrityError, match=r"digest|damaged"):
        make(catalog, store, packages, rules=changed)
    assert not make(catalog, store, packages, rules=changed).is_cached


def test_a_component_that_lacks_a_declared_output_is_refused(catalog, store, packages):
    wrong = recipe("virtiofsd", ("usr/libexec/virtiofsd", "bin/virtiofsd"))
    with pytest.raises(BuildError, match="lacks declared outputs: libexec/virtiofsd"):
        make(catalog, store, packages, rules={"virtiofsd": Rule(component="virtiofsd", recipes={X86: wrong})})
    assert find_component(Rulebook(catalog, RULES, LOCK), store, Target(arch=X86, component="virtiofsd")) is None


def test_missing_rules_and_pins_stop_before_any_work(catalog, store, packages):
    with pytest.raises(BuildError, match='component "kernel" has no build rule'):
        Rulebook(catalog, RULES, LOCK).rule("kernel")
    for targets, lock in (([*TARGETS, Target(arch=X86, component="kernel")], LOCK), (TARGETS, DebLock(LOCK.pins[:1]))):
        with pytest.raises((BuildError, LockError)):
            build_plan(Rulebook(catalog, RULES, lock), store, targets, jobs=2, packages=packages)
    assert packages.asked == []
    assert list(store.digests()) == []


def test_the_first_error_stops_what_has_not_begun(catalog, store):
    """One thread fails while another is at work; the rest of the queue is not started."""
    failed = threading.Event()

    class Failing(MemoryPackages):
        def download(self, suite, architecture, package, version, folder):
            if package == "ovmf":
                failed.set()
                message = "no space left"
                raise BuildError(message)
            assert failed.wait(10)
            return super().download(suite, architecture, package, version, folder)

    notes: list[str] = []

    class Progress(type(NO_PROGRESS)):
        def note(self, message):
            notes.append(message)

    order = [Target(arch=X86, component="virtiofsd"), Target(arch=X86, component="ovmf")]
    order += [Target(arch=ARM, component=name) for name in RULES]
    with pytest.raises(BuildError, match="no space left"):
        build_plan(
            Rulebook(catalog, RULES, LOCK), store, order, jobs=2, packages=Failing([VIRTIOFSD, OVMF, EFI]), progress=Progress()
        )
    assert len(notes) <= 3


def test_nothing_to_make_is_fine(catalog, store, packages):
    assert build_plan(Rulebook(catalog, RULES, LOCK), store, [], jobs=2, packages=packages) == ()
