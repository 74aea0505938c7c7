"""Rules about RuntimeClasses: overheads are quantities and large enough, copies are equal, objects name what they stand for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from kata_bundle.core.diagnostics import Severity
from kata_bundle.manifest.upstream.places import setting_span
from kata_bundle.manifest.upstream.rules.configurations import used_configurations
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.core.diagnostics import Span
    from kata_bundle.manifest.upstream.facts import Class, Configuration, Item, UpstreamTree

__all__ = ["class_objects", "differing_overheads", "overheads_and_memory", "plausible_overheads", "quantities"]

_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_FACTORS: Final = {
    None: 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_MIB: Final = 2.0**20
_PORTS: Final = frozenset({"root-port", "switch-port", "bridge-port"})
_PLAUSIBLE_MEMORY_MIB: Final = (16.0, 1048576.0)
_MANY_TIMES: Final = 4
_MUCH_MIB: Final = 8192
_PLAUSIBLE_CPU: Final = (0.01, 64.0)


def _number(text: str) -> float | None:
    match = _QUANTITY.fullmatch(text.strip())
    return None if match is None else float(match.group(1)) * _FACTORS[match.group(2)]


def _overheads(tree: UpstreamTree) -> Iterator[tuple[str, Item, Item | None, Item | None]]:
    """Yield shim, name, memory and CPU of every overhead, declared in either form."""
    for overhead in tree.overheads.values():
        from kata_bundle.manifest.upstream.facts import Item

        yield overhead.shim, Item(overhead.shim, overhead.span), overhead.memory, overhead.cpu
    for entry in tree.classes:
        yield entry.name.name.removeprefix("kata-"), entry.name, entry.memory, entry.cpu


@tree_rule("KB651", "an overhead that is no quantity")
def quantities(tree: UpstreamTree) -> Iterator[Problem]:
    """A RuntimeClass overhead lacks memory or CPU, is no quantity of Kubernetes, or is far from anything plausible.

    "2048" alone are bytes, "250" alone are cores: most often a unit is missing.

    Repair: write a quantity with its unit.

    False alarm: none.
    """
    for shim, name, memory, cpu in _overheads(tree):
        for what, item in (("memory", memory), ("cpu", cpu)):
            if item is None:
                yield Problem(span=name.span, message=f'the overhead of "{shim}" has no {what}')
                continue
            number = _number(item.name)
            if number is None:
                yield Problem(span=item.span, message=f'the {what} overhead of "{shim}" is "{item.name}", which is no quantity')
                continue
            low, high = (x * _MIB for x in _PLAUSIBLE_MEMORY_MIB) if what == "memory" else _PLAUSIBLE_CPU
            if not low <= number <= high:
                message = f'the {what} overhead of "{shim}" is "{item.name}", which is not plausible'
                yield Problem(span=item.span, message=message)


@tree_rule("KB652", "an overhead below the guest's memory", severity=Severity.WARNING)
def overheads_and_memory(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim pins all of its guest's memory on the host, and its overhead is smaller than the guest's default memory.

    Memory of confidential guests and of guests with passed-through devices is allocated as a whole when the guest starts. The
    scheduler counts the overhead only, so nodes are filled beyond what they have.

    Repair: raise the overhead to the guest's memory, or lower the memory.

    False alarm: a cluster whose administrators set other sizes.
    """
    memories: dict[str, tuple[int, str, Span]] = {}
    for shim, _, configuration in used_configurations(tree):
        reason = _pins(configuration)
        for table in configuration.hypervisors:
            memory = configuration.get("hypervisor", table, "default_memory")
            if reason is not None and isinstance(memory, int):
                place = setting_span(configuration.template, f"hypervisor.{table}", "default_memory")
                memories[shim] = max(memories.get(shim, (0, reason, place)), (memory, reason, place))
    for shim, _, memory_item, _ in _overheads(tree):
        number = None if memory_item is None else _number(memory_item.name)
        if shim not in memories or number is None or memory_item is None:
            continue
        needed, reason, place = memories[shim]
        if number < needed * _MIB:
            message = f'the memory overhead of "{shim}" is {memory_item.name}, its guest has {needed} MiB and {reason}'
            yield Problem(span=memory_item.span, message=message, related=(place,))


@tree_rule("KB669", "an overhead far above the guest's memory", severity=Severity.WARNING)
def plausible_overheads(tree: UpstreamTree) -> Iterator[Problem]:
    """A RuntimeClass declares many times the memory that its guest has by default.

    Every pod of the class takes that much of a node, which may have too little for even one. Most often it is the memory of
    another guest, or a number with a digit too many.

    Repair: declare what the guest has, and what runs beside it.

    False alarm: a class whose guests are always made larger than by default.
    """
    memories: dict[str, tuple[int, Span]] = {}
    for shim, _, configuration in used_configurations(tree):
        for table in configuration.hypervisors:
            memory = configuration.get("hypervisor", table, "default_memory")
            if isinstance(memory, int) and memory > memories.get(shim, (0, None))[0]:
                memories[shim] = memory, setting_span(configuration.template, f"hypervisor.{table}", "default_memory")
    for shim, _, item, _ in _overheads(tree):
        number = None if item is None else _number(item.name)
        if item is None or number is None or shim not in memories:
            continue
        memory, place = memories[shim]
        if number > max(_MANY_TIMES * memory, memory + _MUCH_MIB) * _MIB:
            message = f'the memory overhead of "{shim}" is {item.name}, its guest has {memory} MiB'
            yield Problem(span=item.span, message=message, related=(place,))


def _pins(configuration: Configuration) -> str | None:
    for table in configuration.hypervisors:
        if configuration.get("hypervisor", table, "confidential_guest") is True:
            return "is confidential"
        for key in ("cold_plug_vfio", "hot_plug_vfio"):
            if configuration.get("hypervisor", table, key) in _PORTS and "gpu" in configuration.template.shim.split("-"):
                return "has devices passed through"
    return None


@tree_rule("KB653", "a RuntimeClass object that contradicts itself or its copy")
def class_objects(tree: UpstreamTree) -> Iterator[Problem]:
    """A RuntimeClass file has another handler than name, or is not what the file of all classes has.

    The handler has to be the one that the installer registers, kata-<shim>. Each class is kept twice, in a file of its own and
    in the file of all: they have to be equal, and complete in both.

    Repair: make handler and name, or both files, equal.

    False alarm: none.
    """
    single = {entry.name.name: entry for entry in tree.classes if not entry.combined}
    combined = {entry.name.name: entry for entry in tree.classes if entry.combined}
    for entry in tree.classes:
        if entry.handler is None:
            yield Problem(span=entry.name.span, message=f'RuntimeClass "{entry.name.name}" has no handler')
        elif entry.handler.name != entry.name.name:
            message = f'RuntimeClass "{entry.name.name}" has the handler "{entry.handler.name}"'
            yield Problem(span=entry.handler.span, message=message)
    if not single or not combined:
        return
    for name in sorted(single.keys() | combined.keys()):
        one, other = single.get(name), combined.get(name)
        if one is None or other is None:
            where = "the file of all classes" if other is None else "a file of its own"
            for having in (one, other):
                if having is not None:
                    yield Problem(span=having.name.span, message=f'RuntimeClass "{name}" is not in {where}')
        elif one.text != other.text:
            message = f'RuntimeClass "{name}" differs from its copy in {one.path.rsplit("/", 1)[-1]}'
            yield Problem(span=_difference(one, other), message=message, related=(one.name.span,))


def _difference(one: Class, other: Class) -> Span:
    for mine, theirs in ((one.memory, other.memory), (one.cpu, other.cpu), (one.handler, other.handler)):
        if mine is not None and theirs is not None and mine.name != theirs.name:
            return theirs.span
    return other.name.span


@tree_rule("KB654", "two overheads of one kind of guest", severity=Severity.WARNING)
def differing_overheads(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim and its runtime-rs twin declare different overheads.

    They start the same hypervisor with the same guest. If one was measured again, so ought the other to be.

    Repair: measure both, and declare the same.

    False alarm: two runtimes that need different amounts: the reason belongs beside the numbers.
    """
    found = {shim: (memory, cpu) for shim, _, memory, cpu in _overheads(tree)}
    for shim, (memory, cpu) in found.items():
        twin = found.get(f"{shim}-runtime-rs")
        for what, mine, theirs in () if twin is None else (("memory", memory, twin[0]), ("cpu", cpu, twin[1])):
            if mine is not None and theirs is not None and _number(mine.name) != _number(theirs.name):
                message = f'the {what} overhead of "{shim}" is {mine.name}, of "{shim}-runtime-rs" {theirs.name}'
                yield Problem(span=mine.span, message=message, related=(theirs.span,))
