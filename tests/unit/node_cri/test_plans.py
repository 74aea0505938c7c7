"""Planning the container runtime's configuration on every distribution's host, and taking it out again."""

from __future__ import annotations

import tomllib

import pytest

from kata_bundle.core.errors import HostError
from kata_bundle.core.record import replace
from kata_bundle.node.config.model import MergeMode
from kata_bundle.node.cri.compose import is_cri_configured, plan_cri, plan_cri_removal, traces
from kata_bundle.node.cri.model import ErofsSettings
from kata_bundle.node.hostedit import EditKind, HostDirectory, MemoryHost
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import Runtime
from kata_bundle.node.tomledit import TomlFile
from tests.fixtures.cri_hosts import (
    ADMIN_2,
    CONF_D_3,
    DEBIAN,
    DISTRIBUTIONS,
    K0S,
    RANCHER_3,
    Distribution,
    contents,
    lay_out,
    made_handler,
    make,
    request_for,
    undo,
)

BY_NAME = {distribution.name: distribution for distribution in DISTRIBUTIONS}
every_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda d: d.name)
CONFIG = "/etc/containerd/config.toml"
V2 = "io.containerd.grpc.v1.cri"
V3 = "io.containerd.cri.v1.runtime"
IMAGES = "io.containerd.cri.v1.images"


def memory(distribution: Distribution, **files: str) -> MemoryHost:
    return MemoryHost({name: text.encode() for name, text in {**distribution.files, **files}.items()})


def after(plan, path):
    (edit,) = [edit for edit in plan.edits if edit.path == path]
    return None if edit.after is None else edit.after.decode()


def data(plan, path):
    return tomllib.loads(after(plan, path))


def containerd(version="containerd://2.1.9", **files):
    return Distribution("x", Runtime.CONTAINERD, version, {"/etc/containerd/keep": "", **files}, CONFIG)


def refused(kind, distribution, *shims, **more):
    with pytest.raises(RefusedError) as caught:
        plan_cri(memory(distribution), request_for(distribution, *shims, **more))
    assert caught.value.kind is kind
    assert caught.value.exit_code == 9
    return f"{caught.value} {caught.value.hint or ''}"


# -- every distribution


@every_distribution
def test_install_then_undo_gives_every_byte_back(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    before = contents(tmp_path)
    plan = plan_cri(host, request_for(distribution, debug=True))
    assert contents(tmp_path) == before, "planning writes nothing"
    old = make(tmp_path, plan.edits)
    assert contents(tmp_path) != before
    undo(tmp_path, plan.edits, old)
    assert contents(tmp_path) == before


@every_distribution
def test_planning_again_without_a_receipt_asks_for_the_same_bytes(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    request = request_for(distribution, debug=True)
    make(tmp_path, plan_cri(host, request).edits)
    installed = contents(tmp_path)
    again = plan_cri(host, request)
    make(tmp_path, again.edits)
    assert contents(tmp_path) == installed


@every_distribution
def test_an_administrators_edits_in_between_survive_undoing(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    plan = plan_cri(host, request_for(distribution, debug=True))
    old = make(tmp_path, plan.edits)
    edited = {}
    for edit in plan.edits:
        if edit.kind is EditKind.KEYS:
            path = tmp_path / edit.path.lstrip("/")
            file = TomlFile.parse(path.read_bytes())
            file.set(("timeouts", "io.containerd.timeout.bolt.open"), "9s")
            path.write_text("# remember the milk\n" + file.render())
            edited[edit.path] = path
    undo(tmp_path, plan.edits, old)
    for name, path in edited.items():
        found = path.read_text()
        assert found.startswith("# remember the milk\n")
        assert "kata" not in found
        was = tomllib.loads(distribution.files.get(name, "") or f"version = {plan.decisions['schema']}\n")
        assert tomllib.loads(found) == {**was, "timeouts": {"io.containerd.timeout.bolt.open": "9s"}}


@every_distribution
def test_removal_without_a_receipt_leaves_nothing_of_ours(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    before = contents(tmp_path)
    request = request_for(distribution)
    make(tmp_path, plan_cri(host, request).edits)
    make(tmp_path, plan_cri_removal(host, request).edits)
    found = contents(tmp_path)
    assert {name: content for name, content in found.items() if name in before} == before
    assert set(found) == set(before)
    assert not plan_cri_removal(host, request).edits, "removing twice changes nothing"


@every_distribution
def test_removal_of_nothing_changes_nothing(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    assert not plan_cri_removal(host, request_for(distribution)).edits
    assert not plan_cri_removal(MemoryHost({}), request_for(distribution)).edits


@every_distribution
def test_every_handler_is_offered_once_and_with_its_own_configuration(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    request = request_for(distribution, "qemu", "clh", "dragonball")
    plan = plan_cri(host, request)
    document = data(plan, plan.decisions["output_file"])
    if distribution.runtime is Runtime.CRIO:
        runtimes = document["crio"]["runtime"]["runtimes"]
        assert {name: table["runtime_config_path"] for name, table in runtimes.items()} == {
            handler.name: handler.config_path for handler in request.handlers
        }
        return
    plugin = V3 if plan.decisions["schema"] >= 3 else V2
    runtimes = document["plugins"][plugin]["containerd"]["runtimes"]
    for handler in request.handlers:
        assert runtimes[handler.name]["runtime_type"] == f"io.containerd.{handler.name}.v2"
        assert runtimes[handler.name]["runtime_path"] == handler.runtime_path
        assert runtimes[handler.name]["options"] == {"ConfigPath": handler.config_path}
    assert plan.restart_unit == (None if distribution.runtime.is_k0s else distribution.runtime.unit)


@every_distribution
def test_a_redeploy_with_less_leaves_nothing_of_more(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    less = request_for(distribution, "qemu")
    wanted = {edit.path: edit.after for edit in plan_cri(host, less).edits}
    make(tmp_path, plan_cri(host, request_for(distribution, "qemu", "clh", debug=True)).edits)
    make(tmp_path, plan_cri(host, less).edits)
    found = contents(tmp_path)
    assert {path: found.get(path) for path in wanted} == wanted
    assert "kata-clh" not in str(found)


# -- where things go, and the one rule for the version


def test_the_drop_in_states_the_version_of_the_root_and_uses_its_table_names():
    for version, plugin in ((2, V2), (3, V3), (4, V3)):
        distribution = containerd("containerd://2.3.4", **{CONFIG: f"version = {version}\n"})
        plan = plan_cri(memory(distribution), request_for(distribution, "qemu"))
        drop_in = data(plan, "/opt/kata/containerd/config.d/kata-deploy.toml")
        assert drop_in["version"] == version
        assert list(drop_in["plugins"]) == [plugin]
        assert data(plan, CONFIG)["imports"] == ["/opt/kata/containerd/config.d/kata-deploy.toml"]


def test_the_drop_in_comes_before_the_import_of_it_and_leaves_after():
    distribution = BY_NAME["k8s-2.1"]
    plan = plan_cri(memory(distribution), request_for(distribution, user_drop_in=b"[debug]\n"))
    paths = [edit.path for edit in plan.edits]
    assert paths.index("/opt/kata/containerd/config.d/kata-deploy.toml") < paths.index(CONFIG)
    assert paths.index("/opt/kata/containerd/config.d/zz-kata-deploy-user.toml") < paths.index(CONFIG)
    installed = {edit.path: edit.after for edit in plan.edits if edit.after is not None}
    removal = plan_cri_removal(MemoryHost({**memory(distribution).files, **installed}), request_for(distribution))
    paths = [edit.path for edit in removal.edits]
    assert paths[0] == CONFIG
    assert set(paths[1:]) == {p for p in installed if p != CONFIG}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("/etc/containerd/conf.d/*.toml", "/etc/containerd/conf.d/kata-deploy.toml"),
        ("/etc/containerd/conf.d/*", "/etc/containerd/conf.d/kata-deploy.toml"),
        ("conf.d/*.toml", "/etc/containerd/conf.d/kata-deploy.toml"),
        ("/etc/containerd/conf.d/nvidia.toml", "/opt/kata/containerd/config.d/kata-deploy.toml"),
        ("/etc/containerd/*.toml", "/opt/kata/containerd/config.d/kata-deploy.toml"),
    ],
)
def test_conf_d_is_used_only_where_the_root_really_loads_our_file_from_it(pattern, expected):
    distribution = containerd("containerd://2.2.7", **{CONFIG: f'version = 3\nimports = ["{pattern}"]\n'})
    assert plan_cri(memory(distribution), request_for(distribution)).decisions["output_file"] == expected


def test_conf_d_needs_containerd_2_2():
    distribution = containerd("containerd://2.1.9", **{CONFIG: CONF_D_3})
    plan = plan_cri(memory(distribution), request_for(distribution))
    assert plan.decisions["mode"] == "imported"
    assert data(plan, CONFIG)["imports"][0] == "/etc/containerd/conf.d/*.toml"


def test_two_installs_in_a_shared_directory_have_files_of_their_own():
    for name in ("k3s", "k0s", "k8s-2.2-conf.d"):
        distribution = BY_NAME[name]
        request = request_for(distribution, suffix="dev", user_drop_in=b"")
        plan = plan_cri(memory(distribution), request)
        folder = plan.decisions["output_file"].rpartition("/")[0]
        assert plan.decisions["output_file"] == f"{folder}/kata-deploy-dev.toml"
        assert plan.decisions["user_drop_in_file"] == f"{folder}/zz-kata-deploy-user-dev.toml"


def test_installs_side_by_side_go_in_any_order(tmp_path):
    for distribution in (BY_NAME["k3s"], BY_NAME["k0s"], BY_NAME["k8s-2.1"], BY_NAME["k8s-2.2-conf.d"], BY_NAME["cri-o"]):
        for order in ((None, "b"), ("b", None)):
            root = tmp_path / distribution.name / str(order[0])
            host = lay_out(root, distribution.files)
            before = contents(root)
            requests = {suffix: request_for(distribution, suffix=suffix) for suffix in (None, "b")}
            for suffix in (None, "b"):
                make(root, plan_cri(host, requests[suffix]).edits)
            make(root, plan_cri_removal(host, requests[order[0]]).edits)
            still = str(contents(root))
            names = {None: "kata-qemu\\b(?!-b)", "b": "kata-qemu-b"}
            assert f"/opt/kata{'-b' if order[1] else ''}/" in still, names
            make(root, plan_cri_removal(host, requests[order[1]]).edits)
            left = contents(root)
            expected = {name: content for name, content in before.items() if name != CONFIG}
            assert {name: content for name, content in left.items() if name != CONFIG} == expected
            assert "kata" not in str(left.get(CONFIG, b""))


def test_the_plain_file_of_a_reference_install_with_a_suffix_is_migrated():
    distribution = BY_NAME["k3s"]
    folder = "/etc/containerd/config-v3.toml.d"
    own = f'[plugins."{V3}".containerd.runtimes.kata-qemu-dev]\nruntime_path = "/opt/kata-dev/bin/x"\n'
    other = f'[plugins."{V3}".containerd.runtimes.kata-qemu]\nruntime_path = "/opt/kata/bin/x"\n'
    request = request_for(distribution, "qemu", suffix="dev")
    alone = plan_cri(memory(distribution, **{f"{folder}/kata-deploy.toml": own}), request)
    assert after(alone, f"{folder}/kata-deploy.toml") is None
    shared = plan_cri(memory(distribution, **{f"{folder}/kata-deploy.toml": own + other}), request)
    assert after(shared, f"{folder}/kata-deploy.toml").strip() == other.strip()
    foreign = plan_cri(memory(distribution, **{f"{folder}/kata-deploy.toml": other}), request)
    assert [edit.path for edit in foreign.edits] == [f"{folder}/kata-deploy-dev.toml"]


def test_a_stale_import_goes_when_the_drop_in_moves_to_conf_d():
    stale = "/opt/kata/containerd/config.d/kata-deploy.toml"
    text = f'version = 3\nimports = [\n  "/etc/containerd/conf.d/*.toml", # theirs\n  "{stale}",\n]\n'
    distribution = containerd("containerd://2.2.7", **{CONFIG: text, stale: "version = 3\n"})
    plan = plan_cri(memory(distribution), request_for(distribution))
    assert after(plan, CONFIG) == 'version = 3\nimports = [\n  "/etc/containerd/conf.d/*.toml", # theirs\n]\n'
    assert after(plan, stale) is None
    paths = [edit.path for edit in plan.edits]
    assert paths.index(CONFIG) < paths.index(stale)


def test_a_user_drop_in_that_is_no_longer_configured_goes_with_its_import():
    distribution = BY_NAME["k8s-2.1"]
    first = plan_cri(memory(distribution), request_for(distribution, user_drop_in=b"[debug]\nlevel = 'info'\n"))
    user = "/opt/kata/containerd/config.d/zz-kata-deploy-user.toml"
    assert data(first, CONFIG)["imports"][-1] == user
    installed = {edit.path: edit.after for edit in first.edits}
    second = plan_cri(MemoryHost({**memory(distribution).files, **installed}), request_for(distribution))
    assert user not in data(second, CONFIG)["imports"]
    assert after(second, user) is None


def test_a_missing_configuration_is_made_and_says_so():
    distribution = BY_NAME["k8s-2.1-absent"]
    plan = plan_cri(memory(distribution), request_for(distribution))
    assert after(plan, f"{CONFIG}.kata-deploy-created") == ""
    assert data(plan, CONFIG) == {"version": 3, "imports": ["/opt/kata/containerd/config.d/kata-deploy.toml"]}
    assert plan.decisions["created_config"] is True


# -- containerd 1.x


def test_1_x_gets_no_drop_in_but_tables_and_the_built_in_runtime():
    distribution = BY_NAME["k8s-1.7"]
    plan = plan_cri(memory(distribution), request_for(distribution, "qemu"))
    assert [edit.path for edit in plan.edits] == [f"{CONFIG}.bak", CONFIG]
    assert after(plan, f"{CONFIG}.bak") == DEBIAN
    runtimes = data(plan, CONFIG)["plugins"][V2]["containerd"]["runtimes"]
    assert runtimes["runc"] == {"runtime_type": "io.containerd.runc.v2"}
    assert after(plan, CONFIG).startswith(DEBIAN)


def test_1_x_keeps_a_stated_runtime_as_it_is():
    distribution = BY_NAME["k8s-1.6-admin"]
    plan = plan_cri(memory(distribution), request_for(distribution, "qemu"))
    assert after(plan, CONFIG).startswith(ADMIN_2.rstrip("\n"))
    assert sorted(data(plan, CONFIG)["plugins"][V2]["containerd"]["runtimes"]) == ["crun", "kata-qemu", "runc"]


def test_1_x_without_a_version_uses_the_first_schemas_names():
    distribution = containerd("containerd://1.7.24", **{CONFIG: "oom_score = 0\n"})
    runtimes = data(plan_cri(memory(distribution), request_for(distribution, "qemu")), CONFIG)["plugins"]["cri"]["containerd"][
        "runtimes"
    ]
    assert sorted(runtimes) == ["kata-qemu", "runc"]


def test_a_backup_that_is_not_ours_is_left_alone_and_never_restored(tmp_path):
    distribution = BY_NAME["k8s-1.7"]
    host = lay_out(tmp_path, {**distribution.files, f"{CONFIG}.bak": "# last year's\n"})
    request = request_for(distribution)
    plan = plan_cri(host, request)
    assert [edit.path for edit in plan.edits] == [CONFIG]
    make(tmp_path, plan.edits)
    removal = plan_cri_removal(host, request)
    make(tmp_path, removal.edits)
    assert contents(tmp_path)[f"{CONFIG}.bak"] == b"# last year's\n"
    assert b"kata" not in contents(tmp_path)[CONFIG]
    assert removal.left == (f"{CONFIG}.bak",)


def test_removal_puts_the_backup_back_unless_somebody_edited_the_file_since(tmp_path):
    distribution = BY_NAME["k8s-1.6-admin"]
    request = request_for(distribution)
    for edited in (False, True):
        root = tmp_path / str(edited)
        host = lay_out(root, distribution.files)
        make(root, plan_cri(host, request).edits)
        if edited:
            path = root / CONFIG.lstrip("/")
            path.write_text(path.read_text().replace("oom_score = -999", "oom_score = 0"))
        plan = plan_cri_removal(host, request)
        make(root, plan.edits)
        found = contents(root)
        if edited:
            assert found[CONFIG].decode().rstrip("\n") == ADMIN_2.replace("oom_score = -999", "oom_score = 0").rstrip("\n")
            assert found[f"{CONFIG}.bak"].decode() == ADMIN_2
            assert any("edited since" in warning for warning in plan.warnings)
        else:
            assert found == {name: text.encode() for name, text in distribution.files.items()}


def test_a_value_of_the_administrators_that_debugging_replaced_comes_back(tmp_path):
    text = DEBIAN + '\n[debug]\n  level = "warn" # quiet\n'
    distribution = containerd("containerd://1.7.24", **{CONFIG: text})
    host = lay_out(tmp_path, distribution.files)
    plan = plan_cri(host, request_for(distribution, debug=True))
    old = make(tmp_path, plan.edits)
    path = tmp_path / CONFIG.lstrip("/")
    assert 'level = "debug" # quiet' in path.read_text()
    path.write_text(path.read_text() + "# later\n")
    undo(tmp_path, plan.edits, old)
    assert path.read_text().rstrip() == (text + "# later").rstrip()


# -- what is refused, before anything is touched


def test_k3s_with_a_containerd_before_2_is_refused():
    rendered = 'version = 2\nimports = ["/var/lib/rancher/k3s/agent/etc/containerd/config.toml.d/*.toml"]\n'
    distribution = Distribution("k3s", Runtime.K3S, "containerd://1.7.23-k3s2", {CONFIG: rendered}, CONFIG)
    assert "containerd 2" in refused(Refusal.MERGE_REPLACES, distribution)


def test_k3s_with_a_template_of_version_2_is_fine_with_containerd_2():
    rendered = 'version = 2\nimports = ["/var/lib/rancher/k3s/agent/etc/containerd/config.toml.d/*.toml"]\n'
    distribution = Distribution("k3s", Runtime.K3S, "containerd://2.1.5-k3s1", {CONFIG: rendered}, CONFIG)
    plan = plan_cri(memory(distribution), request_for(distribution))
    assert data(plan, "/etc/containerd/config.toml.d/kata-deploy.toml")["version"] == 2
    assert [edit.path for edit in plan.edits] == ["/etc/containerd/config.toml.d/kata-deploy.toml"]


@pytest.mark.parametrize(
    "rendered",
    [
        "version = 3\n",
        'version = 3\n# imports = ["/x/config-v3.toml.d/*.toml"]\n',
        'version = 3\nimports = ["/x/config.toml.d/*.toml"]\n',
        'version = 3\nimports = ["/x/config-v3.toml.d/50-*.toml"]\n',
        'version = 3\n[plugins.x]\nimports = ["/x/config-v3.toml.d/*.toml"]\n',
    ],
)
def test_a_k3s_template_that_does_not_load_our_directory_is_refused(rendered):
    distribution = Distribution("k3s", Runtime.K3S, "containerd://2.1.5-k3s1", {CONFIG: rendered}, CONFIG)
    message = refused(Refusal.MISSING_IMPORT, distribution)
    assert "config-v3.toml.d" in message
    assert "config-v3.toml.tmpl" in message


def test_a_k3s_file_that_was_never_rendered_is_refused():
    distribution = Distribution("k3s", Runtime.K3S, "containerd://2.1.5-k3s1", {}, CONFIG)
    assert CONFIG in refused(Refusal.UNREADABLE_CONFIG, distribution)


def test_a_k3s_file_that_does_not_parse_is_searched_as_text():
    text = RANCHER_3.format(name="k3s") + "}}\n"
    distribution = Distribution("k3s", Runtime.K3S, "containerd://2.1.5-k3s1", {CONFIG: text}, CONFIG)
    assert plan_cri(memory(distribution), request_for(distribution)).edits


@pytest.mark.parametrize("text", ["", "version = 1\n", "oom_score = 0\n", "[plugins]\nversion = 3\n"])
def test_a_root_without_a_usable_version_is_refused_beside_a_drop_in(text):
    message = refused(Refusal.UNSUPPORTED_SCHEMA, containerd("containerd://2.1.9", **{CONFIG: text}))
    assert CONFIG in message
    assert "config migrate" in message


def test_a_root_that_is_too_new_for_containerd_1_is_refused():
    for version in ("containerd://1.6.20", "containerd://1.7.24"):
        assert "version 3" in refused(Refusal.UNSUPPORTED_SCHEMA, containerd(version, **{CONFIG: "version = 3\n"}))


@pytest.mark.parametrize("name", ["cri", V2, V3, IMAGES])
@pytest.mark.parametrize(("version", "schema"), [("containerd://1.7.24", 2), ("containerd://2.1.9", 3)])
def test_a_disabled_cri_plugin_is_refused(name, version, schema):
    text = f'disabled_plugins = ["{name}"]\nversion = {schema}\n'
    assert name in refused(Refusal.CRI_DISABLED, containerd(version, **{CONFIG: text}))


def test_an_import_that_would_replace_our_section_on_1_x_is_refused():
    files = {
        CONFIG: 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml", "extra/a.toml"]\n',
        "/etc/containerd/conf.d/10-log.toml": 'version = 2\n[debug]\nlevel = "info"\n',
        "/etc/containerd/extra/a.toml": f'version = 2\n[plugins."{V2}".containerd.runtimes.nvidia]\nruntime_type = "x"\n',
    }
    assert "/etc/containerd/extra/a.toml" in refused(Refusal.IMPORT_OVERRIDES, containerd("containerd://1.7.24", **files))
    del files["/etc/containerd/extra/a.toml"]
    assert plan_cri(
        memory(containerd("containerd://1.7.24", **files)), request_for(containerd("containerd://1.7.24", **files))
    ).edits


def test_a_configuration_that_nobody_can_read_is_refused():
    nothing = Distribution("x", Runtime.CONTAINERD, "containerd://2.1.9", {}, CONFIG)
    refused(Refusal.UNREADABLE_CONFIG, nothing)
    refused(Refusal.UNREADABLE_CONFIG, Distribution("x", Runtime.MICROK8S, "containerd://2.1.9", {}, CONFIG))
    refused(Refusal.UNREADABLE_CONFIG, Distribution("x", Runtime.K0S_WORKER, "containerd://1.7.9", {}, CONFIG))


def test_an_invalid_configuration_is_refused_with_its_name():
    distribution = containerd("containerd://2.1.9", **{CONFIG: "version = 3\nnot toml\n"})
    with pytest.raises(HostError, match=f"{CONFIG} is not valid TOML"):
        plan_cri(memory(distribution), request_for(distribution))


def test_a_suffix_needs_drop_ins_except_on_cri_o():
    message = refused(Refusal.NO_DROP_IN_SUPPORT, BY_NAME["k8s-1.7"], suffix="dev")
    assert "MULTI_INSTALL_SUFFIX" in message
    crio = BY_NAME["cri-o"]
    assert plan_cri(memory(crio), request_for(crio, suffix="dev")).edits[0].path.endswith("99-kata-deploy-dev")


def test_a_user_drop_in_needs_drop_in_support_and_has_to_fit():
    refused(Refusal.NO_DROP_IN_SUPPORT, BY_NAME["k8s-1.7"], user_drop_in=b"")
    refused(Refusal.BAD_USER_DROP_IN, BY_NAME["k8s-2.1"], user_drop_in=b"not toml")
    assert "version 3" in refused(Refusal.BAD_USER_DROP_IN, BY_NAME["k8s-2.1"], user_drop_in=b"version = 4\n")
    refused(Refusal.BAD_USER_DROP_IN, BY_NAME["k8s-2.1"], user_drop_in=b"version = 2\n")


# -- snapshotters


def test_a_mapped_snapshotter_reaches_the_images_plugin_from_schema_3_on():
    handlers = (made_handler("qemu-coco-dev", snapshotter="nydus"), made_handler("fc", snapshotter="devmapper"))
    for name, plugin in (("k8s-2.1", V3), ("k8s-2.1-v2", V2)):
        distribution = BY_NAME[name]
        plan = plan_cri(memory(distribution), request_for(distribution, handlers=handlers, snapshotters=("nydus",)))
        drop_in = data(plan, plan.decisions["output_file"])
        runtimes = drop_in["plugins"][plugin]["containerd"]["runtimes"]
        assert runtimes["kata-qemu-coco-dev"]["snapshotter"] == "nydus-for-kata-tee"
        assert runtimes["kata-fc"]["snapshotter"] == "devmapper"
        assert drop_in["proxy_plugins"]["nydus-for-kata-tee"]["address"] == "/run/nydus-for-kata-tee/containerd-nydus-grpc.sock"
        if plugin == V3:
            assert drop_in["plugins"][IMAGES]["runtime_platforms"]["kata-fc"] == {"snapshotter": "devmapper"}
            assert drop_in["plugins"][IMAGES]["disable_snapshot_annotations"] is False
            assert not plan.warnings
        else:
            assert IMAGES not in drop_in["plugins"]
            assert drop_in["plugins"][V2]["containerd"]["disable_snapshot_annotations"] is False
            assert any("version 2" in warning for warning in plan.warnings)


def test_nydus_goes_into_the_file_on_1_7_and_out_again(tmp_path):
    distribution = containerd("containerd://1.7.24", **{CONFIG: ADMIN_2})
    host = lay_out(tmp_path, distribution.files)
    request = request_for(
        distribution, handlers=(made_handler("qemu-coco-dev", snapshotter="nydus"),), snapshotters=("nydus",), debug=True
    )
    plan = plan_cri(host, request)
    old = make(tmp_path, plan.edits)
    path = tmp_path / CONFIG.lstrip("/")
    path.write_text(path.read_text() + "# later\n")
    undo(tmp_path, plan.edits, old)
    assert path.read_text().rstrip() == (ADMIN_2 + "# later").rstrip()


def test_a_snapshotter_mapping_needs_1_7_and_nydus_a_schema():
    mapped = (made_handler("qemu", snapshotter="nydus"),)
    refused(Refusal.CONTAINERD_TOO_OLD, BY_NAME["k8s-1.6-admin"], handlers=mapped)
    for version in ("containerd://1.5.9", "1.6.28"):
        refused(Refusal.CONTAINERD_TOO_OLD, containerd(version, **{CONFIG: DEBIAN}), handlers=mapped)
    old = containerd("containerd://1.7.24", **{CONFIG: "version = 1\n"})
    assert CONFIG in refused(Refusal.UNSUPPORTED_SCHEMA, old, snapshotters=("nydus",))


def test_erofs_needs_2_2_and_a_shim_that_can_read_it():
    new = containerd("containerd://2.3.4", **{CONFIG: "version = 3\n"})
    go = (made_handler("qemu", snapshotter="erofs"),)
    rust = (made_handler("qemu-runtime-rs", snapshotter="erofs"),)
    refused(Refusal.CONTAINERD_TOO_OLD, BY_NAME["k8s-2.1"], handlers=rust, snapshotters=("erofs",))
    refused(Refusal.CONTAINERD_TOO_OLD, BY_NAME["k8s-2.1"], handlers=rust)
    assert "kata-qemu" in refused(Refusal.GO_SHIM_ON_MERGED_EROFS, new, handlers=go)
    custom = (replace(go[0], name="my-runtime"),)
    assert "my-runtime" in refused(Refusal.GO_SHIM_ON_MERGED_EROFS, new, handlers=custom)
    plan = plan_cri(memory(new), request_for(new, handlers=rust, snapshotters=("erofs",)))
    snapshotter = data(plan, plan.decisions["output_file"])["plugins"]["io.containerd.snapshotter.v1.erofs"]
    assert snapshotter["max_unmerged_layers"] == 0
    unmerged = request_for(new, handlers=go, snapshotters=("erofs",), erofs=ErofsSettings(merge_mode=MergeMode.UNMERGED))
    plan = plan_cri(memory(new), unmerged)
    assert "max_unmerged_layers" not in data(plan, plan.decisions["output_file"])["plugins"]["io.containerd.snapshotter.v1.erofs"]


def test_an_unknown_snapshotter_is_refused_and_cri_o_only_warns():
    assert "stargz" in refused(Refusal.UNKNOWN_SNAPSHOTTER, BY_NAME["k8s-2.1"], snapshotters=("stargz",))
    crio = BY_NAME["cri-o"]
    plan = plan_cri(memory(crio), request_for(crio, snapshotters=("nydus", "")))
    assert plan.warnings == ("CRI-O has no snapshotters: nydus skipped",)


# -- CRI-O


def test_cri_o_keeps_the_administrators_storage_options():
    crio = BY_NAME["cri-o"]
    plan = plan_cri(memory(crio), request_for(crio))
    options = data(plan, "/etc/crio/crio.conf.d/99-kata-deploy")["crio"]["storage_option"]
    assert options == ["overlay.mountopt=nodev", "overlay.skip_mount_home=true"]
    main = MemoryHost({"/etc/crio/crio.conf": b'[crio]\nstorage_option = ["overlay.skip_mount_home=true"]\n'})
    assert data(plan_cri(main, request_for(crio)), "/etc/crio/crio.conf.d/99-kata-deploy")["crio"]["storage_option"] == [
        "overlay.skip_mount_home=true"
    ]


def test_cri_o_has_a_debug_file_of_this_install_only_while_debugging(tmp_path):
    crio = BY_NAME["cri-o"]
    host = lay_out(tmp_path, {**crio.files, "/etc/crio/crio.conf.d/100-debug": '[crio.runtime]\nlog_level = "debug"\n'})
    make(tmp_path, plan_cri(host, request_for(crio, debug=True)).edits)
    own = "/etc/crio/crio.conf.d/100-kata-deploy-debug"
    assert tomllib.loads(contents(tmp_path)[own].decode()) == {"crio": {"runtime": {"log_level": "debug"}}}
    make(tmp_path, plan_cri(host, request_for(crio)).edits)
    assert own not in contents(tmp_path)
    assert "/etc/crio/crio.conf.d/100-debug" in contents(tmp_path), "the administrator's stays"


def test_the_reference_installers_shared_debug_file_of_cri_o_is_migrated():
    crio = BY_NAME["cri-o"]
    reference = {
        "/etc/crio/crio.conf.d/99-kata-deploy": "[crio]\n",
        "/etc/crio/crio.conf.d/100-debug": '[crio.runtime]\nlog_level = "debug"\n',
    }
    plan = plan_cri(memory(crio, **reference), request_for(crio))
    assert after(plan, "/etc/crio/crio.conf.d/100-debug") is None
    shared = {**reference, "/etc/crio/crio.conf.d/99-kata-deploy-dev": "[crio]\n"}
    assert "/etc/crio/crio.conf.d/100-debug" not in [e.path for e in plan_cri(memory(crio, **shared), request_for(crio)).edits]
    theirs = {**reference, "/etc/crio/crio.conf.d/100-debug": '[crio.runtime]\nlog_level = "info"\n'}
    assert "/etc/crio/crio.conf.d/100-debug" not in [e.path for e in plan_cri(memory(crio, **theirs), request_for(crio)).edits]


# -- without receipts


def test_traces_of_an_install_without_receipts_say_what_was_there_before(tmp_path):
    for name in ("k8s-1.7", "k8s-2.1", "k8s-2.1-absent", "k3s", "cri-o"):
        distribution = BY_NAME[name]
        root = tmp_path / name
        host = lay_out(root, distribution.files)
        request = request_for(distribution)
        assert traces(host, request) == {}
        before = contents(root)
        make(root, plan_cri(host, request).edits)
        changed = {p: c for p, c in contents(root).items() if before.get(p) != c}
        assert traces(host, request) == {path: before.get(path) for path in changed}


@every_distribution
def test_presence_is_seen_whatever_the_mode(distribution, tmp_path):
    host = lay_out(tmp_path, distribution.files)
    request = request_for(distribution)
    assert not is_cri_configured(host, request)
    make(tmp_path, plan_cri(host, request).edits)
    assert is_cri_configured(host, request)


def test_removal_reports_a_file_it_cannot_clean_and_goes_on(tmp_path):
    distribution = BY_NAME["k8s-2.1"]
    host = lay_out(tmp_path, distribution.files)
    request = request_for(distribution)
    make(tmp_path, plan_cri(host, request).edits)
    (tmp_path / "etc/containerd/config.toml").write_text("not [toml\n")
    plan = plan_cri_removal(host, request)
    assert [edit.path for edit in plan.edits] == ["/opt/kata/containerd/config.d/kata-deploy.toml"]


def test_a_k3s_node_whose_rendered_file_lost_the_import_can_be_cleaned():
    distribution = BY_NAME["k3s"]
    files = {CONFIG: b"version = 3\n", "/etc/containerd/config-v3.toml.d/kata-deploy.toml": b"version = 3\n"}
    plan = plan_cri_removal(MemoryHost(files), request_for(distribution))
    assert [edit.path for edit in plan.edits] == ["/etc/containerd/config-v3.toml.d/kata-deploy.toml"]


def test_a_node_whose_containerd_is_unknown_is_cleaned_by_name():
    distribution = Distribution("k3s", Runtime.K3S, "unknown", {}, CONFIG)
    drop_in = "/etc/containerd/config.toml.d/kata-deploy.toml"
    host = memory(distribution, **{drop_in: "version = 2\n"})
    plan = plan_cri_removal(host, request_for(distribution))
    assert [edit.path for edit in plan.edits] == [drop_in]
    assert any("could not be established" in warning for warning in plan.warnings)
    assert is_cri_configured(memory(distribution), request_for(distribution)), "what is not known counts as there"


def test_leftovers_beside_a_configuration_that_is_gone_are_removed():
    distribution = containerd("containerd://1.7.24", **{f"{CONFIG}.bak": DEBIAN, f"{CONFIG}.kata-deploy-created": ""})
    plan = plan_cri_removal(memory(distribution), request_for(distribution))
    assert {edit.path: edit.after for edit in plan.edits} == {f"{CONFIG}.bak": None, f"{CONFIG}.kata-deploy-created": None}


def test_a_configuration_without_backup_or_anything_of_ours_is_left_with_a_word(tmp_path):
    distribution = BY_NAME["k8s-1.7"]
    plan = plan_cri_removal(memory(distribution), request_for(distribution))
    assert not plan.edits
    assert any("left as it is" in warning for warning in plan.warnings)


def test_hostile_names_stay_inside_their_quotes():
    distribution = BY_NAME["k8s-2.1"]
    hostile = replace(made_handler("qemu"), name='x"]\n[evil]\na="', config_path='/opt/kata/"\n[evil]', snapshotter="a.b")
    plan = plan_cri(memory(distribution), request_for(distribution, handlers=(hostile,)))
    document = data(plan, plan.decisions["output_file"])
    assert set(document) == {"version", "plugins"}
    assert list(document["plugins"][V3]["containerd"]["runtimes"]) == [hostile.name]


def test_k0s_file_is_never_edited():
    distribution = BY_NAME["k0s"]
    plan = plan_cri(memory(distribution), request_for(distribution))
    assert [edit.path for edit in plan.edits] == ["/etc/containerd/containerd.d/kata-deploy.toml"]
    assert data(plan, plan.edits[0].path)["version"] == tomllib.loads(K0S)["version"]


def test_a_view_of_a_directory_and_one_in_memory_plan_the_same(tmp_path):
    for distribution in DISTRIBUTIONS:
        root = tmp_path / distribution.name
        lay_out(root, distribution.files)
        request = request_for(distribution)
        assert plan_cri(HostDirectory(str(root)), request) == plan_cri(memory(distribution), request)
