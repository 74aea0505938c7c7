"""Which files below the prefix a component provides, so far as configurations name them.

Upstream states this nowhere in a form that can be read: it follows from names in build scripts, which have kept their conventions
since 2023 (a component's suffix is its files' suffix). Components that no convention covers are asked of our own catalog. For the
rest the answer is ``None``: not known.

Knows: names. Must not know: trees.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kata_bundle.core.arch import Arch
    from kata_bundle.manifest.catalog import Catalog

__all__ = ["is_guest_part", "providers", "provides"]

_SHARE: Final = "share/kata-containers"
_FIXED: Final[dict[str, tuple[str, ...]]] = {
    "cloud-hypervisor": ("bin/cloud-hypervisor",),
    "cloud-hypervisor-glibc": ("bin/cloud-hypervisor-glibc",),
    "firecracker": ("bin/firecracker", "bin/jailer"),
    "openvmm": ("bin/openvmm",),
    "stratovirt": ("bin/stratovirt",),
    "acrn": ("bin/acrn-dm", "bin/acrnctl"),
    "virtiofsd": ("libexec/virtiofsd",),
    "nydus": ("libexec/nydusd",),
    "boot-image-se": (f"{_SHARE}/kata-containers-se.img",),
    "boot-image-se-runtime-rs": (f"{_SHARE}/kata-containers-se-runtime-rs.img",),
    "ovmf-sev": ("share/ovmf/AMDSEV.fd",),
    "ovmf-tdx": ("share/ovmf/OVMF.inteltdx.fd",),
    "ovmf-cca": ("share/ovmf/", "share/aavmf/"),
    "tdvf": ("share/tdvf/",),
}
_GUEST_PARTS: Final = frozenset({"agent", "agent-opa", "busybox", "coco-guest-components", "pause-image"})
_TOOLS: Final = frozenset(
    {
        "agent-ctl",
        "csi-kata-directvolume",
        "genpolicy",
        "kata-ctl",
        "kata-manager",
        "log-parser-rs",
        "runk",
        "trace-forwarder",
    }
)
"""Programs for people, which no configuration names."""
_TURNED: Final = re.compile(r"rootfs-([a-z0-9-]+)-(image|initrd)")
_SHIMS: Final = re.compile(r"shim-v2(?:-go|-rust)?")


def is_guest_part(component: str) -> bool:
    """Return whether a component becomes part of images and is not installed itself."""
    return component in _GUEST_PARTS


def provides(component: str, arch: Arch) -> tuple[str, ...] | None:
    """Return paths below the prefix; one that ends in a slash stands for all below it. ``None`` when they are not known."""
    if component in _FIXED:
        return _FIXED[component]
    if component in _GUEST_PARTS or component in _TOOLS:
        return ()
    if _SHIMS.fullmatch(component):
        return ("bin/containerd-shim-kata-v2", "runtime-rs/bin/containerd-shim-kata-v2", "share/defaults/")
    if component == "ovmf":
        # OVMF.fd is built for x86_64, the two AAVMF files for aarch64; earlier trees split OVMF as well.
        ovmf, aavmf = "share/ovmf", "share/aavmf"
        return (
            (f"{aavmf}/AAVMF_CODE.fd", f"{aavmf}/AAVMF_VARS.fd")
            if arch.value == "aarch64"
            else (f"{ovmf}/OVMF.fd", f"{ovmf}/OVMF_CODE.fd", f"{ovmf}/OVMF_VARS.fd")
        )
    # Names had the variant before the kind once, and what was for CCA only did not say so in its files.
    component = _TURNED.sub(r"rootfs-\2-\1", component).replace("-cca-confidential", "-confidential")
    for prefix, make in (
        ("qemu", _qemu),
        ("kernel", _kernel),
        ("rootfs-image", lambda suffix, _: (f"{_SHARE}/kata-containers{suffix}.img",)),
        ("rootfs-initrd", lambda suffix, _: (f"{_SHARE}/kata-containers-initrd{suffix}.img",)),
    ):
        suffix = component.removeprefix(prefix)
        if component.startswith(prefix) and (not suffix or suffix.startswith("-")):
            return make(suffix, arch)
    return _of_catalog(component, arch)


def _qemu(suffix: str, arch: Arch) -> tuple[str, ...]:
    return (f"bin/{arch.emulator}{suffix}", f"share/kata-qemu{suffix}/")


def _kernel(suffix: str, _arch: Arch) -> tuple[str, ...]:
    # Kernels for TDX were called experimental, their files were not.
    suffixes = [suffix] if not suffix.endswith("tdx-experimental") else [suffix, suffix.removesuffix("-experimental")]
    return tuple(f"{_SHARE}/{form}{s}.container" for s in suffixes for form in ("vmlinux", "vmlinuz"))


@cache
def _catalog() -> Catalog | None:
    from kata_bundle.core.errors import BundleError
    from kata_bundle.manifest import load_catalog

    try:
        return load_catalog()[0]
    except BundleError:  # another program's manifests: what they know is a help here, not a need
        return None


def _of_catalog(component: str, arch: Arch) -> tuple[str, ...] | None:
    catalog = _catalog()
    found = None if catalog is None else catalog.components.get(component)
    return None if found is None else found.outputs.get(arch, ())


def providers(path: str, components: frozenset[str], arch: Arch) -> tuple[list[str], list[str]]:
    """Return which of ``components`` provide ``path`` (below the prefix), and those of which it is not known."""
    having, unknown = [], []
    for component in sorted(components):
        paths = provides(component, arch)
        if paths is None:
            unknown.append(component)
        elif any(path == p or (p.endswith("/") and path.startswith(p)) for p in paths):
            having.append(component)
    return having, unknown
