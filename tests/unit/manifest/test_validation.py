"""A document that is not what its model says gives one finding a mistake, at the place, with what was expected."""

import pytest

CASES = [
    ("KB112", "shims.toml", "= 8192", "= true", "default_memory_mib = true", "expected a whole number, found true", None),
    ("KB112", "components.toml", 'paths = ["bin/openvmm"]', "paths = {}", "paths = {}", "expected a list, found a table", None),
    ("KB112", "shim-components.json", '["shim-v2-go"]', "null", '"x86_64":  null', "expected a list, found nothing", None),
    # (code, file, old, new, source line of the finding, message, hint)
    (
        "KB110",
        "shims.toml",
        'family = "go"',
        'famili = "go"',
        'famili = "go"',
        '"famili" is not known here',
        'did you mean "family"?',
    ),
    (
        "KB110",
        "shims.toml",
        "[shims.qemu.config]",
        "[shims.qemu.confg]",
        "[shims.qemu.confg]",
        '"confg"',
        'did you mean "config"?',
    ),
    ("KB110", "shim-components.json", '"_comment"', '"comment"', '"comment": [', '"comment"', 'did you mean "_comment"?'),
    ("KB110", "components.toml", "paths_on = {", "paths_off = {", "paths_off = {", '"paths_off"', 'did you mean "paths_on"?'),
    ("KB110", "shims.toml", "gpu = true", "zzz = true", "zzz = true", '"zzz" is not known here', "known keys: alias_of,"),
    ("KB111", "shims.toml", 'hypervisor = "clh"\n', "", "[shims.clh]", 'key "hypervisor" is missing', None),
    ("KB111", "runtimeclasses.toml", 'cpu = "250m", ', "", "overhead = {", 'key "cpu" is missing', None),
    (
        "KB111",
        "arches/s390x.toml",
        'default_shim = "qemu-runtime-rs"\n',
        "",
        "# What is installed",
        '"default_shim" is missing',
        None,
    ),
    ("KB112", "shims.toml", "gpu = true", "gpu = 1", "gpu = 1", "expected true or false, found 1", None),
    ("KB112", "shims.toml", "= 8192", '= "8192"', 'default_memory_mib = "8192"', 'expected a whole number, found "8192"', None),
    ("KB112", "shims.toml", "= 8192", "= 8192.0", "default_memory_mib = 8192.0", "expected a whole number, found 8192.0", None),
    (
        "KB112",
        "components.toml",
        'paths = ["bin/openvmm"]',
        'paths = "bin/openvmm"',
        'paths = "bin/openvmm"',
        "expected a list",
        None,
    ),
    ("KB112", "shim-components.json", '["shim-v2-go"]', "[7]", '"x86_64":  [7]', "expected a text, found 7", None),
    ("KB112", "shim-components.json", '["shim-v2-go"]', '"shim-v2-go"', '"x86_64":  "shim-v2-go"', "expected a list", None),
    (
        "KB112",
        "runtimeclasses.toml",
        "date = 2026-08-22",
        'date = "2026-08-22"',
        "date =",
        "expected a date such as 2026-08-22",
        None,
    ),
    (
        "KB112",
        "runtimeclasses.toml",
        "[default_class]",
        "[[default_class]]",
        "[[default_class]]",
        "expected a table, found a list",
        None,
    ),
    (
        "KB113",
        "shims.toml",
        'tee = "tdx"',
        'tee = "tdxx"',
        'tee = "tdxx"',
        'expected one of "snp", "tdx", "se"',
        'did you mean "tdx"?',
    ),
    (
        "KB113",
        "shim-components.json",
        '"ppc64le": ["shim-v2-go"]',
        '"ppc64el": ["shim-v2-go"]',
        '"ppc64el":',
        '"x86_64", "aarch64"',
        'manifests use uname\'s names: "ppc64le"',
    ),
    ("KB113", "shim-components.json", '"aarch64"', '"arm64"', '"arm64": [', 'found "arm64"', None),
    ("KB113", "components.toml", "version = 1", "version = 2", "version = 2", "expected one of 1, found 2", None),
    (
        "KB113",
        "components.toml",
        'kind = "tool"',
        'kind = "tools"',
        'kind = "tools"',
        '"shipped", "flag"',
        'did you mean "tool"?',
    ),
    ("KB114", "shims.toml", "[shims.fc]", "[shims.FC]", "[shims.FC]", "expected a name of lower-case letters", None),
    (
        "KB114",
        "shims.toml",
        '"share/ovmf/AMDSEV.fd"',
        '"share/../AMDSEV.fd"',
        "firmware =",
        "expected a path below the prefix",
        None,
    ),
    ("KB114", "shims.toml", "= 8192", "= 0", "default_memory_mib = 0", "greater than or equal to 1, found 0", None),
    (
        "KB114",
        "runtimeclasses.toml",
        '"320Mi"',
        '"320 Mi"',
        "overhead =",
        'expected a quantity such as 320Mi, found "320 Mi"',
        None,
    ),
    ("KB114", "shim-components.json", '["shim-v2-go"]', '["../shim"]', '"x86_64":  ["../shim"]', 'found "../shim"', None),
    ("KB114", "ignores.toml", '"KB211"', '"K211"', 'code = "K211"', "a finding's code such as KB204", None),
]


@pytest.mark.parametrize(("code", "file", "old", "new", "line", "message", "hint"), CASES)
def test_a_mistake_is_found_at_its_place(folder, code, file, old, new, line, message, hint):
    folder.edit(file, old, new)
    report = folder.load().report
    found = [f for f in report if f.code == code]
    assert len(found) == 1, [str(f) for f in report]
    assert found[0].span.path.endswith(file)
    assert (report.source_line(found[0].span) or "").strip().startswith(line)
    assert message in found[0].message
    assert hint is None or (found[0].hint or "").startswith(hint)


def test_every_mistake_of_every_document_is_reported_at_once(folder):
    folder.edit("shims.toml", 'family = "go"', "family = 1")
    folder.edit("shims.toml", "gpu = true", "gpu = 1")
    folder.edit("components.toml", 'kind = "tool"', 'kind = "tools"')
    folder.edit("shim-components.json", '"qemu-snp": {', '"qemu-snp": [')
    folder.edit("arches/x86_64.toml", "version = 1", "version = 1\nversion = 2")
    loaded = folder.load()
    assert loaded.catalog is None
    assert [(f.code, f.span.path.rpartition("/")[2]) for f in loaded.report] == [
        ("KB104", "x86_64.toml"),
        ("KB113", "components.toml"),
        ("KB103", "shim-components.json"),
        ("KB113", "shims.toml"),
        ("KB112", "shims.toml"),
    ]


def test_a_document_of_another_shape_is_one_finding(folder):
    (folder.path / "shim-components.json").write_text("[]")
    assert folder.findings() == [("KB112", "shim-components.json", "[]", "expected a table, found a list")]
