"""Each rule finds its mistake at its place, is silent on the shipped manifests, and on what only looks like the mistake."""

import pytest

from kata_bundle.core.diagnostics import Severity
from kata_bundle.manifest.rules import REGISTRY
from kata_bundle.manifest.rules.registry import rule

MAP, SHIMS, COMPONENTS, CLASSES = "shim-components.json", "shims.toml", "components.toml", "runtimeclasses.toml"

SE_ROW = """{
      "s390x": ["shim-v2-go", "qemu", "virtiofsd", "kernel", "rootfs-initrd-confidential", "boot-image-se"]
    }"""

BAD = [
    # (code, file edited, old, new, file of the finding, its source line, message)
    ("KB201", MAP, '"qemu-tdx":', '"qemu-tdxx":', MAP, '"qemu-tdxx": {', '"qemu-tdxx" is not a shim'),
    ("KB201", "arches/s390x.toml", '"qemu-se"', '"qemu-sev"', "arches/s390x.toml", '"qemu-sev",', '"qemu-sev" is not a shim'),
    (
        "KB201",
        "arches/s390x.toml",
        'default_shim = "qemu-runtime-rs"',
        'default_shim = "quemu"',
        "arches/s390x.toml",
        'default_shim = "quemu"',
        '"quemu"',
    ),
    ("KB201", CLASSES, "[classes.fc]", "[classes.fcc]", CLASSES, "[classes.fcc]", '"fcc" is not a shim'),
    ("KB201", SHIMS, 'alias_of = "fc"', 'alias_of = "fcc"', SHIMS, 'alias_of = "fcc"', '"fcc" is not a shim'),
    (
        "KB203",
        SHIMS,
        'groups = ["mariner",',
        'groups = ["marinner",',
        SHIMS,
        'groups = ["marinner",',
        '"marinner" is not a group',
    ),
    (
        "KB203",
        SHIMS,
        'hypervisor = "openvmm"',
        'hypervisor = "openvm"',
        SHIMS,
        'hypervisor = "openvm"',
        '"openvm" is not a hypervisor',
    ),
    (
        "KB203",
        COMPONENTS,
        'groups = ["asset", "kernel"]',
        'groups = ["aset", "kernel"]',
        COMPONENTS,
        'groups = ["aset",',
        '"aset" is not a group',
    ),
    (
        "KB203",
        COMPONENTS,
        '"@nvidia-kernel"',
        '"@nvidia-kernels"',
        COMPONENTS,
        '"@nvidia-kernels",',
        '"nvidia-kernels" is not a list',
    ),
    ("KB203", COMPONENTS, '    "@image",\n    "hash', '    "@imag",\n    "hash', COMPONENTS, '"@imag",', '"imag" is not a list'),
    ("KB203", CLASSES, 'source = "chart" }', 'source = "charts" }', CLASSES, "overhead =", '"charts" is not a source'),
    (
        "KB204",
        MAP,
        '"kernel-debug", "rootfs-image-mariner"',
        '"kernel-dbug", "rootfs-image-mariner"',
        MAP,
        '"x86_64": ["shim-v2-go", "cloud',
        'shim "clh-azure" on x86_64 needs "kernel-dbug"',
    ),
    (
        "KB204",
        SHIMS,
        'component = "shim-v2-go"',
        'component = "shim-go"',
        SHIMS,
        'component = "shim-go"',
        'family "go" has its shims in "shim-go"',
    ),
    ("KB204", SHIMS, '"qemu-snp-experimental"', '"qemu-snp-exp"', SHIMS, 'qemu_artifact = "qemu-snp-exp"', '"qemu-snp-exp"'),
    (
        "KB204",
        COMPONENTS,
        'build_depends_on = ["agent"]',
        'build_depends_on = ["agnet"]',
        COMPONENTS,
        "build_depends_on =",
        '"rootfs-image" is made from "agnet"',
    ),
    ("KB205", MAP, '["shim-v2-go", "qemu", "kernel"', '["shim-v2-go", "qemu", "qemu"', MAP, '"x86_64": [', '"qemu" stands twice'),
    ("KB205", "arches/ppc64le.toml", '"qemu-runtime-rs",', '"qemu",', "arches/ppc64le.toml", '"qemu",', '"qemu" stands twice'),
    (
        "KB205",
        SHIMS,
        'configured_on = ["x86_64", "aarch64"]',
        'configured_on = ["x86_64", "x86_64"]',
        SHIMS,
        "configured_on",
        '"x86_64" stands twice',
    ),
    (
        "KB206",
        SHIMS,
        "[hypervisors.clh]",
        '[hypervisors.xen]\nbinary = "xen"\n[hypervisors.clh]',
        SHIMS,
        "[hypervisors.xen]",
        '"xen" is defined and never used',
    ),
    ("KB206", COMPONENTS, "[lists]", "[lists]\nspare = []", COMPONENTS, "spare = []", 'list "spare" is defined and never used'),
    ("KB206", COMPONENTS, "[groups.tool]", "[groups.spare]\n[groups.tool]", COMPONENTS, "[groups.spare]", 'group "spare"'),
    (
        "KB206",
        CLASSES,
        "[tees.snp]",
        '[sources.old]\nsource = "x"\ndate = 2020-01-01\nmethod = "declared"\n[tees.snp]',
        CLASSES,
        "[sources.old]",
        'source "old"',
    ),
    ("KB207", MAP, '["shim-v2-go"]', "[]", MAP, '"x86_64":  []', 'shim "remote" has no components on x86_64'),
    ("KB207", MAP, SE_ROW, "{}", MAP, '"qemu-se": {}', 'shim "qemu-se" has no architecture'),
    (
        "KB208",
        SHIMS,
        "[shims.remote]",
        '[shims.new]\nfamily = "go"\nhypervisor = "qemu"\nconfigured_on = ["x86_64"]\n[shims.remote]',
        SHIMS,
        "[shims.new]",
        'shim "new" has no row',
    ),
    (
        "KB210",
        "arches/ppc64le.toml",
        '    "qemu-runtime-rs",\n',
        "",
        "arches/ppc64le.toml",
        "default_shim =",
        '"qemu-runtime-rs" is not among',
    ),
    (
        "KB211",
        "arches/ppc64le.toml",
        '    "qemu",\n',
        '    "qemu",\n    "fc",\n',
        "arches/ppc64le.toml",
        '"fc",',
        '"fc" has no components on ppc64le',
    ),
    (
        "KB212",
        SHIMS,
        "[shims.fc]\n",
        '[shims.fc]\nstatus = "unfinished"\n',
        MAP,
        '"fc": {',
        'shim "fc" has the status "unfinished"',
    ),
    (
        "KB213",
        "arches/ppc64le.toml",
        '    "qemu",\n',
        '    "qemu",\n    "stratovirt",\n',
        "arches/ppc64le.toml",
        '"stratovirt",',
        'has the status "unfinished"',
    ),
    ("KB214", COMPONENTS, 'licence = "MIT"\n', "", COMPONENTS, "[components.openvmm]", 'component "openvmm" has no "licence"'),
    (
        "KB214",
        COMPONENTS,
        '[components.agent]\ngroups = ["guest"]\n',
        "[components.agent]\n",
        COMPONENTS,
        "[components.agent]",
        'component "agent" has no "kind"',
    ),
    (
        "KB215",
        COMPONENTS,
        '[components.nydus]\ngroups = ["asset"]\narches = ["x86_64", "aarch64"]',
        '[components.nydus]\ngroups = ["asset"]\narches = ["x86_64"]',
        MAP,
        '"aarch64": [',
        'needs "nydus" on aarch64, but it is built on x86_64 only',
    ),
    ("KB216", MAP, '["shim-v2-go"]', '["shim-v2-go", "agent"]', MAP, '"x86_64":  ["shim-v2-go", "agent"]', 'kind "intermediate"'),
    ("KB217", SHIMS, 'alias_of = "fc"\n', "", SHIMS, 'status = "alias"', 'an alias needs "alias_of"'),
    ("KB217", SHIMS, 'alias_of = "fc"\n', 'alias_of = "clh"\n', SHIMS, 'alias_of = "clh"', "another family or hypervisor"),
    (
        "KB217",
        SHIMS,
        'alias_of = "fc"\n',
        'alias_of = "fc"\nconfigured_on = ["x86_64"]\n',
        SHIMS,
        "configured_on",
        "an alias has no configuration",
    ),
    ("KB217", SHIMS, 'alias_of = "fc"\n', 'alias_of = "firecracker"\n', SHIMS, "alias_of", '"firecracker" is an alias itself'),
    (
        "KB217",
        SHIMS,
        'hypervisor = "openvmm"\n',
        'hypervisor = "openvmm"\nqemu_artifact = "qemu"\n',
        SHIMS,
        "qemu_artifact",
        "has no QEMU artifact",
    ),
    (
        "KB217",
        SHIMS,
        'hypervisor = "openvmm"\n',
        'hypervisor = "openvmm"\nalias_of = "fc"\n',
        SHIMS,
        "alias_of",
        "stands for no other",
    ),
    (
        "KB217",
        SHIMS,
        'configured_on = ["x86_64"]  # the component',
        "# the component",
        SHIMS,
        "[shims.clh-runtime-rs]",
        "configured on no architecture",
    ),
    ("KB218", COMPONENTS, 'flag = "devkit"\n', "", COMPONENTS, 'kind = "flag"', 'the kind "flag" needs'),
    (
        "KB218",
        COMPONENTS,
        "[components.nydus]\n",
        '[components.nydus]\nflag = "x"\n',
        COMPONENTS,
        'flag = "x"',
        "is not brought in by a flag",
    ),
    ("KB218", COMPONENTS, 'variant = "nvidia"\n', "", COMPONENTS, "measured = true", "a root hash needs a variant"),
    (
        "KB218",
        COMPONENTS,
        'measured = true\nvariant = "nvidia"\n',
        'variant = "nvidia"\n',
        COMPONENTS,
        'variant = "nvidia"',
        "not measured",
    ),
    (
        "KB218",
        COMPONENTS,
        '[components.stratovirt]\nkind = "unused"\narches = []',
        '[components.stratovirt]\nkind = "unused"\narches = ["x86_64"]',
        COMPONENTS,
        "arches =",
        "an unused component is built nowhere",
    ),
    (
        "KB218",
        COMPONENTS,
        '[components.kata-ctl]\ngroups = ["tool"]\narches = ["x86_64", "aarch64"]',
        '[components.kata-ctl]\ngroups = ["tool"]\narches = []',
        COMPONENTS,
        "arches = []",
        "is built somewhere",
    ),
    (
        "KB218",
        COMPONENTS,
        "method_on = { x86_64",
        "method_on = { s390x",
        COMPONENTS,
        "method_on =",
        "speaks of s390x, where the component is not built",
    ),
    (
        "KB218",
        COMPONENTS,
        'release = { go = ["s390x"] }',
        'release = { go = ["x86_64"] }',
        COMPONENTS,
        "release =",
        "the go release has it on x86_64",
    ),
    (
        "KB219",
        COMPONENTS,
        "[components.kernel]\n",
        '[components.kernel]\nbuild_depends_on = ["boot-image-se"]\n',
        COMPONENTS,
        "build_depends_on =",
        "a circle: ",
    ),
    ("KB220", SHIMS, "guest_extension_images = []\n", "", SHIMS, "[shims.qemu]", 'nothing gives "guest_extension_images"'),
    ("KB214", COMPONENTS, 'kind = "unused"\narches = []\n', 'kind = "unused"\n', COMPONENTS, "[components.", 'has no "arches"'),
    ("KB221", SHIMS, 'groups = ["nvidia"]', 'groups = ["none"]\nconfig.unset = ["initrd"]', SHIMS, "config.unset", "unsets"),
    (
        "KB220",
        SHIMS,
        "confidential_guest = false\n",
        "",
        SHIMS,
        "[shims.qemu]",
        'nothing gives "confidential_guest" for shim "qemu" on x86_64',
    ),
    (
        "KB221",
        SHIMS,
        "[shims.clh-azure-runtime-rs]\n",
        "[shims.clh-azure-runtime-rs.config.on.aarch64]\ndefault_memory_mib = 1\n[shims.clh-azure-runtime-rs]\n",
        SHIMS,
        "[shims.clh-azure-runtime-rs.config.on.aarch64]",
        "settings for aarch64",
    ),
    (
        "KB221",
        SHIMS,
        'unset = ["virtio_fs_daemon"]',
        'unset = ["virtio_fs_daemon", "initrd"]',
        SHIMS,
        "unset =",
        '"initrd", which nothing sets',
    ),
    (
        "KB222",
        CLASSES,
        '[classes.fc]\noverhead = { memory = "130Mi", cpu = "250m", source = "chart" }\n',
        "",
        SHIMS,
        "[shims.fc]",
        'shim "fc" has no RuntimeClass',
    ),
    (
        "KB223",
        CLASSES,
        "[classes.remote]",
        '[classes.firecracker]\noverhead = { memory = "1Mi", cpu = "1m", source = "chart" }\n[classes.remote]',
        CLASSES,
        "[classes.firecracker]",
        "is an alias",
    ),
]


@pytest.mark.parametrize(("code", "edited", "old", "new", "file", "line", "message"), BAD)
def test_a_mistake_is_found_at_its_place(folder, code, edited, old, new, file, line, message):
    folder.edit(edited, old, new)
    found = [(f, where, source, text) for f, where, source, text in folder.findings() if f == code]
    assert found, folder.findings()
    assert any(where == file and source.startswith(line) and message in text for _, where, source, text in found), found


def test_a_tee_without_an_entry_is_found_at_the_class_that_needs_it(folder):
    folder.edit(CLASSES, '[tees.se]\nlabel = "feature.node.kubernetes.io/cpu-security.se.enabled"\n', "")
    found = [(source, text) for code, _, source, text in folder.findings() if code == "KB203"]
    assert found == [
        ("[classes.qemu-se]", '"se" is not a TEE of this document'),
        ("[classes.qemu-se-runtime-rs]", '"se" is not a TEE of this document'),
    ]


def test_a_group_that_nobody_uses_any_more_is_a_warning_and_the_catalog_is_made(folder):
    folder.edit(SHIMS, ', "ppc64le-initrd"]', "]", count=2)
    loaded = folder.load()
    assert [(f.code, f.severity) for f in loaded.report] == [("KB206", Severity.WARNING)]
    assert loaded.catalog is not None


def test_a_family_without_an_entry_is_found_at_every_shim_of_it(folder):
    text = (folder.path / SHIMS).read_text()
    start = text.index("[families.rust]")
    (folder.path / SHIMS).write_text(text[:start] + text[text.index("# ---- hypervisors") :])
    found = [text for code, _, source, text in folder.findings() if code == "KB203" and source == 'family = "rust"']
    assert found == ['"rust" is not a family of this document'] * 13


@pytest.mark.parametrize("name", ["amd64.toml", "x86.toml", "notes.txt"])
def test_a_document_that_is_named_after_no_architecture_is_found(folder, name):
    (folder.path / "arches" / name).write_text("version = 1\n")
    report = folder.load().report
    assert [f.code for f in report] == ["KB202"]
    [finding] = report
    assert finding.span.path.endswith(f"arches/{name}")
    expected = {"amd64.toml": 'manifests use uname\'s names: "x86_64.toml"', "x86.toml": 'did you mean "x86_64.toml"?'}
    assert finding.hint == expected.get(name)


def test_an_editors_hidden_file_beside_the_architectures_is_no_document(folder):
    (folder.path / "arches" / ".x86_64.toml.swp").write_bytes(b"\xff")
    assert folder.findings() == []


def test_an_architecture_without_defaults_is_found(folder):
    (folder.path / "arches/s390x.toml").unlink()
    [finding] = folder.load().report
    assert (finding.code, finding.span.path.rpartition("/")[2]) == ("KB209", "s390x.toml")


FALSE_ALARMS = [
    ("comment lines may repeat", MAP, '"_comment": [', '"_comment": ["x", "x",'),
    ("a default list may leave shims out", "arches/x86_64.toml", '    "qemu-tdx",\n', ""),
    ("lists have no order", "arches/ppc64le.toml", '    "qemu",\n    "qemu-runtime-rs",', '    "qemu-runtime-rs",\n    "qemu",'),
    ("a cell may lose a component it does not need", MAP, '"kernel-debug", "rootfs-image-mariner"', '"rootfs-image-mariner"'),
    ("a class may have another overhead", CLASSES, '"160Mi"', '"170Mi"'),
    (
        "a group may speak of architectures that a component lacks",
        COMPONENTS,
        "[groups.ovmf]\n",
        '[groups.ovmf]\nmethod_on = { s390x = "source" }\n',
    ),
    (
        "a setting may be unset that only an architecture sets",
        SHIMS,
        "[groups.mariner.config]\n",
        '[groups.mariner.config]\nunset = ["firmware"]\n',
    ),
    (
        "a shim need not be configured wherever it has components",
        SHIMS,
        'configured_on = ["x86_64", "aarch64"]\n\n[shims.fc.config]',
        'configured_on = ["x86_64"]\n\n[shims.fc.config]',
    ),
    (
        "two shims may have the same settings",
        SHIMS,
        "[shims.clh.chart]",
        "[shims.clh.config.on.x86_64]\nsandbox_cgroup_only = false\n[shims.clh.chart]",
    ),
]


@pytest.mark.parametrize(("why", "file", "old", "new"), FALSE_ALARMS)
def test_what_only_looks_like_a_mistake_is_none(folder, why, file, old, new):
    folder.edit(file, old, new)
    assert folder.findings() == [], why


def test_the_shipped_manifests_have_no_findings(folder):
    loaded = folder.load()
    assert list(loaded.report) == []
    assert [f.code for f in loaded.accepted] == ["KB211"]
    assert loaded.documents == 9


def test_every_rule_is_explained_and_has_a_bad_case_here_or_is_found_while_reading():
    here = {case[0] for case in BAD} | {"KB202", "KB209"}
    for code, entry in REGISTRY.items():
        assert entry.title
        assert len(entry.explanation) > 60, code
        assert entry.explanation.endswith("."), code
        assert (entry.check is None) == (code < "KB200")
        assert entry.check is None or code in here


def test_a_code_belongs_to_one_rule():
    with pytest.raises(ValueError, match="two rules have the code KB201"):
        rule("KB201", "again")(lambda manifests: iter(()))
