"""Renders the configuration files that shims read, with the catalog's values.

Format: Kata Containers' ``configuration-<shim>.toml``: a table ``[hypervisor.<name>]`` for the guest and its parts,
``[agent.kata]``, and ``[runtime]``. A file has exactly the paths that upstream's build puts into it; what the catalog does not
know about is left out, so that a runtime falls back to its own defaults. Must not know: where the file goes, what else a
component has.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from kata_bundle.core.arch import Arch
from kata_bundle.manifest.catalog import RuntimeFamily

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.build.facts import ConfigFacts
    from kata_bundle.manifest.catalog import ShimConfig

__all__ = ["render_config"]

Value = str | int | bool | list[str]

_MACHINES: Final = {Arch.X86_64: "q35", Arch.AARCH64: "virt", Arch.S390X: "s390-ccw-virtio", Arch.PPC64LE: "pseries"}
_DEFAULT_VCPUS: Final = 1
_NOT_MEASURED: Final[Mapping[str, str]] = MappingProxyType({})


def render_config(facts: ConfigFacts, arch: Arch, header: str, verity: Mapping[str, str] = _NOT_MEASURED) -> str:
    """Return the TOML text of the file, ``header`` (comment lines) first.

    ``verity`` has, by the path of an image, the dm-verity parameters that a kernel checks it with.
    """
    table = f"hypervisor.{facts.config.hypervisor_table}"
    parts = [header, _table(table, _hypervisor(facts.config, arch, verity))]
    for path in facts.config.guest_extension_images:
        entry: dict[str, Value] = {"name": _extension(path), "path": path, "verity_params": verity.get(path, "")}
        parts.append(_table(f"{table}.guest_extension_images", entry, is_array=True))
    timeout: dict[str, Value] = {"dial_timeout_ms": 10} if facts.family is RuntimeFamily.RUST else {"dial_timeout": 60}
    agent: dict[str, Value] = {"enable_debug": False, "kernel_modules": []}
    parts.append(_table("agent.kata", agent | timeout))
    parts.append(_table("runtime", _runtime(facts)))
    return "\n".join(parts)


def _hypervisor(config: ShimConfig, arch: Arch, verity: Mapping[str, str]) -> dict[str, Value]:
    values: dict[str, Value | None] = {"path": config.hypervisor_path}
    if config.hypervisor_path is not None:
        values["valid_hypervisor_paths"] = [config.hypervisor_path]
    if config.hypervisor_table == "firecracker" and config.hypervisor_path is not None:
        jailer = f"{config.hypervisor_path.rpartition('/')[0]}/jailer"
        values |= {"jailer_path": jailer, "valid_jailer_paths": [jailer]}
    # Where an initrd takes the image's place, a file that named both would be refused by the runtime.
    values |= {
        "kernel": config.kernel,
        "image": None if config.installed_initrd else config.image,
        "initrd": config.installed_initrd or config.initrd,
        "firmware": config.firmware,
        "firmware_volume": config.firmware_volume,
        "rootfs_type": "ext4" if config.image is not None and not config.installed_initrd else None,
        "machine_type": _MACHINES[arch] if config.hypervisor_table == "qemu" else None,
        "enable_annotations": list(config.enable_annotations),
        "kernel_params": "" if config.kernel is not None else None,
        "kernel_verity_params": None if config.image is None or config.installed_initrd else verity.get(config.image),
        "default_vcpus": _DEFAULT_VCPUS,
        "default_maxvcpus": 0,
        "default_memory": config.default_memory_mib,
        "shared_fs": config.shared_fs,
        "virtio_fs_daemon": config.virtio_fs_daemon,
    }
    if config.virtio_fs_daemon is not None:
        values |= {"valid_virtio_fs_daemon_paths": [config.virtio_fs_daemon], "virtio_fs_cache": "auto"}
    if config.confidential_guest:
        values["confidential_guest"] = True
    values["enable_debug"] = False
    return {key: value for key, value in values.items() if value is not None}


def _runtime(facts: ConfigFacts) -> dict[str, Value]:
    values: dict[str, Value] = {}
    if facts.family is RuntimeFamily.RUST:
        values |= {
            "name": "virt_container",
            "hypervisor_name": facts.config.hypervisor_table,
            "agent_name": "kata",
        }
    return values | {
        "enable_debug": False,
        "internetworking_model": "tcfilter",
        "disable_guest_seccomp": True,
        "sandbox_cgroup_only": facts.config.sandbox_cgroup_only,
        "static_sandbox_resource_mgmt": facts.config.static_sandbox_resource_mgmt,
        "emptydir_mode": facts.config.emptydir_mode,
    }


def _extension(path: str) -> str:
    """Return an extension's name: ``…/kata-containers-coco-extension.img`` is ``coco``."""
    return path.rpartition("/")[2].removeprefix("kata-containers-").removesuffix(".img").removesuffix("-extension")


def _table(name: str, values: dict[str, Value], *, is_array: bool = False) -> str:
    title = f"[[{name}]]" if is_array else f"[{name}]"
    return "\n".join([title, *(f"{key} = {_value(value)}" for key, value in values.items())]) + "\n"


def _value(value: Value) -> str:
    # A JSON string is a TOML basic string but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
