"""A file that moved is found; one that is gone, or written otherwise, is told and never passed over in silence."""

# ruff: noqa: E501 - tables of texts

from __future__ import annotations

import pytest

from tests.fixtures.upstreamtrees import UpstreamFiles


def codes(files: UpstreamFiles) -> set[str]:
    return {finding.code for finding in files.check().report}


def told(files: UpstreamFiles, word: str) -> bool:
    return any(f.code.startswith("KB9") and word in f"{f.span.path} {f.message}" for f in files.check().report)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("versions.yaml", "versions.yaml"),
        ("local-build/Makefile", "local-build/Makefile"),
        ("kata-deploy-binaries.sh", "kata-deploy-binaries.sh"),
        ("src/runtime/Makefile", "src/runtime/Makefile"),
        ("src/runtime-rs/Makefile", "src/runtime-rs/Makefile"),
        ("kata-deploy/values.yaml", "values.yaml"),
        ("runtimeclasses.yaml", "RuntimeClasses"),
        ("katautils/config.go", "config.go"),
        ("system.rs", "RUST_SHIMS"),
        ("config.rs", "get_default_shims_for_arch"),
    ],
)
def test_a_missing_file_is_told(today: UpstreamFiles, name: str, word: str) -> None:
    assert told(today.remove(name), word)


def test_an_allowlist_that_the_makefile_calls_is_missed(today: UpstreamFiles) -> None:
    today.replace("local-build/Makefile", "V := 1", "V := 1\nINPUTS := $(shell $(MK_DIR)/kata-release-tarball-inputs.sh x)")
    assert told(today.remove("kata-release-tarball-inputs.sh"), "the makefile calls")


def test_trees_without_an_installer_or_a_pipeline_are_told(shell: UpstreamFiles) -> None:
    shell.remove("kata-deploy.sh").remove("build-kata-static-tarball-amd64.yaml")
    assert told(shell, "no installer")
    assert told(shell, "no workflow that builds")


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("shim-components.json", "tools/packaging/payload/shim-components.json"),
        ("kata-release-tarball-inputs.sh", "tools/packaging/release/kata-release-tarball-inputs.sh"),
        ("install.rs", "tools/packaging/kata-deploy/binary/src/shims.rs"),
        ("system.rs", "tools/packaging/kata-deploy/binary/crates/a/src/lib.rs"),
    ],
)
def test_a_file_that_moved_is_read_where_it_is(today: UpstreamFiles, name: str, to: str) -> None:
    assert today.move(name, to).findings() == []


@pytest.mark.parametrize(
    ("name", "old", "new", "word"),
    [
        ("shim-components.json", '"shims": {', '"runtimes": {', "shims"),
        ("shim-components.json", '"x86_64": ["shim-v2-go", "cloud-hypervisor", "virtiofsd", "kernel", "rootfs-image"]', '"x86_64": "all"', "list of component names"),
        ("kata-deploy/values.yaml", "defaultShim:\n", "deafultShim:\n", "defaultShim"),
        ("kata-deploy/values.yaml", "shims:\n", "runtimes:\n", "shims"),
        ("kata-deploy/values.yaml", "    enabled: ~\n", "    enabled: perhaps\n", "true, false or nothing"),
        ("kata-deploy/values.yaml", "    supportedArches:\n      - amd64\n", "    supportedArches: all\n", "list of architectures"),
        ("runtimeclasses.yaml", '(dict "memory"', '(list "memory"', ""),
        ("kata-release-tarball-inputs.sh", "_tarball_inputs() {", "_inputs() {", ""),
        ("kata-release-tarball-inputs.sh", "kata-static-kernel.tar.zst", "kernel.tar.zst", "not a tarball"),
        ("kata-release-tarball-inputs.sh", "arm64)", "mips)", "mips"),
        ("kata-deploy-binaries.sh", "handle_build() {", "build_one() {", "handle_build"),
        ("src/runtime/Makefile", "GENERATED_VARS = ", "GENERATED = ", "GENERATED_VARS"),
        ("src/runtime/Makefile", "CONFIGS =\n", "CONFIGS = $(shell ls config)\n", "CONFIGS"),
        ("shim-v2/build.sh", "s|^image = .*|initrd", "s|^image.*|initrd", "not understood"),
        ("src/runtime-rs/Makefile", "'s|^image = .*|", "'s|image = .*|", "not understood"),
        ("build-kata-static-tarball-amd64.yaml", "          - kernel\n", "          - ${{ inputs.kernel }}\n", "expression"),
        ("build-kata-static-tarball-amd64.yaml", "jobs:", "jobs: &a *a", "was not read"),
        ("build-kata-static-tarball-amd64.yaml", "jobs:", "work:", "jobs"),
        ("katautils/config.go", "type tomlConfig struct", "type configuration struct", "tomlConfig"),
        ("kata-types/src/config/mod.rs", "pub struct TomlConfig", "pub struct Configuration", "TomlConfig"),
        ("install.rs", "fn get_qemu_artifact_name", "fn flavour", "get_qemu_artifact_name"),
    ],
)  # fmt: skip
def test_another_shape_is_told(today: UpstreamFiles, name: str, old: str, new: str, word: str) -> None:
    count = 99 if name == "runtimeclasses.yaml" or "_tarball_inputs" in old else 1
    assert told(today.replace(name, old, new, count=count), word), codes(today)


def test_a_value_that_is_not_known_is_told_where_it_is_needed(today: UpstreamFiles) -> None:
    today.replace("src/runtime/Makefile", "KERNELDIR := ", "KERNELDIR := $(shell pwd)")
    found = today.findings("KB903")
    assert found
    assert any("KERNELPATH" in finding.message for finding in found)
    assert today.findings("KB625") == []


@pytest.mark.parametrize("name", ["shim-components.json", "versions.yaml", "kata-deploy/values.yaml"])
def test_broken_documents_are_findings_of_their_own(today: UpstreamFiles, name: str) -> None:
    today.content[today.path(name)] = b'{"a": [1, 2\n\xff'
    assert any(f.code.startswith("KB1") and f.span.path.endswith(name) for f in today.check().report)


def test_nothing_at_all_is_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from kata_bundle.manifest.upstream.check import check_tree
    from kata_bundle.manifest.upstream.source import DirectoryFiles

    report = check_tree(DirectoryFiles(tmp_path)).report
    assert {f.code for f in report} == {"KB901"}
    assert len(report) >= 6
