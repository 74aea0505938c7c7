"""The Kubernetes API as the installer uses it: a slim typed client, and decisions about labels, taints, readiness and selection.

Installer specification §22, §25.1, §27. Submodules are imported where they are used; this package imports none of them, since
most decisions need no HTTP client.
"""

from __future__ import annotations

__all__: list[str] = []
