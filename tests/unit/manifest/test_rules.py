"""Each rule finds its mistake at its place, is silent on the shipped manifests, and on what only looks like the mistake."""

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Severity
from kata_bundle.manifest.rules import REGISTRY
from kata_bundle.manifest.rules.registry import rule
from tests.unit.manifest.cases import BAD, CLASSES, COMPONENTS, FALSE_ALARMS, SHIMS


@pytest.mark.parametrize(("code", "edited", "old", "new", "file", "line", "message"), BAD)
def test_a_mistake_is_found_at_its_place(folder, code, edited, old, new, file, line, message):
    folder.edit(edited, old, new)
    found = [(f, where, source, text) for f, where, source, text in folder.findings() if f == code]
    assert found, folder.findings()
    assert any(where == file and source.startswith(line) and message in text for _, where, source, text in found), found


def test_a_tee_without_an_entry_is_found_at_the_class_that_needs_it(folder):
    folder.edit(CLASSES, '[tees.se]\nlabel = "feature.node.kubernetes.io/cpu-security.se.enabled"\n', "")
    found = [(source, text) for code, _, source, text in folder.findings() if code == "KB203"]
    assert found == [
        ("[classes.qemu-se]", '"se" is not a TEE of this document'),
        ("[classes.qemu-se-runtime-rs]", '"se" is not a TEE of this document'),
    ]


def test_a_group_that_nobody_uses_any_more_is_a_warning_and_the_catalog_is_made(folder):
    folder.edit(COMPONENTS, "[groups.guest]", "[groups.spare]\n[groups.guest]")
    loaded = folder.load()
    assert [(f.code, f.severity) for f in loaded.report] == [("KB206", Severity.WARNING)]
    assert loaded.catalog is not None


def test_a_family_without_an_entry_is_found_at_every_shim_of_it(folder):
    text = (folder.path / SHIMS).read_text()
    start = text.index("[families.rust]")
    (folder.path / SHIMS).write_text(text[:start] + text[text.index("# ---- hypervisors") :])
    found = [text for code, _, source, text in folder.findings() if code == "KB203" and source == 'family = "rust"']
    assert found == ['"rust" is not a family of this document'] * 13


@pytest.mark.parametrize("name", ["amd64.toml", "x86.toml", "notes.txt"])
def test_a_document_that_is_named_after_no_architecture_is_found(folder, name):
    (folder.path / "arches" / name).write_text("version = 1\n")
    report = folder.load().report
    assert [f.code for f in report] == ["KB202"]
    [finding] = report
    assert finding.span.path.endswith(f"arches/{name}")
    expected = {"amd64.toml": 'manifests use uname\'s names: "x86_64.toml"', "x86.toml": 'did you mean "x86_64.toml"?'}
    assert finding.hint == expected.get(name)


def test_an_editors_hidden_file_beside_the_architectures_is_no_document(folder):
    (folder.path / "arches" / ".x86_64.toml.swp").write_bytes(b"\xff")
    assert folder.findings() == []


def test_an_architecture_without_defaults_is_found(folder):
    (folder.path / "arches/s390x.toml").unlink()
    [finding] = folder.load().report
    assert (finding.code, finding.span.path.rpartition("/")[2]) == ("KB209", "s390x.toml")


@pytest.mark.parametrize(("code", "why", "file", "edits"), [(c, w, f, e) for c, w, f, *e in FALSE_ALARMS])
def test_what_only_looks_like_a_mistake_is_none(folder, code, why, file, edits):
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        folder.edit(file, old, new)
    assert [found for found in folder.findings() if found[0] in {code, "KB120"}] == [], why


def test_the_shipped_manifests_have_no_findings(folder):
    loaded = folder.load()
    assert list(loaded.report) == []
    assert len(loaded.accepted) == len(loaded.accepted_findings) > 50
    assert loaded.documents == 10


def test_every_rule_is_explained_and_has_a_bad_case_here_or_is_found_while_reading():
    here = {case[0] for case in BAD} | {"KB202", "KB209", "KB283"}
    for code, entry in REGISTRY.items():
        assert entry.title
        assert len(entry.explanation) > 60, code
        assert entry.explanation.endswith("."), code
        assert (entry.check is None) == (code < "KB200")
        assert entry.check is None or code in here


def test_a_code_belongs_to_one_rule():
    with pytest.raises(ValueError, match="two rules have the code KB201"):
        rule("KB201", "again")(lambda manifests: iter(()))


def weighed(folder, **sizes_mib):
    weights = {(name.replace("_", "-"), Arch.X86_64): size << 20 for name, size in sizes_mib.items()}
    return [(f.code, f.span.line, f.message) for f in folder.load(weights).report]


def line_of(folder, text):
    return (folder.path / COMPONENTS).read_text().split("\n").index(text) + 1


def test_a_packed_component_above_its_budget_is_found_at_the_budget(folder):
    [(code, line, message)] = weighed(folder, kernel=49)
    group = line_of(folder, "[groups.kernel]")
    assert code == "KB283"
    assert group < line < group + 20
    assert message == '"kernel" on x86_64 is packed in 49.0 MiB, its budget is 48.0 MiB'


def test_what_is_as_large_as_its_budget_is_not_above_it(folder):
    assert weighed(folder, kernel=48, virtiofsd=1) == []


def test_a_release_above_its_budget_or_its_limit_is_found_at_that(folder):
    budget, limit = (
        line_of(folder, next(t for t in lines if t.startswith(f"size_{what}_bytes")))
        for what, lines in ((w, (folder.path / COMPONENTS).read_text().split("\n")) for w in ("budget", "limit"))
    )
    found = [entry for entry in weighed(folder, shim_v2_go=1000, qemu=900) if "bundle" in entry[2]]
    assert found == [("KB283", budget, "the go bundle on x86_64 is 1900.0 MiB, the budget is 1792.0 MiB")]
    found = [entry for entry in weighed(folder, shim_v2_go=1148, qemu=900) if "bundle" in entry[2]]
    assert found == [("KB283", limit, "the go bundle on x86_64 is 2048.0 MiB, the limit is 2048.0 MiB")]


def test_without_a_budget_the_limit_alone_counts(folder):
    text = (folder.path / COMPONENTS).read_text()
    (folder.path / COMPONENTS).write_text("\n".join(t for t in text.split("\n") if not t.startswith("size_budget_bytes")))
    assert folder.findings() == []
    assert weighed(folder, qemu=2000) == []
    assert [code for code, *_ in weighed(folder, qemu=2048)] == ["KB283", "KB283"]


def test_toolchains_beside_build_rules_are_no_build_rule(folder):
    (folder.path.parent / "buildrules" / "toolchains.toml").write_text("version = 1\n")
    assert folder.findings() == []
