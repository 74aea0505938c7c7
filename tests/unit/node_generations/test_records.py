"""Receipts and journals as documents: what is written is read back, all else is refused, past versions stay readable."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kata_bundle.core import canonical
from kata_bundle.core.errors import InstallError, IntegrityError
from kata_bundle.core.fields import Fields
from kata_bundle.node.journal import Journal, load_journal, operation_from_fields
from kata_bundle.node.receipt import Receipt, load_receipt
from kata_bundle.node.state import load_state
from tests.fixtures.faults import Fault, edits, host_files, overlay, run
from tests.fixtures.node import snapshot

PAST = Path(__file__).parents[2] / "fixtures" / "formats"


@pytest.fixture
def receipt(world, v1, put):
    host_files(world.root)
    call = {"verb": "restart", "unit": "containerd.service"}
    return put(
        v1, "qemu", overlay=overlay, edits=edits("1"), services=(call,), stopping=(call,), stopped=(call,),
        restarts={"containerd": call},
    ).receipt  # fmt: skip


@pytest.fixture
def journal(world, v1, v2, put):
    host_files(world.root)
    put(v1, "qemu", overlay=overlay, edits=edits("1"))

    def stop(verb, path):
        if verb == "rename" and path.endswith("/current"):
            raise KeyboardInterrupt

    from kata_bundle.core.fsops import FileOps

    with pytest.raises(KeyboardInterrupt):
        put(v2, "clh", "dragonball", machine=world.machine(FileOps(stop)), overlay=overlay, edits=edits("2"))
    return json.loads(Path(world.site.journal).read_text())


def test_a_receipt_is_read_back_as_it_was_written(world, receipt):
    assert load_receipt(world.site.receipt(1)) == receipt
    assert Receipt.from_dict(receipt.to_dict()).to_json() == receipt.to_json()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "format version 2"),
        (("surprise",), 1, "unknown member .*surprise"),
        (("edits", 0, "surprise"), 1, "unknown member .*surprise"),
        (("edits", 0, "path"), "etc/x", "absolute"),
        (("edits", 0, "path"), "/etc/../x", "absolute"),
        (("edits", 0, "kind"), "mine", "none of whole, keys"),
        (("edits", 0, "mode"), 8192, "no file mode"),
        (("edits", 0, "after"), "sha256:x", "not a sha256"),
        (("kind",), "other", "none of installed, adopted"),
        (("generated",), ["../x"], r"\.\."),
        (("layers", "kernel", "packed"), None, "not a sha256|digest"),
        (("tree", "entries", "bin/kata-runtime", "type"), "device", "malformed"),
        (("generation",), "1", "whole number"),
    ],
)
def test_a_receipt_that_is_not_understood_entirely_is_refused(receipt, path, value, message):
    document = json.loads(receipt.to_json())
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(IntegrityError, match=message):
        Receipt.from_dict(document)


def test_a_receipt_of_another_generation_is_refused(world, receipt):
    os.rename(world.site.receipt(1), world.site.receipt(7))
    os.unlink(world.site.current)
    os.symlink("generations/7", world.site.current)
    with pytest.raises(IntegrityError, match="is of generation 1"):
        load_state(world.site)


def test_an_active_generation_without_a_receipt_needs_attention_and_nothing_is_swept(world, v2, put, receipt):
    os.unlink(world.site.receipt(1))
    before = snapshot(world.root)
    with pytest.raises(InstallError, match="no receipt"):
        put(v2, "qemu")
    assert snapshot(world.root) == before


def test_a_journal_is_read_back_as_it_was_written(world, journal):
    found = load_journal(world.site)
    assert found is not None
    assert found[0].to_dict() == journal
    assert not found[1]
    kinds = {operation.kind for operation in found[0].operations}
    assert kinds >= {"set-link", "remove-link", "change-file", "carry-user-files", "call-service"}


def test_a_journal_of_another_version_is_left_for_the_program_that_wrote_it(world, v1, put, journal):
    Path(world.site.journal).write_bytes(canonical.dumps({**journal, "version": 2}))
    before = snapshot(world.root)
    with pytest.raises(IntegrityError, match="format version 2"):
        put(v1, "qemu")
    assert snapshot(world.root) == before


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"kind": "format-disk", "reason": "x"}, 'unknown kind of operation "format-disk"'),
        ({"kind": "set-link", "path": "/a", "target": "b", "before": None, "reason": "r", "more": 1}, "unknown member"),
        ({"kind": "set-link", "path": "/a", "before": None, "reason": "r"}, 'member "target" is missing'),
    ],
)
def test_an_operation_that_is_not_known_is_refused(operation, message):
    with pytest.raises(IntegrityError, match=message):
        operation_from_fields(Fields(operation, "operation"))


def test_every_operation_survives_being_written_down(world, journal):
    for document in journal["operations"]:
        assert operation_from_fields(Fields(document, "operation")).to_dict() == document


def test_a_second_run_of_a_finished_journal_changes_nothing(world, journal):
    from kata_bundle.node.activate import continue_forward
    from kata_bundle.node.recover import Recovered, recover

    assert recover(world.machine()) is Recovered.FINISHED
    parsed = Journal.from_dict(journal)
    parsed.write(world.site, world.machine().files)
    before = snapshot(world.root)
    counter = Fault(at=1 << 30)
    assert run(lambda machine: continue_forward(machine, parsed), world.machine(counter.files())) is None
    before.pop("opt/kata/.kata-bundle/journal.json")
    assert snapshot(world.root) == before


@pytest.mark.parametrize("name", sorted(path.name for path in PAST.glob("*.json")))
def test_past_formats_stay_readable(name):
    document = json.loads((PAST / name).read_text())
    if name.startswith("receipt"):
        assert json.loads(Receipt.from_dict(document).to_json()) == document
    elif name.startswith("journal"):
        assert Journal.from_dict(document).to_dict() == document
    else:
        pytest.fail(f"{name} is of no format known here")


def test_the_present_formats_are_among_the_fixtures():
    assert {"receipt-v1.json", "journal-v1.json"} <= set(os.listdir(PAST))
