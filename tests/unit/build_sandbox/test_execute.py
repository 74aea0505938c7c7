"""One action in real walls: what comes out, what is refused, what is left behind."""

from __future__ import annotations

import os
import threading
import time

import pytest

from kata_bundle.build.sandbox import Backend, Limits, execute
from kata_bundle.build.sandbox.backend import bubblewrap_problem
from kata_bundle.build.sandbox.checkout import INSTANT, checkout
from kata_bundle.build.sandbox.execute import KEPT, SANDBOXES, shell_command
from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import BuildError, HostError, IntegrityError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import Directory, File, Hardlink, Symlink, Tree

pytestmark = pytest.mark.usefixtures("sandbox")


def text(store, data: str, mode=0o644) -> File:
    return File(mode=mode, size_bytes=len(data), digest=store.put_bytes(data.encode()))


def work_folders(store):
    folder = store.root / SANDBOXES
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_outputs_come_back_as_a_tree_and_nothing_is_left(store, shell):
    done = execute(store, shell("mkdir out; echo hi > out/a; cp out/a out/b; chmod 711 out/b; ln -s a out/c; echo printed"))
    hi = digest_bytes(b"hi\n")
    assert done.outputs == Tree.of(
        {
            RelPath("out"): Directory(),
            RelPath("out/a"): File(mode=0o644, size_bytes=3, digest=hi),
            RelPath("out/b"): File(mode=0o755, size_bytes=3, digest=hi),
            RelPath("out/c"): Symlink(target="a"),
        }
    )
    assert store.read(hi) == b"hi\n"
    assert store.read(done.log) == b"printed\n"
    assert done.is_hermetic
    assert work_folders(store) == []


def test_inputs_are_seen_where_the_action_says_and_cannot_be_changed(store, shell):
    source = Tree.of(
        {RelPath("d/f"): text(store, "source"), RelPath("run"): text(store, "#!/bin/sh\ncat src/d/f > out\n", 0o755)}
    )
    done = execute(
        store, shell("src/run; ! echo x > src/d/f; ! touch src/new; ! rm src/run", inputs={RelPath("build/src"): source})
    )
    assert store.read(done.outputs.entries[RelPath("out")].digest) == b"source"
    assert store.ingest_directory(checkout(store, source)) == source


def test_a_link_to_somewhere_else_is_an_output_and_not_followed(store, shell):
    done = execute(store, shell("ln -s /etc/shadow out"))
    assert done.outputs == Tree.of({RelPath("out"): Symlink(target="/etc/shadow")})


def test_every_file_of_a_checkout_has_one_date(store, shell):
    source = Tree.of(
        {RelPath("d/f"): text(store, "x"), RelPath("l"): Symlink(target="d/f"), RelPath("z"): Hardlink(target=RelPath("d/f"))}
    )
    folder = checkout(store, source)
    dates = {os.lstat(path).st_mtime for path in [folder, *folder.rglob("*")]}
    assert dates == {INSTANT}


def test_a_damaged_input_is_found_before_the_command_runs(store, shell):
    source = Tree.of({RelPath("f"): text(store, "right")})
    blob = store.path(source.entries[RelPath("f")].digest)
    blob.chmod(0o644)
    blob.write_bytes(b"wrong")
    with pytest.raises(IntegrityError):
        execute(store, shell("echo > out", inputs={RelPath("build/src"): source}))
    assert not any((store.root / "checkouts" / "tmp").iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("echo to stderr >&2; exit 3", r"failed with exit code 3:\nto stderr"),
        ("true", r'did not make "out"'),
        ("echo > out; echo > stray; mkdir -p a/b; echo > a/b/c", r'wrote "a", "stray", which are not declared'),
        ("mkdir out; mkfifo out/pipe", "pipe|FIFO"),
    ],
    ids=["exit", "no output", "undeclared", "fifo"],
)
def test_a_failure_says_what_happened_and_keeps_the_folder(store, shell, line, message):
    with pytest.raises((BuildError, IntegrityError), match=message):
        execute(store, shell(line))
    assert len(work_folders(store)) == 1


def test_the_kept_folder_opens_again_as_it_was(store, shell):
    with pytest.raises(BuildError, match="exit code 1") as caught:
        execute(store, shell("echo half > out; false"))
    (name,) = work_folders(store)
    assert f"kata-bundle debug shell {name}" in caught.value.hint
    command = shell_command(store.root / SANDBOXES / name)
    assert command[-2:] == ["--", "/bin/sh"]
    import subprocess

    done = subprocess.run([*command, "-c", "cat /build/out; hostname"], capture_output=True, text=True, check=False)
    assert done.stdout == "half\nkata-bundle\n", done.stderr
    with pytest.raises(BuildError, match="not the work folder"):
        shell_command(store.root)


def test_only_the_newest_failures_are_kept(store, shell):
    for _ in range(KEPT + 3):
        with pytest.raises(BuildError):
            execute(store, shell("false"))
    assert len(work_folders(store)) == KEPT + 1


def test_a_command_that_does_not_end_is_killed_with_its_children(store, shell, tmp_path):
    with pytest.raises(BuildError, match=r"did not end within 0.5 s"):
        execute(store, shell("sleep 1000 & sleep 1000", timeout_s=0.5))


def test_cancelling_kills_the_command(store, shell):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    started = time.monotonic()
    with pytest.raises(BuildError, match="was cancelled"):
        execute(store, shell("sleep 1000"), is_cancelled=stop.is_set)
    assert time.monotonic() - started < 60


def test_limits_of_output_and_memory_hold(store, shell):
    with pytest.raises(BuildError, match=r"exit code|allowed"):
        execute(store, shell("dd if=/dev/zero of=out bs=1024 count=4096"), limits=Limits(output_bytes=1 << 20))
    with pytest.raises(BuildError, match=r"outputs have 2\d+ bytes, 1048576 are allowed"):
        execute(
            store,
            shell("mkdir out; for i in 1 2 3 4; do dd if=/dev/zero of=out/$i bs=1024 count=512; done"),
            limits=Limits(output_bytes=1 << 20),
        )
    with pytest.raises(BuildError, match="exit code"):
        execute(store, shell("x=$(dd if=/dev/zero bs=1M count=300 | cat -v); echo > out"), limits=Limits(memory_bytes=100 << 20))


def test_without_walls_the_result_is_marked(store, shell):
    source = Tree.of({RelPath("f"): text(store, "x")})
    done = execute(store, shell("cat src/f > out", inputs={RelPath("build/src"): source}), backend=Backend.NONE)
    assert not done.is_hermetic
    assert store.read(done.outputs.entries[RelPath("out")].digest) == b"x"


def test_a_host_without_user_namespaces_says_so(monkeypatch, store, shell):
    from kata_bundle.build.sandbox import backend
    from kata_bundle.core.process import Completed

    refused = Completed(argv=("bwrap",), status=1, stdout=b"", stderr=b"bwrap: No permissions to create a new namespace\n")
    monkeypatch.setattr(backend, "run", lambda *a, **k: refused)
    problem = bubblewrap_problem()
    assert isinstance(problem, HostError)
    assert "No permissions to create a new namespace" in str(problem)
    assert "--sandbox none" in problem.hint


def test_two_at_once_share_checkouts_and_nothing_else(store, shell):
    results = []

    def one(number: int) -> None:
        results.append(execute(store, shell(f"ls /tmp > out; echo {number} > /tmp/x; sleep 0.2")).outputs)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert {tree.digest for tree in results} == {results[0].digest}
    assert len([path for path in (store.root / "checkouts").iterdir() if path.name != "tmp"]) == 1
