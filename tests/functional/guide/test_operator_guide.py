"""An operator's evening: every command of the guides "install on a cluster" to "when it fails", in the order of the pages.

* ``kata-bundle`` runs, on bundles with the stand-ins of the tests; a scratch directory stands for the node's root. What takes a
  mirror and minutes has ``--dry-run`` on the page; tests/functional/image and tests/functional/test_docs.py make the real ones.
* ``helm`` is the real one. What needs no cluster runs; the rest has to be refused for want of a cluster only.
* ``kubectl`` is the real one, likewise; what it runs in a pod runs here on the scratch node.
* ``skopeo copy`` to a registry is tests/interop/oci's business.

With ``KATA_BUNDLE_TEST_KUBECONFIG`` helm and kubectl run their lines against that API server, helm without hooks, since no
controller runs pods there; lines that wait for pods or enter them are left out, and the test says which.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kata_bundle.core.arch import Arch
from tests.fixtures import components
from tests.fixtures.cli import Result, call_cli
from tests.fixtures.node import kernel, snapshot, write_payload
from tests.interop.helm.conftest import helm_program  # noqa: F401 - a fixture
from tests.support.framed import framed_bundle
from tests.support.kubernetes_programs import kubernetes_program

pytestmark = [pytest.mark.net]

ROOT = Path(__file__).parents[3]
GUIDE = ROOT / "docs" / "guide"
PAGES = ("install-on-a-cluster", "upgrade", "roll-back", "uninstall", "when-it-fails")
KUBECONFIG = os.environ.get("KATA_BUNDLE_TEST_KUBECONFIG")
ON_A_NODE = {"status", "verify", "rollback", "uninstall", "install"}
SLOW = {"import", "generate image"}
"""Shown with ``--dry-run`` on the page; need tarballs of a release, or a mirror."""
EXIT_CODES = {"diff": {12}, "node doctor": {0, 9}}
NEEDS_PODS = ("rollout", "logs", "exec")
NO_CLUSTER = re.compile(
    r"cluster unreachable|connection refused|connection to the server|release: not found|has no deployed releases"
)


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (GUIDE / f"{page}.md").read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    return [shlex.split(line) for block in blocks(page, "sh") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def kubectl_program() -> Path:
    """The kubectl of the npm package that has helm too."""
    return kubernetes_program("kubectl")


@pytest.fixture
def evening(tmp_path):
    """What the pages name: tarballs of a release, two bundles, a root, and the files that the pages show."""
    (tmp_path / "root/etc/containerd").mkdir(parents=True)
    (tmp_path / "root/etc/containerd/config.toml").write_text("version = 3\n")
    (values,) = (text for text in blocks("install-on-a-cluster", "yaml") if "image:" in text and "kind:" not in text)
    (tmp_path / "values.yaml").write_text(values)
    (spec,) = blocks("install-on-a-cluster", "toml")
    (tmp_path / "node.toml").write_text(spec)
    for name, shims in (("OLD", ("qemu",)), ("NEW", ("qemu", "clh"))):
        rows = {shim: components.row(shim, Arch.X86_64) for shim in shims}
        parts = {
            component: {
                path: data for path, data in components.component_files(component, Arch.X86_64).items() if isinstance(data, bytes)
            }
            for component in sorted({name for row in rows.values() for name in row})
        }
        path = min(parts["kernel"])
        parts["kernel"][path] += name.encode()
        framed_bundle(tmp_path / name, rows, parts, store=tmp_path / "store")
    write_payload(tmp_path / "tarballs", {"qemu": ["kernel"]}, {"kernel": kernel()})
    (tmp_path / "tarballs/shim-components.json").unlink()
    return tmp_path


def test_every_command_of_the_pages_is_of_a_known_program():
    used = {words[0] for page in PAGES for words in commands(page)}
    assert used == {"kata-bundle", "helm", "kubectl", "skopeo"}
    for page in PAGES:
        assert len(commands(page)) >= 4


def run_kata(words: list[str]) -> Result | None:
    name = " ".join(words[:2]) if words[0] in {"node", "generate"} else words[0]
    if name in SLOW:
        assert "--dry-run" in words, "the page shows it with --dry-run, and so it runs here"
    if words[0] in ON_A_NODE or name in {"node gc", "node diagnostics", "node doctor"}:
        words = [*words, "--root", "root"]
    if words[0] == "install" and "--spec" in words:
        words += ["--runtime", "containerd"]
    if words[0] == "bundle":  # tests/functional/test_docs.py runs this very command, with what a mirror has
        shutil.copytree("OLD", words[words.index("-o") + 1])
        return None
    done = call_cli(*words)
    assert "Traceback" not in done.stderr
    assert done.code in EXIT_CODES.get(name, {0}), f"{shlex.join(words)}: exit {done.code}\n{done.stdout}\n{done.stderr}"
    return done


def test_the_commands_on_a_node_run_in_the_order_of_the_pages(evening, monkeypatch):
    monkeypatch.chdir(evening)
    monkeypatch.setenv("KATA_BUNDLE_STORE", str(evening / "own-store"))
    before = snapshot(evening / "root")
    ran = set()
    for page in PAGES:
        if page == "when-it-fails":
            assert snapshot(evening / "root") == before, "the page before it uninstalled everything"
            run_kata(["install", "out", "--spec", "node.toml"])
        for words in commands(page):
            if words[0] == "kubectl" and words[1] == "exec":
                inside = words[words.index("--") + 1 :]
                words = inside[: inside.index(">")] if ">" in inside else inside  # noqa: PLW2901
                words = [w if w != "-" else "from-pod.tar.zst" for w in words]  # noqa: PLW2901
                if not (evening / "root/opt/kata").exists():
                    continue  # "see that it worked" of the cluster, before anything is on this node
                if words[1:3] == ["node", "doctor"]:
                    words += ["--spec", "node.toml"]  # the pod has its environment
            if words[0] != "kata-bundle":
                continue
            run_kata(words[1:])
            ran.add(words[1])
    assert ran >= {"import", "generate", "bundle", "install", "verify", "diff", "status", "rollback", "uninstall", "node"}
    assert (evening / "kata-bundle-diagnostics.tar.zst").stat().st_size > 1000


def call(program: Path, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    if KUBECONFIG:
        environment["KUBECONFIG"] = KUBECONFIG
    return subprocess.run(
        [program, *words], capture_output=True, text=True, check=False, timeout=120, env=environment, cwd=folder
    )


def test_helm_and_kubectl_take_the_commands(evening, helm_program, kubectl_program):  # noqa: F811
    call_cli("generate", "chart", "-o", evening / "chart").ok()
    left_out = []
    for page in PAGES:
        for words in commands(page):
            if words[0] not in {"helm", "kubectl"}:
                continue
            program = helm_program if words[0] == "helm" else kubectl_program
            rest = words[1:]
            if words[0] == "kubectl" and rest[0] in NEEDS_PODS and KUBECONFIG:
                left_out.append(shlex.join(words))
                continue
            if words[0] == "helm" and rest[0] == "upgrade":  # what it sends can be looked at without a cluster
                done = call(program, ["template", *rest[1:]], evening)
                assert (done.returncode, "kata-deploy:v2" in done.stdout) == (0, True), done.stderr
            if words[0] == "helm" and rest[0] == "install" and not KUBECONFIG:
                rest = [*rest, "--dry-run=client"]
            elif words[0] == "helm" and rest[0] in {"install", "upgrade", "rollback", "uninstall"}:
                rest = [*rest, "--no-hooks"]
            done = call(program, rest[: rest.index(">")] if ">" in rest else rest, evening)
            assert "unknown" not in done.stderr, f"{shlex.join(words)}\n{done.stderr}"
            is_alone = rest[0] in {"lint", "template"} or "--dry-run=client" in rest
            if KUBECONFIG or is_alone:
                assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
            else:
                assert done.returncode != 0, shlex.join(words)
                assert NO_CLUSTER.search(done.stderr), f"{shlex.join(words)}\n{done.stderr}"
    if left_out:
        sys.stderr.write("need running pods, not tried: " + "; ".join(left_out) + "\n")


def test_the_documents_of_the_pages_are_what_kubernetes_takes():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kubernetes_validate
    (pod,) = (yaml.safe_load(text) for text in blocks("install-on-a-cluster", "yaml") if "kind:" in text)
    kubernetes_validate.validate(pod, "1.36", strict=True)
    assert pod["spec"]["runtimeClassName"] == "kata-qemu"


def test_the_image_is_copied_as_the_tests_with_registries_copy_it():
    (words,) = [words for page in PAGES for words in commands(page) if words[0] == "skopeo"]
    assert words[:3] == ["skopeo", "copy", "--all"]
    assert words[3] == "oci:image:latest", "the name that generate image gives"


def test_the_exit_codes_of_the_page_are_the_programs():
    page = (GUIDE / "when-it-fails.md").read_text()
    from kata_bundle.core import errors

    known = {
        error.exit_code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.BundleError)
    }
    stated = {int(code) for code in re.findall(r"^\| ([0-9]+) \|", page, flags=re.MULTILINE)}
    assert stated <= known
    assert {9, 10, 11} <= stated


def test_links_between_the_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)", (GUIDE / f"{page}.md").read_text()):
            assert (GUIDE / target).exists(), f"{page}: {target}"
