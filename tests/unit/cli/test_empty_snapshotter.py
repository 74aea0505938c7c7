"""The maintenance operation on the command line, with a stand-in for containerd's client that keeps its records in a file."""

from __future__ import annotations

import json
import sys

import pytest

from tests.fixtures.cli import call_cli

CTR = """\
import json, sys
path, args = sys.argv[1], [a for a in sys.argv[4:]]
state = json.load(open(path))
namespace = args.pop(1) if args[0] == "--namespace" else None
args = args[1:] if args[0] == "--namespace" else args
if args[:2] == ["namespaces", "list"]:
    print("k8s.io")
elif args[:2] == ["containers", "list"]:
    pass
elif "list" in args:
    print("KEY PARENT KIND")
    for key, parent in state["snapshots"].items():
        print(key, parent, "Committed")
elif "remove" in args:
    if args[-1] in state["busy"]:
        sys.exit(1)
    del state["snapshots"][args[-1]]
    json.dump(state, open(path, "w"))
"""


@pytest.fixture
def ctr(tmp_path):
    def make(snapshots, busy=()):
        program, state = tmp_path / "ctr.py", tmp_path / "state.json"
        program.write_text(CTR)
        state.write_text(json.dumps({"snapshots": snapshots, "busy": list(busy)}))
        return f"{sys.executable} {program} {state}"

    return make


CHAIN = {"layer1": "", "layer2": "layer1", "layer3": "layer2"}


def test_a_chain_of_layers_goes_from_its_end(ctr):
    command = ctr(CHAIN)
    assert "would remove 3 snapshots" in call_cli("node", "empty-snapshotter", "nydus", "--ctr", command, "--dry-run").ok()
    document = json.loads(call_cli("node", "empty-snapshotter", "nydus", "--ctr", command, "--json").ok())
    assert (document["snapshots"], document["clean"]) == (3, True)
    assert "removed 0 containers and 0 snapshots" in call_cli("node", "empty-snapshotter", "nydus", "--ctr", command).ok()


def test_what_is_in_use_is_named_and_ends_with_12(ctr):
    done = call_cli("node", "empty-snapshotter", "nydus", "--ctr", ctr(CHAIN, busy=["layer2"]))
    assert done.code == 12
    assert "k8s.io: layer1, layer2" in done.stderr
    assert "keep the data directory" in done.stderr


def test_a_client_that_is_not_there_is_one_clear_error():
    done = call_cli("node", "empty-snapshotter", "nydus", "--ctr", "/no/such/ctr")
    assert done.code == 9
    assert "/no/such/ctr" in done.stderr
