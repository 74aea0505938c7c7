"""Events of a build: every line of the published form, in an order to rely on, whatever becomes of the reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import jsonschema
import pytest

from kata_bundle.build.events import BuildStarted, SourceFetch
from kata_bundle.cli.eventstream import EventStream, open_events
from kata_bundle.core.errors import UsageError
from kata_bundle.core.resources import shipped

SCHEMA = json.loads((shipped("schemas") / "build" / "build-events.schema.json").read_text())
STARTED = BuildStarted(program="1", targets=1, planned=1, jobs=1)


def command(*argv, **settings):
    return subprocess.run(
        [sys.executable, "-m", "kata_bundle", *argv], capture_output=True, text=True, check=False, timeout=120, **settings
    )


@pytest.fixture
def store(tmp_path):
    return ("--store", str(tmp_path / "store"))


def checked(text: str) -> list[dict]:
    assert text.endswith("\n")
    events = [json.loads(line) for line in text.splitlines()]
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for event in events:
        validator.validate(event)
    assert max(map(len, text.encode().splitlines())) < 4096
    return events


def test_the_stream_of_a_build_has_its_order_with_four_threads(tmp_path, store):
    file = tmp_path / "events"
    done = command("build", "--arch", "s390x,ppc64le", "-j", "4", *store, "--events", str(file))
    assert done.returncode == 0, done.stderr
    events = checked(file.read_text())
    assert (events[0]["event"], events[-1]["event"]) == ("build-started", "build-finished")
    planned = [event for event in events if event["event"] == "target-planned"]
    assert len(planned) == events[0]["planned"] == events[-1]["counts"]["made"]
    assert [event["event"] for event in events[1 : len(planned) + 1]] == ["target-planned"] * len(planned)
    seen: dict[tuple, str] = {}
    for event in events[len(planned) + 1 : -1]:
        name = (event["component"], event["arch"])
        assert seen.get(name) == (None if event["event"] == "action-started" else "action-started")
        seen[name] = event["event"]
    assert set(seen.values()) == {"action-finished"}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    again = command("build", "--arch", "s390x", *store, "--events", str(file), "--quiet")
    assert again.returncode == 0
    assert {e["cached"] for e in checked(file.read_text()) if e["event"] == "action-finished"} == {"local"}


def test_a_descriptor_is_written_to_and_bundle_has_the_option_too(tmp_path, store):
    reader, writer = os.pipe()
    done = command(
        "bundle", "--shim", "remote", "--arch", "ppc64le", "-o", "out", *store, "--events-fd", str(writer),
        pass_fds=(writer,), cwd=tmp_path,
    )  # fmt: skip
    os.close(writer)
    with open(reader) as stream:
        events = checked(stream.read())
    assert done.returncode == 0, done.stderr
    assert events[-1]["counts"] == {"made": 1, "local": 0, "remote": 0, "failed": 0, "not_tried": 0}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--events-fd", "77"], "--events-fd 77: no such file descriptor is open"),
        (["--events-fd", "0"], "--events-fd 0 cannot be written to"),
        (["--events-fd", "1", "--events", "x"], "exclude each other"),
        (["--events-fd", "-1"], "events-fd"),
    ],
)
def test_a_wrong_descriptor_stops_before_any_work(tmp_path, store, options, said):
    done = command("build", "kernel", "--arch", "ppc64le", *store, *options, input="", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_reader_that_closes_early_is_said_once_and_the_build_goes_on(store):
    reader, writer = os.pipe()
    os.close(reader)
    done = command("build", "--arch", "ppc64le", *store, "--events-fd", str(writer), pass_fds=(writer,))
    os.close(writer)
    assert done.returncode == 0
    assert done.stderr.count("no more events are written") == 1


def test_a_reader_that_never_reads_holds_up_nothing():
    reader, writer = os.pipe()
    said: list[str] = []
    stream = EventStream(os.dup(writer), said.append, patience_s=0.3)
    for _ in range(3000):  # far more than a pipe holds
        stream.tell(STARTED)
    stream.close()
    assert len(said) == 1
    assert "nobody reads the last" in said[0]
    os.close(writer)
    text = b""
    while data := os.read(reader, 1 << 16):
        text += data
    os.close(reader)
    checked(text.decode())  # what was written was written whole


def test_a_slow_reader_gets_everything_but_progress():
    reader, writer = os.pipe()
    stream = EventStream(writer, pytest.fail)
    got: list[bytes] = []

    def read():
        while data := os.read(reader, 4096):
            got.append(data)

    for number in range(2500):
        stream.tell(SourceFetch(source="s", done_bytes=number, total_bytes=None, ended=False))
        stream.tell(STARTED)
    thread = threading.Thread(target=read)
    thread.start()
    stream.close()
    thread.join()
    os.close(reader)
    kinds = [event["event"] for event in checked(b"".join(got).decode())]
    assert kinds.count("build-started") == 2500
    assert kinds.count("source-fetch") < 2500


def test_no_option_no_stream(tmp_path):
    assert open_events(None, None, pytest.fail) is None
    with pytest.raises(UsageError):
        open_events(os.open(tmp_path, os.O_RDONLY), None, pytest.fail)
