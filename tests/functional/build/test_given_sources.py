"""A folder given with ``--source``: in the real sandbox, in the key, and asked for when it is not there."""

from __future__ import annotations

import functools
import http.server
import json
import threading

import pytest

from tests.fixtures.cli import run_cli
from tests.support.actionrules import Rules

FETCHED = """
versions = "kata"

[[recipes.sources]]
name = "tool"
entry = "externals.tool"
fetch = ["{url}/tool-{number}.txt"]
"""
SOURCE = """
[[recipes.sources]]
name = "given"
checkout = "kata"
path = "sub"
"""


@pytest.fixture
def world(tmp_path):
    rules = Rules.make(tmp_path / "rules")
    rules.add("virtiofsd", "mkdir -p $OUT/libexec; cat $2/given/file > $OUT/libexec/virtiofsd", more=SOURCE)
    rules.seed(tmp_path / "store")
    folder = tmp_path / "kata"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text("one")
    return rules, folder, tmp_path / "store"


def build(world, *words, **env):
    rules, _, store = world
    return run_cli("build", "virtiofsd", "--arch", "x86_64", "--rules", rules.folder, "-q", "--json", *words, store=store, **env)


def test_a_given_folder_is_seen_and_only_its_content_counts(world, tmp_path):
    _, folder, _ = world
    first = json.loads(build(world, "--source", f"kata={folder}").ok())["components"][0]
    assert (first["hermetic"], first["cached"], first["size_bytes"]) == (True, False, 3)
    moved = folder.rename(tmp_path / "elsewhere")
    again = json.loads(build(world, KATA_BUNDLE_SOURCES=f"kata={moved}").ok())["components"][0]
    assert (again["cached"], again["tree"]) == (True, first["tree"])
    (moved / "sub/file").write_text("other")
    changed = json.loads(build(world, "--source", f"kata={moved}").ok())["components"][0]
    assert (changed["cached"], changed["size_bytes"]) == (False, 5)


def test_the_log_and_the_comparison_of_two_builds_take_it_too(world):
    rules, folder, store = world
    words = ("virtiofsd", "--arch", "x86_64", "--rules", rules.folder, "--source", f"kata={folder}", "--json")
    build(world, "--source", f"kata={folder}").ok()
    (log,) = json.loads(run_cli("log", *words, store=store).ok())["logs"]
    assert (log["component"], log["failed"]) == ("virtiofsd", False)
    (checked,) = json.loads(run_cli("repro", *words, "--vary", "none", "-q", store=store).ok())["components"]
    assert checked["identical"]


def test_without_it_one_error_names_it(world):
    result = build(world)
    assert result.code == 4
    assert 'source "kata": --source kata=DIR   (for virtiofsd (x86_64))' in result.stderr
    assert build(world, "--source", "kata").code == 2


def test_files_that_versions_name_are_pinned_and_then_fetched(world):
    """A real server on this machine stands for the addresses that upstream's versions have."""
    rules, folder, store = world
    (folder / "VERSION").write_text("1\n")
    (folder / "data").mkdir()
    (folder / "data/tool-1.2.txt").write_text("tool 1.2")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder / "data"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            address = f"http://127.0.0.1:{server.server_address[1]}"
            (folder / "versions.yaml").write_text(f'externals:\n  tool:\n    url: "{address}/"\n    version: "v1.2"\n')
            rules.add("virtiofsd", "mkdir -p $OUT/libexec; cat $2/tool/tool-1.2.txt > $OUT/libexec/virtiofsd", more=FETCHED)
            given = ("--source", f"kata={folder}")
            assert "a pin of tool-1.2.txt (externals.tool): kata-bundle lock sources" in build(world, *given).stderr
            lock = ("lock", "sources", "--rules", rules.folder, "--profile", "packages", *given)
            assert "would fetch and pin tool-1.2.txt" in run_cli(*lock, "--dry-run", store=store).ok()
            assert (
                run_cli(*lock, "--max-mib", "1", store=store).ok().startswith("tool-1.2.txt (externals.tool): 8 bytes, sha256:")
            )
            assert "nothing to pin" in run_cli(*lock, store=store).ok()
            assert json.loads(build(world, *given).ok())["components"][0]["size_bytes"] == 8
        finally:
            server.shutdown()
