"""Whatever stands in the documents, loading gives a catalog or errors with places, and never fails."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kata_bundle.manifest.document import MAX_BYTES
from kata_bundle.manifest.load import load_manifests

SHIPPED = Path(__file__).parents[3] / "manifests"
FILES = [
    "shim-components.json",
    "shims.toml",
    "components.toml",
    "runtimeclasses.toml",
    "ignores.toml",
    "upstream.toml",
    "arches/x86_64.toml",
    "arches/aarch64.toml",
]
WORDS = [
    "qemu", "qemu-snp", "fc", "firecracker", "stratovirt", "kernel", "agent", "shim-v2-go", "virtiofsd", "x86_64", "s390x",
    "go", "rust", "active", "alias", "unfinished", "shipped", "flag", "unused", "snp", "confidential", "asset", "@image", "chart",
    "bin/", "/", "..", "", "é", "KB211", "KB204", "320Mi", "1", "none", "{emulator}", "{suffix}",
]  # fmt: skip


def checked(folder):
    loaded = load_manifests(folder, build_rules=SHIPPED.parent / "buildrules")
    assert (loaded.catalog is None) == (loaded.report.errors > 0)
    for finding in loaded.report:
        assert finding.span.path.startswith(str(folder)) or "buildrules/" in finding.span.path
        assert all(span.path for span in finding.related)
        assert finding.code == "KB101" or finding.span.line >= 1
        assert finding.message
    return loaded


@st.composite
def edits(draw):
    """Yield (file, text): a document with one or two lines or words changed."""
    file = draw(st.sampled_from(FILES))
    lines = (SHIPPED / file).read_text().split("\n")
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "repeat", "move", "word", "value", "cut"])):
            case "drop":
                del lines[at]
            case "repeat":
                lines.insert(at, lines[at])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(at))
            case "word":
                parts = lines[at].split('"')
                if len(parts) > 2:
                    parts[draw(st.integers(0, len(parts) // 2 - 1)) * 2 + 1] = draw(st.sampled_from(WORDS))
                lines[at] = '"'.join(parts)
            case "value":
                mark = ": " if file.endswith(".json") else " = "
                key, found, _ = lines[at].partition(mark)
                value = draw(st.sampled_from(["1", "true", "[]", "{}", '""', "[1]", '["qemu"]', "1.5", '{"a" = 1}', "null"]))
                lines[at] = f"{key}{mark}{value}" if found else lines[at]
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
        if not lines:
            lines = [""]
    return file, "\n".join(lines)


@pytest.fixture(scope="module")
def copies():
    with TemporaryDirectory() as folder:
        target = Path(folder) / "manifests"
        shutil.copytree(SHIPPED, target)
        yield target


@settings(max_examples=25, deadline=None)
@given(edits())
def test_any_edit_of_a_document_gives_a_catalog_or_errors(copies, edit):
    file, text = edit
    original = (copies / file).read_bytes()
    try:
        (copies / file).write_text(text, encoding="utf-8")
        checked(copies)
    finally:
        (copies / file).write_bytes(original)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.sampled_from(FILES), st.binary(max_size=40), min_size=1))
def test_any_bytes_in_any_documents_give_errors(copies, contents):
    originals = {file: (copies / file).read_bytes() for file in contents}
    try:
        for file, data in contents.items():
            (copies / file).write_bytes(data)
        if set(contents) != {"ignores.toml"}:
            assert checked(copies).catalog is None
        else:
            checked(copies)
    finally:
        for file, data in originals.items():
            (copies / file).write_bytes(data)


def test_a_folder_of_documents_that_are_too_large_gives_errors(copies, tmp_path):
    for file in FILES:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b" " * (MAX_BYTES + 1))
    assert {f.code for f in checked(tmp_path).report} == {"KB105"}
