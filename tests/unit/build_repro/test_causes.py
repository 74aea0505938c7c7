"""A command that depends on one thing around it is caught, and that thing is named; one that does not passes."""

from __future__ import annotations

import pytest

from kata_bundle.build.repro import Condition, Host, check_action
from kata_bundle.build.sandbox import Backend
from kata_bundle.core.errors import BuildError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.fixture(scope="module")
def host():
    return Host.look()


def need(host, condition):
    """Skip, with the reason, what this machine cannot change."""
    from kata_bundle.build.repro import plan_variation

    reason = plan_variation(frozenset({condition}), host, backend=Backend.BUBBLEWRAP).left.get(condition)
    if reason is not None:
        pytest.skip(f"{condition} cannot be varied here: {reason}")


def test_what_depends_on_its_inputs_alone_comes_out_the_same(store, shell):
    inputs = {RelPath("build/src/a"): Tree.of({})}
    verdict = check_action(
        store, shell("mkdir out; echo text > out/file; ln -s file out/link; cp /bin/busybox out/", inputs=inputs)
    )
    assert verdict.is_same, verdict.differences
    assert (verdict.second.digest, verdict.failure, verdict.differences) == (verdict.first.digest, "", ())
    assert verdict.variation.varied | set(verdict.variation.left) == set(Condition)
    assert not list(store.results())


@pytest.mark.parametrize(
    ("condition", "line"),
    [
        ("path", "pwd > out"),
        ("path", "mkdir -p ${TMPDIR:-/tmp}/x; cd ${TMPDIR:-/tmp}/x; pwd > /proc/self/fd/1 > $OLDPWD/out"),
        ("user", "id -u > out"),
        ("user", "id -g > out"),
        ("host", "hostname > out"),
        ("cpus", "nproc > out"),
        ("umask", "umask > out"),
        ("umask", "touch f; stat -c %a f > out; rm f"),
        ("locale", "env | { while read -r l; do case $l in LC_ALL*) echo $l;; esac; done; } > out"),
        ("locale", "date -r /bin/busybox > out"),
        ("env", "env | wc -l > out"),
    ],
)
def test_a_condition_that_makes_a_difference_is_named(store, shell, host, condition, line):
    need(host, Condition(condition))
    vary = frozenset({Condition(condition), Condition.HOST if condition == "user" else Condition.USER})
    action = shell(line, env={"LC_ALL": "C", "TZ": "UTC"})
    verdict = check_action(store, action, vary=vary, find_cause=True, host=_still(host))
    assert not verdict.is_same
    assert [one.path for one in verdict.differences] == ["out"]
    assert verdict.causes == (condition,)


def _still(host):
    """Without the clock's library, whose variables a command could see."""
    return Host(processors=host.processors, clock_library=None, tmpfs=host.tmpfs)


def test_the_order_of_names_is_named(store, shell, host):
    need(host, Condition.ORDER)
    data = store.put_bytes(b"x")
    names = Tree.of({RelPath(name): File(mode=0o644, size_bytes=1, digest=data) for name in "qwertyuiop"})
    action = shell("find src > out", inputs={RelPath("build/src/names"): names})
    verdict = check_action(store, action, find_cause=True, host=_still(host))
    assert verdict.causes == ("order",)
    usual, other = (store.read(tree.entries[RelPath("out")].digest).split() for tree in (verdict.first, verdict.second))
    assert sorted(usual) == sorted(other)
    assert usual[2:] == other[:1:-1]  # behind the folders themselves


def test_names_that_the_command_made_are_listed_in_another_order_too(store, shell, host):
    need(host, Condition.ORDER)
    action = shell("mkdir d; for n in q w e r t y u i o p; do touch d/$n; done; find d > out; rm -r d")
    vary = frozenset({Condition.ORDER, Condition.UMASK})
    assert check_action(store, action, vary=vary, find_cause=True, host=_still(host)).causes == ("order",)


@pytest.mark.parametrize("line", ["/dynamic/date +%Y > out", "/dynamic/date > out", "/dynamic/date +%A > out"])
def test_the_date_is_named(store, dated, host, line):
    need(host, Condition.TIME)
    verdict = check_action(store, dated(line), vary=frozenset({Condition.TIME, Condition.USER}), find_cause=True, host=host)
    assert not verdict.is_same
    assert verdict.causes == ("time",)


def test_dates_of_files_are_recognised_though_no_clock_can_lie_about_them(store, shell, host):
    action = shell("touch f; stat -c 'made at %Y' f > out; rm f")
    verdict = check_action(store, action, vary=frozenset({Condition.TIME, Condition.USER}), find_cause=True, host=_still(host))
    assert not verdict.is_same
    assert verdict.causes == ("time",)


def test_chance_is_named(store, shell, host):
    verdict = check_action(
        store,
        shell("dd if=/dev/urandom of=out bs=16 count=1"),
        vary=frozenset({Condition.HOST}),
        find_cause=True,
        host=_still(host),
    )
    assert verdict.causes == ("random",)


def test_two_causes_are_both_named(store, shell, host):
    action = shell("mkdir out; hostname > out/a; id -u > out/b")
    vary = frozenset({Condition.USER, Condition.HOST, Condition.ENV})
    assert check_action(store, action, vary=vary, find_cause=True, host=_still(host)).causes == ("user", "host")


def test_a_second_build_that_fails_is_a_difference(store, shell, host):
    action = shell("test $(id -u) = 1000; echo x > out")
    verdict = check_action(store, action, find_cause=True, host=_still(host))
    assert not verdict.is_same
    assert "exit code 1" in verdict.failure
    assert verdict.causes == ("user",)
    assert verdict.to_dict()["second"] is None


def test_a_first_build_that_fails_is_an_error(store, shell):
    with pytest.raises(BuildError, match="exit code 3"):
        check_action(store, shell("exit 3"))


def test_what_cannot_be_changed_is_said(store, shell):
    poor = Host(processors=1, clock_library=None, tmpfs=None)
    verdict = check_action(store, shell("nproc > out"), host=poor)
    assert verdict.is_same or verdict.variation.varied  # one processor in both, whatever it prints
    assert set(verdict.variation.left) == {Condition.TIME, Condition.CPUS, Condition.ORDER}
    assert verdict.to_dict()["not_varied"]["cpus"] == "there is one processor only"


def test_without_walls_less_is_changed_and_the_result_says_so(store, shell, host):
    action = shell("umask > out", env={"PATH": "/bin"})
    verdict = check_action(store, action, backend=Backend.NONE, find_cause=True, host=_still(host))
    assert {Condition.PATH, Condition.USER, Condition.HOST} <= set(verdict.variation.left)
    assert not verdict.is_hermetic
    assert verdict.causes == ("umask",)
