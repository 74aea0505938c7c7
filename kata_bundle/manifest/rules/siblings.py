"""Rules about shims that belong together: the two runtime families, the technologies of confidential guests, architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.arch import Arch
from kata_bundle.core.diagnostics import did_you_mean
from kata_bundle.manifest.rules.compare import deviants, groups, siblings_of_families
from kata_bundle.manifest.rules.configurations import layers_of
from kata_bundle.manifest.rules.registry import Problem, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kata_bundle.manifest.context import Manifests
    from kata_bundle.manifest.models import ShimEntry
    from kata_bundle.manifest.positions import KeyPath

__all__ = [
    "architectures_agree",
    "confidential_guests",
    "confidential_siblings",
    "family_siblings",
    "go_and_erofs",
    "known_annotations",
    "names_say_what_shims_are",
    "no_shared_files",
]

_HYPERVISOR_OF = {
    "qemu": "qemu",
    "clh": "clh",
    "dragonball": "dragonball",
    "fc": "firecracker",
    "firecracker": "firecracker",
    "openvmm": "openvmm",
    "stratovirt": "stratovirt",
    "remote": "remote",
}


@rule("KB260", "a shim whose name says something else", acceptable=True)
def names_say_what_shims_are(manifests: Manifests) -> Iterator[Problem]:
    """The words of a shim's name contradict its facts.

    The first word is the hypervisor, "-runtime-rs" means the Rust family, "snp", "tdx" and "se" the technology, "gpu" a GPU,
    "coco-dev" a guest for developing confidential containers, "nvidia" and "azure" the kind of host. Users and installers go by
    these names.

    Repair: correct the fact, or rename the shim.

    False alarm: a historical name, such as dragonball, which is Rust without saying so; only names with a Go sibling have to
    say it.
    """
    model = manifests.shims.model
    for name, shim in model.shims.items():
        for key, contradiction in _contradictions(name, shim, model.shims):
            where: KeyPath = ("shims", name, key) if key in shim.model_fields_set else ("shims", name)
            message = f'"{name}" {contradiction}'
            yield Problem(document=manifests.shims.document, key=where, message=message, of_key=len(where) == 2)


def _contradictions(name: str, shim: ShimEntry, shims: dict[str, ShimEntry]) -> Iterator[tuple[str, str]]:
    words = name.split("-")
    expected = _HYPERVISOR_OF.get(words[0])
    if expected is not None and shim.hypervisor != expected:
        yield "hypervisor", f'begins with "{words[0]}", but its hypervisor is "{shim.hypervisor}"'
    is_rust = name.endswith("-runtime-rs")
    if is_rust and shim.family != "rust":
        yield "family", "ends with -runtime-rs, but is of the Go family"
    if not is_rust and shim.family == "rust" and f"{name}-runtime-rs" in shims:
        yield "family", "has a sibling in the Rust family, but is of that family itself"
    tee = next((word for word in words if word in {"snp", "tdx", "se"}), None)
    if shim.tee != tee:
        said = f'has "{tee}" in its name' if tee else "has no technology in its name"
        yield "tee", f"{said}, but its TEE is {shim.tee or 'none'}"
    if shim.gpu != ("gpu" in words):
        yield "gpu", f"is {'a' if shim.gpu else 'not a'} GPU shim, but its name says otherwise"
    if shim.coco_dev != ("coco-dev" in name):
        yield "coco_dev", f"has coco_dev = {str(shim.coco_dev).lower()}, but its name says otherwise"


_FAMILY_FACTS = ("hypervisor", "tee", "gpu", "coco_dev", "status")
_FAMILY_CONFIG = ("kernel", "firmware", "default_memory_mib", "confidential_guest")
_FAMILY_CHART = ("enabled", "snapshotter", "force_guest_pull", "crio_guest_pull", "allowed_hypervisor_annotations")


@rule("KB261", "the same shim in two families that disagree", acceptable=True)
def family_siblings(manifests: Manifests) -> Iterator[Problem]:
    """A shim and its sibling in the other runtime family differ in something that does not depend on the runtime.

    Hypervisor, technology, GPU, profiles, guest memory, firmware, kernel (but for sealed ones) and the chart's values are
    properties of the guest and of how it is offered, not of the program that starts it.

    Repair: give both the same value, best in a group that both have.

    False alarm: a property that really differs: accept it in ignores.toml.
    """
    shims, document = manifests.shims.model.shims, manifests.shims.document
    for go, rust in siblings_of_families(manifests):
        one, other = shims[go], shims[rust]
        found: list[tuple[str, object, object, KeyPath, KeyPath]] = [
            (key, getattr(one, key), getattr(other, key), ("shims", go, key), ("shims", rust, key)) for key in _FAMILY_FACTS
        ]
        found.append(
            ("profiles", sorted(one.profiles), sorted(other.profiles), ("shims", go, "profiles"), ("shims", rust, "profiles"))
        )
        for arch in one.configured_on:
            if arch not in other.configured_on:
                continue
            mine, its = manifests.config(go, Arch(arch)), manifests.config(rust, Arch(arch))
            for key in _FAMILY_CONFIG:
                if key != "kernel" or one.tee != "se":
                    places = [c.origin.get(key, ("shims", n, "config")) for c, n in ((mine, go), (its, rust))]
                    found.append((key, mine.values.get(key), its.values.get(key), places[0], places[1]))
        if one.status == other.status == "active":
            charts = manifests.chart(go), manifests.chart(rust)
            for key in _FAMILY_CHART:
                places = [c.origin.get(key, ("shims", n)) for c, n in zip(charts, (go, rust), strict=True)]
                found.append((key, charts[0].values.get(key), charts[1].values.get(key), places[0], places[1]))
        told: set[str] = set()
        for key, left, right, place, at in found:
            if left != right and key not in told:
                told.add(key)
                message = f'"{key}" of "{go}" is {_shown(left)}, that of "{rust}" {_shown(right)}'
                related = tuple((document, key) for key in (at, place, ("shims", go, "groups"), ("shims", rust, "groups")))
                where = at if at[:2] == ("shims", rust) or place[:2] != ("shims", go) else place
                yield Problem(document=document, key=where, message=message, of_key=True, related=related)


def _shown(value: object) -> str:
    return "unset" if value is None else f'"{value}"' if isinstance(value, str) else str(value)


_TECHNOLOGY = ("firmware", "firmware_volume", "confidential_guest")
_CONFIDENTIAL = ("shared_fs", "emptydir_mode")
_SAME_GUEST = (
    "kernel", "image", "initrd", "default_memory_mib", "overhead_memory_mib", "guest_extension_images", "sandbox_cgroup_only",
    "static_sandbox_resource_mgmt", "enable_annotations",
)  # fmt: skip
_GUEST_PULL = ("snapshotter", "force_guest_pull", "crio_guest_pull")


@rule("KB262", "confidential siblings that disagree", acceptable=True)
def confidential_siblings(manifests: Manifests) -> Iterator[Problem]:
    """A shim for confidential guests differs from its siblings in a setting that belongs to what they have in common.

    All of one technology have its firmware. All confidential guests, and those for developing them, share no files, encrypt their
    empty directories and pull images in the same way. TDX, SNP and the development guest of one runtime family, and of these the
    ones with a GPU, start the same kernel and image with the same memory and permissions.

    Repair: give the setting the value of the siblings, best in the group that all have. The finding stands at the value that
    differs from most.

    False alarm: a technology that needs another value: accept it in ignores.toml.
    """
    shims = {
        name: shim
        for name, shim in manifests.shims.model.shims.items()
        if shim.status == "active" and (shim.tee is not None or shim.coco_dev)
    }
    for arch in Arch:
        here = [name for name, shim in shims.items() if arch.value in shim.configured_on and _has_cell(manifests, name, arch)]
        for members in groups((shims[name].tee, name) for name in here if shims[name].tee not in {None, "se"}):
            yield from _differences(manifests, members, arch, _TECHNOLOGY)
        yield from _differences(manifests, here, arch, _CONFIDENTIAL)
        alike = [name for name in here if shims[name].tee != "se"]
        for members in groups(((shims[name].family, shims[name].gpu), name) for name in alike):
            yield from _differences(manifests, members, arch, _SAME_GUEST)
    kin = [name for name in shims if shims[name].tee is not None or shims[name].coco_dev]
    for members in groups(((shims[name].family, shims[name].gpu), name) for name in kin):
        arches = [(name, sorted(shims[name].configured_on)) for name in members]
        right, wrong = deviants(arches)
        for name in wrong:
            origin: dict[str, KeyPath] = {"configured_on": ("shims", name, "configured_on")}
            yield _difference(manifests, name, right or name, "configured_on", origin, dict(arches), "in shims.toml")
    for key in _GUEST_PULL:
        values = [(name, manifests.chart(name).values.get(key)) for name in shims]
        right, wrong = deviants(values)
        for name in wrong:
            yield _difference(manifests, name, right or name, key, manifests.chart(name).origin, dict(values), "in the chart")


def _has_cell(manifests: Manifests, shim: str, arch: Arch) -> bool:
    return arch.value in manifests.component_map.model.shims.get(shim, ())


def _differences(
    manifests: Manifests, members: list[str] | tuple[str, ...], arch: Arch, keys: tuple[str, ...]
) -> Iterator[Problem]:
    for key in keys:
        values = [(name, manifests.config(name, arch).values.get(key)) for name in members]
        right, wrong = deviants(values)
        for name in wrong:
            origin = manifests.config(name, arch).origin
            yield _difference(manifests, name, right or name, key, origin, dict(values), f"on {arch}")


def _difference(  # noqa: PLR0917
    manifests: Manifests, name: str, right: str, key: str, origin: dict[str, KeyPath], values: dict[str, object], where: str
) -> Problem:
    message = f'"{key}" of "{name}" {where} is {_shown(values[name])}, that of its sibling "{right}" {_shown(values[right])}'
    place: KeyPath = origin.get(key, ("shims", name))
    document = manifests.shims.document
    related = ((document, ("shims", name)), (document, ("shims", name, "groups"))) if place[:2] != ("shims", name) else ()
    return Problem(document=document, key=place, message=message, of_key=len(place) == 2, related=related)


_VARIES = frozenset(
    ("hypervisor_path", "firmware", "firmware_volume", "installed_initrd", "kernel", "static_sandbox_resource_mgmt")
)


@rule("KB263", "a shim whose architectures disagree", acceptable=True)
def architectures_agree(manifests: Manifests) -> Iterator[Problem]:
    """A setting of a shim differs between architectures, and is not one that depends on them.

    Paths of emulators and firmware, kernels and the management of resources do depend on the architecture; how files are shared,
    which image is started, memory and permissions do not.

    Repair: set the value for all architectures, or remove the table for one of them.

    False alarm: a feature that an architecture lacks: accept it in ignores.toml.
    """
    document = manifests.shims.document
    for name, shim in manifests.shims.model.shims.items():
        configs = [(arch, manifests.config(name, Arch(arch))) for arch in shim.configured_on]
        for key in {key: None for _, config in configs for key in config.values}:
            if key in _VARIES:
                continue
            right, wrong = deviants([(arch, config.values.get(key)) for arch, config in configs])
            for arch in wrong:
                config = dict(configs)[arch]
                value, other = config.values.get(key), dict(configs)[right or arch].values.get(key)
                message = f'"{key}" of "{name}" is {_shown(value)} on {arch} and {_shown(other)} on {right}'
                place = config.origin.get(key, ("shims", name))
                yield Problem(document=document, key=place, message=message, of_key=len(place) == 2)


@rule("KB264", "no shared files, no snapshotter and no guest pull", acceptable=True)
def no_shared_files(manifests: Manifests) -> Iterator[Problem]:
    """A guest shares no file system, and the chart gives its shim neither a snapshotter nor guest pull.

    Then nothing brings a container's root file system into the guest: a snapshotter has to hand out block devices, or the guest
    has to pull the image itself.

    Repair: set "snapshotter", "force_guest_pull" or "crio_guest_pull" in the shim's chart table, or share a file system.

    False alarm: a shim that is only ever enabled by a profile that sets the snapshotter: accept it in ignores.toml.
    """
    document = manifests.shims.document
    for name, shim in manifests.shims.model.shims.items():
        if shim.status != "active":
            continue
        chart = manifests.chart(name)
        if any(chart.values.get(key) for key in _GUEST_PULL):
            continue
        for arch in shim.configured_on:
            config = manifests.config(name, Arch(arch))
            if config.values.get("shared_fs", "none") == "none":
                message = f'"{name}" shares no files, and has no snapshotter and no guest pull'
                place = config.origin.get("shared_fs", ("shims", name))
                related = ((document, place), (document, chart.origin.get("snapshotter", ("shims", name))))
                yield Problem(document=document, key=("shims", name), message=message, of_key=True, related=related)
                break


@rule("KB265", "the Go runtime with merged erofs layers", acceptable=True)
def go_and_erofs(manifests: Manifests) -> Iterator[Problem]:
    """A shim of the Go family has the erofs snapshotter, which merges layers into one mount that only the Rust runtime takes.

    Repair: use another snapshotter, or the shim of the Rust family.

    False alarm: none known; it ends when the Go runtime learns to take such mounts.
    """
    for name, shim in manifests.shims.model.shims.items():
        chart = manifests.chart(name)
        if shim.family == "go" and chart.values.get("snapshotter") == "erofs":
            message = f'"{name}" is of the Go family, which cannot mount what the erofs snapshotter hands out'
            key = chart.origin["snapshotter"]
            related = ((manifests.shims.document, ("shims", name, "family")),)
            yield Problem(document=manifests.shims.document, key=key, message=message, related=related)


@rule("KB266", "a confidential guest without its technology, or the reverse", acceptable=True)
def confidential_guests(manifests: Manifests) -> Iterator[Problem]:
    """ "confidential_guest" is true for a shim without a TEE, or false for one with.

    The runtime protects the guest's memory only when the configuration says so; schedulers and key services go by the TEE.

    Repair: set both or none.

    False alarm: none known. Guests for developing confidential containers are not protected, and say so.
    """
    for name, shim in manifests.shims.model.shims.items():
        for arch in shim.configured_on:
            config = manifests.config(name, Arch(arch))
            value = config.values.get("confidential_guest")
            if value is not None and value != (shim.tee is not None):
                message = f'confidential_guest is {str(value).lower()} for "{name}" on {arch}, whose TEE is {shim.tee or "none"}'
                place = config.origin["confidential_guest"]
                related = tuple((manifests.shims.document, at) for at in (("shims", name, "tee"), *layers_of(name, shim)))
                yield Problem(document=manifests.shims.document, key=place, message=message, related=related)


_ANNOTATION_TEXT = """
asset_hash_type block_device_aio block_device_cache_direct block_device_cache_noflush block_device_cache_set
block_device_driver cc_init_data cpu_features ctlpath default_bridges default_gpus default_maxmemory default_maxvcpus
default_memory default_vcpus disable_block_device_use disable_image_nvdimm disable_vhost_net enable_debug enable_hugepages
enable_iommu enable_iommu_platform enable_iothreads enable_mem_prealloc enable_numa enable_rootless_hypervisor enable_swap
enable_template enable_vhost_user_store entropy_source file_mem_backend firmware gpu_model guest_hook_path hot_plug_vfio
hotplug_vfio_on_root_bus image initrd jailer_path kernel kernel_modules kernel_params kernel_verity_params
machine_accelerators machine_type memory_offset memory_slots msize_9p path pcie_root_port rx_rate_limiter_max_rate shared_fs
tx_rate_limiter_max_rate use_legacy_serial vhost_user_store_path virtio_fs_cache virtio_fs_cache_size virtio_fs_daemon
virtio_fs_extra_args virtio_fs_queue_size
"""
_ANNOTATIONS = frozenset(_ANNOTATION_TEXT.split())


@rule("KB267", "an annotation that no runtime knows", acceptable=True)
def known_annotations(manifests: Manifests) -> Iterator[Problem]:
    """ "enable_annotations" permits an annotation that neither runtime reads.

    A misspelt one leaves the one that was meant forbidden. Patterns are not looked at.

    Repair: correct the name.

    False alarm: an annotation that is newer than our list: accept it in ignores.toml, and tell us.
    """
    told: set[KeyPath] = set()
    for name, shim in manifests.shims.model.shims.items():
        for arch in shim.configured_on:
            config = manifests.config(name, Arch(arch))
            for i, text in enumerate(config.values.get("enable_annotations") or ()):
                where = (*config.origin["enable_annotations"], i)
                if text.isidentifier() and text not in _ANNOTATIONS and where not in told:
                    told.add(where)
                    message = f'"{text}" is not an annotation that a runtime reads'
                    hint = did_you_mean(text, _ANNOTATIONS)
                    yield Problem(document=manifests.shims.document, key=where, message=message, hint=hint)
