"""On every distribution, a node that the reference installer configured is taken over and can be left clean."""

from __future__ import annotations

from kata_bundle.node.uninstall import uninstall
from tests.fixtures.node import forget_records, snapshot
from tests.functional.install.test_configured import node, payload_folder

__all__ = ["node", "payload_folder"]


def test_a_reference_install_is_taken_over_and_uninstalled_without_a_trace(node):
    before = snapshot(node.root)
    node.install()
    forget_records(node.root)
    taken = node.install()
    assert taken.receipt.previous == 0
    assert "kata-qemu" in node.handlers()
    assert node.install().plan.changes_nothing
    uninstall(node.machine())
    after = snapshot(node.root)
    # Directories that the other installer made: nobody knows by now that they were not there before.
    empty = {path for path, what in after.items() if path not in before and what[0][0] == "directory"}
    assert {path: what for path, what in after.items() if path not in empty} == before
