"""Running an action on this machine: the trees it sees on disk, bubblewrap around it, what it made back into the store."""

from __future__ import annotations

from kata_bundle.build.sandbox.backend import Backend, Limits, bubblewrap_problem
from kata_bundle.build.sandbox.execute import Executed, execute

__all__ = ["Backend", "Executed", "Limits", "bubblewrap_problem", "execute"]
