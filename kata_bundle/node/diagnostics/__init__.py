"""What helps to understand a node that does not work: text from a guest's agent, and everything recorded about an install.

::

    address      where an agent listens: vsock, hybrid vsock, a Unix socket
    transport    a connected socket, with one deadline for all of it
    ttrpc        one call, framed
    agent        the agent's call, and the types of text it gives
    termination  a container's termination message, put where Kubernetes looks
    parts        what goes into an archive
    redact       the same without secrets
    collect      within bounds, into one file

Best effort throughout: what cannot be had is said, and nothing here may keep a teardown from going on. Must not know: how an
install works.
"""

from __future__ import annotations

__all__: list[str] = []
