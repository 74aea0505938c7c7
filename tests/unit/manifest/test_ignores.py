"""Accepted findings: each with a reason, none that no longer matches, none that stands in the way of a catalog."""

import pytest

REPAIR = "no catalog can be made with it: repair it"
IGNORE = """
[[ignore]]
code = "{code}"
path = "{path}"
about = "{about}"
reason = "A reason of some length."
"""


def add(folder, code, path, about):
    file = folder.path / "ignores.toml"
    file.write_text(file.read_text() + IGNORE.format(code=code, path=path, about=about))


def test_an_accepted_finding_is_reported_as_such_and_the_catalog_is_made(folder):
    folder.edit("arches/ppc64le.toml", '    "qemu",\n', '    "qemu",\n    "fc",\n')
    assert [f[0] for f in folder.findings()] == ["KB211", "KB257"]
    add(folder, "KB211", "arches/ppc64le.toml", "fc")
    add(folder, "KB257", "arches/ppc64le.toml", "fc")
    loaded = folder.load()
    assert list(loaded.report) == []
    assert loaded.catalog is not None
    accepted = {(f.code, f.span.path.rpartition("/")[2]) for f in loaded.accepted}
    assert {("KB211", "aarch64.toml"), ("KB211", "ppc64le.toml")} <= accepted


@pytest.mark.parametrize(
    ("path", "about"),
    [("arches/s390x.toml", "fc"), ("arches/ppc64le.toml", "f"), ("arches/ppc64le.toml", "qemu-fc")],
)
def test_an_ignore_that_matches_nothing_is_a_finding_and_accepts_nothing(folder, path, about):
    folder.edit("arches/ppc64le.toml", '    "qemu",\n', '    "qemu",\n    "fc",\n')
    add(folder, "KB211", path, about)
    found = [(code, file, text) for code, file, _, text in folder.findings() if code != "KB257"]
    assert [f[0] for f in found] == ["KB211", "KB120"]
    assert found[1][1:] == ("ignores.toml", f'no finding KB211 about "{about}" in {path}')


def test_without_the_finding_the_shipped_ignore_is_one_too_many(folder):
    folder.edit("arches/aarch64.toml", '    "qemu-nvidia-gpu",\n', "")
    [finding] = folder.load().report
    assert (finding.code, finding.span.line) == ("KB120", 6)


def test_a_missing_document_does_not_make_ignores_superfluous(folder):
    (folder.path / "shim-components.json").unlink()
    assert [f[0] for f in folder.findings()] == ["KB101"]


@pytest.mark.parametrize(
    ("code", "hint"),
    [("KB204", REPAIR), ("KB999", None), ("KB212", REPAIR), ("KB103", REPAIR)],
)
def test_what_no_catalog_can_be_made_with_cannot_be_accepted(folder, code, hint):
    add(folder, code, "shims.toml", "qemu")
    [finding] = folder.load().report
    assert finding.code == "KB121"
    assert hint is None or finding.hint == hint


def test_a_reason_is_required(folder):
    folder.edit("ignores.toml", "reason = ", "rationale = ")
    assert {"KB111", "KB110"} <= {f[0] for f in folder.findings()}


def test_there_need_not_be_any_ignores(folder):
    (folder.path / "ignores.toml").unlink()
    found = {f[0] for f in folder.findings()}
    assert "KB211" in found
    assert "KB120" not in found
