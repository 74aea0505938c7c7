"""What a command must not be able to read or reach; each line of shell is tried inside real walls.

An attempt prints what it got hold of; it must be nothing of the machine's.
"""

from __future__ import annotations

import os
import socket
import threading

import pytest

from kata_bundle.build.sandbox import execute
from kata_bundle.build.sandbox.execute import SANDBOXES
from kata_bundle.core.relpath import RelPath

pytestmark = pytest.mark.usefixtures("sandbox")

SECRET = "s3cret-of-the-machine"


@pytest.fixture
def seen(store, shell):
    def run(line: str, **more) -> str:
        done = execute(store, shell(f"{{ {line}\n}} > out 2>&1 || true", **more))
        return store.read(done.outputs.entries[RelPath("out")].digest).decode("utf-8", "replace")

    return run


@pytest.mark.parametrize(
    "line",
    [
        "cat /etc/passwd /etc/hostname /etc/resolv.conf /etc/machine-id",
        "ls -a /etc /root /home /var /opt /srv /mnt /media",
        "cat /sys/class/dmi/id/* /sys/devices/system/cpu/online",
        "cat /run/* /var/run/*",
        "ls /usr/lib /usr/share",
    ],
    ids=["etc files", "host folders", "sysfs", "run", "usr"],
)
def test_files_of_the_host_are_not_there(seen, line):
    for shown in seen(line).splitlines():
        assert "No such file" in shown or shown in {"", "/etc:", "/usr:", ".", ".."}, shown


def test_the_home_folder_and_the_environment_do_not_come_along(seen, monkeypatch, tmp_path):
    monkeypatch.setenv("KATA_SECRET", SECRET)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text(SECRET)
    shown = seen(f"env; cat $HOME/token ~/token {tmp_path}/token; cat /proc/self/environ /proc/1/environ")
    assert SECRET not in shown
    assert {line.partition("=")[0] for line in shown.splitlines() if "=" in line and "\0" not in line} <= {
        "PATH",
        "PWD",
        "SHLVL",
        "HOME",
    }


def test_user_host_name_and_kernel_are_the_same_everywhere(seen):
    assert seen("id -u; id -g; hostname; cat /proc/sys/kernel/hostname").split() == ["1000", "1000", "kata-bundle", "kata-bundle"]


def test_proc_tells_nothing_of_the_machine(seen):
    shown = seen("cat /proc/cpuinfo /proc/version /proc/uptime /proc/loadavg /proc/cmdline /proc/partitions")
    assert shown.split() == [
        *["Linux", "version", "0.0.0", "(kata-bundle)", "#1", "SMP", "1980-01-01"],
        *["0.00", "0.00"],
        *["0.00", "0.00", "0.00", "1/1", "1"],
    ]


def test_no_process_of_the_host_can_be_seen_or_signalled(seen):
    assert str(os.getpid()) not in [line.split()[0] for line in seen("ps -o pid,args").splitlines() if line.split()]
    assert "No such process" in seen(f"kill -9 {os.getpid()}")
    assert seen(f"ls /proc/{os.getpid()}/root").count("No such file") == 1


def test_there_is_no_network(seen):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        accepted: list[object] = []

        def accept() -> None:
            try:
                accepted.append(server.accept())
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        shown = seen(f"nc -w 1 127.0.0.1 {port} < /dev/null; wget -T 1 -q -O - http://127.0.0.1:{port}/; ifconfig -a | cat")
        assert not accepted
    interfaces = [line.split()[0] for line in shown.splitlines() if "Link encap" in line]
    assert interfaces == ["lo"]


def test_sockets_of_the_host_cannot_be_reached(seen, tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as hidden:
        server.bind(str(path))
        server.listen()
        hidden.bind("\0kata-bundle-test")  # an abstract socket is one of the network's
        hidden.listen()
        shown = seen(f"ls -l {path}; cat /proc/net/unix")
    assert "kata-bundle-test" not in shown
    assert "No such file" in shown


def test_devices_are_the_harmless_ones(seen):
    names = set(seen("ls /dev").split())
    assert names <= {
        "console",
        "core",
        "fd",
        "full",
        "null",
        "ptmx",
        "pts",
        "random",
        "shm",
        "stderr",
        "stdin",
        "stdout",
        "tty",
        "urandom",
        "zero",
    }
    assert "kvm" not in names


@pytest.mark.parametrize(
    "line",
    [
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /",
        "unshare -Ur true",
        "chroot / true",
        "touch /escaped",
        "rm -rf /bin/busybox",
        "chmod 777 /bin",
        "cp /bin/busybox /bin/other",
    ],
)
def test_rights_that_would_open_the_walls_are_gone(seen, line):
    assert "GOT" not in seen(f"{line} && echo GOT")


def test_another_action_cannot_be_seen(seen, store):
    (store.root / SANDBOXES).mkdir(exist_ok=True)
    other = store.root / SANDBOXES / "other"
    other.mkdir()
    (other / "secret").write_text(SECRET)
    assert SECRET not in seen(f"find / -name secret; cat {other}/secret; ls {store.root}; cat /build/../../../*/secret")


def test_a_file_descriptor_of_the_program_is_not_passed_on(seen, tmp_path):
    path = tmp_path / "open"
    path.write_text(SECRET)
    descriptor = os.open(path, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        assert SECRET not in seen(f"cat /proc/self/fd/{descriptor}; cat <&{descriptor}")
    finally:
        os.close(descriptor)


def test_the_limits_of_the_session_cannot_be_used_to_type_into_the_terminal(seen):
    assert "not a tty" in seen("test -t 0 && echo tty || echo not a tty")
