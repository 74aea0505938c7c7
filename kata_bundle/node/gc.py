"""Which generations stay: the active one, the one before it, and what a running sandbox may still need.

Must not know: how to talk to a container runtime; it is told when the oldest sandbox of ours started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import UsageError
from kata_bundle.node.recover import sweep
from kata_bundle.node.state import load_state

if TYPE_CHECKING:
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.state import NodeState

__all__ = ["prune", "superseded"]

KEPT = 2


def superseded(state: NodeState, *, keep: int = KEPT, oldest_sandbox: str | None = None) -> tuple[int, ...]:
    """Return the generations to remove, oldest first.

    Kept are the active one and, up to ``keep`` in all, those that were active most recently. ``oldest_sandbox`` is when the
    oldest running sandbox of ours was started (``2026-11-24T09:00:00Z``): a generation that was active then or later stays.
    """
    if keep < 1:
        msg = "at least one generation has to be kept"
        raise UsageError(msg)
    if state.active is None:
        return ()
    order = [state.active]
    previous = state.receipts[state.active].previous
    if previous is not None and previous in state.receipts and previous != state.active:
        order.append(previous)
    order += sorted((n for n in state.receipts if n not in order), key=lambda n: (state.receipts[n].activated, n), reverse=True)
    kept = set(order[:keep])
    if oldest_sandbox is not None:
        until = state.receipts[state.active].activated
        for number in order[1:]:
            # A generation was active until its successor's activation; one that ended before the sandbox began is not needed.
            if until >= oldest_sandbox:
                kept.add(number)
            until = state.receipts[number].activated
    return tuple(sorted(set(state.receipts) - kept))


def prune(machine: Machine, *, keep: int = KEPT, oldest_sandbox: str | None = None) -> tuple[int, ...]:
    """Remove what :func:`superseded` says, and what nothing refers to; return the numbers. The node-wide lock has to be held.

    A receipt goes before its generation, so an interruption leaves something that the next start removes.
    """
    state = load_state(machine.site)
    gone = superseded(state, keep=keep, oldest_sandbox=oldest_sandbox)
    for number in gone:
        machine.files.unlink(machine.site.receipt(number))
    if gone:
        machine.files.sync_directory(machine.site.receipts)
        sweep(machine)
    return gone
