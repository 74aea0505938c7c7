"""Setting the labels until they stay set: the stability window of installer specification §22.3 (D10).

On k3s and rke2 the kubelet restarts with the container runtime and writes the labels of its own start over ours, so one good
reading proves nothing. Must not know: how the API is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.errors import RemoteError
from kata_bundle.node.pause import StopRequestedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kata_bundle.node.pause import Pause

__all__ = ["APPLICATIONS", "CHECKS", "INTERVAL_S", "UnstableLabelsError", "hold"]

CHECKS = 6
"""Consecutive good observations that are asked for."""
INTERVAL_S = 2.0
"""Seconds before each observation and before each new application."""
APPLICATIONS = 12
"""Applications before giving up."""

_DOING = "watching whether the node's labels stay"


class UnstableLabelsError(RemoteError):
    """Something keeps changing the labels back."""


def hold(apply: Callable[[], None], observe: Callable[[], bool], *, pause: Pause) -> int:
    """Call ``apply`` and watch; again after every drift; return how many times it was called when the window was clean.

    ``observe`` returns whether the labels are as they should be and may raise :class:`RemoteError`, which counts as drift; an
    error of ``apply`` is passed on at once. Raises :class:`UnstableLabelsError` after :data:`APPLICATIONS` tries.
    """
    for application in range(1, APPLICATIONS + 1):
        apply()
        if all(_good(observe, pause) for _ in range(CHECKS)):
            return application
        if application < APPLICATIONS and pause(INTERVAL_S):
            raise StopRequestedError(_DOING)
    msg = f"the node's labels did not stay at true for {CHECKS * INTERVAL_S:g} s in {APPLICATIONS} tries"
    raise UnstableLabelsError(msg, hint="something else on the cluster keeps changing them", retryable=True)


def _good(observe: Callable[[], bool], pause: Pause) -> bool:
    if pause(INTERVAL_S):
        raise StopRequestedError(_DOING)
    try:
        return observe()
    except RemoteError:
        return False
