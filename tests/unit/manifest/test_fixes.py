"""Repairs: only what needs no judgement, exactly that, and never at the cost of a comment."""

import tomllib

import pytest

from kata_bundle.cli import main


@pytest.fixture
def run(capsys):
    def call(*arguments):
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


CASES = [
    # (file, old, broken, repaired): ``broken`` in place of ``old`` becomes ``repaired``
    ("arches/ppc64le.toml", '    "qemu",\n', '    "qemu",\n    "qemu",\n', '    "qemu",\n'),
    (
        "arches/ppc64le.toml",
        '    "qemu-runtime-rs",\n',
        '    "qemu-runtime-rs",\n    "qemu-runtime-rs"\n',
        '    "qemu-runtime-rs"\n',
    ),
    ("shims.toml", 'groups = ["mariner", "aavmf"]', 'groups = ["mariner", "aavmf", "mariner"]', 'groups = ["mariner", "aavmf"]'),
    ("shim-components.json", '["shim-v2-go"],', '["shim-v2-go", "shim-v2-go"],', '["shim-v2-go"],'),
    ("shim-components.json", '"ppc64le": ["shim-v2-go"]', '"ppc64el": ["shim-v2-go"]', '"ppc64le": ["shim-v2-go"]'),
    (
        "shims.toml",
        'configured_on = ["x86_64"]  # the',
        'configured_on = ["amd64"]  # the',
        'configured_on = ["x86_64"]  # the',
    ),
    (
        "components.toml",
        'version_keys_absent = ["assets.kernel.ref"]',
        'version_keys_absent = ["assets.kernel.ref", "assets.kernel.url"]',
        'version_keys_absent = ["assets.kernel.ref"]',
    ),
]


@pytest.mark.parametrize(("file", "old", "broken", "repaired"), CASES)
def test_a_mistake_is_repaired_and_nothing_else_changes(run, folder, file, old, broken, repaired):
    path = folder.path / file
    expected = path.read_text().replace(old, repaired, 1)
    folder.edit(file, old, broken)
    code, out, err = run("check", "--fix", "--manifests", "manifests")
    assert (code, out) == (0, ""), out
    assert "1 finding repaired in 1 file" in err
    assert path.read_text().split() == expected.split()
    assert run("check", "--fix", "--manifests", "manifests")[2].startswith("nothing to repair")


def test_a_superfluous_acceptance_is_removed_with_its_table(run, folder):
    path = folder.path / "ignores.toml"
    before = path.read_text()
    entry = '\n[[ignore]]\ncode = "KB211"\npath = "arches/x86_64.toml"\nabout = "fc"\nreason = "Not there any more."\n'
    path.write_text(before + entry)
    assert run("check", "--fix", "--manifests", "manifests")[0] == 0
    assert path.read_text() == before
    first = before.index("[[ignore]]")
    path.write_text(before[:first] + entry.lstrip() + "\n" + before[first:])
    assert run("check", "--fix", "--manifests", "manifests")[0] == 0
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("file", "old", "broken"),
    [
        ("arches/ppc64le.toml", '    "qemu",\n', '    "qemu",\n    "qemu",  # on purpose?\n'),
        ("ignores.toml", 'about = "qemu-nvidia-gpu"\n', 'about = "qemu-nvidia-cpu"  # the other one\n'),
    ],
)
def test_what_would_lose_a_comment_is_left_alone(run, folder, file, old, broken):
    folder.edit(file, old, broken)
    text = (folder.path / file).read_text()
    code, _, err = run("check", "--fix", "--manifests", "manifests")
    assert code == 3
    assert err.startswith("nothing to repair")
    assert (folder.path / file).read_text() == text


def test_what_needs_judgement_is_left_alone(run, folder):
    folder.edit("shim-components.json", '"kernel-debug", "rootfs-image-mariner"', '"kernel-dbug", "rootfs-image-mariner"')
    text = (folder.path / "shim-components.json").read_text()
    code, out, _ = run("check", "--fix", "--manifests", "manifests")
    assert code == 3
    assert "KB204" in out
    assert (folder.path / "shim-components.json").read_text() == text


def test_a_dry_run_shows_the_change_and_makes_none(run, folder):
    folder.edit("arches/ppc64le.toml", '    "qemu",\n', '    "qemu",\n    "qemu",\n')
    text = (folder.path / "arches/ppc64le.toml").read_text()
    code, out, _ = run("check", "--fix", "--dry-run", "--manifests", "manifests")
    assert code == 0
    assert out.splitlines()[:2] == ["--- manifests/arches/ppc64le.toml", "+++ manifests/arches/ppc64le.toml"]
    assert '-    "qemu",' in out.splitlines()
    assert (folder.path / "arches/ppc64le.toml").read_text() == text
    assert run("check", "--fix", "--dry-run", "--json", "--manifests", "manifests")[1].count('"repaired": 1') == 1
    folder.edit("arches/ppc64le.toml", '    "qemu",\n    "qemu",\n', '    "qemu",\n')
    assert run("check", "--fix", "--dry-run", "--manifests", "manifests")[1] == "nothing to repair\n"


def test_several_mistakes_are_repaired_in_several_rounds(run, folder):
    folder.edit("arches/ppc64le.toml", '    "qemu",\n', '    "qemu", "qemu", "qemu",\n')
    folder.edit("shim-components.json", '"ppc64le": ["shim-v2-go"]', '"ppc64el": ["shim-v2-go", "shim-v2-go"]')
    code, _, err = run("check", "--fix", "--manifests", "manifests")
    assert code == 0, err
    assert "4 findings repaired in 2 files" in err
    assert tomllib.loads((folder.path / "arches/ppc64le.toml").read_text())["default_shims"] == ["qemu", "qemu-runtime-rs"]
