"""Where and how actions are carried out: found in the cache of actions, else run on this machine.

A result is remembered under its action's digest, so rules that lead to one action share it. What was made without walls is not
remembered under that digest, since the digest does not say with which tools of which host. Must not know: rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kata_bundle.build.action import encode_action
from kata_bundle.build.sandbox import Backend, Limits, execute
from kata_bundle.build.sandbox.execute import Executed
from kata_bundle.core.digest import digest_bytes
from kata_bundle.store import ActionResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.build.action import Action
    from kata_bundle.store import Store

__all__ = ["Workshop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """How actions are carried out."""

    backend: Backend = Backend.BUBBLEWRAP
    limits: Limits = field(default_factory=Limits)

    def run(self, store: Store, action: Action, *, memory_mib: int | None, is_cancelled: Callable[[], bool]) -> Executed:
        """Return what ``action`` makes, from ``store`` when it was made before; raises like :func:`execute`."""
        encoded = encode_action(action)
        known = store.get_result(encoded.digest)
        if known is not None:
            return Executed(outputs=store.get_tree(known.tree), log=digest_bytes(b""), duration_s=0.0, is_hermetic=known.hermetic)
        memory = self.limits.memory_bytes if memory_mib is None else memory_mib << 20
        limits = Limits(output_bytes=self.limits.output_bytes, memory_bytes=memory)
        done = execute(store, action, backend=self.backend, limits=limits, is_cancelled=is_cancelled)
        if done.is_hermetic:
            store.put_tree(done.outputs)
            store.put_result(
                encoded.digest,
                ActionResult(
                    tree=done.outputs.digest,
                    origin="action",
                    version=action.salt,
                    hermetic=True,
                    ingredients={"action": encoded.digest, "log": done.log},
                ),
            )
        return done
