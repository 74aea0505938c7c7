"""Which recipes of the rules a run uses, where a component has several.

A word of its own below planning and building, since a lock states it and rules are marked with it. Must not know: rules, locks.
"""

from __future__ import annotations

from enum import StrEnum

from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.core.errors import UsageError

__all__ = ["DEFAULT_PROFILE", "Profile"]


class Profile(StrEnum):
    """A choice among recipes. A recipe without a mark is used by every profile that has no recipe of its own."""

    PACKAGES = "packages"
    """Unmarked recipes alone: distribution packages repacked, which is quick."""
    SOURCE = "source"
    """Compiled from the distribution's sources where there is such a recipe."""
    UPSTREAM = "upstream"
    """Compiled from upstream's own sources where there is such a recipe."""

    @classmethod
    def parse(cls, text: str) -> Profile:
        """Return the profile named ``text``, or raise :class:`UsageError` that suggests one."""
        try:
            return cls(text.strip())
        except ValueError:
            msg = f'unknown profile "{text}"'
            known = f"known profiles: {', '.join(cls)}"
            raise UsageError(msg, hint="; ".join(filter(None, [did_you_mean(text, cls), known]))) from None


DEFAULT_PROFILE = Profile.SOURCE
"""What commands use when nothing else is said."""
