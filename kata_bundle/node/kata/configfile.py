"""Reading Kata configuration files: parsed data, single values, and the merge of drop-ins the way the runtimes do it.

Format: TOML; tables merge, every other value of a later file replaces the earlier one, arrays too. Must not know what a key
means.
"""

from __future__ import annotations

import copy
import tomllib
from typing import TYPE_CHECKING, Any

from kata_bundle.core.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from kata_bundle.node.tomltext import KeyPath

__all__ = ["iter_strings", "lookup", "merge_drop_ins", "parse_config", "text_at"]


def parse_config(data: bytes, name: str) -> dict[str, Any]:
    """Return the parsed configuration. Raises :class:`HostError` naming it when it is not TOML."""
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"{name} is not valid TOML: {error}"
        raise HostError(msg) from None


def lookup(data: Mapping[str, Any], *path: str) -> Any:
    """Return the value at ``path``, ``None`` when it or a table on the way is not there."""
    value: Any = data
    for part in path:
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def text_at(data: Mapping[str, Any], *path: str, name: str) -> str:
    """Return the text at ``path``, an empty one when it is not there. Raises :class:`HostError` when it is something else."""
    value = lookup(data, *path)
    if value is None:
        return ""
    if not isinstance(value, str):
        msg = f"{'.'.join(path)} in {name} is not a text"
        raise HostError(msg)
    return value


def merge_drop_ins(base: Mapping[str, Any], drop_ins: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a runtime makes of ``base`` and ``drop_ins`` in their order; the arguments are not changed."""
    result: dict[str, Any] = copy.deepcopy(dict(base))
    for drop_in in drop_ins:
        _merge(result, drop_in)
    return result


def _merge(target: dict[str, Any], source: Mapping[str, Any]) -> None:
    for key, value in source.items():
        known = target.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        else:
            target[key] = copy.deepcopy(value)


def iter_strings(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield every text in ``value`` with the keys that lead to it; elements of an array share its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from iter_strings(item, (*path, key))
    elif isinstance(value, list):
        for item in value:
            yield from iter_strings(item, path)
