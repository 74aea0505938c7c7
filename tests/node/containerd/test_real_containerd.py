"""Real containerd loads what the installer plans: every handler, the original runtimes, an answering CRI, nothing else changed.

Every cell of root configuration and release, through the file itself, ``imports`` and ``conf.d``. What a release would load
wrongly is refused before anything is written; ``test_import_matrix`` shows what the release would have done.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kata_bundle.node.cri.compose import plan_cri, plan_cri_removal
from kata_bundle.node.cri.model import CriRequest, ErofsSettings
from kata_bundle.node.hostedit import EditKind
from kata_bundle.node.refusal import Refusal, RefusedError
from kata_bundle.node.runtime import Runtime
from tests.fixtures.containerds import Release, release  # noqa: F401 - a fixture
from tests.fixtures.cri_hosts import (
    ADMIN_2,
    ADMIN_3,
    CONF_D_3,
    DEBIAN,
    K0S,
    MICROK8S,
    RANCHER_3,
    contents,
    lay_out,
    made_handler,
    make,
    undo,
)

pytestmark = [pytest.mark.root, pytest.mark.node, pytest.mark.net]

CONFIG = "/etc/containerd/config.toml"
SHIMS = ("qemu", "clh", "dragonball", "qemu-snp-runtime-rs")
HANDLERS = tuple(made_handler(shim) for shim in SHIMS)
NAMES = {handler.name for handler in HANDLERS}

INLINE_2 = """\
version = 2
plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.runtime_type = "io.containerd.runc.v2"
[debug]
  level = "info"
"""

ROOTS: dict[str, str | None] = {
    "absent": None,
    "empty": "",
    "no version": "oom_score = 0\n",
    "version 1": "version = 1\noom_score = 0\n",
    "version 2 alone": "version = 2\n",
    "version 2, no runtime": DEBIAN,
    "version 2, administrator's": ADMIN_2,
    "version 2, dotted keys": INLINE_2,
    "version 2, microk8s": MICROK8S.replace("${SNAPSHOTTER}", "native").replace("${RUNTIME}", "runc"),
    "version 3 alone": "version = 3\n",
    "version 3, administrator's": ADMIN_3,
    "version 3, conf.d": CONF_D_3,
    "version 4": "version = 4\n",
    "the release's default": "default",
}


def expectation(release: Release, name: str) -> Refusal | str | None:  # noqa: F811
    """Return the refusal, ``"invalid"`` where containerd itself refuses the root alone, or ``None`` for "works"."""
    minor = release.minor
    if minor < (2, 0):
        if name.startswith(("version 3", "version 4")):
            return Refusal.UNSUPPORTED_SCHEMA
        return None
    if name in {"empty", "no version", "version 1"}:
        return Refusal.UNSUPPORTED_SCHEMA
    if name == "version 4" and minor < (2, 3):
        return "invalid"
    return None


def request_for(release: Release, runtime: Runtime = Runtime.CONTAINERD, **more: Any) -> CriRequest:  # noqa: F811
    return CriRequest(**{"runtime": runtime, "version": release.string, "dest": "/opt/kata", "handlers": HANDLERS, **more})


def files_for(release: Release, name: str) -> dict[str, str]:  # noqa: F811
    text = ROOTS[name]
    text = release.default_config() if text == "default" else text
    return {"/etc/containerd/keep": "", **({} if text is None else {CONFIG: text})}


def runtimes_of(dump: dict[str, Any]) -> dict[str, Any]:
    plugins = dump["plugins"]
    for plugin in ("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"):
        found = plugins.get(plugin, {}).get("containerd", {}).get("runtimes")
        if found:
            return found
    return {}


def differences(one: Any, other: Any, at: str = "") -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        return [line for key in sorted({*one, *other}) for line in differences(one.get(key), other.get(key), f"{at}.{key}")]
    return [] if one == other else [f"{at}: {one!r} -> {other!r}"]


def without_ours(dump: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Return a dump as it would be without our handlers and the files it was read from."""
    rest = copy.deepcopy(dump)
    for name in NAMES:
        runtimes_of(rest).pop(name, None)
    rest["imports"] = before.get("imports")
    return rest


@pytest.mark.parametrize("name", ROOTS)
def test_every_root_configuration(release, name, tmp_path):  # noqa: F811
    root = tmp_path / "host"
    host = lay_out(root, files_for(release, name))
    untouched = contents(root)
    expected = expectation(release, name)
    if expected == "invalid":
        with pytest.raises(ValueError, match="version"):
            release.dump(root)
        return
    if expected is not None:
        with pytest.raises(RefusedError) as caught:
            plan_cri(host, request_for(release))
        assert caught.value.kind is expected
        assert caught.value.hint
        assert contents(root) == untouched
        return
    if CONFIG in untouched:
        before = release.dump(root)
    else:
        lay_out(root, {CONFIG: f"version = {2 if release.minor < (2, 0) else 3}\n"})
        before = release.dump(root)
        (root / CONFIG.lstrip("/")).unlink()
    plan = plan_cri(host, request_for(release))
    old = make(root, plan.edits)
    after = release.dump(root)
    loaded = runtimes_of(after)
    assert set(loaded) >= NAMES
    assert set(runtimes_of(before)) <= set(loaded), "the original runtimes are still there"
    for handler in HANDLERS:
        assert loaded[handler.name]["runtime_type"] == f"io.containerd.{handler.name}.v2"
        assert loaded[handler.name]["runtime_path"] == handler.runtime_path
        assert loaded[handler.name]["options"]["ConfigPath"] == handler.config_path
        assert loaded[handler.name]["pod_annotations"] == ["io.katacontainers.*"]
        assert loaded[handler.name]["privileged_without_host_devices"] is True
    if not set(runtimes_of(before)) - {"runc"}:
        # Where the built-in runtime had to be stated, its defaults are left out; the running CRI, asked below, fills them in.
        for dump in (before, after):
            for key in ("options", "sandbox_mode"):
                runtimes_of(dump).get("runc", {}).pop(key, None)
    assert not differences(before, without_ours(after, before)), "nothing else changed"
    with release.running(root, tmp_path / "run") as daemon:
        cri = daemon.cri()
        assert cri.conditions["RuntimeReady"]
        assert NAMES | set(runtimes_of(before)) <= set(cri.runtimes)
        assert {runtime.get("sandboxMode", "podsandbox") for runtime in cri.runtimes.values()} == {"podsandbox"}
        if release.minor >= (2, 0):
            assert NAMES | set(runtimes_of(before)) <= set(cri.handlers)
        states = daemon.plugins()
        assert {state for plugin, state in states.items() if "cri" in plugin} == {"ok"}
    undo(root, plan.edits, old)
    assert contents(root) == untouched


@pytest.mark.parametrize("name", ["version 2, administrator's", "version 3, administrator's", "the release's default"])
def test_debug_nydus_and_a_second_install_load_beside_each_other(release, name, tmp_path):  # noqa: F811
    if expectation(release, name) is not None:
        pytest.skip(f"containerd {release.version} does not read {name}")
    root = tmp_path / "host"
    host = lay_out(root, files_for(release, name))
    untouched = contents(root)
    mapped = release.minor >= (1, 7)
    handlers = (made_handler("qemu-coco-dev", snapshotter="nydus" if mapped else None), made_handler("qemu"))
    first = plan_cri(host, request_for(release, handlers=handlers, snapshotters=("nydus",), debug=True))
    make(root, first.edits)
    both = {"kata-qemu-coco-dev", "kata-qemu"}
    if release.minor >= (2, 0):
        other = made_handler("clh", dest="/opt/kata-dev", suffix="dev", snapshotter="nydus")
        second = request_for(release, handlers=(other,), dest="/opt/kata-dev", suffix="dev", snapshotters=("nydus",))
        make(root, plan_cri(host, second).edits)
        both.add("kata-clh-dev")
    dump = release.dump(root)
    assert both <= set(runtimes_of(dump))
    assert dump["debug"]["level"] == "debug"
    assert dump["proxy_plugins"]["nydus-for-kata-tee"]["address"] == "/run/nydus-for-kata-tee/containerd-nydus-grpc.sock"
    tables = [
        dump["plugins"].get("io.containerd.cri.v1.images", {}),
        dump["plugins"].get("io.containerd.grpc.v1.cri", {}).get("containerd", {}),
    ]
    assert [t["disable_snapshot_annotations"] for t in tables if "disable_snapshot_annotations" in t] == [False]
    if release.minor >= (2, 0) and first.decisions["schema"] >= 3:
        platforms = dump["plugins"]["io.containerd.cri.v1.images"]["runtime_platforms"]
        assert platforms["kata-qemu-coco-dev"]["snapshotter"] == "nydus-for-kata-tee"
        assert platforms["kata-clh-dev"]["snapshotter"] == "nydus-for-kata-tee-dev"
    with release.running(root, tmp_path / "run") as daemon:
        assert both <= set(daemon.cri().runtimes)
    if release.minor >= (2, 0):
        make(root, plan_cri_removal(host, second).edits)
        assert set(runtimes_of(release.dump(root))) & both == both - {"kata-clh-dev"}
    make(root, plan_cri_removal(host, request_for(release)).edits)
    found = contents(root)
    assert set(found) == set(untouched)
    assert not set(runtimes_of(release.dump(root))) & both


def test_conf_d_is_loaded_where_the_root_imports_it(release, tmp_path):  # noqa: F811
    if release.minor < (2, 0):
        pytest.skip("containerd before 2.0 gets no drop-in")
    root = tmp_path / "host"
    host = lay_out(root, {CONFIG: CONF_D_3})
    plan = plan_cri(host, request_for(release, user_drop_in=b'[debug]\nlevel = "warn"\n', debug=True))
    make(root, plan.edits)
    expected = (
        "/etc/containerd/conf.d/kata-deploy.toml" if release.minor >= (2, 2) else "/opt/kata/containerd/config.d/kata-deploy.toml"
    )
    assert plan.decisions["output_file"] == expected
    dump = release.dump(root)
    assert set(runtimes_of(dump)) >= NAMES
    assert dump["debug"]["level"] == "warn", "the user's drop-in has the last word"


@pytest.mark.parametrize("distribution", ["k3s", "k0s", "microk8s"])
def test_distributions_that_bring_their_own_containerd(release, distribution, tmp_path):  # noqa: F811
    root = tmp_path / "host"
    folder = {
        "k3s": "/var/lib/rancher/k3s/agent/etc/containerd",
        "k0s": "/etc/k0s",
        "microk8s": "/var/snap/microk8s/current/args",
    }[distribution]
    name = {"k3s": "config.toml", "k0s": "containerd.toml", "microk8s": "containerd-template.toml"}[distribution]
    text = {
        "k3s": RANCHER_3.format(name="k3s"),
        "k0s": K0S,
        "microk8s": MICROK8S.replace("${SNAPSHOTTER}", "native").replace("${RUNTIME}", "runc"),
    }[distribution]
    runtime = {"k3s": Runtime.K3S, "k0s": Runtime.K0S_WORKER, "microk8s": Runtime.MICROK8S}[distribution]
    host = lay_out(root, {f"{folder}/{name}": text})
    request = request_for(release, runtime, config_dir=folder)
    if distribution == "k3s" and release.minor < (2, 0):
        with pytest.raises(RefusedError) as caught:
            plan_cri(host, request)
        assert caught.value.kind in {Refusal.MERGE_REPLACES, Refusal.UNSUPPORTED_SCHEMA}
        return
    plan = plan_cri(host, request)
    make(root, plan.edits)
    config = f"{folder}/{name}"
    if distribution == "k0s":
        # k0s merges the drop-ins that state CRI tables into a file of its own, runc included, and lets containerd import that.
        (drop_in,) = plan.edits
        merged = drop_in.after.decode().replace(
            "[plugins",
            '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n\n[plugins',
            1,
        )
        lay_out(root, {"/etc/k0s/merged.toml": merged})
        lay_out(root, {config: text.replace("/run/k0s/containerd-cri.toml", "/etc/k0s/merged.toml")})
    dump = release.dump(root, config)
    assert set(runtimes_of(dump)) >= NAMES | {"runc"}
    with release.running(root, tmp_path / "run", config) as daemon:
        assert NAMES | {"runc"} <= set(daemon.cri().runtimes)


def test_erofs_is_configured_or_refused(release, tmp_path):  # noqa: F811
    root = tmp_path / "host"
    host = lay_out(root, {CONFIG: f"version = {2 if release.minor < (2, 0) else 3}\n"})
    handlers = (made_handler("qemu-runtime-rs", snapshotter="erofs"),)
    request = request_for(release, handlers=handlers, snapshotters=("erofs",), erofs=ErofsSettings(has_dm_verity=True))
    if release.minor < (2, 2):
        with pytest.raises(RefusedError) as caught:
            plan_cri(host, request)
        assert caught.value.kind is Refusal.CONTAINERD_TOO_OLD
        return
    make(root, plan_cri(host, request).edits)
    plugins = release.dump(root)["plugins"]
    assert plugins["io.containerd.service.v1.diff-service"]["default"] == ["erofs", "walking"]
    assert plugins["io.containerd.differ.v1.erofs"]["mkfs_options"] == ["-T0", "--mkfs-time", "--sort=none"]
    assert plugins["io.containerd.snapshotter.v1.erofs"]["default_size"] == "10G"
    assert plugins["io.containerd.cri.v1.images"]["runtime_platforms"]["kata-qemu-runtime-rs"]["snapshotter"] == "erofs"
    # Whether the plugin loads depends on the file system (fs-verity) and the kernel (dm-verity), which tests do not have.


# -- why some cells are refused


RUNC = '[plugins."{plugin}".containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
KATA = '[plugins."{plugin}".containerd.runtimes.kata-qemu]\nruntime_type = "io.containerd.kata-qemu.v2"\n'


def plugin(version: int) -> str:
    return "io.containerd.grpc.v1.cri" if version == 2 else "io.containerd.cri.v1.runtime"


def cell(release: Release, root: int, drop_in: int) -> str:  # noqa: F811
    """Return what docs/reference/containerd-configuration.md says of a root and a drop-in of these versions."""
    minor = release.minor
    if minor < (2, 0):
        if root > 2 and minor >= (1, 7):
            return "refuses" if drop_in > 2 else "runc gone"
        if drop_in > 2:
            return "refuses" if minor >= (1, 7) else "kata absent"
        return "runc gone"
    newest = 4 if minor >= (2, 3) else 3
    if drop_in > newest:
        return "refuses"
    if minor >= (2, 3):
        return "refuses" if drop_in > root else "ok"
    # A root that is too new alone is read beside a drop-in that is not: the last file's version counts.
    return "kata absent" if root >= 3 and drop_in == 2 else "ok"


@pytest.mark.parametrize("drop_in", [2, 3, 4])
@pytest.mark.parametrize("root", [2, 3, 4])
def test_import_matrix(release, root, drop_in, tmp_path):  # noqa: F811
    if release.minor < (2, 0) and root == 4:
        pytest.skip("not in the documented matrix")
    text = f'version = {root}\nimports = ["/etc/containerd/kata.toml"]\n' + RUNC.format(plugin=plugin(root))
    files = {CONFIG: text, "/etc/containerd/kata.toml": f"version = {drop_in}\n" + KATA.format(plugin=plugin(drop_in))}
    lay_out(tmp_path, files)
    try:
        found = set(runtimes_of(release.dump(tmp_path)))
    except ValueError:
        outcome = "refuses"
    else:
        outcome = "runc gone" if "runc" not in found else "ok" if "kata-qemu" in found else "kata absent"
    assert outcome == cell(release, root, drop_in)


def test_a_file_of_1_x_with_only_our_tables_would_have_no_cri(release, tmp_path):  # noqa: F811
    """The reason for stating the built-in runtime: a service that is active, a socket that answers, and no CRI."""
    if release.minor >= (2, 0):
        pytest.skip("containerd 2 merges its built-in runtime")
    root = tmp_path / "host"
    lay_out(root, {CONFIG: "version = 2\n" + KATA.format(plugin=plugin(2))})
    with release.running(root, tmp_path / "run") as daemon:
        assert daemon.plugins()["io.containerd.grpc.v1.cri"] == "error"
        assert "no corresponding runtime configured" in daemon.log()


def test_an_import_of_a_missing_file_stops_the_daemon_though_not_always_the_dump(release, tmp_path):  # noqa: F811
    """The reason for writing the drop-in before its import, and for removing it after."""
    version = 2 if release.minor < (2, 0) else 3
    root = tmp_path / "host"
    lay_out(root, {CONFIG: f'version = {version}\nimports = ["/etc/containerd/absent.toml"]\n'})
    with pytest.raises(AssertionError, match=r"absent\.toml"), release.running(root, tmp_path / "run"):
        pass
    if release.minor >= (2, 0):
        assert release.dump(root)["version"] >= 3


def test_the_plan_marks_what_the_runtime_loads(release, tmp_path):  # noqa: F811
    host = lay_out(tmp_path, {CONFIG: f"version = {2 if release.minor < (2, 0) else 3}\n"})
    plan = plan_cri(host, request_for(release))
    assert {edit.path for edit in plan.edits if edit.loaded_by == "containerd"} >= {plan.decisions["output_file"]}
    assert plan.watched[0] == plan.decisions["output_file"]
    assert [edit.path for edit in plan.edits if edit.kind is EditKind.KEYS] == [CONFIG]
