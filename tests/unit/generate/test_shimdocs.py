"""Pages about shims: complete, linked, and with commands that run."""

from __future__ import annotations

import re

import pytest

from kata_bundle.cli import main
from kata_bundle.generate.markdown import code, markdown_table
from kata_bundle.generate.shimdocs import INDEX, NOTE, render_shim_docs

from .conftest import ROOT


@pytest.fixture(scope="module")
def pages(catalog):
    return render_shim_docs(catalog)


def test_there_is_a_page_per_shim_and_the_index_links_each(catalog, pages):
    assert set(pages) == {INDEX, *(f"{shim}.md" for shim in catalog.shims)}
    assert set(re.findall(r"\]\(([^)#]+\.md)\)", pages[INDEX])) == {*(set(pages) - {INDEX}), "../glossary.md"}
    assert all(text.startswith(NOTE) and text.endswith("\n") and not text.endswith("\n\n") for text in pages.values())


def test_every_link_leads_somewhere(pages):
    for text in pages.values():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert target in pages or (ROOT / "docs" / "shims" / target).exists(), target


def test_a_page_names_every_component_with_what_it_is_for(pages):
    text = pages["qemu.md"]
    assert "| `rootfs-initrd` | yes | yes | yes | yes | `installed_initrd` |" in text
    assert "| `ovmf` |  | yes |  |  | `firmware`, `firmware_volume` |" in text
    assert "| `shim-v2-go` | yes | yes | yes | yes | the shim itself |" in text
    assert "| `nydus` | yes | yes |  |  | optional: For shared_fs" in text


def test_a_page_says_why_a_shim_is_not_installed_by_default(pages, catalog):
    reason = next(iter(catalog.arches.values())).left_out["clh-azure"]
    assert f"| not by default on x86_64 | {reason} |" in pages["clh-azure.md"]


def test_incomplete_shims_say_so_and_a_missing_configuration_is_told(pages):
    assert "Another name of [fc](fc.md)" in pages["firecracker.md"]
    assert "Not complete" in pages["stratovirt.md"]
    assert "RuntimeClass" not in pages["stratovirt.md"]
    assert "No configuration is made for aarch64" in pages["clh-runtime-rs.md"]


def test_tables_have_equally_many_cells_in_every_row(pages):
    for name, text in pages.items():
        for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1, (name, table)


def test_every_command_on_the_pages_runs(pages, capsys, catalog, monkeypatch):
    monkeypatch.setattr("kata_bundle.cli.app.App.catalog", lambda _app: catalog)  # the same, not read a hundred times
    commands = {line for text in pages.values() for line in text.splitlines() if line.startswith("kata-bundle ")}
    assert len(commands) > 70
    for command in sorted(commands):
        assert main(command.split()[1:]) == 0, command
        capsys.readouterr()


def test_cells_survive_bars_and_line_breaks_and_code_survives_backticks():
    assert markdown_table(("a", "b"), [("x|y", "1\n2")], right=[1]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 2 |"
    assert code("a`b") == "`` a`b ``"
    assert code("a``b") == "``` a``b ```"
