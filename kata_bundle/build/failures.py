"""One error for all that went wrong in a build: what failed, what was stopped, what was not tried and why.

Must not know: how components are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kata_bundle.build.sandbox.logs import ActionError
from kata_bundle.core.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kata_bundle.build.rulebook import Target

__all__ = ["build_failure"]


def build_failure(
    errors: Mapping[Target, Exception],
    order: Sequence[Target],
    results: Collection[Target],
    parents: Mapping[Target, Sequence[Target]],
) -> Exception:
    """Return the error to raise: that of the first in ``order`` that failed by itself, the rest told in its text.

    Of each further failure the first line and its log, of what was not tried the failure that it waited for.
    """
    failed = [target for target in order if target in errors and not _is_stopped(errors[target])]
    stopped = [target for target in order if target in errors and _is_stopped(errors[target])]
    first = errors[(failed or stopped)[0]]
    left_out = [target for target in order if target not in errors and target not in results]
    if not isinstance(first, BundleError) or len(errors) + len(left_out) == 1:
        return first
    said = [str(first)]
    if len(failed) > 1:
        said.append(f"also failed: {len(failed) - 1}")
        said += [f"  {target.text}: {_line(errors[target])}" for target in failed[1:]]
    if stopped and failed:
        said.append(f"stopped: {', '.join(target.text for target in stopped)}")
    if left_out:
        said.append("not tried: " + ", ".join(_reason(target, errors, left_out, parents) for target in left_out))
    first.args = ("\n".join(said), *first.args[1:])
    return first


def _is_stopped(error: Exception) -> bool:
    return isinstance(error, ActionError) and error.is_cancelled


def _line(error: Exception) -> str:
    line = str(error).partition("\n")[0].removesuffix(":")
    log: Any = error.log if isinstance(error, ActionError) else None
    return f"{line}; the whole log: {log}" if log is not None else line


def _reason(
    target: Target, errors: Mapping[Target, Exception], left_out: Collection[Target], parents: Mapping[Target, Sequence[Target]]
) -> str:
    waiting, seen = [target], {target}
    while waiting:
        for parent in parents.get(waiting.pop(0), ()):
            if parent in errors:
                return f"{target.text} (needs {parent.component})"
            if parent in left_out and parent not in seen:
                seen.add(parent)
                waiting.append(parent)
    return target.text
