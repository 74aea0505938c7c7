"""Answers about the configuration and about what follows from a shim's name."""

from __future__ import annotations

from kata_bundle.node.config import ConfigError, from_environment
from kata_bundle.node.config.checks import snapshotter_mapping_problems
from kata_bundle.node.config.problems import Problems
from kata_bundle.node.config.texts import parse_custom_runtimes, parse_mapping
from kata_bundle.node.handlers import Variant, handler, instance_label, variant_handler
from kata_bundle.node.hostedit import MemoryHost
from kata_bundle.node.shimfacts import emulator, load_facts
from tests.unit.vectors.harness import answers

FACTS = load_facts()


def runtime(custom):
    return {
        "handler": custom.handler,
        "base_config": custom.base,
        "has_drop_in": custom.drop_in is not None,
        "containerd_snapshotter": custom.snapshotter,
        "crio_pull_type": custom.pull_type,
        "debug_variant": custom.is_debug,
        "devkit": custom.is_devkit,
    }


@answers("config_from_env", area=("env_config", "mapping_validation", "custom_runtimes"))
def config_from_env(given):
    config = from_environment(given["env"], given["arch"], MemoryHost({}), FACTS).config
    return {
        "config": {
            "shims": list(config.shims),
            "default_shim": config.default_shim,
            "allowed_hypervisor_annotations": [rule.text for rule in config.annotation_rules],
            "snapshotter_handler_mapping": config.snapshotters.text,
            "pull_type_mapping": config.pull_types.text,
            "experimental_force_guest_pull": list(config.forced_guest_pull),
            "agent_https_proxy": config.https_proxy.text,
            "agent_no_proxy": config.no_proxy.text,
            "installation_prefix": config.installation_prefix,
            "multi_install_suffix": config.suffix,
            "dest_dir": config.dest,
            "containerd_conf_file": config.containerd_config,
            "containerd_conf_file_backup": config.containerd_backup,
            "containerd_drop_in_conf_file": config.containerd_drop_in,
            "crio_drop_in_conf_file": config.crio_runtime_file,
            "daemonset_name": config.daemonset_name,
            "debug": config.debug,
            "devkit_enabled": config.devkit,
            "custom_runtimes_enabled": bool(config.custom_runtimes),
            "custom_runtimes": [runtime(custom) for custom in config.custom_runtimes],
            "startup_taints": list(config.startup_taints),
            "experimental_setup_snapshotter": list(config.snapshotter_setup),
            "erofs_merge_mode": config.erofs_merge_mode and config.erofs_merge_mode.value,
            "erofs_snapshotter_mode": config.erofs_size and config.erofs_size.value,
            "erofs_dmverity": config.erofs_dmverity,
            "container_runtime_version": config.runtime_version,
            "k8s_distribution": config.distribution,
            "node_name": config.node_name,
            "health_port": config.health_port,
            "helm_post_delete_hook": config.post_delete_hook,
        }
    }


@answers("builtin_default_shim", area="env_config")
def builtin_default_shim(given):
    return {"value": FACTS.defaults(given["arch"]).default_shim}


@answers("builtin_default_shims", area="env_config")
def builtin_default_shims(given):
    return {"value": FACTS.defaults(given["arch"]).default_shims}


@answers("mapping_lookup", area="mapping_validation")
def mapping_lookup(given):
    return {"value": parse_mapping(given["mapping"] or "").lookup(given["shim"])}


@answers("host_check_mapping", area="mapping_validation")
def host_check_mapping(given):
    problems = snapshotter_mapping_problems(parse_mapping(given["mapping"] or ""), given["shims"])
    if problems:
        raise ConfigError(problems)
    return {"ok": True}


@answers("parse_list", area="custom_runtimes")
def parse_list(given):
    problems = Problems()
    drop_ins = dict.fromkeys(given["drop_in_handlers"], b"")
    found = parse_custom_runtimes(given["text"], drop_ins.get, problems, name="custom-runtimes.list")
    problems.raise_if_any()
    return {"runtimes": [runtime(custom) for custom in found]}


@answers("section", area="hypervisor_name")
def section(given):
    return {"value": FACTS.shim(given["shim"]).section}


@answers("artifact", area="qemu_artifact")
def artifact(given):
    return {"value": FACTS.shim(given["shim"]).qemu_artifact}


@answers("emulator", area="qemu_artifact")
def emulator_of(given):
    return {"value": emulator(given["arch"])}


@answers("original_config_dir", area="shim_paths")
def original_config_dir(given):
    return {"value": f"{given['dest_dir']}/{FACTS.shim(given['shim']).config_directory}"}


@answers("config_dir", area="shim_paths")
def config_dir(given):
    return {"value": f"{given['dest_dir']}/{FACTS.shim(given['shim']).own_directory}"}


@answers("shim_binary", area="shim_paths")
def shim_binary(given):
    return {"value": f"{given['dest_dir']}/{FACTS.shim(given['shim']).shim_binary}"}


@answers("config_file", area="shim_paths")
def config_file(given):
    shim = FACTS.shim(given["shim"])
    return {"value": f"{given['dest_dir']}/{shim.own_directory}/{shim.config_file}"}


@answers("handler", area="handler_names")
def handler_of(given):
    return {"value": handler(given["shim"], given["suffix"])}


@answers("variant_handler", area="handler_names")
def variant_handler_of(given):
    return {"value": variant_handler(given["shim"], given["suffix"], Variant(given["variant"]))}


@answers("instance_label", area="handler_names")
def instance_label_of(given):
    return {"value": instance_label(given["suffix"])}
