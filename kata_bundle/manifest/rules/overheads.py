"""Rules about RuntimeClasses: overheads that are plausible, sufficient and the same in every copy; names and scheduling."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import Severity
from kata_bundle.manifest.rules.compare import deviants, groups
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.models import ShimEntry

__all__ = [
    "class_names",
    "default_class",
    "diverging_overheads",
    "hypervisors_have_programs",
    "labels_of_technologies",
    "old_overheads",
    "plausible_overheads",
    "reserved_memory",
    "same_scheduling",
    "sufficient_overheads",
]

_FACTOR_KIB = {"Ki": 1, "Mi": 1 << 10, "Gi": 1 << 20}
_LEAST_MIB, _MOST_MIB = 64, 64 << 10
_LEAST_MILLI, _MOST_MILLI = 50, 8000
_MARK = "katacontainers.io/kata-runtime"
_CLASS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def _memory_kib(text: str) -> int:
    return int(text[:-2]) * _FACTOR_KIB[text[-2:]]


def _milli(text: str) -> int:
    return int(text[:-1]) if text.endswith("m") else round(float(text) * 1000)


@rule("KB250", "an implausible overhead", acceptable=True)
def plausible_overheads(manifests: Manifests) -> Iterator[Problem]:
    """An overhead is far from what any virtual machine costs: below 64 MiB or above 64 GiB, below 50m or above eight processors.

    The scheduler believes it: pods are refused by every node, or put on nodes that cannot hold them. Most often a unit is wrong
    (Mi, Gi, m).

    Repair: correct the number or the unit.

    False alarm: a guest larger than 64 GiB by default: accept it in ignores.toml.
    """
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    for name, entry in model.classes.items():
        memory, cpu = entry.overhead.memory, entry.overhead.cpu
        if not _LEAST_MIB << 10 <= _memory_kib(memory) <= _MOST_MIB << 10:
            message = f'the memory overhead of "{name}" is {memory}, expected {_LEAST_MIB}Mi to {_MOST_MIB >> 10}Gi'
            yield Problem(document=document, key=("classes", name, "overhead", "memory"), message=message)
        if not _LEAST_MILLI <= _milli(cpu) <= _MOST_MILLI:
            message = f'the processor overhead of "{name}" is {cpu}, expected {_LEAST_MILLI}m to {_MOST_MILLI // 1000}'
            yield Problem(document=document, key=("classes", name, "overhead", "cpu"), message=message)


def _cost_group(shim: ShimEntry) -> tuple[object, ...]:
    """Return what an overhead depends on: hypervisor, technology of the guest, GPU."""
    protected = "memory encryption" if shim.tee in {"snp", "tdx"} else shim.tee
    return shim.hypervisor, protected, shim.gpu, shim.coco_dev


@rule("KB251", "copies of an overhead that differ", acceptable=True)
def diverging_overheads(manifests: Manifests) -> Iterator[Problem]:
    """Shims with the same hypervisor and the same kind of guest have different overheads.

    The overhead pays for the hypervisor and the guest's own memory, which do not depend on the runtime family. The finding
    stands at the entry that differs from most, or at the later of two.

    Repair: measure, and give all of them the same value.

    False alarm: a runtime whose own memory is known to differ that much: accept it in ignores.toml.
    """
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    shims = manifests.shims.model.shims
    known = [name for name in model.classes if name in shims and shims[name].status != "alias"]
    for members in groups((_cost_group(shims[name]), name) for name in known):
        for key, amount in (("memory", _memory_kib), ("cpu", _milli)):
            values = [(name, amount(getattr(model.classes[name].overhead, key))) for name in members]
            right, wrong = deviants(values)
            for name in wrong:
                found, other = (getattr(model.classes[who].overhead, key) for who in (name, right or name))
                message = f'the "{key}" overhead of "{name}" is {found}, that of "{right}" is {other}'
                related = ((document, ("classes", right or name, "overhead", key)),)
                yield Problem(document=document, key=("classes", name, "overhead", key), message=message, related=related)


@rule("KB252", "an overhead below the guest's memory", acceptable=True)
def sufficient_overheads(manifests: Manifests) -> Iterator[Problem]:
    """The memory overhead is smaller than the guest's own memory, where that memory is charged to the pod.

    The memory of a confidential guest is pinned from the start, and with "sandbox_cgroup_only" the whole hypervisor is in the
    pod's cgroup: in both cases what the guest touches counts against the pod's limit plus the overhead, and the pod is killed
    when it is more.

    Repair: raise the overhead to "default_memory_mib" at least, or make the guest smaller.

    False alarm: a guest that is known to touch less of its memory: accept it in ignores.toml.
    """
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    shims = manifests.shims.model.shims
    for name, entry in model.classes.items():
        for arch in shims[name].configured_on if name in shims else ():
            config = manifests.config(name, Arch(arch))
            size = config.values.get("default_memory_mib")
            confidential, inside = config.values.get("confidential_guest"), config.values.get("sandbox_cgroup_only")
            if size is None or not (confidential or inside) or _memory_kib(entry.overhead.memory) >= size << 10:
                continue
            why = "whose guest is confidential" if confidential else "whose VMM is in the pod's cgroup"
            message = f'the memory overhead of "{name}", {why}, is {entry.overhead.memory}, below the guest\'s {size}Mi'
            cause = "confidential_guest" if confidential else "sandbox_cgroup_only"
            related = tuple((manifests.shims.document, config.origin[key]) for key in ("default_memory_mib", cause))
            yield Problem(document=document, key=("classes", name, "overhead", "memory"), message=message, related=related)
            break


@rule("KB239", "a runtime that reserves more than its class pays for", acceptable=True)
def reserved_memory(manifests: Manifests) -> Iterator[Problem]:
    """ "overhead_memory_mib", which the Rust runtime adds to the sandbox's size, is more than the memory overhead of the class.

    The scheduler counts less than the runtime takes, so that the sandbox exceeds its cgroup.

    Repair: raise the overhead of the class, or lower what the runtime reserves.

    False alarm: none known.
    """
    classes, shims = manifests.runtime_classes, manifests.shims.model.shims
    for name, entry in classes.model.classes.items():
        for arch in shims[name].configured_on if name in shims else ():
            config = manifests.config(name, Arch(arch))
            reserved = config.values.get("overhead_memory_mib")
            if reserved is not None and reserved << 10 > _memory_kib(entry.overhead.memory):
                paid = entry.overhead.memory
                message = f'"{name}" reserves {reserved}Mi on {arch}, and its class pays for {paid}'
                related = ((classes.document, ("classes", name, "overhead", "memory")),)
                key = config.origin["overhead_memory_mib"]
                yield Problem(document=manifests.shims.document, key=key, message=message, related=related)
                break


@rule("KB253", "an overhead that is older than its components", severity=Severity.WARNING, acceptable=True)
def old_overheads(manifests: Manifests) -> Iterator[Problem]:
    """The source of overheads has an earlier date than the facts about the components, or a later one though it is part of them.

    Hypervisors and guests grow; a figure that was not looked at since the components changed may be too small.

    Repair: measure again, or confirm the figure and give the source the new date.

    False alarm: components that did not change since: the date says when the figure was last confirmed, so confirm it.
    """
    date = manifests.upstream.model.date
    document = manifests.runtime_classes.document
    for name, source in manifests.runtime_classes.model.sources.items():
        key = ("sources", name, "date")
        related = ((manifests.upstream.document, ("date",)),)
        if source.date < date:
            message = f'source "{name}" is of {source.date}, the components of {date}'
            yield Problem(document=document, key=key, message=message, related=related)
        elif source.date > date and source.source.startswith("kata-containers:"):
            message = f'source "{name}" is of {source.date}, but upstream\'s files were read as of {date}'
            yield Problem(document=document, key=key, message=message, related=related)


@rule("KB254", "a default class that is not its shim's", acceptable=True)
def default_class(manifests: Manifests) -> Iterator[Problem]:
    """The default class has the name of another class, or the architectures' default shims differ.

    One object of that name serves the whole cluster, with the handler and the overhead of one shim; on an architecture with
    another default shim it would start that one under the wrong overhead, or nothing.

    Repair: give all architectures the same default shim, and the default class a name of its own.

    False alarm: clusters of one architecture only: accept it in ignores.toml.
    """
    classes = manifests.runtime_classes
    prefix, name = classes.model.name_prefix, classes.model.default_class.name
    if name in _class_names(manifests):
        message = f'the default class is called "{name}", as the class of a shim'
        yield Problem(document=classes.document, key=("default_class", "name"), message=message)
    elif name != prefix.rstrip("-"):
        message = f'the default class is called "{name}", expected "{prefix.rstrip("-")}", the prefix of all others'
        yield Problem(document=classes.document, key=("default_class", "name"), message=message)
    right, wrong = deviants([(arch, entry.model.default_shim) for arch, entry in manifests.arches.items()])
    for arch in wrong:
        entry, other = manifests.arches[arch], manifests.arches[right or arch]
        message = f'the default shim on {arch} is "{entry.model.default_shim}", on {right} "{other.model.default_shim}"'
        related = ((other.document, ("default_shim",)),)
        yield Problem(document=entry.document, key=("default_shim",), message=message, related=related)


def _class_names(manifests: Manifests) -> dict[str, str]:
    """Return the names of all classes that the catalog leads to, with the shim of each."""
    model = manifests.runtime_classes.model
    names: dict[str, str] = {}
    for shim in model.classes:
        for name in (f"{model.name_prefix}{shim}", *(f"{model.name_prefix}{shim}-{v}" for v in model.variants)):
            names.setdefault(name, shim)
    return names


@rule("KB255", "a class name that Kubernetes refuses or that is taken", acceptable=True)
def class_names(manifests: Manifests) -> Iterator[Problem]:
    """The name of a class is no name that Kubernetes takes for an object and a label, or two classes have it.

    A variant's name can be that of another shim: "kata-x-debug" is the debug variant of "x" and the class of "x-debug".

    Repair: rename the shim or the variant.

    False alarm: none known.
    """
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    names: dict[str, str] = {}
    for shim in model.classes:
        for name in (f"{model.name_prefix}{shim}", *(f"{model.name_prefix}{shim}-{v}" for v in model.variants)):
            if not _CLASS_NAME.fullmatch(name):
                message = f'"{name}", a class of "{shim}", is no name that Kubernetes takes'
                yield Problem(document=document, key=("classes", shim), message=message, of_key=True)
            first = names.setdefault(name, shim)
            if first != shim:
                message = f'"{name}" is a class of "{first}" and of "{shim}"'
                yield Problem(document=document, key=("classes", shim), message=message, of_key=True)
    for i, variant in enumerate(model.variants):
        if variant not in {"debug", "devkit"}:
            message = f'"{variant}" is not a variant that the installer makes, expected debug or devkit'
            yield Problem(document=document, key=("variants", i), message=message)


@rule("KB256", "classes of siblings that are scheduled differently", acceptable=True)
def same_scheduling(manifests: Manifests) -> Iterator[Problem]:
    """Shims with the same devices and the same protection have different node selectors or "tee_label".

    Both need the same nodes; the one with fewer labels is put where it cannot start.

    Repair: give all of them the same "node_selector" and "tee_label".

    False alarm: a runtime that needs less of its nodes: accept it in ignores.toml.
    """
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    shims = manifests.shims.model.shims
    known = [name for name in model.classes if name in shims]
    for members in groups(((shims[name].gpu, shims[name].tee is not None), name) for name in known):
        for key in ("node_selector", "tee_label"):
            values = [(name, _sorted(getattr(model.classes[name], key))) for name in members]
            right, wrong = deviants(values)
            for name in wrong:
                message = f'"{key}" of "{name}" differs from that of "{right}"'
                related = ((document, ("classes", right or name, key)),)
                where = ("classes", name, key) if key in model.classes[name].model_fields_set else ("classes", name)
                yield Problem(document=document, key=where, message=message, of_key=True, related=related)


def _sorted(value: object) -> object:
    return sorted(value.items()) if isinstance(value, dict) else value


@rule("KB268", "a label or resource of another technology", acceptable=True)
def labels_of_technologies(manifests: Manifests) -> Iterator[Problem]:
    """The label or the resource of a TEE does not have the TEE's name among its words.

    Nodes are chosen by the label, and the keys of a guest are counted by the resource; those of another technology put pods on
    nodes that cannot start them.

    Repair: give the label and the resource that node feature discovery publishes for this technology.

    False alarm: a vendor that names them otherwise: accept it in ignores.toml.
    """
    document, model = manifests.runtime_classes.document, manifests.runtime_classes.model
    vendors = {"snp": "amd", "tdx": "intel", "se": "feature"}
    for technology, tee in model.tees.items():
        for key in ("label", "resource"):
            text = getattr(tee, key)
            words = re.split(r"[./-]", text or "")
            if text is not None and not {technology, vendors[technology]} <= set(words):
                wanted = f'"{technology}" and "{vendors[technology]}"'
                message = f'the {key} of "{technology}" is "{text}", without the words {wanted}'
                yield Problem(document=document, key=("tees", technology, key), message=message)
            if text is not None and ("node.kubernetes.io" in text) != (key == "label"):
                message = f'the {key} of "{technology}" is "{text}", which is {"no" if key == "label" else "a"} label of nodes'
                yield Problem(document=document, key=("tees", technology, key), message=message)
    if dict(model.node_selector) != {_MARK: "true"}:
        message = f'every class selects the label "{_MARK}" = "true", which the installer sets, and no other'
        place = next((key for key in model.node_selector), None)
        where = ("node_selector",) if place is None else ("node_selector", place)
        yield Problem(document=document, key=where, message=message, of_key=True)
    for name, entry in model.classes.items():
        for selector, value in entry.node_selector.items():
            if value not in {"true", "false"}:
                message = f'label "{selector}" of "{name}" is "{value}", expected "true" or "false"'
                yield Problem(document=document, key=("classes", name, "node_selector", selector), message=message)


@rule("KB238", "a hypervisor or a runtime family without its program", acceptable=True)
def hypervisors_have_programs(manifests: Manifests) -> Iterator[Problem]:
    """A hypervisor's "binary" is in no component, or a built-in one has a component, or one without a program starts a kernel.

    A hypervisor is a program in bin that a component has, or a part of the shim ("built_in", called like the hypervisor
    itself), or another service, which starts the guest and needs no kernel of ours.

    A family's "shim_binary" is a file of its component, its templates are below that component's sources, and its
    configurations have a folder of their own.

    Repair: correct "binary" or "built_in", or the component's "paths".

    False alarm: none known. Hypervisors of unfinished shims are not looked at.
    """
    document, shims = manifests.shims.document, manifests.shims.model
    used = {shim.hypervisor: name for name, shim in shims.shims.items() if shim.status == "active"}
    programs = {
        path
        for name in manifests.components.model.components
        for arch in Arch
        for path in manifests.outputs(name, arch).files
        if path.startswith("bin/")
    }
    yield from _families(manifests)
    for name, entry in shims.hypervisors.items():
        if name not in used or entry.binary == "{emulator}":
            continue
        key: tuple[str, ...] = ("hypervisors", name, "binary" if entry.binary else "built_in")
        problem = None
        if entry.built_in and entry.binary != name:
            problem = f'is built in, so its program is called "{name}", found "{entry.binary or "nothing"}"'
        elif entry.built_in and f"bin/{entry.binary}" in programs:
            problem = f'is built in, but a component has "bin/{entry.binary}"'
            key = ("hypervisors", name, "built_in")
        elif entry.binary and not entry.built_in and f"bin/{entry.binary}" not in programs:
            problem = f'has its program in "bin/{entry.binary}", which no component has'
        elif not entry.binary and not entry.built_in and _starts_kernels(manifests, name):
            problem = f'has no program, but "{used[name]}" starts a kernel'
            key = ("hypervisors", name)
        if problem is not None:
            related = ((document, ("hypervisors", name)), (document, ("hypervisors", name, "built_in")))
            message = f'hypervisor "{name}" {problem}'
            yield Problem(document=document, key=key, message=message, of_key=len(key) == 2, related=related)


def _families(manifests: Manifests) -> Iterator[Problem]:
    """Yield where a family's paths are not those of its component."""
    document, families = manifests.shims.document, manifests.shims.model.families
    for name, entry in families.items():
        if entry.component not in manifests.components.model.components:
            continue
        facts = manifests.facts(entry.component)
        for key, is_right, expected in (
            (
                "shim_binary",
                any(entry.shim_binary in manifests.outputs(entry.component, arch).files for arch in Arch),
                f'a file of "{entry.component}"',
            ),
            (
                "template_directory",
                any(entry.template_directory.startswith(f"{text}/") for text in facts.values.get("scripts") or ()),
                f'a folder below the scripts of "{entry.component}"',
            ),
            (
                "config_directory",
                entry.config_directory.startswith("share/defaults/kata-containers")
                and not any(o.config_directory == entry.config_directory for n, o in families.items() if n != name),
                "a folder of its own below share/defaults/kata-containers",
            ),
        ):
            if not is_right:
                message = f'"{key}" of the family "{name}" is "{getattr(entry, key)}", expected {expected}'
                yield Problem(document=document, key=("families", name, key), message=message)


def _starts_kernels(manifests: Manifests, hypervisor: str) -> bool:
    return any(
        manifests.config(name, Arch(arch)).values.get("kernel") is not None
        for name, shim in manifests.shims.model.shims.items()
        if shim.hypervisor == hypervisor
        for arch in shim.configured_on
    )
