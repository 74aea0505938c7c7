"""The same configuration as a file."""

from __future__ import annotations

import json
import tomllib

import jsonschema
import pytest

from kata_bundle.core.record import replace
from kata_bundle.core.resources import shipped
from kata_bundle.node.config import ConfigError, OriginKind, from_environment, from_file
from kata_bundle.node.config.show import config_document, config_rows
from kata_bundle.node.config.specfile import render_schema
from kata_bundle.node.hostedit import MemoryHost

WHOLE = """
version = 1
node_name = "n"
daemonset_name = "kd"
debug = true
devkit = true
shims = ["qemu", "fc"]
default_shim = "qemu"
installation_prefix = "/custom"
multi_install_suffix = "dev"
experimental_force_guest_pull = ["qemu"]
experimental_setup_snapshotter = ["nydus"]
erofs_merge_mode = "unmerged"
erofs_snapshotter_mode = "memory"
erofs_dmverity = true
containerd_config_file_name = "c.toml"
containerd_user_drop_in = "x = 1"
startup_taints = ["a:NoSchedule"]
container_runtime_version = "containerd://2.1"
k8s_distribution = "k3s"
health_port = 9000
node_machine_id = "id"
helm_post_delete_hook = true

[allowed_hypervisor_annotations]
"*" = ["kernel"]
qemu = ["a", "b"]

[snapshotter_handler_mapping]
qemu = "nydus"

[pull_type_mapping]
fc = "guest-pull"

[agent_https_proxy]
"*" = "http://u:secret@p:1"

[agent_no_proxy]
qemu = "a, b"

[shim_drop_ins]
qemu = "[runtime]"

[[custom_runtimes]]
handler = "mine"
base_config = "qemu"
drop_in = "y = 2"
"""

SAME = {
    "NODE_NAME": "n", "DAEMONSET_NAME": "kd", "DEBUG": "true", "DEVKIT": "true", "SHIMS_X86_64": "qemu fc",
    "DEFAULT_SHIM_X86_64": "qemu", "INSTALLATION_PREFIX": "/custom", "MULTI_INSTALL_SUFFIX": "dev",
    "EXPERIMENTAL_FORCE_GUEST_PULL_X86_64": "qemu", "EXPERIMENTAL_SETUP_SNAPSHOTTER": "nydus", "EROFS_MERGE_MODE": "unmerged",
    "EROFS_SNAPSHOTTER_MODE": "memory", "EROFS_DMVERITY": "dmverity", "CONTAINERD_CONFIG_FILE_NAME": "c.toml",
    "STARTUP_TAINTS": "a:NoSchedule", "CONTAINER_RUNTIME_VERSION": "containerd://2.1", "K8S_DISTRIBUTION": "k3s",
    "HEALTH_PORT": "9000", "NODE_MACHINE_ID": "id", "HELM_POST_DELETE_HOOK": "true",
    "ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64": "kernel qemu:a,b", "SNAPSHOTTER_HANDLER_MAPPING_X86_64": "qemu:nydus",
    "PULL_TYPE_MAPPING_X86_64": "fc:guest-pull", "AGENT_HTTPS_PROXY": "http://u:secret@p:1", "AGENT_NO_PROXY": "qemu=a, b",
    "CUSTOM_RUNTIMES_ENABLED": "true", "CONTAINERD_USER_DROP_IN_SOURCE_FILE": "node.toml",
}  # fmt: skip
FILES = {
    "/custom-configs/custom-runtimes.list": b"mine:qemu\n",
    "/custom-configs/dropin-mine.toml": b"y = 2",
    "/custom-configs/dropin-qemu.toml": b"[runtime]",
    "node.toml": b"x = 1",
}


def load(text, name="node.toml", machine="x86_64"):
    return from_file(text.encode(), name, machine)


def problems(text, **more):
    with pytest.raises(ConfigError) as refused:
        load(text, **more)
    return refused.value.problems


def test_a_file_and_the_variables_give_the_same_configuration():
    assert load(WHOLE).config == from_environment(SAME, "x86_64", MemoryHost(FILES)).config


def test_json_and_toml_give_the_same_configuration():
    from_json = load(json.dumps(tomllib.loads(WHOLE)), "node.json").config
    from_toml = load(WHOLE).config
    assert replace(from_json, containerd_user_drop_in=None) == replace(from_toml, containerd_user_drop_in=None)
    assert from_json.containerd_user_drop_in.data == from_toml.containerd_user_drop_in.data


def test_what_is_said_of_one_architecture_wins_there():
    text = 'version = 1\nshims = ["qemu"]\n[arches.s390x]\nshims = ["qemu-se"]\ndefault_shim = "qemu-se"\n'
    assert load(text, machine="s390x").config.shims == ("qemu-se",)
    assert load(text, machine="aarch64").config.shims == ("qemu",)
    assert load(text, machine="s390x").origins["shims"].name == "node.toml: arches.s390x.shims"


def test_what_is_said_for_every_architecture_may_name_shims_of_others():
    text = 'version = 1\nshims = ["qemu"]\n[pull_type_mapping]\nqemu-se = "guest-pull"\n'
    assert any("qemu-se" in warning for warning in load(text).warnings)
    own = 'version = 1\nshims = ["qemu"]\n[arches.x86_64.pull_type_mapping]\nqemu-se = "guest-pull"\n'
    assert [p.kind for p in problems(own)] == ["unknown_shim_reference"]


def test_no_kubernetes_node_has_to_be_named():
    assert load('version = 1\nshims = ["qemu"]\n').config.node_name is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('shims = ["qemu"]', "version"),
        ("version = 2", "version"),
        ('version = 1\nshim = ["qemu"]', "shim"),
        ('version = 1\nshims = "qemu"', "shims"),
        ('version = 1\nshims = ["qemu fc"]', "shims.0"),
        ('version = 1\ndebug = "true"', "debug"),
        ("version = 1\nhealth_port = 70000", "health_port"),
        ('version = 1\n[[custom_runtimes]]\nhandler = "a"', "custom_runtimes.0.base_config"),
        ("version = 1\n[arches.riscv64]", "arches.riscv64"),
        ("version = ", ""),
    ],
)
def test_a_malformed_file_is_refused_with_the_place(text, where):
    found = problems(text)
    assert {p.kind for p in found} >= {"bad_file"}
    assert any(f"node.toml: {where}" in p.message for p in found) or not where


def test_a_proxy_is_for_every_shim_or_for_single_ones():
    text = 'version = 1\nshims = ["qemu"]\n[agent_https_proxy]\n"*" = "a"\nqemu = "b"\n'
    assert [p.kind for p in problems(text)] == ["bad_proxy"]


def test_a_json_file_with_a_key_twice_is_refused():
    assert problems('{"version": 1, "version": 1}', name="x.json")[0].kind == "bad_file"


def test_the_schema_is_what_the_models_give_and_accepts_the_whole_file():
    text = (shipped("schemas") / "node" / "node-spec.schema.json").read_text()
    assert text == render_schema()
    schema = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(WHOLE), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "shim": []}, schema)


def test_every_value_is_shown_with_its_origin_and_no_secret():
    found = load(WHOLE)
    document = json.dumps(config_document(found))
    assert "secret" not in document
    rows = {row.name: row for row in config_rows(found)}
    assert str(rows["shims"].origin) == "node.toml: shims"
    assert rows["agent_https_proxy"].text == "http://***@p:1"
    assert rows["dest"].value == "/custom/opt/kata-dev"
    assert rows["handlers"].value == [
        "kata-qemu-dev", "kata-fc-dev", "mine", "kata-qemu-dev-debug", "kata-fc-dev-debug", "kata-qemu-dev-devkit",
        "kata-fc-dev-devkit",
    ]  # fmt: skip
    assert rows["custom_runtimes"].text.startswith("mine (on qemu)")
    kinds = {row.origin.kind for row in config_rows(load("version = 1\n"))}
    assert kinds == {OriginKind.BUILT_IN, OriginKind.DERIVED}
