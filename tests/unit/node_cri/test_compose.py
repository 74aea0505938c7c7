"""From a node's configuration to the request and the plan."""

from __future__ import annotations

import tomllib

import pytest

from kata_bundle.node.config import from_environment
from kata_bundle.node.cri.compose import cri_request, plan_cri
from kata_bundle.node.hostedit import MemoryHost
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.shimfacts import load_facts

FACTS = load_facts()
LIST = "/custom-configs/custom-runtimes.list"


def configured(files=None, **env):
    environment = {"NODE_NAME": "n", "SHIMS_X86_64": "qemu qemu-runtime-rs", "DEFAULT_SHIM_X86_64": "qemu", **env}
    return from_environment(environment, "x86_64", MemoryHost(files or {}), FACTS).config


def test_variants_and_custom_runtimes_are_offered_with_their_own_configuration():
    config = configured({LIST: b"my-runtime:clh:devmapper:guest-pull\n"}, DEBUG="true", CUSTOM_RUNTIMES_ENABLED="true")
    request = cri_request(config, FACTS, runtime=Runtime.CONTAINERD, version="containerd://2.1.9")
    names = [handler.name for handler in request.handlers]
    assert names == ["kata-qemu", "kata-qemu-runtime-rs", "my-runtime", "kata-qemu-debug", "kata-qemu-runtime-rs-debug"]
    plan = plan_cri(MemoryHost({"/etc/containerd/config.toml": b"version = 3\n"}), request)
    document = tomllib.loads(plan.edits[0].after.decode())
    runtimes = document["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]
    custom = "/opt/kata/share/defaults/kata-containers/custom-runtimes"
    assert runtimes["my-runtime"]["options"]["ConfigPath"] == f"{custom}/my-runtime/configuration-clh.toml"
    assert runtimes["my-runtime"]["snapshotter"] == "devmapper"
    assert runtimes["kata-qemu-runtime-rs-debug"]["runtime_path"] == "/opt/kata/runtime-rs/bin/containerd-shim-kata-v2"
    assert document["debug"] == {"level": "debug"}


def test_the_same_configuration_serves_cri_o():
    config = configured(PULL_TYPE_MAPPING_X86_64="qemu:guest-pull")
    request = cri_request(config, FACTS, runtime=Runtime.CRIO, version="cri-o://1.34.0")
    runtimes = tomllib.loads(plan_cri(MemoryHost({}), request).edits[0].after.decode())["crio"]["runtime"]["runtimes"]
    assert runtimes["kata-qemu"]["runtime_pull_image"] is True
    assert "runtime_pull_image" not in runtimes["kata-qemu-runtime-rs"]


def test_a_user_drop_in_that_was_not_mounted_is_an_error_for_containerd_only():
    config = configured(CONTAINERD_USER_DROP_IN_SOURCE_FILE="/custom-containerd-config/containerd-user-dropin.toml")
    with pytest.raises(RefusedError, match="containerd-user-dropin") as caught:
        cri_request(config, FACTS, runtime=Runtime.CONTAINERD, version="containerd://2.1.9")
    assert caught.value.kind is Refusal.UNREADABLE_CONFIG
    assert cri_request(config, FACTS, runtime=Runtime.CRIO, version="cri-o://1.34.0").user_drop_in is None


def test_erofs_settings_arrive():
    config = configured(
        EXPERIMENTAL_SETUP_SNAPSHOTTER="erofs",
        EROFS_MERGE_MODE="unmerged",
        EROFS_SNAPSHOTTER_MODE="memory",
        EROFS_DMVERITY="dmverity",
        SNAPSHOTTER_HANDLER_MAPPING_X86_64="qemu:erofs",
    )
    request = cri_request(config, FACTS, runtime=Runtime.CONTAINERD, version="containerd://2.2.7")
    plan = plan_cri(MemoryHost({"/etc/containerd/config.toml": b"version = 3\n"}), request)
    plugins = tomllib.loads(plan.edits[0].after.decode())["plugins"]
    assert plugins["io.containerd.snapshotter.v1.erofs"] == {
        "enable_fsverity": True,
        "set_immutable": True,
        "dmverity_mode": "on",
        "default_size": "0",
    }
    assert plugins["io.containerd.differ.v1.erofs"]["enable_dmverity"] is True
