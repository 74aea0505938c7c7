"""``kata-bundle check --upstream``: a checkout, a bare repository, what is new since a revision, every form, wrong use."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.fixtures.cli import Result, call_cli, run_cli
from tests.fixtures.upstreamtrees import FOLDER, UpstreamFiles

MAP = "tools/packaging/kata-deploy/shim-components.json"
RELEASE = "tools/packaging/kata-deploy/local-build/kata-release-tarball-inputs.sh"
CELL = '"shim-v2-go", "qemu-snp-experimental", "kernel"'


def git(*arguments: str, cwd: Path) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run(["git", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def change(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with three revisions: without findings, with one error, with that and a warning."""
    folder = tmp_path / "tree"
    shutil.copytree(FOLDER / "today", folder)
    git("init", "-q", "-b", "main", ".", cwd=folder)
    git("add", ".", cwd=folder)
    git("commit", "-q", "-m", "clean", cwd=folder)
    git("tag", "clean", cwd=folder)
    change(folder, MAP, CELL, '"shim-v2-go", "kernel"')
    change(folder, RELEASE, "kata-static-qemu-snp-experimental.tar.zst\n", "")
    git("commit", "-q", "-a", "-m", "error", cwd=folder)
    git("tag", "error", cwd=folder)
    change(folder, "versions.yaml", "externals:\n", "externals:\n  conmon:\n    version: v1\n")
    git("commit", "-q", "-a", "-m", "warning", cwd=folder)
    return folder


def findings(result: Result) -> list[tuple[str, str, int]]:
    return [(f["code"], f["path"], f["line"]) for f in json.loads(result.stdout)["findings"]]


def test_a_checkout_without_findings_is_silent_on_standard_output() -> None:
    done = run_cli("check", "--upstream", FOLDER / "today")
    assert (done.code, done.stdout) == (0, "")
    assert done.stderr == "5 shims, 6 cells, 17 configurations, 9 matrices: no findings\n"


def test_findings_stand_at_the_path_that_was_given(checkout: Path) -> None:
    done = run_cli("check", "--upstream", checkout)
    assert done.code == 3
    line = (
        (checkout / MAP)
        .read_text()
        .split("\n")
        .index('      "x86_64": ["shim-v2-go", "kernel", "rootfs-image-confidential", "ovmf-sev"]')
    )
    assert f"{checkout}/{MAP}:{line + 1}:7: error[KB625]" in done.stdout
    assert "hint: " in done.stdout
    assert "the tree has 1 error and 1 warning" in done.stderr
    assert "--explain" in done.stderr


def test_in_the_checkout_itself_paths_are_relative(checkout: Path) -> None:
    done = run_cli("check", "--upstream", ".", cwd=checkout)
    assert done.stdout.splitlines()[0].startswith(f"{MAP}:")


def test_the_checkout_is_read_as_it_is_now(checkout: Path) -> None:
    change(checkout, MAP, '"shim-v2-go", "kernel"', CELL)
    change(
        checkout,
        RELEASE,
        "kata-static-qemu.tar.zst\nkata-static-rootfs-image-c",
        "kata-static-qemu-snp-experimental.tar.zst\nkata-static-qemu.tar.zst\nkata-static-rootfs-image-c",
    )
    done = call_cli("check", "--upstream", checkout, "--json")
    assert [code for code, _, _ in findings(done)] == ["KB672"]
    assert done.code == 0


@pytest.mark.parametrize(("revision", "codes"), [("clean", []), ("error", ["KB625"]), ("main", ["KB625", "KB672"])])
def test_a_bare_repository_is_read_at_a_revision(checkout: Path, tmp_path: Path, revision: str, codes: list[str]) -> None:
    bare = tmp_path / "bare.git"
    git("clone", "-q", "--bare", str(checkout), str(bare), cwd=tmp_path)
    before = sorted(path for path in bare.rglob("*"))
    done = call_cli("check", "--upstream", "--git", bare, "--rev", revision, "--json")
    assert [code for code, _, _ in findings(done)] == codes
    assert done.code == (3 if "KB625" in codes else 0)
    document = json.loads(done.stdout)
    assert (document["revision"], document["since"], document["not_understood"]) == (revision, None, 0)
    assert sorted(path for path in bare.rglob("*")) == before


def test_the_head_is_read_when_no_revision_is_named(checkout: Path) -> None:
    assert len(findings(call_cli("check", "--upstream", "--git", checkout, "--json"))) == 2


def test_what_an_earlier_revision_had_is_left_out(checkout: Path) -> None:
    done = call_cli("check", "--upstream", "--git", checkout, "--rev", "main", "--since", "error", "--json")
    assert [code for code, _, _ in findings(done)] == ["KB672"]
    assert done.code == 0
    done = call_cli("check", "--upstream", "--git", checkout, "--rev", "error", "--since", "clean")
    assert done.code == 3
    assert "1 error that clean did not have" in done.stderr
    assert call_cli("check", "--upstream", "--git", checkout, "--since", "main").stderr.endswith(
        "no findings that main did not have\n"
    )


def test_a_checkout_is_compared_with_a_revision_of_its_own_repository(checkout: Path) -> None:
    change(checkout, MAP, '"virtiofsd", "kernel", "rootfs-image"],', '"kernel", "rootfs-image"],')
    done = call_cli("check", "--upstream", checkout, "--since", "HEAD", "--json")
    assert {code for code, _, _ in findings(done)} == {"KB625"}
    assert "virtiofsd" in done.stdout
    assert "qemu-snp-experimental" not in done.stdout


def test_every_form_has_every_finding(checkout: Path) -> None:
    forms = {
        form: call_cli("check", "--upstream", checkout, "--format", form) for form in ("text", "json", "sarif", "github", "junit")
    }
    assert {done.code for done in forms.values()} == {3}
    for form, done in forms.items():
        assert "KB625" in done.stdout, form
        assert "KB672" in done.stdout, form
    (run,) = json.loads(forms["sarif"].stdout)["runs"]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {"KB625", "KB672"}
    assert all(rule["help"]["text"] for rule in run["tool"]["driver"]["rules"])
    assert forms["github"].stdout.startswith("::error file=")
    assert ET.fromstring(forms["junit"].stdout) is not None
    (error,) = [f for f in json.loads(forms["json"].stdout)["findings"] if f["severity"] == "error"]
    assert error["related"] == [
        {
            "path": f"{checkout}/src/runtime/config/configuration-qemu-snp.toml.in",
            "line": 3,
            "column": 8,
            "key": "hypervisor.qemu.path",
        }
    ]


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bwrap is not installed")
def test_make_itself_is_asked_when_a_person_wishes_it(checkout: Path) -> None:
    change(checkout, "src/runtime/Makefile", "KERNELDIR := ", "KERNELDIR := $(shell printf %s /opt/kata/share/kata-containers)# ")
    plain, asked = (call_cli("check", "--upstream", checkout, "--json", *more) for more in ((), ("--eval-make",)))
    assert "KB903" in {code for code, _, _ in findings(plain)}
    assert [code for code, _, _ in findings(asked)] == ["KB625", "KB672"]


def test_what_was_not_understood_is_counted(tmp_path: Path) -> None:
    shutil.copytree(FOLDER / "today", tmp_path / "tree")
    (tmp_path / "tree" / "versions.yaml").unlink()
    (tmp_path / "tree" / MAP).write_text("[]")
    document = json.loads(call_cli("check", "--upstream", tmp_path / "tree", "--json").stdout)
    assert document["not_understood"] == sum(f["code"].startswith("KB9") for f in document["findings"]) == 2


def test_an_empty_folder_is_not_understood_rather_than_right(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    document = json.loads(call_cli("check", "--upstream", tmp_path / "tree", "--json").stdout)
    assert document["not_understood"] >= 4
    assert {f["code"] for f in document["findings"]} == {"KB901"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--upstream"], "needs the path of a checkout"),
        (["--upstream", ""], "an empty path"),
        (["--upstream", "gone"], "gone is not a folder"),
        (["--git", "."], "give --upstream too"),
        (["--rev", "main"], "give --upstream too"),
        (["--since", "main"], "give --upstream too"),
        (["--eval-make"], "give --upstream too"),
        (["--upstream", "tree", "--git", "tree"], "not both"),
        (["--upstream", "tree", "--rev", "main"], "--rev names a revision of the repository"),
        (["--upstream", "--git", "gone"], "does not exist"),
        (["--upstream", "--git", "."], "is not a git repository"),
        (["--upstream", "--git", "tree", "--rev", "gone"], 'has no revision "gone"'),
        (["--upstream", "--git", "tree", "--rev", "--help"], "is not a revision"),
        (["--upstream", "tree", "--since", "gone"], 'has no revision "gone"'),
        (["--upstream", "tree", "--fix"], "--fix repairs our own manifests only"),
    ],
)
def test_wrong_use_is_one_error_of_its_own_kind(checkout: Path, argv: list[str], words: str) -> None:
    done = run_cli("check", *argv, cwd=checkout.parent)
    assert (done.code, done.stdout) == (2, ""), done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_without_a_repository_has_no_earlier_revision(tmp_path: Path) -> None:
    done = call_cli("check", "--upstream", FOLDER / "today", "--since", "main")
    if done.code == 2:
        assert "git repository" in done.stderr or "revision" in done.stderr


@pytest.mark.parametrize("code", ["KB601", "kb625", "KB657", "KB902"])
def test_findings_of_upstream_trees_are_explained(code: str) -> None:
    done = call_cli("check", "--explain", code)
    assert done.ok().startswith(code.upper())
    assert "Repair: " in done.stdout


def test_a_tree_of_upstreams_size_takes_less_than_five_seconds(tmp_path: Path) -> None:
    """As many files, shims, configurations and readers of versions as upstream has, a good deal more of each."""
    files = UpstreamFiles("today")
    for name, content in files.content.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    template = files.text("configuration-qemu.toml.in")
    padding = "\n".join(f"# A comment, as long as those of upstream's templates are, number {i}." for i in range(700))
    makefile = tmp_path / "src/runtime/Makefile"
    names = [f"configuration-qemu-{i}.toml" for i in range(30)]
    for name in names:
        (tmp_path / f"src/runtime/config/{name}.in").write_text(f"{template}{padding}\n")
    configs = "\n".join(f"    CONFIGS += config/{name}" for name in names)
    text = makefile.read_text().replace(
        "    CONFIGS += config/configuration-qemu.toml\n", f"    CONFIGS += config/configuration-qemu.toml\n{configs}\n"
    )
    text += "\n".join(f"V{i} := $(PREFIX)/share/{i}\nUSER_VARS += V{i}" for i in range(500)) + "\n"
    makefile.write_text(text)
    for i in range(3000):
        script = tmp_path / f"tests/many/{i // 100}/script-{i}.sh"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text('v=$(get_from_kata_deps ".assets.kernel.version")\n' + "echo something else\n" * 40)
    # CPU time, since other work may be going on beside this.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run_cli("check", "--upstream", tmp_path, "--json")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.code in (0, 3), done.stderr
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert took < 5, f"{took:.1f} s"
