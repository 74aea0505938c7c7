# ruff: noqa: E501 - tables of texts
"""Comparing two trees, naming places as the person does, and trees of nonsense: findings, never a crash."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kata_bundle.manifest.upstream.check import check_tree, new_findings, relocated
from kata_bundle.manifest.upstream.source import MemoryFiles
from tests.fixtures.upstreamtrees import UpstreamFiles

MAP = "shim-components.json"
TODAY = UpstreamFiles("today")
SHELL = UpstreamFiles("shell")
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def broken(files: UpstreamFiles) -> UpstreamFiles:
    return files.replace(MAP, '"qemu-snp-experimental", ', "")


def test_a_finding_that_was_there_before_is_not_new(today: UpstreamFiles) -> None:
    before = broken(UpstreamFiles("today")).check()
    assert len(before.report) > 0
    assert len(new_findings(broken(today).check(), before)) == 0


def test_lines_may_move(today: UpstreamFiles) -> None:
    before = broken(UpstreamFiles("today")).check()
    now = broken(today).replace(MAP, "{\n", "{\n\n\n", count=1).check()
    assert {f.span.line for f in now.report} != {f.span.line for f in before.report}
    assert len(new_findings(now, before)) == 0


def test_files_may_move(today: UpstreamFiles) -> None:
    profile = "try-kata-tee.values.yaml"
    today.replace(profile, "qemu-tdx:", "qemu-tdxx:")
    before = UpstreamFiles("today").replace(profile, "qemu-tdx:", "qemu-tdxx:").check()
    path = today.path(profile)
    moved = today.move(profile, path.replace("try-kata-tee", "try-kata-other")).check()
    # Another name is another file, the same name elsewhere is the same one.
    assert len(new_findings(moved, before)) == 1
    overheads = "runtimeclasses.yaml"
    first = UpstreamFiles("today").replace(overheads, '"memory" "130Mi"', '"memory" "130"')
    second = UpstreamFiles("today").replace(overheads, '"memory" "130Mi"', '"memory" "130"')
    second.move(overheads, second.path(overheads).replace("templates/", "templates/more/"))
    assert {f.code for f in new_findings(second.check(), first.check())} <= {"KB901"}


def test_the_same_mistake_again_is_new(today: UpstreamFiles) -> None:
    before = UpstreamFiles("today").replace(MAP, '"kernel", "rootfs-image"],', '"kernel", "kernel", "rootfs-image"],').check()
    now = today.replace(MAP, '"kernel", "rootfs-image"],', '"kernel", "kernel", "kernel", "rootfs-image"],').check()
    assert [f.code for f in new_findings(now, before)] == ["KB603"]


def test_a_repaired_finding_is_not_shown(today: UpstreamFiles) -> None:
    assert len(new_findings(today.check(), broken(UpstreamFiles("today")).check())) == 0


def test_every_place_is_named_as_the_person_named_the_tree(today: UpstreamFiles) -> None:
    report = relocated(broken(today).check().report, "some/where")
    for finding in report:
        assert finding.span.path.startswith("some/where/")
        assert all(place.path.startswith("some/where/") for place in finding.related)
        assert report.source(finding.span.path) is not None


def test_places_are_inside_their_files() -> None:
    """Whatever is found, its place exists: the excerpt can be shown."""
    rng = random.Random(1)
    for base in (TODAY, SHELL):
        for _ in range(60):
            files = dict(base.content)
            name = rng.choice(sorted(files))
            lines = files[name].decode().split("\n")
            at = rng.randrange(len(lines))
            lines[at : at + 1] = rng.choice([[], [lines[at]] * 2, [lines[at][::-1]]])
            files[name] = "\n".join(lines).encode()
            for finding in check_tree(MemoryFiles(files)).report:
                for span in (finding.span, *finding.related):
                    text = files.get(span.path)
                    if text is not None and span.line:
                        there = text.decode().split("\n")
                        assert span.line <= len(there), (finding.code, span)
                        assert span.column <= len(there[span.line - 1]) + 1, (finding.code, span)


@pytest.mark.parametrize("base", [TODAY, SHELL], ids=["today", "shell"])
@SETTINGS
@given(data=st.data())
def test_any_bytes_in_any_file_give_findings(base: UpstreamFiles, data: st.DataObject) -> None:
    files = dict(base.content)
    name = data.draw(st.sampled_from(sorted(files)))
    files[name] = data.draw(
        st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    list(check_tree(MemoryFiles(files)).report)


@pytest.mark.parametrize("base", [TODAY, SHELL], ids=["today", "shell"])
@SETTINGS
@given(data=st.data())
def test_any_piece_replaced_by_any_text_gives_findings(base: UpstreamFiles, data: st.DataObject) -> None:
    files = dict(base.content)
    name = data.draw(st.sampled_from(sorted(name for name, content in files.items() if content)))
    content = files[name]
    start = data.draw(st.integers(0, len(content) - 1))
    end = data.draw(st.integers(start, min(len(content), start + 80)))
    piece = data.draw(
        st.sampled_from([b"", b"\n", b"\t", b"{", b"]", b'"', b"$(", b"@X@", b"\\", b"null", b": &a *a", b"[[", b"-1"])
    )
    files[name] = content[:start] + piece + content[end:]
    list(check_tree(MemoryFiles(files)).report)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("src/runtime/Makefile", "A = $(A)$(A)\nCONFIGS = $(A)\n"),
        ("src/runtime/Makefile", "A := $(foreach a,1 2,$(foreach b,1 2,$(call B,$a)))\nB = $(A)$(call B,x)\nCONFIGS = $(call B)\n"),
        ("src/runtime/Makefile", "include Makefile\ninclude ./Makefile\n" * 50),
        ("src/runtime/Makefile", "ifeq (a,a)\n" * 3000),
        ("src/runtime/Makefile", "X = " + "$(" * 20000),
        ("src/runtime/Makefile", "define A\n$(eval $(A))\nendef\n$(eval $(A))\nCONFIGS = x\n"),
        ("kata-deploy/values.yaml", "a: &a [*a, *a]\n"),
        ("kata-deploy/values.yaml", "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 1}]" for i in range(12))),
        ("shim-components.json", "[" * 100000),
        ("versions.yaml", "{" * 100000),
        ("versions.yaml", "assets:\n" + "".join(f"{'  ' * i}a:\n" for i in range(1, 400))),
        ("kata-deploy-binaries.sh", "install_x " * 100000),
        ("install.rs", "const ALL_SHIMS: &[&str] = &[" + '"a", ' * 100000),
        ("install.rs", "{" * 200000),
        ("config.go", "type tomlConfig struct {\n\tA tomlConfig\n\tB map[string]tomlConfig\n}\n"),
        ("config/mod.rs", "#[derive(Deserialize)]\npub struct TomlConfig {\n    pub a: Vec<TomlConfig>,\n    pub b: HashMap<String, TomlConfig>,\n}\n"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)  # fmt: skip
def test_bombs_are_findings(today: UpstreamFiles, name: str, content: str) -> None:
    today.content[today.path(name)] = content.encode()
    assert len(today.check().report) > 0


def test_another_reason_for_the_same_is_not_new(today: UpstreamFiles) -> None:
    """Who else needs a component may change; that the list lacks it stays one finding."""
    script = "kata-release-tarball-inputs.sh"
    line = "kata-static-virtiofsd.tar.zst\nEND\n\t\t\t;;\n\t\tarm64)"
    before = UpstreamFiles("today").replace(script, line, line.removeprefix("kata-static-virtiofsd.tar.zst\n")).check()
    today.replace(script, line, line.removeprefix("kata-static-virtiofsd.tar.zst\n"))
    today.replace(MAP, '"qemu-snp-experimental", "kernel"', '"qemu-snp-experimental", "virtiofsd", "kernel"')
    now = today.check()
    lacking = [f.message for checked in (before, now) for f in checked.report if f.code == "KB643"]
    assert len(set(lacking)) == 2
    assert [f.code for f in new_findings(now, before)] == ["KB626"]
