"""Answers about the Kata configuration of a node: drop-ins, kernel parameters, annotations, links, variants, components."""

from __future__ import annotations

import tomllib

from kata_bundle.core.componentmap import ComponentMap
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.fsops import FileOps
from kata_bundle.core.record import replace
from kata_bundle.core.relpath import RelPath
from kata_bundle.node.config.model import CustomRuntime, NodeConfig
from kata_bundle.node.config.problems import Problems
from kata_bundle.node.config.texts import parse_annotations, parse_proxy
from kata_bundle.node.cri.tables import LEGACY_PLUGIN, handler_path, runtime_tables
from kata_bundle.node.kata import kata_configuration, runtime_handlers
from kata_bundle.node.kata.configfile import parse_config
from kata_bundle.node.kata.devkit import IMAGE, ROOT_HASH, devkit_values, read_extensions
from kata_bundle.node.kata.dropins import DropIn, debug_values, k0s_values, render_drop_in
from kata_bundle.node.kata.edits import annotations_for
from kata_bundle.node.kata.header import MARKER, with_header
from kata_bundle.node.kata.reconcile import (
    DEBUG_TOOLS,
    stale_debug_handlers,
    stale_devkit_handlers,
    unwanted_files,
    wanted_tools,
)
from kata_bundle.node.selection import extra_components
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.userfiles import find_user_files
from tests.fixtures.payload import MemoryPayload, apply_overlay
from tests.unit.vectors.harness import answers, register_errors, write_tree

FACTS = load_facts()
register_errors({"bad_manifest": IntegrityError})


def split_dest(dest):
    """Return prefix and suffix that give the install directory ``dest``."""
    prefix, _, suffix = dest.partition("/opt/kata")
    return {"installation_prefix": prefix or None, "suffix": suffix.removeprefix("-") or None}


def proxies(given):
    problems = Problems()
    found = {
        field: parse_proxy(given.get(variable) or "", problems, name=variable.upper())
        for field, variable in (("https_proxy", "agent_https_proxy"), ("no_proxy", "agent_no_proxy"))
    }
    problems.raise_if_any()
    return found


def configured(given, base_config):
    """Return the overlay for one shim, as it is or as the base of a debug variant, and the directory it is about."""
    shim = FACTS.shim(given["shim"])
    payload = MemoryPayload({} if base_config is None else {shim.original_config: base_config.encode()})
    config = NodeConfig(machine="x86_64", **proxies(given), **split_dest(given.get("dest_dir", "/opt/kata")))
    if given.get("debug_variant"):
        custom = CustomRuntime(handler="kata-x-debug", base=shim.name, is_debug=True)
        config = replace(config, custom_runtimes=(custom,), debug=True)
        directory = "share/defaults/kata-containers/custom-runtimes/kata-x-debug"
    else:
        config = replace(config, shims=(shim.name,))
        directory = shim.own_directory
    result = kata_configuration(payload, config, FACTS, runtime=given.get("runtime", "containerd"))
    return result.overlay, directory


def drop_in(overlay, directory, name):
    entry = overlay.files.get(RelPath(f"{directory}/config.d/{name}"))
    return None if entry is None else tomllib.loads(entry.data.decode())


@answers("kernel_params", area="kernel_params")
def kernel_params(given):
    section = FACTS.shim(given["shim"]).section
    base = given["base_kernel_params"]
    text = f"[hypervisor.{section}]\n"
    if base is not None:
        text += f"kernel_params = {_toml(base)}\n"
    overlay, directory = configured(given, text)
    found = drop_in(overlay, directory, DropIn.KERNEL_PARAMETERS)
    if found is None:
        return {"written": False}
    (only,) = found["hypervisor"]
    assert list(found) == ["hypervisor"]
    return {"written": True, "section": only, "kernel_params": found["hypervisor"][only]["kernel_params"]}


def _toml(value):
    from kata_bundle.node.tomltext import render_value

    return render_value(value)


@answers("annotations", area="hypervisor_annotations")
def annotations(given):
    shim = FACTS.shim(given["shim"])
    rules = parse_annotations(" ".join(given["entries"]), Problems(), name="ALLOWED_HYPERVISOR_ANNOTATIONS")
    if not annotations_for(shim.name, rules):
        return {"changed": False}
    text = f"[hypervisor.{shim.section}]\n"
    if given["existing"] is not None:
        text += f"enable_annotations = {_toml(given['existing'])}\n"
    payload = MemoryPayload({shim.original_config: text.encode()})
    config = NodeConfig(machine="x86_64", shims=(shim.name,), annotation_rules=rules)
    overlay = kata_configuration(payload, config, FACTS, runtime="containerd").overlay
    data = tomllib.loads(overlay.files[RelPath(f"{shim.own_directory}/{shim.config_file}")].data.decode())
    return {
        "changed": True,
        "section": shim.section,
        "enable_annotations": data["hypervisor"][shim.section]["enable_annotations"],
    }


def rendered(name, values):
    return tomllib.loads(render_drop_in(name, values).data.decode())


@answers("debug_drop_in", area="drop_ins")
def debug_drop_in(given):
    return {"toml": rendered(DropIn.DEBUG, debug_values(FACTS.shim(given["shim"]).section))}


@answers("k0s_drop_in", area="drop_ins")
def k0s_drop_in(given):
    del given
    return {"toml": rendered(DropIn.K0S, k0s_values())}


@answers("devkit_drop_in", area="drop_ins")
def devkit_drop_in(given):
    values = devkit_values(given["section"], given["existing"], given["image_path"], given["verity_params"], dest="/opt/kata")
    toml = rendered(DropIn.DEVKIT, values)
    return {"toml": toml, "extensions": toml["hypervisor"][given["section"]]["guest_extension_images"]}


@answers("read_extensions", area="drop_ins")
def extensions(given):
    return {"extensions": read_extensions(parse_config(given["text"].encode(), "the base"), given["section"])}


@answers("stale_drop_in", area="drop_ins")
def stale_drop_in(given):
    files = [given["file"]] if given["present"] else []
    base = '[hypervisor.qemu]\nkernel_params = ""\n'
    found = files_after({"shim": "qemu", "base_config": base, "pre_existing": files, "tmp_path": given["tmp_path"]})
    return {"present_after": given["file"] in found}


@answers("drop_in_set", area="drop_ins")
def drop_in_set(given):
    return {"files": files_after(given)}


def files_after(given):
    """Return the names in a directory of drop-ins after an install over one that had ``pre_existing`` names in it."""
    overlay, directory = configured(given, given["base_config"])
    folder = f"{directory}/config.d"
    write_tree(given["tmp_path"], {f"{folder}/{name}": {"file": ""} for name in given["pre_existing"]})
    carried = find_user_files(str(given["tmp_path"]), ())
    return sorted({path.rpartition("/")[2] for path in (*overlay.files, *carried) if path.rpartition("/")[0] == folder})


@answers("registration", area="custom_runtimes")
def registration(given):
    custom = CustomRuntime(handler=given["handler"], base=given["base_config"])
    config = NodeConfig(machine="x86_64", custom_runtimes=(custom,), **split_dest(given["dest_dir"]))
    (found,) = runtime_handlers(config, FACTS)
    keys = runtime_tables(LEGACY_PLUGIN, found, None)
    return {
        "runtime_path": found.runtime_path,
        "config_path": found.config_path,
        "runtime_type": keys[*handler_path(LEGACY_PLUGIN, found.name), "runtime_type"],
    }


@answers("atomic_symlink", area="config_symlink")
def atomic_symlink(given):
    root = given["tmp_path"]
    write_tree(root, given["tree"])
    place = root / given["file"]
    for _ in range(given["times"]):
        FileOps().replace_link(given["target"], str(place), temporary=f"{place}.tmp-link")
    return {
        "link_target": str(place.readlink()),
        "content_through_link": place.read_text(),
        "absent": [path for path in (f"{given['file']}.tmp-link",) if not (root / path).is_symlink()],
    }


@answers("header", area="config_symlink")
def header(given):
    data = given["original"].encode()
    for _ in range(given["times"]):
        data = with_header(data)
    return {
        "marker_count": data.count(MARKER.encode()),
        "ends_with_original": data.endswith(b"\n\n" + given["original"].encode()),
    }


@answers("setup_then_remove", area="config_symlink")
def setup_then_remove(given):
    shim = FACTS.shim(given["shim"])
    payload = MemoryPayload({shim.original_config: given["original"].encode()})
    config = NodeConfig(machine="x86_64", shims=(shim.name,))
    root = given["tmp_path"]
    apply_overlay(root / "with", payload, kata_configuration(payload, config, FACTS, runtime="containerd").overlay)
    link = root / "with" / shim.original_config
    copy = root / "with" / shim.own_directory / shim.config_file
    # A generation without the shim has neither its component nor anything that was generated for it.
    nothing = MemoryPayload({})
    gone = kata_configuration(nothing, replace(config, shims=()), FACTS, runtime="containerd").overlay
    apply_overlay(root / "without", nothing, gone)
    watched = [shim.original_config, shim.own_directory]
    return {
        "after_setup": {
            "link": shim.original_config,
            "link_target": str(link.readlink()),
            "config_d": f"{shim.own_directory}/config.d" if (copy.parent / "config.d").is_dir() else None,
            "copy_equals_link_content": copy.read_bytes() == link.read_bytes(),
        },
        "after_remove": {"absent": [path for path in watched if not (root / "without" / path).exists()]},
    }


def reconciled(given, stale, files):
    remaining = sorted(set(given["directories"]) - set(stale))
    return {"remaining": remaining, "parent_present": bool(remaining), **files}


@answers("debug", area="variant_reconcile")
def debug(given):
    return reconciled(given, stale_debug_handlers(given["directories"], given["known"]), {})


@answers("devkit", area="variant_reconcile")
def devkit(given):
    stale = stale_devkit_handlers(given["directories"], given["known"], given["suffix"], FACTS)
    gone = unwanted_files(debug=False, devkit_is_on=given["devkit_enabled"])
    assert (IMAGE in gone) is (ROOT_HASH in gone)
    return reconciled(given, stale, {"image_present_after": given["image_present"] and IMAGE not in gone})


@answers("components", area="extraction")
def components(given):
    import json

    found = ComponentMap.parse(json.dumps(given["manifest"])).select(given["shims"], given["arch"])
    extra = extra_components(NodeConfig(machine=given["arch"], debug=given["devkit"], devkit=given["devkit"]), ())
    return {"components": sorted({*found.components, *extra}), "shims_without_entry": found.shims_without_row}


@answers("debug_tools", area="extraction")
def debug_tools(given):
    available = {*given["archives_present"], *given["already_extracted"]}
    wanted = wanted_tools(debug=given["debug"], available=available)
    gone = unwanted_files(debug=given["debug"], devkit_is_on=True)
    extracted = sorted({*given["already_extracted"], *wanted})
    brought = [path for component in wanted for path in DEBUG_TOOLS[component] if component not in given["already_extracted"]]
    installed = dict.fromkeys([*given["installed"], *brought])
    return {"ok": True, "extracted": extracted, "remaining": [path for path in installed if path not in gone]}
