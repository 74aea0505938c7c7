"""Immutable value classes that cost little to define: what a node's programs are made of.

``dataclasses`` writes and compiles the source of every method of every class while a module is imported, and imports ``inspect``
for that: a third of what an install did before its first byte. A record has the same meaning for callers and for type checkers
(PEP 681), but its methods are closures, and only ``__init__`` is compiled once more than a few instances are made. Rooms that are
loaded on nodes use records; others use ``dataclasses``. Must not import more than ``operator`` and ``typing``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FrozenError", "field", "field_names", "record", "replace"]

_T = TypeVar("_T")
_FIELDS = "__record_fields__"
_GIVEN = object()
"""Stands for "no default"."""
_FEW = 12
"""So many instances are made without a compiled ``__init__``, which takes as long as making some fifty."""


class FrozenError(AttributeError):
    """An attribute of an immutable record was assigned or deleted."""


class _Field:
    __slots__ = ("default", "factory", "is_shown", "name")

    def __init__(self, default: object, factory: Callable[[], object] | None, is_shown: bool) -> None:
        self.name = ""
        self.default, self.factory, self.is_shown = default, factory, is_shown


@overload
def field(*, default: _T, repr: bool = True) -> _T: ...
@overload
def field(*, default_factory: Callable[[], _T], repr: bool = True) -> _T: ...
@overload
def field(*, repr: bool = True) -> Any: ...
def field(*, default: Any = _GIVEN, default_factory: Callable[[], Any] | None = None, repr: bool = True) -> Any:  # noqa: A002
    """Return what stands behind a field that has a default made anew for each record, or that ``repr`` leaves out."""
    return _Field(default, default_factory, repr)


@overload
def record(cls: type[_T], /) -> type[_T]: ...
@overload
def record(
    *,
    kw_only: bool = True,
    frozen: bool = True,
    order: bool = False,
    slots: bool = True,
    repr: bool = True,
) -> Callable[[type[_T]], type[_T]]: ...
@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(
    cls: type[Any] | None = None,
    /,
    *,
    kw_only: bool = True,
    frozen: bool = True,
    order: bool = False,
    slots: bool = True,
    repr: bool = True,  # noqa: A002
) -> Any:
    """Make a class with annotated fields a record: immutable, compared and hashed by its fields, made from keyword arguments.

    ``kw_only=False`` allows positional arguments, ``frozen=False`` assignment (and no hash), ``order=True`` adds
    comparisons of the fields as a tuple, ``slots=False`` keeps ``__dict__`` (for cached properties), ``repr=False`` leaves the
    default ``repr``. ``__post_init__`` is called as in ``dataclasses``; methods that the class has itself are kept. The fields of
    bases come first. Methods must not use ``super()`` without arguments: with slots the class is made anew.
    """

    def made(found: type[Any]) -> Any:
        return _made(found, kw_only=kw_only, frozen=frozen, order=order, slots=slots, shown=repr)

    return made if cls is None else made(cls)


def replace(one: _T, /, **changes: Any) -> _T:
    """Return a record like ``one``, or a dataclass, with some values changed; raise :class:`TypeError` for unknown names."""
    if not hasattr(type(one), _FIELDS):
        import dataclasses

        return dataclasses.replace(one, **changes)  # type: ignore[type-var]
    values = {name: getattr(one, name) for name in getattr(type(one), _FIELDS)}
    return type(one)(**{**values, **changes})


def field_names(one: object) -> tuple[str, ...]:
    """Return the names of the fields of a record or of a class of records, in their order."""
    return tuple(getattr(one, _FIELDS))


def _made(cls: type[Any], *, kw_only: bool, frozen: bool, order: bool, slots: bool, shown: bool) -> type[Any]:
    names = dict(cls.__dict__)
    own = [name for name, kind in names.get("__annotations__", {}).items() if not str(kind).startswith("ClassVar")]
    fields = names[_FIELDS] = _fields_of(cls, names, own)
    every = tuple(fields)
    key = _key_of(every)
    if shown:
        names.setdefault("__repr__", _repr_of(tuple(one.name for one in fields.values() if one.is_shown)))
    if "__eq__" not in names:
        names["__eq__"] = _eq_of(key)
        names["__hash__"] = names.get("__hash__") or (_hash_of(key) if frozen else None)
    if order:
        names |= _order_of(key)
    names.setdefault("__match_args__", () if kw_only else every)
    if frozen:
        names |= {"__setattr__": _refuse_setattr, "__delattr__": _refuse_delattr}
        names.setdefault("__getstate__", _getstate)
        names.setdefault("__setstate__", _setstate)
    new = _made_anew(cls, names, own) if slots else _made_in_place(cls, names, own)
    if "__init__" not in names:
        new.__init__ = _first_init(new, kw_only=kw_only)
    return new


def _fields_of(cls: type[Any], names: dict[str, Any], own: list[str]) -> dict[str, _Field]:
    """Return the fields of the bases and the class's own; these lose their values among ``names``, which are no attributes."""
    fields: dict[str, _Field] = {}
    for base in reversed(cls.__mro__[1:]):
        fields.update(base.__dict__.get(_FIELDS, {}))
    for name in own:
        value = names.pop(name, _GIVEN)
        one = value if isinstance(value, _Field) else _Field(value, None, is_shown=True)
        one.name = name
        fields[name] = one
    return fields


def _made_anew(cls: type[Any], names: dict[str, Any], own: list[str]) -> type[Any]:
    inherited = {slot for base in cls.__mro__[1:] for slot in base.__dict__.get("__slots__", ())}
    names["__slots__"] = tuple(name for name in own if name not in inherited)
    for name in ("__dict__", "__weakref__"):
        names.pop(name, None)
    kind: Any = type(cls)
    new: type[Any] = kind(cls.__name__, cls.__bases__, names)
    new.__qualname__ = cls.__qualname__
    return new


def _made_in_place(cls: type[Any], names: dict[str, Any], own: list[str]) -> type[Any]:
    for name in own:
        if name in cls.__dict__:
            delattr(cls, name)
    for name, value in names.items():
        if cls.__dict__.get(name, _GIVEN) is not value:
            setattr(cls, name, value)
    return cls


def _first_init(cls: type[Any], *, kw_only: bool) -> Callable[..., None]:
    """Return an ``__init__`` that needs no compiling, and puts a compiled one in its place when many instances are made."""
    made = 0
    fields: dict[str, _Field] = getattr(cls, _FIELDS)
    put = object.__setattr__
    follow = getattr(cls, "__post_init__", None)

    def first_init(self: Any, *arguments: Any, **named: Any) -> None:
        nonlocal made
        made += 1
        if made > _FEW or len(arguments) > (0 if kw_only else len(fields)) or not fields.keys() >= named.keys():
            # The compiled one says what is wrong with the arguments.
            compiled = _compiled_init(cls, kw_only=kw_only)
            cls.__init__ = compiled
            compiled(self, *arguments, **named)
            return
        values = dict(zip(fields, arguments, strict=False)) if arguments else named
        if arguments and named:
            if values.keys() & named.keys():
                _compiled_init(cls, kw_only=kw_only)(self, *arguments, **named)
            values |= named
        for name, one in fields.items():
            if name in values:
                put(self, name, values[name])
            elif one.factory is not None:
                put(self, name, one.factory())
            elif one.default is not _GIVEN:
                put(self, name, one.default)
            else:
                _compiled_init(cls, kw_only=kw_only)(self, *arguments, **named)
        if follow is not None:
            follow(self)

    return first_init


def _compiled_init(cls: type[Any], *, kw_only: bool) -> Callable[..., None]:
    """Return the ``__init__`` of a class: one assignment a field, through the slot itself where there is one."""
    fields: dict[str, _Field] = getattr(cls, _FIELDS)
    known: dict[str, Any] = {"_given": _GIVEN, "_put": object.__setattr__}
    words: list[str] = []
    lines: list[str] = []
    for place, one in enumerate(fields.values()):
        name = one.name
        value = name
        word = name
        if one.factory is not None:
            known[f"_make{place}"] = one.factory
            word, value = f"{name}=_given", f"_make{place}() if {name} is _given else {name}"
        elif one.default is not _GIVEN:
            known[f"_default{place}"] = one.default
            word = f"{name}=_default{place}"
        words.append(word)
        slot = getattr(getattr(cls, name, None), "__set__", None)
        if slot is not None and type(getattr(cls, name)).__name__ == "member_descriptor":
            known[f"_slot{place}"] = slot
            lines.append(f" _slot{place}(self, {value})")
        else:
            lines.append(f" _put(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    star = "*, " if kw_only and words else ""
    source = f"def __init__(self, {star}{', '.join(words)}):\n" + ("\n".join(lines) or " pass")
    exec(source, known)  # noqa: S102 - the names are identifiers of a class body
    result: Callable[..., None] = known["__init__"]
    result.__qualname__ = f"{cls.__qualname__}.__init__"
    result.__module__ = cls.__module__
    return result


def _key_of(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return attrgetter(*names)
    if not names:
        return lambda _one: ()
    only = attrgetter(names[0])
    return lambda one: (only(one),)


def _eq_of(key: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any, object], Any]:
    def equal(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return key(self) == key(other)

    return equal


def _hash_of(key: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], int]:
    def hashed(self: Any) -> int:
        return hash(key(self))

    return hashed


def _order_of(key: Callable[[Any], tuple[Any, ...]]) -> dict[str, Any]:
    def less(self: Any, other: object) -> Any:
        return key(self) < key(other) if other.__class__ is self.__class__ else NotImplemented

    def less_or_equal(self: Any, other: object) -> Any:
        return key(self) <= key(other) if other.__class__ is self.__class__ else NotImplemented

    def greater(self: Any, other: object) -> Any:
        return key(self) > key(other) if other.__class__ is self.__class__ else NotImplemented

    def greater_or_equal(self: Any, other: object) -> Any:
        return key(self) >= key(other) if other.__class__ is self.__class__ else NotImplemented

    return {"__lt__": less, "__le__": less_or_equal, "__gt__": greater, "__ge__": greater_or_equal}


def _repr_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def shown(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return shown


def _refuse_setattr(self: Any, name: str, value: object) -> None:
    del value
    msg = f"{type(self).__name__} is immutable: {name} cannot be assigned"
    raise FrozenError(msg)


def _refuse_delattr(self: Any, name: str) -> None:
    msg = f"{type(self).__name__} is immutable: {name} cannot be deleted"
    raise FrozenError(msg)


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in getattr(type(self), _FIELDS)]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(getattr(type(self), _FIELDS), state, strict=True):
        object.__setattr__(self, name, value)
