"""Why a component has to be made anew: the inputs that differ from the nearest earlier result, with old and new values.

Works on what the store remembers, weeks later and without building anything: results carry the ingredients of their keys. Must
not know: how components are made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.rulebook import key_of
from kata_bundle.core.digest import Digest, parse_digest
from kata_bundle.core.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.build.rulebook import Rulebook, Target
    from kata_bundle.store import ActionResult, Store

__all__ = ["Change", "Explanation", "explain"]

_MAX_DEPTH: Final = 16
_NAMES: Final = {
    "facts": "catalog",
    "recipe": "rule",
    "pins": "pinned packages",
    "source_packages": "source packages",
    "parents": "needed components",
    "toolchain": "toolchain",
    "trees": "package trees",
    "files": "files beside the rule",
    "checkouts": "given sources",
    "program": "version of kata-bundle's own code",
    "version": "version",
    "links": "links",
}
"""What the parts of a key are called."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One input that differs: the way to it, the old and the new value (``None``: not there)."""

    where: tuple[str, ...]
    old: Any
    new: Any

    @property
    def text(self) -> str:
        """The change on one line."""
        return f"{' → '.join(self.where)}: {_shown(self.old)} → {_shown(self.new)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """What a target's key is compared with."""

    target: Target
    key: Digest
    is_known: bool
    """Whether the store has the result of this very key."""
    nearest: Digest | None
    """The key of the earlier result with the fewest differences; ``None`` when the component was never made here."""
    changes: tuple[Change, ...]


def explain(book: Rulebook, store: Store, target: Target, *, against: Digest | None = None) -> Explanation:
    """Return what differs between the target's key and the nearest earlier result, or the one with key ``against``.

    Raises :class:`IntegrityError` when ``against`` is the key of no result of this component.
    """
    parts = book.ingredients(target)
    key = key_of(parts)
    known = {name: result for name, result in store.results() if _is_of(result, target)}
    earlier = {name: result for name, result in known.items() if f"sha256:{name}" != key}
    if against is not None:
        name = against.partition(":")[2]
        if name not in known:
            msg = f"the store has no result of {target.text} with key {against}"
            raise IntegrityError(msg)
        earlier = {name: known[name]}
    comparison = _Comparison(store, book)
    best: tuple[int, str, tuple[Change, ...]] | None = None
    for name, result in earlier.items():
        changes = tuple(comparison.of_parts(result.ingredients, parts))
        if best is None or (len(changes), name) < best[:2]:
            best = (len(changes), name, changes)
    return Explanation(
        target=target,
        key=key,
        is_known=key.partition(":")[2] in known,
        nearest=None if best is None else parse_digest(f"sha256:{best[1]}"),
        changes=() if best is None else best[2],
    )


def _is_of(result: ActionResult, target: Target) -> bool:
    try:
        facts = json.loads(result.ingredients["facts"])
        return bool((facts["component"], facts["arch"]) == (target.component, target.arch.value))
    except (KeyError, ValueError, TypeError):
        return False


class _Comparison:
    """Finds differences, looking behind keys with what ``store`` remembers and ``book`` knows."""

    def __init__(self, store: Store, book: Rulebook) -> None:
        self._store = store
        self._book = book

    def of_parts(
        self, old: Mapping[str, str], new: Mapping[str, str], way: tuple[str, ...] = (), depth: int = 0
    ) -> Iterator[Change]:
        """Yield the differences of two keys' parts; where a part is another key, those of what that key was computed from."""
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                before, after = _value(old.get(name)), _value(new.get(name))
                yield from self._of_values(before, after, (*way, _NAMES.get(name, name)), depth)

    def _of_values(self, old: Any, new: Any, way: tuple[str, ...], depth: int) -> Iterator[Change]:
        if old == new:
            return
        if isinstance(old, dict) and isinstance(new, dict):
            for name in sorted({*old, *new}, key=str):
                yield from self._of_values(old.get(name), new.get(name), (*way, str(name)), depth)
            return
        if isinstance(old, list) and isinstance(new, list):
            names = _named(old), _named(new)
            if names[0] is not None and names[1] is not None:
                yield from self._of_values(names[0], names[1], way, depth)
                return
            if len(old) == len(new):
                for number, (one, other) in enumerate(zip(old, new, strict=True)):
                    yield from self._of_values(one, other, (*way, str(number)), depth)
                return
        # A part that is another key: say what changed behind it.
        behind = self._behind(old), self._behind(new)
        if behind[0] is not None and behind[1] is not None and depth < _MAX_DEPTH:
            changes = list(self.of_parts(behind[0], behind[1], way, depth + 1))
            if changes:
                yield from changes
                return
        yield Change(where=way, old=old, new=new)

    def _behind(self, value: Any) -> Mapping[str, str] | None:
        """Return what the key ``value`` was computed from, when it is one that the store or the rules of today know."""
        if not isinstance(value, str) or not value.startswith("sha256:"):
            return None
        try:
            digest = parse_digest(value)
        except IntegrityError:
            return None
        today = self._book.known_ingredients(digest)
        if today is not None:
            return today
        result = self._store.result_record(digest)
        return None if result is None else result.ingredients


def _named(items: list[Any]) -> dict[str, Any] | None:
    """Return a list of things with names as a mapping, so that one that came or went does not shift the rest."""
    if items and all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
        names = [item["name"] for item in items]
        return {item["name"]: item for item in items} if len(set(names)) == len(names) else None
    return None


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _shown(value: Any) -> str:
    if value is None:
        return "(nothing)"
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return text if len(text) <= 100 else f"{text[:97]}..."
