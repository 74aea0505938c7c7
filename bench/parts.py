"""What the corpus' components hold: distribution packages laid out as Kata components. Must not know: stores, bundles.

The programs do not do what their names say (there is no Kata shim in Debian); they are of the same kind, size and language, which
is all that packing, moving and unpacking can see.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from typing import TYPE_CHECKING, Final

from bench.debs import extract
from bench.images import EPOCH, make_erofs, make_ext4, make_initrd, prune, settle, vmlinux

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bench.debs import Package

__all__ = ["COMPONENTS", "GROUPS", "SHIMS", "lay_out"]

_BASE: Final = (
    "base-files base-passwd bash coreutils dash debianutils diffutils findutils grep gzip hostname libc-bin login mount "
    "ncurses-bin passwd perl-base sed sysvinit-utils tar util-linux apt systemd systemd-sysv udev dbus kmod iptables chrony "
    "iproute2 procps e2fsprogs libseccomp2 cryptsetup-bin socat ca-certificates openssl nfs-common xfsprogs btrfs-progs "
    "crun"
)
GROUPS: Final[Mapping[str, Mapping[str, str]]] = {
    "amd64": {
        "shim": "containerd podman skopeo",
        "rust": "cargo ripgrep fd-find",
        "qemu": "qemu-system-x86 qemu-system-data qemu-system-common seabios ipxe-qemu",
        "ovmf": "ovmf",
        "kernel": "linux-image-cloud-amd64",
        "kernel-gpu": "linux-image-amd64",
        "base": _BASE,
        "confidential": f"{_BASE} tpm2-tools skopeo umoci ostree buildah cryptsetup fuse-overlayfs curl",
        "gpu": f"{_BASE} libllvm14 libclang-cpp14 libgl1-mesa-dri libvulkan1 mesa-vulkan-drivers libopenblas0-pthread "
        "ocl-icd-libopencl1 clinfo",
        "extension": "tpm2-tools ostree umoci",
    },
    "arm64": {
        "shim": "containerd podman skopeo",
        "rust": "cargo ripgrep fd-find",
        "qemu": "qemu-system-arm qemu-system-data qemu-system-common ipxe-qemu",
        "ovmf": "qemu-efi-aarch64",
        "kernel": "linux-image-cloud-arm64",
        "kernel-gpu": "linux-image-arm64",
        "base": _BASE,
        "confidential": f"{_BASE} tpm2-tools skopeo umoci ostree buildah cryptsetup fuse-overlayfs curl",
        "extension": "tpm2-tools ostree umoci",
    },
}
"""Architecture → group → packages to start from. Only images take what those depend on."""
FLAT: Final = frozenset(("shim", "rust", "qemu", "ovmf", "extension"))
"""Groups that hold the named packages and no dependencies."""

_COMMON: Final = (
    "shim-v2-go", "shim-v2-rust", "qemu", "virtiofsd", "nydus", "kernel", "kernel-nvidia-gpu", "ovmf", "rootfs-image",
    "rootfs-initrd", "rootfs-image-confidential", "rootfs-image-coco-extension",
)  # fmt: skip
COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "amd64": (*_COMMON, "ovmf-sev", "ovmf-tdx", "qemu-snp-experimental", "rootfs-image-nvidia-gpu"),
    "arm64": _COMMON,
}
SHIMS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "amd64": {
        "qemu": ("shim-v2-go", "qemu", "virtiofsd", "nydus", "kernel", "rootfs-image", "rootfs-initrd"),
        "qemu-runtime-rs": ("shim-v2-rust", "qemu", "virtiofsd", "nydus", "kernel", "rootfs-image", "rootfs-initrd"),
        "qemu-snp": ("shim-v2-go", "qemu", "kernel", "rootfs-image-confidential", "ovmf-sev"),
        "qemu-tdx": ("shim-v2-go", "qemu", "kernel", "rootfs-image-confidential", "ovmf-tdx"),
        "qemu-coco-dev-runtime-rs": ("shim-v2-rust", "qemu", "kernel", "rootfs-image", "rootfs-image-coco-extension"),
        "qemu-nvidia-gpu": ("shim-v2-go", "qemu", "virtiofsd", "kernel-nvidia-gpu", "rootfs-image-nvidia-gpu", "ovmf"),
        "qemu-nvidia-gpu-snp": (
            "shim-v2-go", "qemu-snp-experimental", "kernel-nvidia-gpu", "rootfs-image-nvidia-gpu", "ovmf-sev",
        ),
    },
    "arm64": {
        "qemu": ("shim-v2-go", "qemu", "virtiofsd", "nydus", "kernel", "rootfs-image", "rootfs-initrd", "ovmf"),
        "qemu-coco-dev": ("shim-v2-go", "qemu", "kernel-nvidia-gpu", "rootfs-image-confidential"),
        "qemu-coco-dev-runtime-rs": ("shim-v2-rust", "qemu", "kernel", "rootfs-image", "rootfs-image-coco-extension"),
    },
}  # fmt: skip
"""The cells of a bundle, as upstream's component map has them but for kernel-debug; the nvidia image stands in for its
confidential twin as well."""
_CONFIGURED: Final[Mapping[str, tuple[str, ...]]] = {
    "amd64": ("qemu", "qemu-runtime-rs", "qemu-snp", "qemu-tdx", "qemu-coco-dev", "qemu-coco-dev-runtime-rs", "qemu-nvidia-gpu"),
    "arm64": ("qemu", "qemu-coco-dev", "qemu-coco-dev-runtime-rs"),
}
"""Shims with a configuration file in the shim components."""

_IMAGE_MIB: Final = {"base": 256, "confidential": 384, "gpu": 768}
_SHARE: Final = "opt/kata/share"


def lay_out(arch: str, groups: Mapping[str, Mapping[str, Package]], debs: Path, work: Path, out: Path) -> None:
    """Make the trees of all components of one release in ``out``, each with ``opt/kata`` below; ``work`` should be a tmpfs.

    What is there already is kept: each appears when it is complete.
    """
    partial = out / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    builder = _Builder(arch, groups, debs, work, partial)
    for name in COMPONENTS[arch]:
        if not (out / name).is_dir():
            builder.make(name)
            (partial / name).rename(out / name)
    shutil.rmtree(partial, ignore_errors=True)


class _Builder:
    def __init__(self, arch: str, groups: Mapping[str, Mapping[str, Package]], debs: Path, work: Path, out: Path) -> None:
        self._arch = arch
        self._groups = groups
        self._debs = debs
        self._work = work
        self._out = out
        self._emulator = "qemu-system-x86_64" if arch == "amd64" else "qemu-system-aarch64"

    def make(self, component: str) -> None:
        stem, _, variant = component.partition("-nvidia-gpu" if component.startswith("kernel") else "\0")
        del variant
        method = {
            "shim-v2-go": self._shim_go, "shim-v2-rust": self._shim_rust, "qemu": self._qemu, "virtiofsd": self._virtiofsd,
            "nydus": self._nydus, "kernel": self._kernel, "rootfs-initrd": self._initrd,
            "rootfs-image-coco-extension": self._extension, "ovmf": self._ovmf, "ovmf-sev": self._ovmf,
            "ovmf-tdx": self._ovmf, "qemu-snp-experimental": self._qemu,
        }.get(stem, self._image)  # fmt: skip
        method(component)
        settle(self._out / component, clamp=EPOCH)

    def _group(self, group: str) -> Path:
        folder = self._work / group
        if not folder.is_dir():
            extract(self._groups[group].values(), self._debs, folder)
        return folder

    def _put(self, component: str, source: Path, to: str, mode: int = 0o644) -> None:
        target = self._out / component / to
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.resolve(), target)
        target.chmod(mode)

    def _link(self, component: str, at: str, target: str) -> None:
        (self._out / component / at).symlink_to(target)

    def _shim_go(self, component: str) -> None:
        programs = self._group("shim") / "usr/bin"
        names = {"containerd": "containerd-shim-kata-v2", "podman": "kata-runtime", "skopeo": "kata-monitor"}
        for source, name in names.items():
            self._put(component, programs / source, f"opt/kata/bin/{name}", 0o755)
        self._configurations(component, _SHARE + "/defaults/kata-containers", runtime_rs=False)
        self._link(component, _SHARE + "/defaults/kata-containers/configuration.toml", "configuration-qemu.toml")

    def _shim_rust(self, component: str) -> None:
        source = self._group("rust") / "usr/bin/cargo"
        self._put(component, source, "opt/kata/runtime-rs/bin/containerd-shim-kata-v2", 0o755)
        self._configurations(component, _SHARE + "/defaults/kata-containers/runtime-rs", runtime_rs=True)

    def _configurations(self, component: str, folder: str, *, runtime_rs: bool) -> None:
        for shim in _CONFIGURED[self._arch]:
            if shim.endswith("-runtime-rs") is runtime_rs:
                path = self._out / component / folder / f"configuration-{shim}.toml"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(
                    f'# Stands in for the configuration of {shim}.\n[hypervisor.qemu]\npath = "/opt/kata/bin/{self._emulator}"\n'
                    f'kernel = "/opt/kata/share/kata-containers/vmlinux.container"\nenable_annotations = []\n'
                    f'kernel_params = ""\nenable_debug = false\n[agent.kata]\nenable_debug = false\n[runtime]\n'
                    + "".join(
                        f"# Setting {i} of {shim} is left at its default value, which suits most hosts.\n" for i in range(300)
                    )
                )

    def _qemu(self, component: str) -> None:
        tree, variant = self._group("qemu"), component.removeprefix("qemu")
        names = [self._emulator] if not variant else ["qemu-system-x86_64-microvm"]
        for name in names:
            self._put(component, tree / "usr/bin" / name, f"opt/kata/bin/{self._emulator}{variant}", 0o755)
        for folder in ("usr/share/qemu", "usr/share/seabios"):
            for path in sorted((tree / folder).rglob("*")) if (tree / folder).is_dir() else []:
                if path.is_file() and not path.is_symlink():
                    relative = path.relative_to(tree / folder)
                    self._put(component, path, f"{_SHARE}/kata-qemu{variant}/qemu/{relative}")

    def _virtiofsd(self, component: str) -> None:
        self._put(component, self._group("qemu") / "usr/lib/qemu/virtiofsd", "opt/kata/libexec/virtiofsd", 0o755)

    def _nydus(self, component: str) -> None:
        self._put(component, self._group("rust") / "usr/bin/rg", "opt/kata/libexec/nydusd", 0o755)

    def _kernel(self, component: str) -> None:
        group = "kernel-gpu" if component.endswith("-gpu") else "kernel"
        boot = self._group(group) / "boot"
        (image,) = boot.glob("vmlinuz-*")
        (config,) = boot.glob("config-*")
        version = image.name.removeprefix("vmlinuz-")
        suffix = component.removeprefix("kernel")
        folder = f"{_SHARE}/kata-containers"
        data = image.read_bytes()
        target = self._out / component / folder
        target.mkdir(parents=True)
        is_pc = self._arch == "amd64"
        (target / f"vmlinux-{version}{suffix}").write_bytes(vmlinux(data) if is_pc else data)
        (target / f"vmlinuz-{version}{suffix}").write_bytes(data if is_pc else gzip.compress(data, 9, mtime=0))
        self._put(component, config, f"{folder}/config-{version}{suffix}")
        for kind in ("vmlinux", "vmlinuz"):
            self._link(component, f"{folder}/{kind}{suffix}.container", f"{kind}-{version}{suffix}")

    def _ovmf(self, component: str) -> None:
        tree = self._group("ovmf") / "usr/share"
        if self._arch == "arm64":
            for name in ("CODE", "VARS"):
                self._put(component, tree / f"AAVMF/AAVMF_{name}.fd", f"{_SHARE}/aavmf/AAVMF_{name}.fd")
            return
        source, name = {
            "ovmf": ("ovmf/OVMF.fd", "OVMF.fd"),
            "ovmf-sev": ("OVMF/OVMF_CODE_4M.fd", "AMDSEV.fd"),
            "ovmf-tdx": ("OVMF/OVMF_CODE_4M.secboot.fd", "OVMF.inteltdx.fd"),
        }[component]
        self._put(component, tree / source, f"{_SHARE}/ovmf/{name}")

    def _guest(self, group: str) -> Path:
        folder = self._work / f"guest-{group}"
        if not folder.is_dir():
            extract(self._groups[group].values(), self._debs, folder)
            prune(folder)
            settle(folder)
        return folder

    def _initrd(self, component: str) -> None:
        target = self._out / component / f"{_SHARE}/kata-containers/kata-alpine-3.22.initrd"
        target.parent.mkdir(parents=True)
        make_initrd(self._guest("base"), target)
        self._link(component, f"{_SHARE}/kata-containers/kata-containers-initrd.img", target.name)

    def _image(self, component: str) -> None:
        variant = component.removeprefix("rootfs-image").removeprefix("-")
        group = {"": "base", "confidential": "confidential", "nvidia-gpu": "gpu"}[variant]
        tail = f"-{variant}" if variant else ""
        target = self._out / component / f"{_SHARE}/kata-containers/kata-ubuntu-noble{tail}.image"
        target.parent.mkdir(parents=True)
        made = self._work / target.name
        make_ext4(self._guest(group), made, _IMAGE_MIB[group])
        shutil.copyfile(made, target)
        made.unlink()
        self._link(component, f"{_SHARE}/kata-containers/kata-containers{tail}.img", target.name)
        if variant == "confidential":
            root_hash = hashlib.file_digest(target.open("rb"), "sha256").hexdigest()
            target.with_name("root_hash_confidential.txt").write_text(f"root_hash={root_hash}\n")

    def _extension(self, component: str) -> None:
        tree = self._work / "guest-extension"
        extract(self._groups["extension"].values(), self._debs, tree)
        prune(tree)
        settle(tree)
        target = self._out / component / f"{_SHARE}/kata-containers/kata-containers-coco-extension.img"
        target.parent.mkdir(parents=True)
        make_erofs(tree, target)
