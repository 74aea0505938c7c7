"""Answers about the container runtime's configuration and about snapshotters."""

from __future__ import annotations

import tomllib

from kata_bundle.node.config.model import MergeMode
from kata_bundle.node.config.texts import parse_mapping
from kata_bundle.node.cri import crio
from kata_bundle.node.cri.containerd import containerd_values
from kata_bundle.node.cri.layouts import drop_in_directory, has_drop_in_import, is_split_cri, resolve_layout, template_name
from kata_bundle.node.cri.migration import scrubbed_imports
from kata_bundle.node.cri.model import CriRequest, ErofsSettings, RuntimeHandler
from kata_bundle.node.cri.removal import disposition
from kata_bundle.node.cri.snapshot import fingerprint, may_skip_restart, written_at
from kata_bundle.node.cri.tables import DEBUG_LEVEL, annotations_table, root_version, runtime_plugin, runtime_tables
from kata_bundle.node.cri.versions import at_least, check_erofs_version, check_snapshotter_mapping_version, schema_for_release
from kata_bundle.node.handlers import handler
from kata_bundle.node.hostedit import MemoryHost
from kata_bundle.node.runtime import (
    Evidence,
    Runtime,
    check_declared,
    declared_override,
    detect_name,
    is_drop_in_capable,
    suggested_distribution,
    systemd_unit,
)
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.snapshotters import erofs, nydus, snapshotter_name, snapshotters_used
from kata_bundle.node.tomledit import TomlFile, parse_path, split_header
from kata_bundle.node.tomltext import format_path
from tests.unit.vectors.harness import answers

FACTS = load_facts()


def runtime_handler(shim, *, dest="/opt/kata", suffix=None, snapshotter=None, pull_type=None):
    fact = FACTS.shim(shim)
    return RuntimeHandler(
        name=handler(shim, suffix),
        shim=shim,
        is_rust=fact.is_rust,
        runtime_path=f"{dest}/{fact.shim_binary}",
        config_path=f"{dest}/{fact.own_directory}/{fact.config_file}",
        snapshotter=snapshotter,
        pull_type=pull_type,
    )


# -- TOML


@answers("split_header", area="toml_edit")
def toml_header(given):
    head, body = split_header(given["text"])
    return {"header": head, "body": body}


@answers("toml_ops", area="toml_edit")
def toml_ops(given):
    text = given["initial"]
    if text is None:
        TomlFile.parse(None, name="config.toml")
    for op in given["ops"] or [{"op": "nothing"}]:
        # One file, read and written by every operation.
        file = TomlFile.parse(text, name="config.toml")
        match op["op"]:
            case "set" | "set_array":
                file.set(op["path"], op["value"])
            case "append" | "remove":
                getattr(file, op["op"])(op["path"], op["value"])
            case "delete" | "get" | "get_array":
                getattr(file, op["op"])(op["path"])
        text = file.render()
    return {"text": text}


@answers("parse_path", area="toml_paths")
def toml_path(given):
    return {"parts": list(parse_path(given["path"]))}


# -- versions


@answers("root_version", area="containerd_schema")
def root_schema(given):
    return {"value": root_version(given["text"])}


@answers("schema_for_release", area="containerd_schema")
def schema_of_release(given):
    return {"value": schema_for_release(given["version"])}


@answers("at_least", area="containerd_version")
def version_at_least(given):
    major, _, minor = given["minimum"].partition(".")
    return {"value": at_least(given["version"], (int(major), int(minor or 0)))}


@answers("snapshotter_mapping_allowed", area="containerd_version")
def snapshotter_mapping_allowed(given):
    check_snapshotter_mapping_version(given["version"], has_mapping=given["has_mapping"])
    return {"ok": True}


@answers("erofs_allowed", area="erofs_versions")
def erofs_allowed(given):
    check_erofs_version(given["version"])
    return {"ok": True}


# -- detection


@answers("systemd_unit", area="runtime_detection")
def unit(given):
    return {"value": systemd_unit(given["runtime"])}


@answers("declared_distribution", area="runtime_detection")
def declared_distribution(given):
    check_declared(given["declared"], given["runtime"])
    return {"ok": True, "suggested": suggested_distribution(given["runtime"])}


@answers("declared_override", area="runtime_detection")
def override(given):
    return {"value": declared_override(given["declared"])}


@answers("drop_in_capable", area="runtime_detection")
def drop_in_capable(given):
    return {"value": is_drop_in_capable(given["runtime"], given["version"])}


@answers("detect", area="runtime_detection")
def detect(given):
    evidence = Evidence(version=given["version"], active_units=frozenset(given["active_units"]), declared=given["declared"])
    return {"value": detect_name(evidence)}


# -- containerd


@answers("runtime_plugin", area="containerd_tables")
def plugin_of(given):
    return {"value": runtime_plugin(root_version(given["config_text"]))}


@answers("debug_level_path", area="containerd_tables")
def debug_level_path(given):
    request = CriRequest(runtime=Runtime.CONTAINERD, version="containerd://2.3.0", dest="/opt/kata", handlers=(), debug=True)
    (path,) = containerd_values(request, given["schema"], "config.toml")
    assert path == DEBUG_LEVEL
    return {"value": format_path(path)}


@answers("annotations_table", area="containerd_tables")
def annotations(given):
    return {"value": format_path(annotations_table(given["runtime_plugin"], given["config_file"]))}


@answers("runtime_table", area="containerd_tables")
def containerd_table(given):
    made = RuntimeHandler(
        name=given["handler"], shim="qemu", is_rust=False, runtime_path=given["runtime_path"], config_path=given["config_path"]
    )
    file = TomlFile.parse("")
    file.set_many(runtime_tables(given["runtime_plugin"], made, given["snapshotter"]))
    text = file.render()
    return {"text": text, "no_leading_blank_lines": not text.startswith(("\n", "\r")), "first_character": text[0]}


@answers("whole_file_disposition", area="containerd_files")
def whole_file_disposition(given):
    record = f"{given['config']}.kata-deploy-created"
    return {"value": disposition(has_backup=given["backup"] in given["files"], has_record=record in given["files"]).value}


@answers("scrub_stale_import", area="containerd_files")
def scrub_stale_import(given):
    text = None if given["text"] is None else given["text"].encode()
    after = scrubbed_imports(text, (given["stale"],), "config.toml")
    return {"imports": tomllib.loads(after.decode()).get("imports", []) if after else [], "file_present": after is not None}


@answers("paths", area="containerd_files")
def paths(given):
    suffix, runtime = given["suffix"], Runtime(given["runtime"])
    names = {Runtime.MICROK8S: "containerd-template.toml"}
    main = f"/etc/containerd/{'containerd.toml' if runtime.is_k0s else names.get(runtime, 'config.toml')}"
    files = {} if given["main_config"] is None else {main: given["main_config"].encode()}
    layout = resolve_layout(
        MemoryHost(files),
        runtime=runtime,
        version=given["version"],
        dest=f"/opt/kata-{suffix}" if suffix else "/opt/kata",
        suffix=suffix,
    )
    return {
        "config_file": layout.config_file,
        "imports_file": layout.imports_file,
        "drop_in_file": layout.drop_in_file,
        "use_drop_in": layout.use_drop_in,
        "backup_file": layout.backup_file,
    }


@answers("drop_in_dir", area="k3s_rke2")
def drop_in_dir(given):
    return {"value": drop_in_directory(split_cri=given["split_cri"])}


@answers("template", area="k3s_rke2")
def template(given):
    return {"value": f"/etc/containerd/{template_name(split_cri=given['split_cri'])}"}


@answers("rendered_path", area="k3s_rke2")
def rendered_path(given):
    layout = resolve_layout(MemoryHost({}), runtime=Runtime.K3S, version="containerd://2.1.5-k3s1", dest="/opt/kata")
    return {"value": layout.rendered_file}


@answers("split_cri", area="k3s_rke2")
def split_cri(given):
    return {"value": is_split_cri(given["rendered"], given["version"])}


@answers("has_import", area="k3s_rke2")
def has_import(given):
    return {"value": has_drop_in_import(given["rendered"], split_cri=given["split_cri"])}


# -- change detection


@answers("snapshot", area="cri_snapshot")
def snapshot(given):
    def of(files):
        return fingerprint((path, None if path not in files else files[path].encode()) for path in given["order"])

    before = of(given["before"])
    return {"before_snapshot": before, "changed": before != of(given.get("after", {}))}


@answers("snapshot_time", area="cri_snapshot")
def snapshot_time(given):
    return {"written_at": written_at(given["order"], given["mtimes"])}


@answers("may_skip_restart", area="cri_snapshot")
def skip_restart(given):
    skip = may_skip_restart(Runtime(given["runtime"]), written_at=given["written_at"], active_since=given["active_since"])
    return {"value": skip}


# -- CRI-O


@answers("runtime_table", area="crio_config")
def crio_table(given):
    pull_type = parse_mapping(given["pull_type_mapping"] or "").lookup(given["shim"])
    made = runtime_handler(given["shim"], dest=given["dest_dir"], suffix=given["suffix"], pull_type=pull_type)
    request = CriRequest(
        runtime=Runtime.CRIO, version="cri-o://1.31.0", dest=given["dest_dir"], handlers=(made,), suffix=given["suffix"]
    )
    edit = crio.plan_crio(MemoryHost({}), request).edits[0]
    runtimes = tomllib.loads(edit.after.decode())["crio"]["runtime"]["runtimes"]
    return {"table": f"crio.runtime.runtimes.{made.name}", "toml": runtimes[made.name]}


@answers("debug_value", area="crio_config")
def crio_debug(given):
    request = CriRequest(runtime=Runtime.CRIO, version="cri-o://1.31.0", dest="/opt/kata", handlers=(), debug=given["debug"])
    found = [edit for edit in crio.plan_crio(MemoryHost({}), request).edits if edit.path == crio.debug_file(None)]
    return {"toml": tomllib.loads(found[0].after.decode()) if found else {}}


@answers("runtime_file_name", area="crio_config")
def crio_file_name(given):
    return {"value": crio.runtime_file(given["suffix"]).rpartition("/")[2]}


@answers("snapshotters_used", area="crio_config")
def used(given):
    return {"value": list(snapshotters_used(given["runtime"], given["requested"]))}


# -- snapshotters


@answers("default_size", area="erofs_config")
def erofs_size(given):
    return {"value": erofs.default_size(given["mode"])}


@answers("erofs_keys", area="erofs_config")
def erofs_keys(given):
    made = ErofsSettings(
        merge_mode=given["merge_mode"] and MergeMode(given["merge_mode"]),
        size=given["snapshotter_mode"],
        has_dm_verity=given["dmverity"],
    )
    file = TomlFile.parse(given["initial"])
    file.set_many(erofs.containerd_keys(made))
    file.delete_many(erofs.stale_keys(made))
    return {"text": file.render()}


@answers("go_shim_rule", area="erofs_config")
def go_shim_rule(given):
    pairs = parse_mapping(given["mapping"] or "").pairs
    erofs.check_go_shims([runtime_handler(shim, snapshotter=word) for shim, word in pairs], given["merge_mode"])
    return {"ok": True}


@answers("nydus", area="nydus_config")
def nydus_instance(given):
    places = nydus.nydus_paths(given["dest_dir"], given["suffix"])
    config, unit_file = nydus.host_edits(places, systemd_unit(given["runtime"]))
    directives = dict(line.split("=", 1) for line in unit_file.after.decode().splitlines() if "=" in line)
    request = CriRequest(
        runtime=Runtime(given["runtime"]),
        version="containerd://2.3.0",
        dest=given["dest_dir"],
        handlers=(),
        suffix=given["suffix"],
        snapshotters=("nydus",),
    )
    file = TomlFile.parse("")
    file.set_many(containerd_values(request, given["schema"], "/etc/containerd/config.toml"))
    return {
        "unit_file": unit_file.path,
        "data_dir": places.data_dir,
        "wanted_by": directives["WantedBy"],
        "before": directives["Before"],
        "exec_start": directives["ExecStart"],
        "config_values": flat(tomllib.loads(config.after.decode())),
        "containerd_values": {key: value for path, value in given_paths(file.data) for key in spellings(path)},
    }


@answers("snapshotter_name", area="nydus_config")
def name_of_snapshotter(given):
    return {"value": snapshotter_name(given["mapped"], given["suffix"])}


def given_paths(data, at=()):
    for key, item in data.items():
        if isinstance(item, dict):
            yield from given_paths(item, (*at, key))
        else:
            yield (*at, key), item


def spellings(path):
    """Return the ways a vector may write a path: quotes where needed, or around a plugin's name as well."""
    quoted = [part if part.isidentifier() else f'"{part}"' for part in path]
    return {format_path(path), ".".join(quoted)}


def flat(data):
    return {format_path(path): value for path, value in given_paths(data)}
