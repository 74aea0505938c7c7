"""The environment variables of an install: what each means, per architecture, and what is refused."""

from __future__ import annotations

import pytest

from kata_bundle.core.arch import Arch
from kata_bundle.core.errors import UsageError
from kata_bundle.node.config import ConfigError, Given, Origin, OriginKind, Settings, from_environment, resolve
from kata_bundle.node.config.checks import snapshotter_mapping_problems
from kata_bundle.node.config.model import ErofsSize, MergeMode
from kata_bundle.node.config.texts import parse_mapping
from kata_bundle.node.hostedit import HostDirectory, MemoryHost
from kata_bundle.node.shimfacts import load_facts

FACTS = load_facts()
LIST = "/custom-configs/custom-runtimes.list"


def load(env=None, machine="x86_64", files=None, **more):
    variables = {"NODE_NAME": "n", "SHIMS_X86_64": "qemu fc", **(env or {}), **more}
    return from_environment({k: v for k, v in variables.items() if v is not None}, machine, MemoryHost(files or {}), FACTS)


def config(*args, **more):
    return load(*args, **more).config


def kinds(*args, **more):
    with pytest.raises(ConfigError) as refused:
        load(*args, **more)
    return [problem.kind for problem in refused.value.problems]


def message(*args, **more):
    with pytest.raises(ConfigError) as refused:
        load(*args, **more)
    return str(refused.value)


# -- architectures


@pytest.mark.parametrize("arch", Arch)
def test_only_the_variables_of_the_machine_count(arch):
    env = {f"SHIMS_{other.upper()}": "fc" for other in Arch if other is not arch}
    found = config({**env, "SHIMS": "clh", "SHIMS_X86_64": env.get("SHIMS_X86_64")}, arch.value)
    assert found.shims == FACTS.defaults(arch.value).default_shims


@pytest.mark.parametrize("arch", Arch)
def test_every_architecture_has_its_own_shims_and_default(arch):
    found = config({f"SHIMS_{arch.upper()}": " qemu\tqemu-runtime-rs \n", f"DEFAULT_SHIM_{arch.upper()}": "qemu"}, arch.value)
    assert (found.shims, found.default_shim) == (("qemu", "qemu-runtime-rs"), "qemu")


def test_on_another_machine_every_variable_of_an_architecture_counts_as_unset():
    found = config(machine="riscv64", SHIMS_RISCV64="clh", SHIMS="clh", PULL_TYPE_MAPPING_RISCV64="clh:guest-pull")
    assert (found.shims, found.default_shim, bool(found.pull_types)) == (("qemu",), "qemu", False)


def test_absent_shims_mean_the_defaults_and_empty_ones_none_at_all():
    assert config(SHIMS_X86_64=None).shims == FACTS.defaults("x86_64").default_shims
    for text in ("", "   "):
        assert kinds(SHIMS_X86_64=text) == ["no_runtimes"]


def test_empty_shims_are_fine_with_custom_runtimes():
    files = {LIST: b"kata-mine:qemu\n"}
    found = config(SHIMS_X86_64="", CUSTOM_RUNTIMES_ENABLED="true", files=files)
    assert (found.shims, found.default_shim) == ((), None)
    assert found.payload_shims == ("qemu",)


@pytest.mark.parametrize("name", ["DEFAULT_SHIM", "PULL_TYPE_MAPPING", "ALLOWED_HYPERVISOR_ANNOTATIONS"])
def test_an_empty_variable_counts_as_unset(name):
    assert load({f"{name}_X86_64": ""}).config == load().config


# -- default shim (D12)


def test_an_unset_default_shim_that_is_not_configured_gives_way_to_the_first_shim():
    found = load(SHIMS_X86_64="fc qemu")
    assert found.config.default_shim == "fc"
    assert found.origins["default_shim"].name == "SHIMS_X86_64"
    assert config(SHIMS_X86_64="fc qemu-runtime-rs").default_shim == "qemu-runtime-rs"


@pytest.mark.parametrize("text", ["clh", " qemu", "qemu ", "  "])
def test_a_wrong_default_shim_is_refused_as_it_stands(text):
    assert kinds(DEFAULT_SHIM_X86_64=text) == ["default_shim"]
    assert "qemu, fc" in message(DEFAULT_SHIM_X86_64="clh")


# -- shim lists


def test_shims_nobody_knows_are_kept_and_pointed_out():
    found = load(SHIMS_X86_64="test1 qemu-snpp firecracker qemu-se qemu qemu")
    assert found.config.shims == ("test1", "qemu-snpp", "firecracker", "qemu-se", "qemu")
    warnings = "\n".join(found.warnings)
    assert '"test1" is no shim' in warnings
    assert 'did you mean "qemu-snp"' in warnings
    assert '"firecracker" is only another name' in warnings
    assert '"qemu-se" has no components on x86_64' in warnings
    assert "stands twice" in warnings


@pytest.mark.parametrize("text", ["../x", "a/b", "Qemu", "qemu.v2", "-qemu", "q" * 64, "qemu\x00"])
def test_a_shim_that_cannot_be_part_of_a_path_is_refused(text):
    assert "bad_shim_name" in kinds(SHIMS_X86_64=text)


# -- plain variables


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("True", True), ("TRUE ", True), ("1", True), ("yes", False)])
def test_debug_has_one_rule(text, expected):
    assert config(DEBUG=text).debug is expected


@pytest.mark.parametrize("text", ["True", "1", " true", "yes"])
def test_devkit_hook_and_custom_runtimes_are_on_for_the_exact_word_only(text):
    found = config(DEBUG="true", DEVKIT=text, HELM_POST_DELETE_HOOK=text, CUSTOM_RUNTIMES_ENABLED=text, files={LIST: b"a:qemu\n"})
    assert (found.devkit, found.post_delete_hook) == (False, False)
    assert [custom.handler for custom in found.custom_runtimes] == ["kata-qemu-debug", "kata-fc-debug"]


def test_devkit_without_debug_has_no_effect_and_says_so():
    found = load(DEVKIT="true")
    assert not found.config.devkit
    assert found.warnings == ("DEVKIT has no effect without DEBUG",)


@pytest.mark.parametrize("name", [None, "", "  \t"])
def test_the_node_has_to_have_a_name(name):
    assert kinds(NODE_NAME=name) == ["missing_node_name"]
    assert "NODE_NAME" in message(NODE_NAME=name)


def test_blanks_around_plain_values_do_not_count():
    found = config(
        NODE_NAME=" n1 ", DAEMONSET_NAME="  ", MULTI_INSTALL_SUFFIX=" ", CONTAINER_RUNTIME_VERSION="\tcontainerd://2.1 ",
        K8S_DISTRIBUTION=" k3s", CONTAINERD_CONFIG_FILE_NAME="  ", EROFS_MERGE_MODE=" UnMerged ", EROFS_SNAPSHOTTER_MODE=" disk ",
        EROFS_DMVERITY=" DmVerity ", EXPERIMENTAL_SETUP_SNAPSHOTTER="nydus, ,erofs,",
    )  # fmt: skip
    assert (found.node_name, found.daemonset_name, found.suffix) == ("n1", "kata-deploy", None)
    assert (found.runtime_version, found.distribution) == ("containerd://2.1", "k3s")
    assert found.containerd_config == "/etc/containerd/config.toml"
    assert (found.erofs_merge_mode, found.erofs_size) == (MergeMode.UNMERGED, ErofsSize.DISK)
    assert found.erofs_dmverity
    assert found.snapshotter_setup == ("nydus", "erofs")


def test_erofs_modes_are_told_apart_by_case_as_the_variables_do():
    assert kinds(EROFS_SNAPSHOTTER_MODE="Disk") == ["bad_erofs_snapshotter_mode"]
    assert kinds(EROFS_MERGE_MODE="flat") == ["bad_erofs_merge_mode"]


@pytest.mark.parametrize("name", [".", "..", "sub/config.toml", "../etc/shadow", "config.toml/", "/etc/passwd", "a\nb"])
def test_the_containerd_configuration_is_a_simple_file_name(name):
    assert kinds(CONTAINERD_CONFIG_FILE_NAME=name) == ["bad_config_file_name"]


def test_dots_in_the_containerd_configuration_name_are_fine():
    found = config(CONTAINERD_CONFIG_FILE_NAME="config.v2.toml")
    assert (found.containerd_config, found.containerd_backup) == (
        "/etc/containerd/config.v2.toml",
        "/etc/containerd/config.v2.toml.bak",
    )


@pytest.mark.parametrize("suffix", ["v1.2", "a/b", "..", "Dev", "-a", "a-", "a_b", "a" * 31, "é", 'a"b', "a b"])
def test_a_suffix_that_would_change_paths_units_or_tables_is_refused(suffix):
    assert kinds(MULTI_INSTALL_SUFFIX=suffix) == ["bad_suffix"]


@pytest.mark.parametrize("suffix", ["a", "v2", "a-b", "a" * 30])
def test_a_suffix_reaches_paths_and_handlers(suffix):
    found = config(MULTI_INSTALL_SUFFIX=suffix, DEBUG="true")
    assert found.dest == f"/opt/kata-{suffix}"
    assert found.crio_runtime_file == f"/etc/crio/crio.conf.d/99-kata-deploy-{suffix}"
    assert found.crio_debug_file == f"/etc/crio/crio.conf.d/100-kata-deploy-debug-{suffix}"
    assert [custom.handler for custom in found.custom_runtimes] == [f"kata-qemu-{suffix}-debug", f"kata-fc-{suffix}-debug"]


def test_suffixes_that_give_handlers_of_others_or_too_long_ones_are_pointed_out():
    assert any('also one of shim "qemu-snp"' in w for w in load(MULTI_INSTALL_SUFFIX="snp").warnings)
    long = load(SHIMS_X86_64="qemu-nvidia-gpu-snp-runtime-rs", MULTI_INSTALL_SUFFIX="x" * 30).warnings
    assert any("at most 63" in w for w in long)
    assert any('"default" is also' in w for w in load(MULTI_INSTALL_SUFFIX="default").warnings)


@pytest.mark.parametrize("prefix", ["custom", "./x", "~/x"])
def test_a_relative_prefix_is_refused_by_name(prefix):
    assert kinds(INSTALLATION_PREFIX=prefix) == ["bad_installation_prefix"]
    assert "INSTALLATION_PREFIX" in message(INSTALLATION_PREFIX=prefix)


@pytest.mark.parametrize("prefix", ["/a/../b", "/a\nb", "/..", "/a\x1b[1m"])
def test_a_prefix_that_leads_elsewhere_is_refused(prefix):
    assert kinds(INSTALLATION_PREFIX=prefix) == ["bad_installation_prefix"]


@pytest.mark.parametrize(
    ("prefix", "dest"), [("/custom", "/custom/opt/kata"), ("/custom//x/", "/custom/x/opt/kata"), ("/", "/opt/kata")]
)
def test_a_prefix_is_put_in_front(prefix, dest):
    found = config(INSTALLATION_PREFIX=prefix)
    assert found.dest == dest
    assert found.has_default_dest is (dest == "/opt/kata")
    assert found.containerd_drop_in == f"{dest}/containerd/config.d/kata-deploy.toml"


@pytest.mark.parametrize(
    ("text", "port", "warns"), [(None, 8090, 0), ("9000", 9000, 0), ("0", 8090, 1), ("x", 8090, 1), ("70000", 8090, 1)]
)
def test_an_invalid_health_port_is_replaced_and_said(text, port, warns):
    found = load(HEALTH_PORT=text)
    assert found.config.health_port == port
    assert len(found.warnings) == warns


def test_an_install_directory_that_was_chosen_directly_wins():
    origin = Origin(kind=OriginKind.OPTION, name="--dest")
    given = Settings(shims=Given(("qemu",), origin), install_directory=Given("/srv/kata", origin))
    found = resolve(given, "x86_64", FACTS)
    assert (found.config.dest, found.config.has_default_dest, found.config.node_name) == ("/srv/kata", False, None)
    assert found.origins["install_directory"] == origin


def test_the_machine_id_has_two_names():
    assert config(KATA_DEPLOY_NODE_MACHINE_ID="b").machine_id == "b"
    assert config(NODE_MACHINE_ID="a", KATA_DEPLOY_NODE_MACHINE_ID="b").machine_id == "a"


def test_a_containerd_drop_in_is_read_where_it_is_mounted():
    found = config(CONTAINERD_USER_DROP_IN_SOURCE_FILE=" /m/x.toml ", files={"/m/x.toml": b"a = 1"}).containerd_user_drop_in
    assert (found.source, found.data) == ("/m/x.toml", b"a = 1")
    assert config(CONTAINERD_USER_DROP_IN_SOURCE_FILE="/m/none").containerd_user_drop_in.data is None
    assert config(CONTAINERD_USER_DROP_IN_SOURCE_FILE=" ").containerd_user_drop_in is None


# -- settings that name shims


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64", "clh:a,b"),
        ("SNAPSHOTTER_HANDLER_MAPPING_X86_64", "qemu:nydus, clh : erofs"),
        ("PULL_TYPE_MAPPING_X86_64", "clh:guest-pull"),
        ("EXPERIMENTAL_FORCE_GUEST_PULL_X86_64", "qemu, clh"),
        ("AGENT_HTTPS_PROXY", "qemu=http://a;clh=http://b"),
        ("AGENT_NO_PROXY", " clh =x"),
        ("AGENT_HTTPS_PROXY_X86_64", "clh=http://b"),
    ],
)
def test_a_shim_that_is_not_configured_is_refused_by_variable_name_and_valid_list(name, text):
    assert kinds({name: text}) == ["unknown_shim_reference"]
    shown = message({name: text})
    assert name in shown
    assert '"clh"' in shown
    assert "qemu, fc" in shown


def test_malformed_mapping_entries_pass_here_since_the_host_check_is_stricter():
    found = config(SNAPSHOTTER_HANDLER_MAPPING_X86_64="clh:a:b,clh")
    assert found.snapshotters.lookup("clh") is None


def test_blanks_in_mappings_count_nowhere():
    found = config(SNAPSHOTTER_HANDLER_MAPPING_X86_64=" qemu : erofs , fc:,", DEBUG="true")
    assert found.snapshotters.lookup("qemu") == "erofs"
    assert found.snapshotters.lookup("fc") is None
    assert found.custom_runtimes[0].snapshotter == "erofs"
    assert found.snapshotters.text == "qemu:erofs,fc:"


def test_the_first_entry_of_a_mapping_wins():
    found = config(SNAPSHOTTER_HANDLER_MAPPING_X86_64="qemu:a:b,qemu:,qemu:c")
    assert found.snapshotters.lookup("qemu") is None


def test_annotation_entries_without_shim_are_ignored_aloud():
    found = load(ALLOWED_HYPERVISOR_ANNOTATIONS_X86_64=":a qemu:b,,c d, ,")
    assert [rule.text for rule in found.config.annotation_rules] == ["qemu:b,c", "d"]
    assert len(found.warnings) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qemu:nydus, fc : devmapper ,", []),
        ("qemu:", ["empty_snapshotter"]),
        (":nydus", ["empty_shim"]),
        (":", ["empty_shim", "empty_snapshotter"]),
        ("clh:nydus", ["unknown_shim_reference"]),
        ("qemu:a,qemu:b", ["duplicate_shim"]),
        ("qemu", ["bad_mapping_format"]),
        ("qemu:a:b,fc", ["bad_mapping_format", "bad_mapping_format"]),
    ],
)
def test_the_host_check_is_strict_about_mappings(text, expected):
    found = snapshotter_mapping_problems(parse_mapping(text), ("qemu", "fc"))
    assert [problem.kind for problem in found] == expected
    assert all("SNAPSHOTTER_HANDLER_MAPPING" in problem.message for problem in found)


# -- proxies (D14, D16)


def test_a_proxy_of_the_architecture_is_preferred():
    found = load(AGENT_HTTPS_PROXY="http://plain", AGENT_HTTPS_PROXY_X86_64="qemu=http://own")
    assert found.config.https_proxy.value_for("qemu") == "http://own"
    assert found.config.https_proxy.value_for("fc") is None
    assert found.origins["https_proxy"].name == "AGENT_HTTPS_PROXY_X86_64"


def test_a_plain_proxy_for_a_shim_of_another_architecture_is_ignored_aloud():
    found = load(AGENT_HTTPS_PROXY="qemu-se=http://s390x;qemu=http://here")
    assert found.config.https_proxy.value_for("qemu") == "http://here"
    assert any("qemu-se" in w and "ignored" in w for w in found.warnings)
    assert kinds(AGENT_HTTPS_PROXY_X86_64="qemu-se=http://s390x") == ["unknown_shim_reference"]
    assert kinds(AGENT_HTTPS_PROXY="nobody=http://x") == ["unknown_shim_reference"]


@pytest.mark.parametrize(
    "text",
    [
        "http://proxy:8080/?key=value",
        "http://user:pa=ss@proxy:8080",
        "user:pa=ss@proxy",
        "proxy.example=x:1",
        "http://a/?b=c;d=e",
        "https://[::1]:3128/#a=b",
    ],
)
def test_an_equals_sign_inside_an_address_does_not_make_it_a_list(text):
    found = config(AGENT_HTTPS_PROXY=text).https_proxy
    assert (found.everywhere, found.value_for("anything")) == (text, text)


def test_a_list_of_proxies_is_trimmed_and_its_first_match_wins():
    found = load(AGENT_NO_PROXY=" qemu = a=b ; fc=;=x;; junk ;qemu=second")
    assert found.config.no_proxy.per_shim == (("qemu", "a=b"), ("qemu", "second"))
    assert found.config.no_proxy.value_for("qemu") == "a=b"
    assert len(found.warnings) == 1


def test_blanks_in_a_list_of_addresses_go_and_others_are_refused():
    assert config(AGENT_NO_PROXY="localhost, 10.0.0.0/8 ,x").no_proxy.everywhere == "localhost,10.0.0.0/8,x"
    assert kinds(AGENT_NO_PROXY="localhost init=/bin/sh") == ["bad_proxy"]
    assert kinds(AGENT_HTTPS_PROXY="qemu=http://a\tb") == ["bad_proxy"]


# -- custom runtimes (D3, D20)


def custom(text, **more):
    return {"CUSTOM_RUNTIMES_ENABLED": "true", **more}, {LIST: text.encode()}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("../../etc:qemu", "bad_handler"),
        ("a/b:qemu", "bad_handler"),
        ("Kata:qemu", "bad_handler"),
        ("kata.v2:qemu", "bad_handler"),
        ("a" * 64 + ":qemu", "bad_handler"),
        ("a:qemu\na:fc", "duplicate_handler"),
        ("kata-qemu:qemu", "reserved_handler"),
        ("kata-clh:qemu", "reserved_handler"),
        ("kata-qemu-debug:qemu", "reserved_handler"),
        ("kata-fc-devkit:qemu", "reserved_handler"),
        ("a:nothing", "unknown_shim"),
        ("a:qemu-nothing", "unknown_shim"),
        ("a:firecracker", "unknown_shim"),
        ("a:../qemu", "unknown_shim"),
        ("a:", "missing_base_config"),
    ],
)
def test_custom_runtimes_that_cannot_be_are_refused(text, kind):
    env, files = custom(text)
    assert kinds(env, files=files) == [kind]


def test_reserved_handlers_follow_the_suffix():
    env, files = custom("kata-qemu:qemu\n", MULTI_INSTALL_SUFFIX="dev")
    assert config(env, files=files).custom_runtimes[0].handler == "kata-qemu"
    env, files = custom("kata-qemu-dev:qemu\n", MULTI_INSTALL_SUFFIX="dev")
    assert kinds(env, files=files) == ["reserved_handler"]


def test_custom_runtimes_come_with_their_drop_in_and_before_variants():
    env, files = custom("mine:qemu:erofs:guest-pull\n", DEBUG="true")
    files["/custom-configs/dropin-mine.toml"] = b"[runtime]\n"
    first, *rest = config(env, files=files).custom_runtimes
    assert (first.handler, first.drop_in, first.snapshotter, first.pull_type) == ("mine", b"[runtime]\n", "erofs", "guest-pull")
    assert not first.is_variant
    assert all(runtime.is_variant for runtime in rest)


def test_a_missing_or_unreadable_list_is_a_warning_and_no_runtimes():
    assert load(CUSTOM_RUNTIMES_ENABLED="true").warnings
    env, files = custom("")
    files[LIST] = b"\xff"
    assert load(env, files=files).config.custom_runtimes == ()
    assert kinds({**env, "SHIMS_X86_64": ""}, files=files) == ["no_runtimes"]


def test_a_mounted_drop_in_belongs_to_its_configured_shim_only():
    files = {"/custom-configs/dropin-qemu.toml": b"a = 1\n", "/custom-configs/dropin-clh.toml": b"", "/custom-configs/x": b""}
    assert config(files=files).shim_drop_ins == {"qemu": b"a = 1\n"}


def test_a_drop_in_that_is_no_toml_is_refused_before_any_pod_is():
    assert kinds(files={"/custom-configs/dropin-qemu.toml": b"a = "}) == ["bad_drop_in"]
    env, files = custom("mine:qemu\n")
    files["/custom-configs/dropin-mine.toml"] = b"\xff"
    assert kinds(env, files=files) == ["bad_drop_in"]


def test_mounted_files_are_read_from_a_real_folder(tmp_path):
    folder = tmp_path / "custom-configs"
    folder.mkdir()
    (folder / "custom-runtimes.list").write_text("mine:fc\n")
    (folder / "dropin-mine.toml").write_text("[runtime]\n")
    env = {"NODE_NAME": "n", "SHIMS_X86_64": "qemu", "CUSTOM_RUNTIMES_ENABLED": "true"}
    found = from_environment(env, "x86_64", HostDirectory(str(tmp_path)), FACTS).config
    assert [(c.handler, c.base, c.drop_in) for c in found.custom_runtimes] == [("mine", "fc", b"[runtime]\n")]


# -- reporting


def test_everything_wrong_is_reported_at_once():
    found = kinds(NODE_NAME="", MULTI_INSTALL_SUFFIX="A", INSTALLATION_PREFIX="x", EROFS_MERGE_MODE="x", AGENT_NO_PROXY="clh=x")
    assert sorted(found) == [
        "bad_erofs_merge_mode", "bad_installation_prefix", "bad_suffix", "missing_node_name", "unknown_shim_reference",
    ]  # fmt: skip


def test_a_bad_configuration_is_a_usage_error():
    with pytest.raises(UsageError) as refused:
        load(NODE_NAME="")
    assert refused.value.exit_code == 2
    assert refused.value.hint


def test_guest_pull_is_noticed_wherever_it_is_asked_for():
    assert not config(PULL_TYPE_MAPPING_X86_64="qemu:default").uses_guest_pull
    assert config(PULL_TYPE_MAPPING_X86_64="qemu:guest-pull").uses_guest_pull
    assert config(EXPERIMENTAL_FORCE_GUEST_PULL_X86_64="qemu").uses_guest_pull
    env, files = custom("a:qemu::guest-pull\n")
    assert config(env, files=files).uses_guest_pull


@pytest.mark.parametrize("secret", ["hunter2", "s3=cr/et"])
def test_credentials_are_shown_nowhere(secret):
    proxies = [f"http://user:{secret}@proxy:1", f"user:{secret}@proxy", f"qemu=http://u:{secret}@p;fc=http://{secret}@q"]
    for text in [*proxies, f"http://proxy/?token={secret}"]:
        found = load(AGENT_HTTPS_PROXY=text).config
        assert secret in (found.https_proxy.text or "")
        assert secret not in repr(found)
        assert secret not in (found.https_proxy.shown or "")
    assert secret not in message(AGENT_HTTPS_PROXY=f"clh=http://u:{secret}@p")
    assert secret not in message(AGENT_HTTPS_PROXY=f"http://u:{secret}@p x")
