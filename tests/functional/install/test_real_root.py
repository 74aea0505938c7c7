"""The root directory is ``/`` itself, as on a node: in a mount namespace of its own, with an ``/opt`` of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.fixtures.node import payload

pytestmark = pytest.mark.root

SCRIPT = """\
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /opt
mkdir -p /run/lock
mount -t tmpfs tmpfs /run/lock
cd {folder}
python={python}
$python -m kata_bundle install {source} --root / --shim qemu --arch x86_64 --dry-run >/dev/null
test -z "$(ls -A /opt)"
$python -m kata_bundle install {source} --root / --shim qemu --arch x86_64
$python -m kata_bundle verify --root /
test -x /opt/kata/bin/containerd-shim-kata-v2
$python -m kata_bundle install {source} --root / --shim clh --arch x86_64
$python -m kata_bundle rollback --root /
$python -m kata_bundle verify --root /
$python -m kata_bundle node gc --root /
$python -m kata_bundle uninstall --root /
test -z "$(ls -A /opt)"
$python -m kata_bundle uninstall --root / || test $? -ne 124
"""


def test_install_verify_rollback_and_uninstall_on_the_root_itself(tmp_path):
    if os.geteuid():
        pytest.skip("mount namespaces need root")
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    source = payload(tmp_path / "payload")
    script = SCRIPT.format(folder=tmp_path, python=sys.executable, source=source)
    # A bound on the whole: a loop that does not end must not hold the tests up.
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=120, cwd=os.getcwd()
    )
    assert done.returncode == 0, done.stdout + done.stderr
