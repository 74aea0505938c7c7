"""Rules about siblings: shims that differ in one thing agree on the settings that the thing has nothing to do with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.core.diagnostics import Severity
from kata_bundle.manifest.upstream.places import setting_span
from kata_bundle.manifest.upstream.rules.configurations import used_configurations
from kata_bundle.manifest.upstream.rules.registry import Problem, tree_rule
from kata_bundle.manifest.upstream.rules.words import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kata_bundle.manifest.upstream.facts import Configuration, UpstreamTree

__all__ = ["differing_siblings", "differing_values", "guests_without_init_data", "pulling_twice", "shared_nothing"]

_OF_CONFIDENTIAL: Final = ("shared_fs", "emptydir_mode", "confidential_guest")
"""What follows from the guest being confidential, whatever hardware makes it so and whatever is attached to it."""
_OF_ATTACHED: Final = ("static_sandbox_resource_mgmt", "sandbox_cgroup_only", "default_memory", "default_vcpus")
"""What follows from the devices attached to a guest, confidential or not."""
_OF_BOTH: Final = (
    *_OF_CONFIDENTIAL,
    *_OF_ATTACHED,
    "block_device_aio",
    "block_device_driver",
    "cold_plug_vfio",
    "create_container_timeout",
    "disable_guest_empty_dir",
    "disable_guest_seccomp",
    "disable_guest_selinux",
    "enable_annotations",
    "enable_numa",
    "enable_vcpus_pinning",
    "enable_virtio_mem",
    "experimental_force_guest_pull",
    "hot_plug_vfio",
    "internetworking_model",
    "kubelet_root_dir",
    "pcie_root_port",
    "pod_resource_api_sock",
    "rootfs_type",
    "vfio_mode",
    "vm_rootfs_driver",
)
"""What two shims that differ in the hardware of the confidential guest only have in common."""
_CONFIDENTIAL: Final = frozenset({"coco", "se", "snp", "tdx"})
_PULLING: Final = (
    "containerd.snapshotter",
    "containerd.forceGuestPull",
    "crio.guestPull",
    "runtimeClass.nodeSelector.nvidia.com/cc.ready.state",
)
_OF_TWINS: Final = ("enable_annotations",)
"""What a shim and its runtime-rs twin have in common whatever the runtime can do."""
_INIT_DATA: Final = "cc_init_data"
_BLOCK_SNAPSHOTTERS: Final = frozenset({"blockfile", "devmapper", "erofs", "nydus"})


def _used(tree: UpstreamTree) -> dict[str, Configuration]:
    found: dict[str, Configuration] = {}
    for shim, _, configuration in used_configurations(tree):
        if configuration.data is not None:
            found.setdefault(shim, configuration)
    return found


def _setting(configuration: Configuration, key: str) -> tuple[str, object] | None:
    """Return the table and the value of a setting, wherever it stands."""
    for table in (*(f"hypervisor.{name}" for name in configuration.hypervisors), "runtime"):
        value = configuration.get(*table.split("."), key)
        if value is not None:
            return table, value
    return None


def _groups(used: Mapping[str, Configuration]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], str]]:
    """Yield groups of siblings, the settings they have in common, and why."""
    for name in used:
        if "snp" in name.split("-"):
            other = name.replace("snp", "tdx")
            if other in used:
                yield (name, other), _OF_BOTH, "they differ in the confidential hardware only"
    for name in used:
        words = name.split("-")
        plain = name.replace("nvidia-gpu-", "")
        if "gpu" in words and ("snp" in words or "tdx" in words) and plain in used and plain != name:
            yield (plain, name), _OF_CONFIDENTIAL, "both guests are confidential in the same way"
    for name in used:
        twin = f"{name}-runtime-rs"
        if twin in used and set(map(str, _annotations(used[name]))) - set(map(str, _annotations(used[twin]))):
            # The runtime that replaces the other may allow more, but what pods of the other use has to go on working.
            yield (name, twin), _OF_TWINS, "they differ in the runtime only"
    for name in used:
        if name.endswith(("nvidia-gpu", "nvidia-gpu-runtime-rs")):
            tail = "-runtime-rs" if name.endswith("-runtime-rs") else ""
            base = name.removesuffix("-runtime-rs")
            group = tuple(n for n in (name, f"{base}-snp{tail}", f"{base}-tdx{tail}") if n in used)
            if len(group) > 1:
                yield group, _OF_ATTACHED, "the same devices are attached to them"


@tree_rule("KB633", "siblings that disagree", severity=Severity.WARNING)
def differing_siblings(tree: UpstreamTree) -> Iterator[Problem]:
    """Two shims that differ in one thing only disagree on a setting that has nothing to do with it.

    Compared are confidential siblings (SNP and TDX) on everything but their hardware, a confidential shim with its GPU variant
    on what follows from being confidential, a GPU shim with its confidential variants on what follows from the devices, and a
    shim with its runtime-rs twin on the annotations that pods may use. Most often one configuration was changed and the other
    forgotten. Where three are compared, the finding stands at the one that is alone.

    Repair: change the other one as well.

    False alarm: a difference that has a reason, such as work that has not reached the other hardware yet.
    """
    used = _used(tree)
    seen: set[tuple[str, str, str]] = set()
    for group, keys, reason in _groups(used):
        for key in keys:
            values = {shim: _setting(used[shim], key) for shim in group}
            raw = {shim: None if value is None else value[1] for shim, value in values.items()}
            # What is false, zero or empty is what the runtimes take for what is left out.
            meant = {shim: _shown(value or None) for shim, value in raw.items()}
            if len(set(meant.values())) == 1:
                continue
            odd = next((s for s in group if list(meant.values()).count(meant[s]) == 1 and len(group) > 2), group[-1])
            other = next(s for s in group if meant[s] != meant[odd])
            if (odd, other, key) in seen or (other, odd, key) in seen:
                continue
            seen.add((odd, other, key))
            found = values[odd] or values[other]
            table = "runtime" if found is None else found[0]
            message = f'"{key}" of "{odd}" is {_shown(raw[odd])}, of "{other}" {_shown(raw[other])}; {reason}'
            place = setting_span(used[other].template, table, key)
            yield Problem(span=setting_span(used[odd].template, table, key), message=message, related=(place,))


def _shown(value: object) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(_shown(item) for item in value)}]"
        case str():
            return f'"{value}"'
        case _:
            return str(value)


@tree_rule("KB667", "confidential siblings that the chart treats differently", severity=Severity.WARNING)
def differing_values(tree: UpstreamTree) -> Iterator[Problem]:
    """Two confidential shims that differ in their hardware or runtime only get their images in different ways.

    Compared are SNP with TDX, and a shim with its runtime-rs twin: the snapshotter, guest pull for either container runtime, and
    which state of attached devices a node has to be in; in the chart's values and in each profile. The finding stands at the
    second of the two.

    Repair: change the other one as well.

    False alarm: a difference that has a reason, such as a runtime that cannot do what the other does.
    """
    for chart in (*([tree.chart] if tree.chart is not None else []), *tree.profiles):
        for shim in chart.shims.values():
            words = shim.name.split("-")
            for other in {shim.name.replace("snp", "tdx"), f"{shim.name}-runtime-rs"} - {shim.name}:
                sibling = chart.shims.get(other)
                if sibling is None or not _CONFIDENTIAL & set(words):
                    continue
                for key in _PULLING:
                    mine, theirs = shim.settings.get(key), sibling.settings.get(key)
                    values = [None if setting is None else setting.value for setting in (mine, theirs)]
                    if (values[0] or None) != (values[1] or None):
                        message = f'"{key}" of "{other}" is {_shown(values[1])}, of "{shim.name}" {_shown(values[0])}'
                        span = sibling.span if theirs is None else theirs.span
                        yield Problem(span=span, message=message, related=(shim.span if mine is None else mine.span,))


@tree_rule("KB636", "a confidential guest without initialisation data", severity=Severity.WARNING)
def guests_without_init_data(tree: UpstreamTree) -> Iterator[Problem]:
    """A confidential shim does not allow the annotation "cc_init_data", which other confidential shims of its runtime do.

    Its guest cannot be given a policy and attestation settings by the pod.

    Repair: allow the annotation.

    False alarm: a guest that gets its policy in its image.
    """
    for family, build in tree.runtimes.items():
        confidential = {
            shim: configuration
            for shim, configuration in _used(tree).items()
            if configuration.template.family is family and _is_confidential(configuration)
        }
        allowing = {shim for shim, configuration in confidential.items() if _INIT_DATA in _annotations(configuration)}
        if not allowing or not build.templates:
            continue
        for shim, configuration in confidential.items():
            if shim not in allowing:
                table = f"hypervisor.{configuration.hypervisors[0]}"
                message = f'"{shim}" does not allow the annotation "{_INIT_DATA}"; {quoted(allowing)} do'
                yield Problem(span=setting_span(configuration.template, table, "enable_annotations"), message=message)


def _is_confidential(configuration: Configuration) -> bool:
    return any(configuration.get("hypervisor", table, "confidential_guest") is True for table in configuration.hypervisors)


def _annotations(configuration: Configuration) -> list[object]:
    for table in configuration.hypervisors:
        value = configuration.get("hypervisor", table, "enable_annotations")
        if isinstance(value, list):
            return value
    return []


@tree_rule("KB635", "a guest that cannot get its images")
def shared_nothing(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim shares no file system with its guest, and the chart gives it neither a block snapshotter nor guest pull.

    With shared_fs = "none" a container's files reach the guest as a block device (devmapper, erofs, blockfile, nydus), or the
    guest pulls the image itself. With the runtime's default snapshotter the container never starts.

    Repair: name a snapshotter for the shim in the values, or let the guest pull.

    False alarm: a cluster whose default snapshotter hands over block devices.
    """
    if tree.chart is None:
        return
    for shim, configuration in _used(tree).items():
        values = tree.chart.shims.get(shim)
        found = _setting(configuration, "shared_fs")
        if values is None or found is None or found[1] != "none":
            continue
        snapshotter = values.settings.get("containerd.snapshotter")
        pulls = any(
            key in values.settings and values.settings[key].value is True
            for key in ("containerd.forceGuestPull", "crio.guestPull")
        )
        if pulls or (snapshotter is not None and snapshotter.value in _BLOCK_SNAPSHOTTERS):
            continue
        span = values.span if snapshotter is None else snapshotter.span
        message = f'"{shim}" has shared_fs = "none", but the values give it neither a block snapshotter nor guest pull'
        yield Problem(span=span, message=message, related=(setting_span(configuration.template, found[0], "shared_fs"),))


@tree_rule("KB668", "images that are pulled in two ways")
def pulling_twice(tree: UpstreamTree) -> Iterator[Problem]:
    """A shim has the snapshotter nydus, which hands the pulling of images to the guest, and is told to pull them in the guest
    whatever the snapshotter does.

    The two exclude each other. A profile is laid over the values: what it does not set, the values do.

    Repair: set forceGuestPull to false where the snapshotter is nydus, in the same file.

    False alarm: none.
    """
    if tree.chart is None:
        return
    for chart in (tree.chart, *tree.profiles):
        for shim in chart.shims.values():
            base = tree.chart.shims.get(shim.name)
            values = {**({} if base is None else base.settings), **shim.settings}
            snapshotter, forced = values.get("containerd.snapshotter"), values.get("containerd.forceGuestPull")
            if snapshotter is None or forced is None or snapshotter.value != "nydus" or forced.value is not True:
                continue
            mine = [setting for setting in (forced, snapshotter) if setting.span.path == chart.path]
            if mine:
                message = f'"{shim.name}" has the snapshotter "nydus" and forceGuestPull'
                other = snapshotter.span if mine[0] is forced else forced.span
                yield Problem(span=mine[0].span, message=message, related=(other,))
