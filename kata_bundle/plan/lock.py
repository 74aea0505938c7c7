"""``kata-bundle.lock``: the rule key and the pins that a selection leads to, written by one run and enforced by later ones.

The document is JSON, sorted and indented, so that a review shows one line per changed fact::

    {"components": {"x86_64": {"kernel": {"kind": "deb", "pins": ["…"], "rule_key": "sha256:…"}}}, "profile": "source",
     "version": 2, "shims": {"x86_64": ["qemu"]}}

Version 1 had no profile: its recipes were those of ``packages``, the only ones that there were.

Knows: plans and rule keys as values. Must not know: how a rule key is made (that is ``build``'s), where the file lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kata_bundle.core import canonical
from kata_bundle.core.digest import Digest, parse_digest
from kata_bundle.core.errors import IntegrityError, LockError, UsageError
from kata_bundle.core.profile import Profile

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FILE_NAME", "Lock", "LockedComponent", "differences", "enforce"]

FILE_NAME = "kata-bundle.lock"


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedComponent:
    """What one component is made from: the rule's kind, its rule key, and its pins as text (sorted)."""

    kind: str
    rule_key: Digest
    pins: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """Per architecture (kernel name): the selected shims, and every component with what it is made from in ``profile``."""

    profile: Profile
    shims: Mapping[str, tuple[str, ...]]
    components: Mapping[str, Mapping[str, LockedComponent]]

    def to_json(self) -> str:
        """Return the document's text."""
        return canonical.dumps_pretty(
            {
                "version": 2,
                "profile": self.profile.value,
                "shims": {arch: list(shims) for arch, shims in self.shims.items()},
                "components": {
                    arch: {name: {"kind": c.kind, "rule_key": c.rule_key, "pins": list(c.pins)} for name, c in components.items()}
                    for arch, components in self.components.items()
                },
            }
        )

    @classmethod
    def from_json(cls, data: bytes, *, what: str) -> Lock:
        """Return the lock in ``data``; raise :class:`LockError` naming ``what`` when it is not one."""
        try:
            document = canonical.loads(data, what=what)
            version = document["version"]
            if version not in {1, 2}:
                msg = f"{what} has lock version {version!r}, this program reads versions 1 and 2"
                raise LockError(msg)
            return cls(
                profile=Profile.PACKAGES if version == 1 else Profile.parse(document["profile"]),
                shims={arch: tuple(map(str, shims)) for arch, shims in document["shims"].items()},
                components={
                    arch: {name: _component(c) for name, c in components.items()}
                    for arch, components in document["components"].items()
                },
            )
        except (IntegrityError, UsageError, KeyError, TypeError, AttributeError) as error:
            msg = f"{what} is not a lock of this program ({error})"
            raise LockError(msg, hint="name another file, or remove it and run without --locked to write it again") from None


def _component(value: Mapping[str, Any]) -> LockedComponent:
    return LockedComponent(kind=str(value["kind"]), rule_key=parse_digest(value["rule_key"]), pins=tuple(map(str, value["pins"])))


def differences(locked: Lock, current: Lock) -> tuple[str, ...]:
    """Return one line per difference between what is locked and what the inputs lead to now, sorted."""
    lines: list[str] = []
    for arch in sorted({*locked.shims, *current.shims}):
        old, new = set(locked.shims.get(arch, ())), set(current.shims.get(arch, ()))
        lines += [f'{arch}: shim "{shim}" is not in the lock' for shim in sorted(new - old)]
        lines += [f'{arch}: shim "{shim}" is locked but not selected' for shim in sorted(old - new)]
    for arch in sorted({*locked.components, *current.components}):
        before, after = locked.components.get(arch, {}), current.components.get(arch, {})
        for name in sorted({*before, *after}):
            if name not in before:
                lines.append(f'{arch}: component "{name}" is not in the lock')
            elif name not in after:
                lines.append(f'{arch}: component "{name}" is locked but not needed')
            elif before[name] != after[name]:
                lines.append(f'{arch}: component "{name}" changed: {_change(before[name], after[name])}')
    return tuple(lines)


def _change(old: LockedComponent, new: LockedComponent) -> str:
    if old.kind != new.kind:
        return f"kind {old.kind} → {new.kind}"
    gone, come = sorted(set(old.pins) - set(new.pins)), sorted(set(new.pins) - set(old.pins))
    if gone or come:
        return f"pins {', '.join(gone) or 'none'} → {', '.join(come) or 'none'}"
    return f"rule key {old.rule_key[:19]}… → {new.rule_key[:19]}…"


def enforce(locked: Lock, current: Lock, *, what: str) -> None:
    """Raise :class:`LockError` listing every difference unless ``current`` is exactly what ``locked`` states.

    Another profile is named alone: nearly everything differs between two, and none of it is what is wrong.
    """
    if locked.profile is not current.profile:
        msg = f'{what} is a lock of profile "{locked.profile}", this run uses "{current.profile}"'
        hint = f"--profile {locked.profile} is what it was written with; or run without --locked to write it again"
        raise LockError(msg, hint=hint)
    lines = differences(locked, current)
    if lines:
        shown = "\n  ".join(lines)
        msg = f"{what} does not match the inputs:\n  {shown}"
        raise LockError(msg, hint="run without --locked to write the lock again, and review its change")
