"""Whatever stands in the settings, nothing leaves the install tree or its quoting."""

from __future__ import annotations

import shlex
import tomllib

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kata_bundle.core.relpath import parse_relpath
from kata_bundle.node.config import ConfigError, from_environment
from kata_bundle.node.config.model import DNS_LABEL, AnnotationRule, CustomRuntime, NodeConfig, ProxySetting, redact
from kata_bundle.node.config.problems import Problems
from kata_bundle.node.config.texts import parse_mapping, parse_proxy
from kata_bundle.node.hostedit import MemoryHost
from kata_bundle.node.kata import kata_configuration, runtime_handlers
from kata_bundle.node.kata.configfile import iter_strings, merge_drop_ins
from kata_bundle.node.kata.dropins import DropIn
from kata_bundle.node.kata.prefix import Wrapper
from kata_bundle.node.overlay import OverlayFile, OverlayLink
from kata_bundle.node.shimfacts import load_facts
from kata_bundle.node.tomltext import render_document
from tests.fixtures.payload import MemoryPayload

FACTS = load_facts()
STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
SHIMS = sorted(FACTS.shims)
ROOT = "share/defaults/kata-containers"
QEMU = f"{ROOT}/configuration-qemu.toml"

NASTY = [
    *("..", "../..", "/", "a/../b", "/etc/passwd", 'a"b', "a'b", "$(x)", "`x`", "a\nb", "]\n[x", "=", "a=b", ":", "a:b:c", "a.b"),
    *("{{", "\x1b[2J", "true", " qemu ", "qemu", "qemu:nydus", "qemu=http://u:p@h", "\u202e", "fc:a,b", "clh"),
]
hostile = st.one_of(st.text(max_size=30).filter(lambda text: "\0" not in text), st.sampled_from(NASTY))
printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
OF_ARCH = [
    "DEFAULT_SHIM", "ALLOWED_HYPERVISOR_ANNOTATIONS", "SNAPSHOTTER_HANDLER_MAPPING", "PULL_TYPE_MAPPING",
    "EXPERIMENTAL_FORCE_GUEST_PULL", "AGENT_NO_PROXY",
]  # fmt: skip
PLAIN = [
    "DAEMONSET_NAME", "DEBUG", "DEVKIT", "AGENT_HTTPS_PROXY", "AGENT_NO_PROXY", "INSTALLATION_PREFIX",
    "MULTI_INSTALL_SUFFIX", "EXPERIMENTAL_SETUP_SNAPSHOTTER", "EROFS_MERGE_MODE", "EROFS_SNAPSHOTTER_MODE",
    "EROFS_DMVERITY", "CONTAINERD_CONFIG_FILE_NAME", "STARTUP_TAINTS", "HEALTH_PORT", "CONTAINERD_USER_DROP_IN_SOURCE_FILE",
    "CONTAINER_RUNTIME_VERSION", "K8S_DISTRIBUTION",
]  # fmt: skip
VARIABLES = [*PLAIN, *(f"{name}_X86_64" for name in OF_ARCH)]
environments = st.fixed_dictionaries(
    {"NODE_NAME": st.just("n"), "SHIMS_X86_64": st.one_of(st.just("qemu fc"), hostile)},
    optional=dict.fromkeys(VARIABLES, hostile),
)


@STEADY
@given(environments, hostile)
def test_an_accepted_environment_stays_inside_its_folders(environment, listed):
    files = {"/custom-configs/custom-runtimes.list": f"{listed}\nmine:qemu\n".encode()}
    try:
        config = from_environment({**environment, "CUSTOM_RUNTIMES_ENABLED": "true"}, "x86_64", MemoryHost(files), FACTS).config
    except ConfigError:
        return
    assert config.dest.startswith("/")
    assert "/.." not in config.dest
    assert config.dest.isprintable()
    for path, folder in (
        (config.containerd_config, "/etc/containerd"),
        (config.crio_runtime_file, "/etc/crio/crio.conf.d"),
        (config.crio_debug_file, "/etc/crio/crio.conf.d"),
    ):
        assert path.rpartition("/")[0] == folder
        assert path.rpartition("/")[2] not in {"", ".", ".."}
    names = [custom.handler for custom in config.custom_runtimes]
    assert all(DNS_LABEL.fullmatch(name) for name in [*config.shims, *names] if not name.endswith(("-debug", "-devkit")))
    assert len(set(names)) == len(names)
    known = [shim for shim in config.shims if shim in FACTS.shims]
    for handler in runtime_handlers(NodeConfig(machine="x86_64", shims=tuple(known), suffix=config.suffix), FACTS):
        assert "/../" not in handler.config_path


@STEADY
@given(st.text(max_size=40))
def test_a_mapping_is_the_same_after_being_spelled_out(text):
    once = parse_mapping(text)
    assert parse_mapping(once.text or "") == once


@STEADY
@given(printable, printable, st.sampled_from(["http://", "https://", "", "socks5://"]))
@example("a", "b@c?d", "http://")
def test_no_credential_is_shown(user, password, scheme):
    shown = redact(f"{scheme}{user}:{password}@proxy.example:3128/")
    assert shown == f"{scheme}***@proxy.example:3128/"


@STEADY
@given(st.text(max_size=60))
def test_a_proxy_value_is_one_word_of_a_kernel_command_line(text):
    problems = Problems()
    setting = parse_proxy(text, problems, name="X")
    try:
        problems.raise_if_any()
    except ConfigError:
        return
    values = [setting.everywhere] if setting.everywhere is not None else [value for _, value in setting.per_shim]
    for value in values:
        assert value.split() == [value]


# -- generated configuration

texts = st.one_of(
    st.text(max_size=15),
    st.sampled_from(
        ["/opt/kata", "/opt/kata/bin/qemu-system-x86_64", "/opt/kata/a b", "/opt/katana", "/usr/x", '"""', "\\", "\x7f"]
    ),
)
scalars = st.one_of(texts, st.booleans(), st.integers(-5, 5))
keys = st.one_of(st.sampled_from(["path", "kernel", "image", "runtime", "a.b", "x"]), st.text(min_size=1, max_size=6))
tables = st.dictionaries(keys, st.one_of(scalars, st.lists(texts, max_size=3)), max_size=5)
bases = st.builds(
    lambda section, extensions, runtime, others: {
        "hypervisor": {
            "qemu": {**section, "guest_extension_images": extensions, "enable_annotations": ["a"], "kernel_params": "k"}
        },
        "runtime": runtime,
        **others,
    },
    tables,
    st.lists(st.dictionaries(st.sampled_from(["name", "path", "verity_params", "z"]), texts, max_size=4), max_size=3),
    tables,
    st.dictionaries(st.sampled_from(["agent", "factory"]), tables, max_size=2),
)
proxies = st.builds(lambda value: ProxySetting(everywhere=value), printable)


@st.composite
def configurations(draw):
    suffix = draw(st.one_of(st.none(), st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)))
    prefix = draw(st.one_of(st.none(), printable.map(lambda text: "/" + text.replace("/", "_").replace("..", "_"))))
    annotations = draw(st.lists(printable, max_size=3))
    return NodeConfig(
        machine="x86_64",
        shims=("qemu",),
        suffix=suffix,
        installation_prefix=prefix,
        https_proxy=draw(proxies),
        debug=True,
        devkit=True,
        annotation_rules=(AnnotationRule(shim=None, annotations=tuple(annotations)),) if annotations else (),
        forced_guest_pull=draw(st.sampled_from([(), ("qemu",)])),
        custom_runtimes=(CustomRuntime(handler="mine", base="qemu", is_debug=True, is_devkit=True),),
    )


@STEADY
@given(bases, configurations())
def test_generated_files_stay_in_the_tree_and_say_what_was_asked(base, config):
    payload = MemoryPayload({QEMU: render_document(base).encode()}, config.dest)
    result = kata_configuration(payload, config, FACTS, runtime="k0s-worker")
    for path, item in result.overlay.files.items():
        assert parse_relpath(path) == path
        assert path.startswith((f"{ROOT}/", "bin/"))
        if isinstance(item, OverlayLink):
            assert ".." not in item.target
            assert not item.target.startswith("/")
    parsed = {
        path: tomllib.loads(item.data.decode())
        for path, item in result.overlay.files.items()
        if isinstance(item, OverlayFile) and path.endswith(".toml")
    }
    for folder in (f"{ROOT}/runtimes/qemu", f"{ROOT}/custom-runtimes/mine"):
        drop_ins = {path: values for path, values in sorted(parsed.items()) if path.startswith(f"{folder}/config.d/")}
        effective = merge_drop_ins(parsed[f"{folder}/configuration-qemu.toml"], drop_ins.values())
        params = effective["hypervisor"]["qemu"]["kernel_params"].split(" ")
        assert params[:2] == ["k", f"agent.https_proxy={config.https_proxy.everywhere}"]
        allowed = effective["hypervisor"]["qemu"]["enable_annotations"]
        assert allowed == sorted({"a", *(name for rule in config.annotation_rules for name in rule.annotations)})
        if not config.has_default_dest:
            left = [text for _, text in iter_strings(effective) if text == "/opt/kata" or text.startswith("/opt/kata/")]
            assert not [text for text in left if not text.startswith(config.dest)]
            prefix = drop_ins[f"{folder}/config.d/{DropIn.PREFIX}"]
            assert paths_of(prefix) <= paths_of(base)


def paths_of(table, path=()):
    return {
        found
        for key, value in table.items()
        for found in (paths_of(value, (*path, key)) if isinstance(value, dict) else {(*path, key)})
    }


@STEADY
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_the_wrapper_says_exactly_where_the_emulator_is(folder):
    dest = f"/x{folder}"
    script = Wrapper(path="w", program="bin/e", firmware_folder="share/f/").script(dest).decode()
    words = shlex.split(script.partition("\nexec ")[2])
    assert words == [f"{dest}/bin/e", "$@", "-L", f"{dest}/share/f/"]
