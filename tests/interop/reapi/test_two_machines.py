"""Two machines, one real buildbox-casd, by the command line: other paths, user, locale and zone; what one made, the other finds.

The second machine is a user without rights, with a store and a home of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.fixtures.cli import run_cli
from tests.support.actionrules import Rules, walls  # noqa: F401 - a fixture for all tests here

pytestmark = pytest.mark.interop

NAMES = ("cloud-hypervisor", "kata-ctl", "nydus")
USER = 65534
OTHER = {
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "tr_TR.UTF-8",
    "LANG": "tr_TR.UTF-8",
    "PYTHONHASHSEED": "7",
    "SOURCE_DATE_EPOCH": "1",
}
UUID = "/proc/sys/kernel/random/uuid"


@pytest.fixture
def rules(tmp_path) -> Rules:
    """What makes another result whenever it is made, so that an equal one was not."""
    rules = Rules.make(tmp_path / "rules")
    for number, name in enumerate(NAMES):
        rules.simple(name, text=f"$(cat {UUID})", needs=NAMES[:number][-1:])
    return rules


def components(done) -> dict[str, dict[str, object]]:
    return {one["component"]: one for one in json.loads(done.ok())["components"]}


@pytest.fixture
def machines(rules, tmp_path, casd):
    """Run a build of the rules on the first or the second machine."""

    def first(*argv):
        if not (tmp_path / "one").exists():
            rules.seed(tmp_path / "one")
        return run_cli(
            "build", *argv, "--json", "--arch", "x86_64", "--rules", rules.folder, "--remote-cache", casd, store=tmp_path / "one"
        )

    def second(*argv):
        home = tmp_path / "home of another" / "ü"
        store = home / "deep" / "store"
        copy = home / "rules"
        if not home.exists():
            home.mkdir(parents=True)
            shutil.copytree(rules.folder, copy)
            rules.seed(store)
            subprocess.run(["chown", "-R", f"{USER}:{USER}", home], check=True)
            for folder in (home, *home.parents):
                if folder.stat().st_mode & 0o001 == 0 and folder.stat().st_uid == os.getuid():
                    folder.chmod(folder.stat().st_mode | 0o011)
        prefix = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
        able = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
        if able.returncode:
            pytest.skip(f"no other user can be taken here: {able.stderr.strip()}")
        return run_cli(
            "build", *argv, "--json", "--arch", "x86_64", "--rules", copy, "--remote-cache", casd,
            store=store, prefix=prefix, cwd=home, umask=0o077, HOME=str(home), USER="nobody", **OTHER,
        )  # fmt: skip

    return first, second


def test_the_second_machine_makes_nothing(machines, tmp_path):
    first, second = machines
    made = components(first(*NAMES, "-j", "1"))
    found = second(*NAMES, "-j", "3", "--remote-only")
    assert {name: one["tree"] for name, one in components(found).items()} == {name: one["tree"] for name, one in made.items()}
    assert {name: one["rule_key"] for name, one in components(found).items()} == {
        name: one["rule_key"] for name, one in made.items()
    }
    assert all(one["hermetic"] for one in components(found).values())
    assert found.stderr.count(": from grpc://") == len(NAMES), found.stderr
    # And it has all of it: without the server nothing has to be made either.
    again = second(*NAMES)
    assert all(one["cached"] for one in components(again).values())
    for store in ("one", "home of another/ü/deep/store"):
        assert run_cli("store", "verify", store=tmp_path / store).code == 0


def test_what_only_differs_in_the_machine_is_made_the_same(rules, machines):
    """Nothing is shared here: both make it, each in its place, and nobody can tell."""
    first, second = machines
    for number, name in enumerate(NAMES):
        line = (
            "$(env; id; pwd; umask; stat -c %n:%a:%u:%g / /build /build/src /build/deps /tmp /build/*)" if number == 0 else name
        )
        rules.simple(name, text=f"'{number}' {line}", needs=NAMES[:number][-1:])
    one = components(first(*NAMES, "--no-remote-upload"))
    two = components(second(*NAMES, "--no-remote-upload"))
    assert {name: part["tree"] for name, part in one.items()} == {name: part["tree"] for name, part in two.items()}
    assert not any(part["cached"] for part in (*one.values(), *two.values()))
