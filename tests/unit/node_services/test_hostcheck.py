"""The host check finds every problem at once and touches nothing (installer specification §20)."""

from __future__ import annotations

import gzip
import os

import pytest

from kata_bundle.node.config.model import CustomRuntime, ErofsSize, MergeMode, NodeConfig, ShimMapping, UserDropIn
from kata_bundle.node.cri.compose import cri_request
from kata_bundle.node.hostcheck import (
    Feature,
    HostCheckError,
    HostFacts,
    KernelFacts,
    SpaceFacts,
    check_host,
    find_program_file,
    has_c_string,
    has_feature,
    missing_options,
    read_kernel,
    read_space,
)
from kata_bundle.node.hostedit import MemoryHost
from kata_bundle.node.runtime import Evidence, Runtime
from kata_bundle.node.shimfacts import load_facts

MKFS = ("/host-usr/bin/mkfs.erofs", b"\0mkfs-time\0sort\0")
EROFS_KERNEL = KernelFacts(release="6.12", sys_modules={"erofs", "fsverity"})
HOST = MemoryHost({"/etc/containerd/config.toml": b"version = 3\n"})


def request_for(config: NodeConfig):
    facts = load_facts()
    return lambda runtime, version: cri_request(config, facts, runtime=runtime, version=version)


def check(config: NodeConfig | None = None, *, version: str | None = "containerd://2.2.0", units=frozenset(), host=HOST, **facts):
    config = config or NodeConfig(machine="x86_64", shims=("qemu",))
    active = None if units is None else frozenset(units)
    evidence = Evidence(version=version, active_units=active, declared=config.distribution)
    facts.setdefault("kernel", EROFS_KERNEL)
    facts.setdefault("mkfs_erofs", MKFS)
    return check_host(config, HostFacts(evidence=evidence, host=host, **facts), request_for(config))


def kinds(report) -> list[str]:
    return [str(problem.kind) for problem in report.problems]


def node(**more) -> NodeConfig:
    more.setdefault("shims", ("qemu", "qemu-runtime-rs"))
    return NodeConfig(machine="x86_64", **more)


def mapping(*entries: str) -> ShimMapping:
    return ShimMapping(tuple(tuple(entry.split(":")) for entry in entries))


def test_a_good_host_has_no_problems():
    report = check()
    assert report.problems == ()
    assert report.warnings == ()
    assert report.runtime is Runtime.CONTAINERD
    report.raise_if_any()


def test_every_problem_is_told_at_once_each_with_what_to_do():
    config = node(
        suffix="dev",
        distribution="k3s",
        snapshotters=mapping("qemu:erofs", "bogus:x", "qemu"),
        snapshotter_setup=("erofs", "weird"),
        erofs_dmverity=True,
    )
    space = SpaceFacts(
        dest="/opt/kata", existing="/opt", is_directory=True, is_read_only=False, free_bytes=1 << 20, free_inodes=5
    )
    report = check(
        config,
        version="containerd://1.6.20",
        kernel=KernelFacts(),
        mkfs_erofs=None,
        space=space,
        needed_bytes=1 << 30,
        missing_archives=(("kernel", "/opt/kata-artifacts/tarballs/kata-static-kernel.tar.zst"),),
        host=MemoryHost({"/etc/containerd/config.toml": b"version = 2\n"}),
    )
    assert set(kinds(report)) == {
        "distribution_mismatch",
        "archive_missing",
        "no_space",
        "no_inodes",
        "containerd_too_old",
        "unknown_shim_reference",
        "bad_mapping_format",
        "unknown_snapshotter",
        "go_shim_on_merged_erofs",
        "kernel_feature_missing",
        "mkfs_erofs_missing",
        "no_drop_in_support",
    }
    assert kinds(report).count("kernel_feature_missing") == 3
    with pytest.raises(HostCheckError) as caught:
        report.raise_if_any()
    text = str(caught.value)
    for mention in ("kata-static-kernel.tar.zst", '"dev"', "bogus", "weird", "dm-verity", "1 MiB", "1024 MiB", "1.6.20"):
        assert mention in text
    assert caught.value.exit_code == 9
    document = report.to_dict()
    assert len(document["problems"]) == len(report.problems)


@pytest.mark.parametrize(
    ("version", "units", "kind"),
    [
        (None, (), "version_unknown"),
        ("containerd://2.2.0", None, "systemd_unreachable"),
        ("docker://24", (), "unsupported_runtime"),
    ],
)
def test_a_runtime_that_cannot_be_told_or_used_is_a_problem(version, units, kind):
    report = check(version=version, units=units)
    assert kinds(report) == [kind]
    assert report.runtime is None


def test_neither_version_nor_systemd_are_two_problems():
    assert kinds(check(version=None, units=None)) == ["version_unknown", "systemd_unreachable"]


def test_a_wrong_declaration_names_the_one_to_make():
    report = check(node(distribution="rke2"), units={"k3s.service"}, host=MemoryHost({}))
    assert "distribution_mismatch" in kinds(report)
    assert '"k3s"' in report.problems[0].message


def test_snapshotters_are_nothing_on_crio_and_a_suffix_is_fine_there():
    config = node(suffix="dev", snapshotter_setup=("nydus", "weird"), snapshotters=mapping("qemu:nydus:x"))
    report = check(config, version="cri-o://1.36.3")
    assert report.problems == ()
    assert "nydus, weird" in report.warnings[0]


def test_a_suffix_is_fine_where_drop_ins_are_loaded():
    assert kinds(check(node(suffix="dev"), host=MemoryHost({"/etc/containerd/config.toml": b"version = 3\n"}))) == []
    host = MemoryHost({"/etc/containerd/containerd.toml": b"version = 3\n"})
    assert kinds(check(node(suffix="dev"), version="containerd://1.7.0", units={"k0sworker.service"}, host=host)) == []
    assert kinds(check(node(suffix="dev"), version="containerd://1.7.0")) == ["no_drop_in_support", "unsupported_schema"]


def test_a_drop_in_of_the_users_needs_support_for_it():
    config = node(containerd_user_drop_in=UserDropIn(source="/x", data=b"version = 2\n"))
    host = MemoryHost({"/etc/containerd/config.toml": b"version = 2\n"})
    assert kinds(check(config, version="containerd://1.7.2", host=host)) == ["no_drop_in_support"]


def test_a_drop_in_that_was_not_mounted_is_a_problem():
    report = check(node(containerd_user_drop_in=UserDropIn(source="/custom/x.toml", data=None)))
    assert kinds(report) == ["unreadable_file"]
    assert "/custom/x.toml" in report.problems[0].message


def test_mappings_need_containerd_one_point_seven():
    config = node(snapshotters=mapping("qemu:nydus"))
    host = MemoryHost({"/etc/containerd/config.toml": b"version = 2\n"})
    assert kinds(check(config, version="containerd://1.6.9", host=host)) == ["containerd_too_old"]
    assert kinds(check(config, version="containerd://1.7.0", host=host)) == []


@pytest.mark.parametrize(
    "config",
    [
        node(snapshotters=mapping("qemu:erofs"), snapshotter_setup=("erofs",)),
        node(snapshotters=mapping("qemu:erofs")),
        node(
            snapshotter_setup=("erofs",),
            custom_runtimes=(CustomRuntime(handler="mine", base="qemu", snapshotter="erofs"),),
        ),
    ],
)
def test_go_shims_on_merged_erofs_are_found_however_they_come_to_it(config):
    assert kinds(check(config)) == ["go_shim_on_merged_erofs"]


def test_unmerged_erofs_and_rust_shims_are_fine():
    config = node(snapshotters=mapping("qemu:erofs"), erofs_merge_mode=MergeMode.UNMERGED, erofs_size=ErofsSize.MEMORY)
    assert kinds(check(config)) == []
    assert kinds(check(node(snapshotters=mapping("qemu-runtime-rs:erofs")))) == []


def test_erofs_asks_for_its_program_and_always_warns_about_fs_verity():
    config = node(snapshotter_setup=("erofs",))
    report = check(config, mkfs_erofs=("/host-bin/mkfs.erofs", b"\0sort\0--mkfs-time\0"))
    assert kinds(report) == ["mkfs_erofs_too_old"]
    assert "/host-bin/mkfs.erofs" in report.problems[0].message
    assert "--mkfs-time" in report.problems[0].message
    assert "--sort" not in report.problems[0].message
    assert any("not checked" in warning for warning in report.warnings)
    report = check(config, kernel=KernelFacts(sys_modules={"erofs"}))
    assert kinds(report) == []
    assert any("does not show" in warning for warning in report.warnings)


def test_a_rendered_configuration_without_our_directory_is_found_before_anything_is_written():
    rendered = b'version = 3\n# imports = ["config-v3.toml.d/*.toml"]\n'
    host = MemoryHost({"/etc/containerd/config.toml": rendered, "/etc/containerd/config-v3.toml.tmpl": b"x"})
    report = check(units={"k3s.service"}, host=host)
    assert kinds(report) == ["missing_import"]
    assert "config-v3.toml.d" in report.problems[0].message


def test_the_kubelets_time_out_matters_only_where_images_are_pulled_in_the_guest():
    assert check(kubelet_warning="short").warnings == ()
    assert check(node(forced_guest_pull=("qemu",)), kubelet_warning="short").warnings == ("short",)
    assert check(node(pull_types=mapping("qemu:guest-pull")), kubelet_warning="short").warnings == ("short",)
    assert "short" in check(node(snapshotter_setup=("erofs",)), kubelet_warning="short").warnings


def test_a_place_that_cannot_be_written_is_a_problem():
    def space(**more):
        base = {"dest": "/opt/kata", "existing": "/opt/kata", "is_directory": True, "is_read_only": False, "free_bytes": 1 << 40}
        return SpaceFacts(**{**base, "free_inodes": None, **more})

    assert kinds(check(space=space())) == []
    assert kinds(check(space=space(is_read_only=True))) == ["dest_not_writable"]
    assert kinds(check(space=space(is_directory=False))) == ["dest_not_a_directory"]


def test_shims_without_components_are_only_warned_about():
    report = check(shims_without_row=("qemu-se",))
    assert report.problems == ()
    assert "qemu-se" in report.warnings[0]


@pytest.mark.parametrize(
    ("facts", "has"),
    [
        (KernelFacts(sys_modules={"dm_verity"}), True),
        (KernelFacts(proc_modules="dm_verity 1 0 - Live 0x0\n"), True),
        (KernelFacts(proc_modules="dm_verity_x 1 0\nx dm_verity\n"), False),
        (KernelFacts(config_lines=["CONFIG_DM_VERITY=y"]), True),
        (KernelFacts(config_lines=["CONFIG_DM_VERITY=m"]), False),
        (KernelFacts(config_lines=["CONFIG_DM_VERITY_FEC=y", "# CONFIG_DM_VERITY is not set"]), False),
        (KernelFacts(loadable={"dm_verity"}), True),
        (KernelFacts(), False),
    ],
)
def test_a_feature_is_loaded_built_in_or_loadable(facts, has):
    assert has_feature(Feature.DM_VERITY, facts) is has


def test_kernel_facts_are_gathered_from_what_is_there(tmp_path):
    assert read_kernel(str(tmp_path), boot=str(tmp_path)) == KernelFacts(config_lines=())
    (tmp_path / "proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0\n")
    (tmp_path / "proc/modules").write_text("loop 1 0\n")
    (tmp_path / "sys/module/erofs").mkdir(parents=True)
    (tmp_path / "config-6.1.0").write_text("CONFIG_A=y\n")
    modules = tmp_path / "lib/modules/6.1.0"
    modules.mkdir(parents=True)
    (modules / "modules.dep").write_text("kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-bufio.ko.xz\n\n")
    (modules / "modules.builtin").write_text("kernel/fs/verity/fsverity.ko\n")
    facts = read_kernel(str(tmp_path), boot=str(tmp_path))
    assert facts.sys_modules == {"erofs"}
    assert facts.loadable == {"dm_verity", "fsverity"}
    assert facts.config_lines == ("CONFIG_A=y",)
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_B=y\n"))
    assert read_kernel(str(tmp_path), boot=str(tmp_path)).config_lines == ("CONFIG_B=y",)
    (tmp_path / "proc/config.gz").write_bytes(b"damaged")
    assert read_kernel(str(tmp_path), boot=str(tmp_path)).config_lines == ("CONFIG_A=y",)


def test_this_machines_kernel_can_be_read():
    assert read_kernel().release == os.uname().release


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"sort\0", True),
        (b"\0sort\0", True),
        (b"\x80sort\0", True),
        (b"-sort\0", False),
        (b" sort\0", False),
        (b"sorted\0", False),
        (b"xsort\0\x01sort\0", True),
        (b"sort", False),
        (b"", False),
    ],
)
def test_an_option_is_a_whole_c_string(data, found):
    assert has_c_string(data, "sort") is found
    assert (missing_options(data, ["sort"]) == ()) is found


def test_the_first_regular_file_of_the_name_counts(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/mkfs.erofs").symlink_to("/no/such/target")
    (tmp_path / "b/mkfs.erofs").mkdir()
    folders = [str(tmp_path / name) for name in ("absent", "a", "b", "c")]
    assert find_program_file("mkfs.erofs", folders) is None
    (tmp_path / "c/mkfs.erofs").write_bytes(b"x")
    assert find_program_file("mkfs.erofs", folders) == (str(tmp_path / "c/mkfs.erofs"), b"x")


def test_space_is_read_at_the_nearest_directory_that_exists_and_nothing_is_made(tmp_path):
    facts = read_space(str(tmp_path / "opt/kata"))
    assert (facts.existing, facts.is_directory, facts.is_read_only) == (str(tmp_path), True, False)
    assert facts.free_bytes > 0
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "opt").write_text("")
    assert not read_space(str(tmp_path / "opt")).is_directory
