"""An archive for a bug report: everything recorded is in it, no secret is, and nothing makes it wait or grow without end."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import threading

import pytest
import zstandard

from kata_bundle.node.diagnostics.collect import FOLDER, Bounds, collect, pack
from kata_bundle.node.diagnostics.parts import Part
from kata_bundle.node.diagnostics.redact import MARK
from kata_bundle.node.install import install
from tests.fixtures.cli import call_cli, run_cli
from tests.fixtures.node import World, payload
from tests.fixtures.ttrpc_server import MockAgent, listening

SECRETS = ("s3cret-of-the-registry", "s3cret-of-the-proxy", "s3cret-of-the-guest", "s3cret-in-a-dropin")
CONTAINERD = f"""version = 3
imports = ["/etc/containerd/conf.d/*.toml"]
[plugins."io.containerd.grpc.v1.cri".registry.configs."registry.test".auth]
username = "somebody"
password = "{SECRETS[0]}"
"""


def part(name: str, read, source: str = "made up") -> Part:
    return Part(name=name, source=source, read=read)


def unpacked(archive: bytes) -> dict[str, str]:
    """Return the files of an archive below its folder; every member has to be the owner's alone."""
    found = {}
    with (
        zstandard.ZstdDecompressor().stream_reader(io.BytesIO(archive)) as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        for member in tar:
            if member.isfile():
                assert member.mode == 0o600
                content = tar.extractfile(member)
                assert content is not None
                found[member.name.removeprefix(f"{FOLDER}/")] = content.read().decode()
    return found


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "host")
    (made.root / "etc/containerd/conf.d").mkdir(parents=True)
    (made.root / "etc/containerd/config.toml").write_text(CONTAINERD)
    (made.root / "etc/containerd/conf.d/site.toml").write_text(f'version = 3\napi_token = "{SECRETS[3]}"\n')
    install(made.machine(), made.desired(payload(tmp_path / "payload"), "qemu"))
    return made


@pytest.fixture
def spec(tmp_path):
    text = f'version = 1\nshims = ["qemu"]\nagent_https_proxy = {{"*" = "http://u:{SECRETS[1]}@proxy.test:3128"}}\n'
    (tmp_path / "node.toml").write_text(text + 'container_runtime_version = "containerd://2.1.5"\n')
    return tmp_path / "node.toml"


def test_an_install_is_collected_without_secrets(world, spec, tmp_path):
    output = tmp_path / "report.tar.zst"
    agent = MockAgent({"box": f"failed with token={SECRETS[2]}\n".encode()})
    with listening(world.root / "agent.sock", agent):
        done = run_cli(
            "node", "diagnostics", "--root", world.root, "--spec", spec, "-o", output,
            "--agent", "unix:///agent.sock", "--container", "box", "--container", "nobody", "--json",
        )  # fmt: skip
    summary = json.loads(done.ok())
    data = output.read_bytes()
    files = unpacked(data)
    everything = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read() + done.stdout.encode() + done.stderr.encode()
    for secret in SECRETS:
        assert secret.encode() not in everything
    assert json.loads(files["install/receipts/1.json"])["generation"] == 1
    assert json.loads(files["install/status.json"])["installed"] is True
    assert json.loads(files["plans/uninstall.json"])["action"] == "uninstall"
    assert json.loads(files["node/config.json"])["config"]["shims"]["value"] == ["qemu"]
    assert json.loads(files["node/doctor.json"])["problems"][0]["kind"] == "systemd_unreachable"
    assert f'password = "{MARK}"' in files["host/etc/containerd/config.toml"]
    assert f'username = "{MARK}"' in files["host/etc/containerd/config.toml"], "whatever stands below auth is a secret"
    assert "imports" in files["host/etc/containerd/config.toml"]
    assert files["host/etc/containerd/conf.d/site.toml"].startswith("version = 3\n")
    assert files["guest/box/termination_log.txt"] == f"failed with token={MARK}\n"
    trouble = {item["name"]: item["trouble"] for item in summary["parts"] if item["size_bytes"] is None}
    assert set(trouble) == {"guest/nobody/termination_log.txt", "node/units.json"}
    assert "invalid container id" in trouble["guest/nobody/termination_log.txt"]
    assert json.loads(files["summary.json"]) == {key: summary[key] for key in ("version", "tool", "parts", "trouble")}
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert summary["size_bytes"] == len(data)


def test_the_same_node_gives_the_same_bytes(world, spec, tmp_path, monkeypatch):
    for zone, name in (("UTC", "one"), ("Asia/Tokyo", "two")):
        monkeypatch.setenv("TZ", zone)
        call_cli("node", "diagnostics", "--root", world.root, "--spec", spec, "-o", tmp_path / name).ok()
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_archive_can_go_to_standard_output(world):
    done = subprocess.run(
        [sys.executable, "-m", "kata_bundle", "node", "diagnostics", "--root", world.root, "-o", "-"],
        capture_output=True,
        check=True,
    )
    assert "install/status.json" in unpacked(done.stdout)
    assert b"in standard output" in done.stderr
    assert call_cli("node", "diagnostics", "--root", world.root, "-o", "-", "--json").code == 2


def test_a_dry_run_lists_what_goes_in_and_writes_nothing(world, spec, tmp_path):
    options = ("node", "diagnostics", "--root", world.root, "--spec", spec, "-o", tmp_path / "x", "--json")
    before = sorted(tmp_path.rglob("*"))
    listed = json.loads(call_cli(*options, "--dry-run").ok())
    assert sorted(tmp_path.rglob("*")) == before
    collected = json.loads(call_cli(*options).ok())
    assert sorted(item["name"] for item in listed["parts"]) == [item["name"] for item in collected["parts"]]


def test_an_interrupted_install_brings_its_journal(world, tmp_path):
    (world.root / "opt/kata/.kata-bundle/journal.json").write_text('{"cut": "of')
    call_cli("node", "diagnostics", "--root", world.root, "-o", tmp_path / "x").ok()
    assert unpacked((tmp_path / "x").read_bytes())["install/journal.json"] == '{"cut": "of'


def test_what_somebody_put_in_the_way_is_told_and_not_waited_for(world, tmp_path):
    folder = world.root / "etc/containerd/conf.d"
    os.mkfifo(folder / "pipe.toml")
    (folder / "loop.toml").symlink_to("loop.toml")
    (folder / "far.toml").symlink_to("/../../../../../../etc/hostname")
    (folder / "up.toml").symlink_to("../" * 30 + "etc/outside.toml")
    (world.root / "etc/outside.toml").write_text("inside = true\n")
    (folder / "un\nprintable.toml").write_text("")
    done = call_cli("node", "diagnostics", "--root", world.root, "-o", tmp_path / "x", "--json")
    parts = {item["name"]: item for item in json.loads(done.ok())["parts"]}
    files = unpacked((tmp_path / "x").read_bytes())
    start = "host/etc/containerd/conf.d"
    assert "is no regular file" in parts[f"{start}/pipe.toml"]["trouble"]
    assert "more than 40 symbolic links" in parts[f"{start}/loop.toml"]["trouble"]
    assert parts[f"{start}/far.toml"]["size_bytes"] is None, "a link never leads out of the root"
    assert files[f"{start}/up.toml"] == "inside = true\n"
    assert f"{start}/un_printable.toml" in files


def test_nothing_is_installed_is_something_to_report_too(tmp_path):
    done = call_cli("node", "diagnostics", "--root", tmp_path, "-o", tmp_path / "x", "--json")
    assert {item["name"] for item in json.loads(done.ok())["parts"]} >= {"install/status.json", "node/cri.json"}


def test_parts_that_hang_fail_or_never_end_do_not_keep_the_others_out(tmp_path):
    never = threading.Event()

    def fails() -> bytes:
        message = "no luck with http://me:pw-of-mine@x.test"
        raise ValueError(message)

    parts = [
        part("a", lambda: b"first"),
        part("b", lambda: bytes(never.wait())),
        part("c", fails),
        part("d", lambda: b"x" * 100),
        part("e", lambda: b"last \xff"),
        part("a", lambda: b"a second one of that name"),
    ]
    collected = collect(parts, Bounds(part_s=0.2, part_bytes=10))
    found = {piece.name: (piece.data, piece.trouble) for piece in collected.pieces}
    assert found == {
        "a": (b"first", None),
        "b": (None, "gave nothing within 0 s"),
        "c": (None, f"no luck with http://{MARK}@x.test"),
        "d": (b"x" * 10, "cut after 10 bytes"),
        "e": ("last \N{REPLACEMENT CHARACTER}".encode(), None),
    }
    never.set()


def test_the_whole_is_bounded_in_time_bytes_and_number():
    clock = iter(range(100))
    slow = collect([part(str(i), lambda: b"x") for i in range(9)], Bounds(within_s=5), now=lambda: float(next(clock)))
    assert [piece.trouble for piece in slow.pieces][-1] == "left out: the time was used up before" or slow.trouble is not None
    assert any(piece.data for piece in slow.pieces)
    large = collect([part(str(i), lambda: b"x" * 10) for i in range(5)], Bounds(total_bytes=25))
    assert [len(piece.data or b"") for piece in large.pieces] == [10, 10, 5, 0, 0]
    assert large.pieces[4].trouble == "left out: 25 bytes were collected before"
    many = collect((part(str(i), lambda: b"x") for i in range(10**9)), Bounds(parts=20))
    assert len(many.pieces) == 20
    assert many.trouble == "there are more than 20 parts"


def test_a_list_that_hangs_or_fails_leaves_what_was_collected():
    def listing():
        yield part("a", lambda: b"x")
        raise OSError("the disk is gone")

    collected = collect(listing(), Bounds(part_s=5))
    assert [piece.name for piece in collected.pieces] == ["a"]
    assert collected.trouble == "the list of parts: the disk is gone"
    assert set(unpacked(pack(collected))) == {"a", "summary.json"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--agent", "unix:///x"), "--agent and --container belong together"),
        (("--container", "x"), "--agent and --container belong together"),
        (("--agent", "tcp://x", "--container", "x"), "is no address of an agent"),
        (("--agent", "unix:///x", "--container", "x", "--log-type", "nope"), "is no type of diagnostic text"),
        (("--root", "/no/such/root"), "does not exist"),
        (("--suffix", "No Suffix"), "is not allowed"),
    ],
)
def test_wrong_use_is_told_before_anything_is_done(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call_cli("node", "diagnostics", *options)
    assert done.code == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


# kata-bundle node termination-log


def test_a_termination_message_is_printed_or_put_where_kubernetes_looks(tmp_path):
    target = tmp_path / "pods/0"
    target.parent.mkdir()
    target.touch()
    document = {
        "annotations": {
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.terminationMessagePolicy": "File",
        },
        "mounts": [{"destination": "/dev/termination-log", "source": str(target)}],
    }
    (tmp_path / "config.json").write_text(json.dumps(document))
    address = f"unix://{tmp_path}/s"
    with listening(tmp_path / "s", MockAgent({"box": b"out of memory\n"})):
        assert call_cli("node", "termination-log", "box", "--agent", address).ok() == "out of memory\n"
        refused = call_cli("node", "termination-log", "other", "--agent", address)
        assert (refused.code, "INVALID_ARGUMENT" in refused.stderr) == (8, True)
        done = call_cli("node", "termination-log", "box", "--agent", address, "--bundle", tmp_path, "--json")
        assert json.loads(done.ok()) == {"container": "box", "target": str(target), "written": True}
        assert target.read_text() == "out of memory\n"
        shared = call_cli("node", "termination-log", "box", "--agent", address, "--bundle", tmp_path, "--shared-fs", "virtio-fs")
        assert shared.ok() == "nothing written\n"
    gone = call_cli("node", "termination-log", "box", "--agent", address, "--bundle", tmp_path)
    assert gone.code == 0, "a container being stopped is never kept by this"
    assert "warning: no termination message of container box" in gone.stderr
    (tmp_path / "config.json").write_text("no JSON")
    assert "warning: " in call_cli("node", "termination-log", "box", "--agent", address, "--bundle", tmp_path).stderr
    assert target.read_text() == "out of memory\n"
