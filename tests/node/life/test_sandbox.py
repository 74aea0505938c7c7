"""A real pod sandbox runs on while its handler's install is upgraded and its shim deselected; what it needs stays until it ends.

The handler is ours, with the shim program of our tree: there it is containerd's own runc shim, and crun does the work, since no
guest starts here. What containerd does with the paths it remembers is the same. With containerd 2 only: 1.7 takes a shim for
leaked when its container has no control group, and crun cannot make one on every machine that runs these tests.
"""

from __future__ import annotations

import pytest

from tests.fixtures import sandbox as real
from tests.fixtures.disk import active, assert_as_recorded, changes, disk
from tests.fixtures.images import SHIMS, write_image
from tests.fixtures.sandbox import Sandbox
from tests.node.life.conftest import Life

pytestmark = [pytest.mark.root, pytest.mark.node]

SHIM = "bin/containerd-shim-kata-v2"
DROP_IN = "/custom-containerd-config/containerd-user-dropin.toml"


def generations(life: Life) -> set[str]:
    return {path.name for path in (life.node.root / "opt/kata/.kata-bundle/generations").iterdir()}


def is_whole(life: Life, sandbox: Sandbox, processes: set[int]) -> bool:
    return sandbox.is_ready() and sandbox.processes() == processes


@pytest.mark.parametrize("life", ["sid"], indirect=True)
def test_a_sandbox_outlives_an_upgrade_and_the_deselection_of_its_shim(life: Life, tmp_path):
    node, pod = life.node, life.pod
    config = node.root / "etc/containerd/config.toml"
    config.write_text(real.with_settings(config.read_text(), life.schema))
    pod.files = {DROP_IN: b"version = 3\n" + real.runs_with_crun("kata-qemu", 3).encode()}
    pod.variables = {"CONTAINERD_USER_DROP_IN_SOURCE_FILE": DROP_IN}
    node.restart("containerd")
    node.wait_for("containerd")
    real.prepare(node, f"/opt/containerd-{life.release.version}/ctr")
    before = disk(node)

    shim = {SHIM: ((life.release.folder / "containerd-shim-runc-v2").read_bytes(), 0o755)}
    pod.image = write_image(tmp_path / "first", replace=shim)
    second = write_image(tmp_path / "second", release="2", replace=shim)
    third = write_image(tmp_path / "third", release="3", replace=shim)
    pod.add_daemonset()
    pod.end(pod.install())
    sandbox = Sandbox(node, "kata-qemu")
    processes = sandbox.processes()
    assert len(processes) == 2, "the program and its shim"
    assert is_whole(life, sandbox, processes)

    # An upgrade restarts containerd or not; the sandbox does not notice.
    pod.image = second
    pod.end(pod.install())
    assert is_whole(life, sandbox, processes)
    assert generations(life) == {"1", "2"}

    # A further one: the sandbox's generation is not among the last two any more, and stays because of it.
    pod.image = third
    pod.end(pod.install())
    assert is_whole(life, sandbox, processes)
    assert generations(life) == {"1", "2", "3"}

    # Its shim is deselected: the handler is gone, the program that containerd remembers is not.
    pod.variables = {"SHIMS_X86_64": "clh-runtime-rs", "DEFAULT_SHIM_X86_64": "clh-runtime-rs"}
    pod.end(pod.install())
    assert pod.handlers() == ("kata-clh-runtime-rs",)
    assert active(node).retained == (SHIM,)
    assert (node.root / "opt/kata" / SHIM).exists()
    node.restart("containerd")
    assert is_whole(life, sandbox, processes), "containerd gives a sandbox up whose shim is gone"
    assert_as_recorded(node, before)

    # It ends as any other, and then nothing keeps what was kept for it.
    sandbox.remove()
    assert sandbox.processes() == set()
    process = pod.install()
    assert active(node).retained == ()
    assert not (node.root / "opt/kata" / SHIM).exists()
    assert len(generations(life)) == 2
    assert_as_recorded(node, before)
    pod.remove_daemonset()
    pod.end(process)
    assert changes(before, disk(node)) == set()
    assert set(SHIMS) == {"qemu", "clh-runtime-rs"}


@pytest.mark.slow
@pytest.mark.parametrize("life", ["sid"], indirect=True)
def test_an_uninstall_does_not_touch_a_running_sandbox(life: Life, tmp_path):
    node, pod = life.node, life.pod
    config = node.root / "etc/containerd/config.toml"
    config.write_text(real.with_settings(config.read_text(), 3) + real.runs_with_crun("crun", 3))
    node.restart("containerd")
    real.prepare(node, f"/opt/containerd-{life.release.version}/ctr")
    sandbox = Sandbox(node, "crun")
    processes = sandbox.processes()
    before = disk(node)
    process = pod.install()
    assert is_whole(life, sandbox, processes)
    pod.end(process)
    assert is_whole(life, sandbox, processes)
    assert changes(before, disk(node)) == set()
    sandbox.remove()
