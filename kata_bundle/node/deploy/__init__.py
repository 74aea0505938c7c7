"""The ``kata-deploy`` program: what each action does, joined from the node's building blocks (installer specification §1).

Submodules are imported where they are used. Must not know: how messages are shown, which is ``cli.deploy``'s business.
"""

from __future__ import annotations

__all__: list[str] = []
