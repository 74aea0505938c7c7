"""Which generations stay: the active one, the one before it, and what a running sandbox may still need.

Must not know: how to talk to a container runtime; it is told when the oldest sandbox of ours started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import UsageError
from kata_bundle.node.machine import Knowledge, Sandboxes
from kata_bundle.node.recover import sweep
from kata_bundle.node.state import load_state

if TYPE_CHECKING:
    from kata_bundle.node.machine import Machine
    from kata_bundle.node.state import NodeState

__all__ = ["prune", "superseded"]

KEPT = 2
_NOT_ASKED = Sandboxes(knowledge=Knowledge.NOT_ASKED)


def superseded(state: NodeState, *, keep: int = KEPT, sandboxes: Sandboxes = _NOT_ASKED) -> tuple[int, ...]:
    """Return the generations to remove, oldest first.

    Kept are the active one and, up to ``keep`` in all, those that were active most recently; also every one that was active when
    the oldest running sandbox was started, or later, and all when the runtime should know but cannot be reached.
    """
    if keep < 1:
        msg = "at least one generation has to be kept"
        raise UsageError(msg)
    if state.active is None or sandboxes.knowledge is Knowledge.UNREACHABLE:
        return ()
    order = [state.active]
    previous = state.receipts[state.active].previous
    if previous is not None and previous in state.receipts and previous != state.active:
        order.append(previous)
    order += sorted((n for n in state.receipts if n not in order), key=lambda n: (state.receipts[n].activated, n), reverse=True)
    kept = set(order[:keep])
    if sandboxes.oldest is not None:
        until = state.receipts[state.active].activated
        for number in order[1:]:
            # A generation was active until its successor's activation; one that ended before the sandbox began is not needed.
            if until >= sandboxes.oldest:
                kept.add(number)
            until = state.receipts[number].activated
    return tuple(sorted(set(state.receipts) - kept))


def prune(machine: Machine, *, keep: int = KEPT, sandboxes: Sandboxes | None = None) -> tuple[int, ...]:
    """Remove what :func:`superseded` says, and what nothing refers to; return the numbers. The node-wide lock has to be held.

    The machine's services are asked what runs, unless the caller knows. A receipt goes before its generation, so an interruption
    leaves something that the next start removes.
    """
    state = load_state(machine.site)
    gone = superseded(state, keep=keep, sandboxes=machine.services.sandboxes() if sandboxes is None else sandboxes)
    for number in gone:
        machine.files.unlink(machine.site.receipt(number))
    if gone:
        machine.files.sync_directory(machine.site.receipts)
        sweep(machine)
    return gone
