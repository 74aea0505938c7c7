"""Retries, resumption, mounts, mirrors and referrers, against a MOCK registry that fails as it is told to."""

from __future__ import annotations

import io
import json

import pytest

from kata_bundle.core.digest import digest_bytes
from kata_bundle.core.errors import IntegrityError, UsageError
from kata_bundle.oci import Descriptor, Layout, mediatypes, open_bundle, verify_layout
from kata_bundle.oci.documents import image_index, image_manifest
from kata_bundle.oci.registry import (
    NotFoundError,
    ProtocolError,
    RegistryStatusError,
    UnreachableError,
    open_remote_bundle,
    parse_reference,
)
from kata_bundle.oci.registry.graph import LayoutSource
from kata_bundle.oci.registry.listing import Kind, describe, list_tags
from kata_bundle.oci.registry.pull import pull_bundle
from kata_bundle.oci.registry.referrers import fallback_tag, is_fallback_tag
from kata_bundle.oci.registry.removal import plan_removal, remove
from kata_bundle.oci.registry.transfer import copy_between, copy_from_layout, copy_to_layout
from tests.support.bundles import sample_bundle
from tests.support.fakeregistry import error
from tests.support.httpserver import reply
from tests.unit.oci_registry.conftest import layer, limits

DATA = bytes(range(256)) * 8192
BLOB = layer(DATA)
EMPTY = Descriptor(media_type=mediatypes.EMPTY, digest=digest_bytes(b"{}"), size_bytes=2)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return sample_bundle(tmp_path_factory.mktemp("sample"))


class Tally:
    """Progress that adds up."""

    def __init__(self):
        self.total, self.done, self.notes = 0, 0, []

    def start(self, task, total, unit="bytes"):
        self.total += total

    def advance(self, task, amount):
        self.done += amount

    def finish(self, task): ...

    def note(self, message):
        self.notes.append(message)


def times(count, answer, match=lambda _request: True):
    """Return a fault that gives ``answer`` to the first requests that match."""
    left = [count]

    def fault(request):
        if left[0] and match(request):
            left[0] -= 1
            return answer(request) if callable(answer) else answer
        return None

    return fault


# Requests that are tried again


@pytest.mark.parametrize("answer", [error(429, "TOOMANYREQUESTS"), error(503, "X"), error(500, "X"), b"drop"])
def test_what_may_go_better_is_tried_again_with_growing_pauses(fake, repository, pauses, answer):
    registry = fake()
    registry.add_manifest("kata", image_index([]), mediatypes.IMAGE_INDEX, "v1")
    registry.fault = times(2, answer)
    assert repository(registry).manifest().data == image_index([])
    assert len(pauses) == 2
    assert 0.125 <= pauses[0] <= 0.25
    assert 0.25 <= pauses[1] <= 0.5


def test_tries_end(fake, repository, pauses):
    registry = fake()
    registry.fault = lambda _request: error(503, "X", "busy\nbusy")
    with pytest.raises(RegistryStatusError, match="status 503 X: busy busy"):
        repository(registry).manifest()
    assert len(registry.requests) == 3


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 501])
def test_what_will_not_go_better_is_not_tried_again(fake, repository, status):
    registry = fake()
    registry.fault = lambda _request: error(status, "X")
    with pytest.raises(RegistryStatusError):
        repository(registry).manifest()
    assert len(registry.requests) == 1


def test_a_pause_that_the_registry_asks_for_is_kept_or_too_long(fake, repository, pauses, monkeypatch):
    from kata_bundle.core import clock

    registry = fake()
    registry.add_manifest("kata", image_index([]), mediatypes.IMAGE_INDEX, "v1")
    registry.fault = times(1, error(429, "X", headers={"Retry-After": "7"}))
    repository(registry).manifest()
    monkeypatch.setattr(clock, "now", lambda: 1_000_000_000.0)
    registry.fault = times(1, error(429, "X", headers={"Retry-After": "Sun, 09 Sep 2001 01:47:00 GMT"}))
    repository(registry).manifest()
    assert pauses == [7, 20]
    registry.fault = times(1, error(429, "X", headers={"Retry-After": "3600"}))
    with pytest.raises(RegistryStatusError) as caught:
        repository(registry).manifest()
    assert "3600 s" in caught.value.hint


# Downloads


def cut(after):
    """Answer a blob request as the mock would, but break off after so many bytes of the blob."""

    def answer(request):
        first = int(request.headers.get("range", "bytes=0-")[6:].partition("-")[0])
        head = {"Content-Range": f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"} if first else {}
        return [reply(206 if first else 200, DATA[first : first + after], head, length=len(DATA) - first)]

    return answer


def test_a_broken_download_goes_on_where_it_broke(fake, repository, tmp_path, pauses):
    registry = fake()
    registry.add_blob("kata", DATA)
    registry.fault = times(5, cut(300_000))
    tally = Tally()
    tally.start("t", len(DATA))
    repository(registry, progress=tally).download(BLOB, tmp_path / "blob", task="t")
    assert (tmp_path / "blob").read_bytes() == DATA
    assert [request.headers.get("range") for request in registry.requests] == [
        None, *(f"bytes={300_000 * n}-" for n in range(1, 6))
    ]  # fmt: skip
    assert tally.done == len(DATA)
    assert len(pauses) == 5, "breaks that moved something are not counted as tries"


def test_a_download_goes_on_in_the_next_process(fake, repository, tmp_path):
    registry = fake()
    registry.add_blob("kata", DATA)
    registry.fault = lambda request: cut(1000)(request) if "range" not in request.headers else b"drop"
    with pytest.raises(UnreachableError):
        repository(registry).download(BLOB, tmp_path / "blob")
    assert [path.name for path in tmp_path.glob("blob*")] == ["blob.tmp-partial"]
    registry.fault = lambda _request: None
    repository(registry).download(BLOB, tmp_path / "blob")
    assert registry.requests[-1].headers["range"] == "bytes=1000-"
    assert [path.name for path in tmp_path.glob("blob*")] == ["blob"]
    assert (tmp_path / "blob").read_bytes() == DATA


@pytest.mark.parametrize("left", [b"x" * 1000, DATA + b"x", b"x" * len(DATA), DATA])
def test_what_an_earlier_process_left_is_checked(fake, repository, tmp_path, left):
    registry = fake()
    registry.add_blob("kata", DATA)
    (tmp_path / "blob.tmp-partial").write_bytes(left)
    repository(registry).download(BLOB, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == DATA
    assert len(registry.requests) == (0 if left == DATA else 2 if left.startswith(b"x" * 1000) and len(left) < len(DATA) else 1)


def test_two_that_download_the_same_do_not_disturb_each_other(fake, repository, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    registry = fake()
    registry.add_blob("kata", DATA)
    opened = repository(registry)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _n: opened.download(BLOB, tmp_path / "blob"), range(8)))
    assert (tmp_path / "blob").read_bytes() == DATA
    assert [path.name for path in tmp_path.glob("blob*")] == ["blob"]


def test_a_registry_without_ranges_sends_it_again(fake, repository, tmp_path):
    registry = fake()
    registry.add_blob("kata", DATA)
    first = times(1, cut(1000))
    registry.fault = lambda request: first(request) or reply(200, DATA)
    repository(registry).download(BLOB, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == DATA


def test_an_empty_blob_is_a_file_too(fake, repository, tmp_path):
    registry = fake()
    registry.add_blob("kata", b"")
    repository(registry).download(layer(b""), tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == b""


# Uploads


def uploading(registry, repository, **settings):
    return repository(registry, **settings), lambda: io.BytesIO(DATA)


def patches(registry):
    return [request.headers.get("content-range") for request in registry.requests if request.method == "PATCH"]


def test_a_blob_is_sent_in_one_piece_and_not_again(fake, repository):
    registry = fake()
    opened, source = uploading(registry, repository)
    assert opened.upload(BLOB, source)
    assert registry.blobs["kata", BLOB.digest] == DATA
    assert patches(registry) == [None]
    assert not opened.upload(BLOB, source)


def test_a_small_blob_is_one_request(fake, repository):
    registry = fake()
    assert repository(registry).upload(layer(b"small"), lambda: io.BytesIO(b"small"))
    assert [request.method for request in registry.requests] == ["HEAD", "POST", "PUT"]


def test_a_broken_upload_goes_on_where_the_registry_says(fake, repository):
    registry = fake()

    def take_some(request):
        """As a server does whose connection broke: it has a part of what was sent."""
        registry.uploads[request.path.rpartition("/")[2]] += request.body[:500_000]
        return b"drop"

    registry.fault = times(3, take_some, lambda request: request.method == "PATCH")
    tally = Tally()
    opened, source = uploading(registry, repository, progress=tally)
    assert opened.upload(BLOB, source, task="t")
    assert registry.blobs["kata", BLOB.digest] == DATA
    assert patches(registry) == [None, *(f"{500_000 * n}-{len(DATA) - 1}" for n in (1, 2, 3))]
    assert tally.done == len(DATA)


@pytest.mark.parametrize(
    "answer", [error(404, "BLOB_UPLOAD_UNKNOWN"), error(400, "BLOB_UPLOAD_INVALID"), error(416, "X"), error(500, "X")]
)
def test_an_upload_that_the_registry_forgot_begins_anew(fake, repository, answer):
    registry = fake()
    registry.fault = times(1, answer, lambda request: request.method == "PATCH")
    tally = Tally()
    opened, source = uploading(registry, repository, progress=tally)
    assert opened.upload(BLOB, source, task="t")
    assert registry.blobs["kata", BLOB.digest] == DATA
    assert tally.done == len(DATA)


def test_a_lost_last_answer_costs_no_second_upload(fake, repository):
    registry = fake()

    def commit_and_drop(request):
        registry.blobs["kata", request.query["digest"]] = DATA
        registry.uploads.clear()
        return b"drop"

    registry.fault = times(1, commit_and_drop, lambda request: request.method == "PUT")
    opened, source = uploading(registry, repository)
    assert opened.upload(BLOB, source)
    assert len(patches(registry)) == 1


def test_a_registry_that_takes_no_large_requests_gets_smaller_ones(fake, repository, monkeypatch):
    from kata_bundle.oci.registry import upload

    monkeypatch.setattr(upload, "_SMALLER_BYTES", 1 << 19)
    registry = fake()
    registry.fault = lambda request: error(413, "X") if len(request.body) > 1 << 19 else None
    opened, source = uploading(registry, repository)
    assert opened.upload(BLOB, source)
    assert registry.blobs["kata", BLOB.digest] == DATA
    assert len(patches(registry)) == 5


def test_pieces_have_the_size_asked_for_and_at_least_the_registrys(fake, repository):
    registry = fake()
    opened, source = uploading(registry, repository, limits=limits(upload_chunk_bytes=700_000))
    assert opened.upload(BLOB, source)
    assert patches(registry) == ["0-699999", "700000-1399999", f"1400000-{len(DATA) - 1}"]


@pytest.mark.parametrize(
    ("range_said", "refusal"), [("0-99999999", ProtocolError), ("0-10", ProtocolError), ("x", RegistryStatusError)]
)
def test_a_registry_that_lies_about_what_it_has_is_refused(fake, repository, range_said, refusal):
    registry = fake()
    registry.fault = lambda request: (
        reply(202, headers={"Location": request.target, "Range": range_said}) if request.method == "PATCH" else None
    )
    opened, source = uploading(registry, repository)
    with pytest.raises(refusal):
        opened.upload(BLOB, source)
    assert registry.blobs == {}


def test_content_that_is_not_the_blobs_is_never_finished(fake, repository, sample):
    registry = fake()
    with pytest.raises(RegistryStatusError, match="DIGEST_INVALID"):
        repository(registry).upload(BLOB, lambda: io.BytesIO(b"?" * len(DATA)))
    with pytest.raises(IntegrityError, match="ended after"):
        repository(registry).upload(BLOB, lambda: io.BytesIO(DATA[:-1]))
    assert registry.blobs == {}


def test_a_blob_of_a_sibling_is_mounted(fake, repository):
    registry = fake()
    registry.add_blob("other", DATA)
    opened, source = uploading(registry, repository)
    assert not opened.upload(BLOB, source, mount_from=("none", "other", "kata"))
    assert registry.blobs["kata", BLOB.digest] == DATA
    assert patches(registry) == []
    assert registry.uploads == {}, "the session that a refused mount begins is ended"


def test_an_upload_elsewhere_gets_no_login_of_the_registry(fake, repository, serve, tmp_path):
    registry = fake(login=("user", "password"))
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"username": "user", "password": "password"}}}))
    storage = serve(lambda _request: reply(201))
    registry.fault = lambda request: (
        reply(202, headers={"Location": f"http://localhost:{storage.port}/put?sig=1"})
        if request.method == "POST" and "authorization" in request.headers
        else None
    )
    assert repository(registry, auth_file=tmp_path / "config.json").upload(layer(b"x"), lambda: io.BytesIO(b"x"))
    assert "authorization" not in storage.requests[0].headers
    assert storage.requests[0].query == {"sig": "1", "digest": layer(b"x").digest}


# Lists


def test_tags_come_in_pages(fake, repository):
    registry = fake()
    registry.page = 3
    for n in range(10):
        registry.add_manifest("kata", image_index([]), mediatypes.IMAGE_INDEX, f"v{n}")
    assert repository(registry).tags() == tuple(f"v{n}" for n in range(10))
    assert len(registry.requests) == 4


@pytest.mark.parametrize("with_api", [True, False])
def test_what_is_attached_is_found_with_and_without_the_api(fake, repository, with_api):
    registry = fake(referrers=with_api)
    opened = repository(registry)
    opened.upload(EMPTY, lambda: io.BytesIO(b"{}"))
    subject = opened.put_manifest(image_manifest(EMPTY, []), mediatypes.IMAGE_MANIFEST, tag="v1")
    kinds = ("application/x.a", "application/x.b")
    data = [image_manifest(EMPTY, [], subject=subject, artifact_type=kind) for kind in kinds]
    attached = [opened.put_manifest(one, mediatypes.IMAGE_MANIFEST) for one in (*data, data[0])]
    found = opened.referrers(subject.digest)
    assert {d.digest for d in found} == {d.digest for d in attached}
    assert [d.digest for d in opened.referrers(subject.digest, kinds[1])] == [attached[1].digest]
    assert opened.referrers(attached[0].digest) == ()
    assert (("kata", fallback_tag(subject.digest)) in registry.tags) is not with_api
    listed = list_tags(opened, referrers=True)
    assert [(tag.name, len(tag.referrers)) for tag in listed] == [("v1", 2)]

    removing = repository(registry, target=f"@{attached[0].digest}")
    remove(removing, plan_removal(removing))
    assert [d.digest for d in opened.referrers(subject.digest)] == [attached[1].digest]


def test_an_entry_that_another_writer_overwrote_is_added_again(fake, repository):
    registry = fake(referrers=False)
    opened = repository(registry)
    subject = opened.put_manifest(image_manifest(EMPTY, []), mediatypes.IMAGE_MANIFEST, tag="v1")
    ours = image_manifest(EMPTY, [], subject=subject, artifact_type="application/x.ours")

    def lose(request):
        """The first time, another index takes the place of ours at once."""
        registry.fault = lambda _request: None
        registry._manifest(request, "kata", request.path.rpartition("/")[2])
        registry.add_manifest("kata", image_index([]), mediatypes.IMAGE_INDEX, fallback_tag(subject.digest))
        return reply(201)

    registry.fault = times(1, lose, lambda r: r.method == "PUT" and r.path.endswith(fallback_tag(subject.digest)))
    digest = opened.put_manifest(ours, mediatypes.IMAGE_MANIFEST).digest
    assert [d.digest for d in opened.referrers(subject.digest)] == [digest]


def test_tags_that_only_list_referrers_are_known():
    assert is_fallback_tag(fallback_tag(BLOB.digest))
    assert is_fallback_tag(fallback_tag(BLOB.digest) + ".sig")
    assert not is_fallback_tag("sha256-" + "x" * 64)
    assert not is_fallback_tag("v1")


# Mirrors


@pytest.fixture
def mirrored(fake, repository, tmp_path):
    registry, mirror = fake(), fake()
    folder = tmp_path / "certs.d" / registry.host
    folder.mkdir(parents=True)
    text = f'server = "http://{registry.host}"\n[host."http://{mirror.host}"]\ncapabilities = ["pull", "resolve"]\n'
    (folder / "hosts.toml").write_text(text)
    for one in (registry, mirror):
        one.add_blob("kata", DATA)
        one.add_manifest("kata", image_index([]), mediatypes.IMAGE_INDEX, "v1")
    tally = Tally()
    return registry, mirror, repository(registry, hosts_folders=(tmp_path / "certs.d",), progress=tally), tally


def test_a_mirror_is_read_from_and_never_written_to(mirrored, tmp_path):
    registry, mirror, opened, _ = mirrored
    opened.manifest()
    opened.resolve()
    opened.download(BLOB, tmp_path / "blob")
    assert registry.requests == []
    assert {request.query["ns"] for request in mirror.requests} == {registry.host}
    opened.upload(layer(b"x"), lambda: io.BytesIO(b"x"))
    opened.tags()
    assert ("kata", layer(b"x").digest) in registry.blobs
    assert ("kata", layer(b"x").digest) not in mirror.blobs


@pytest.mark.parametrize(
    "fault",
    [
        lambda _request: error(404, "X"),
        lambda _request: error(401, "X"),
        lambda _request: b"drop",
        lambda _request: reply(200, b"lie" * 9),
    ],
)
def test_a_mirror_that_fails_or_lies_costs_time_only(mirrored, tmp_path, fault):
    _, mirror, opened, tally = mirrored
    mirror.fault = fault
    tally.start("t", len(DATA))
    assert opened.manifest().data == image_index([])
    opened.download(BLOB, tmp_path / "blob", task="t")
    assert (tmp_path / "blob").read_bytes() == DATA
    assert tally.done == len(DATA)
    assert all(mirror.host in note for note in tally.notes)


def test_a_mirror_that_ends_early_is_continued_from_the_registry(mirrored, tmp_path):
    registry, mirror, opened, _ = mirrored
    mirror.fault = lambda request: cut(1000)(request) if "range" not in request.headers else b"drop"
    opened.download(BLOB, tmp_path / "blob")
    assert registry.requests[-1].headers["range"] == "bytes=1000-"
    assert (tmp_path / "blob").read_bytes() == DATA


def test_a_mirror_that_lies_and_breaks_off_does_not_spoil_what_the_registry_sends(mirrored, tmp_path):
    _, mirror, opened, _ = mirrored
    mirror.fault = lambda request: [reply(200, b"?" * 1000, length=len(DATA))] if "range" not in request.headers else b"drop"
    opened.download(BLOB, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == DATA


def test_a_mirror_that_only_has_content_is_not_asked_about_tags(mirrored, tmp_path, repository):
    registry, mirror, _, _ = mirrored
    hosts = tmp_path / "certs.d" / registry.host / "hosts.toml"
    hosts.write_text(hosts.read_text().replace('"pull", "resolve"', '"pull"'))
    opened = repository(registry, hosts_folders=(tmp_path / "certs.d",))
    digest = opened.resolve().digest
    assert (len(registry.requests), len(mirror.requests)) == (1, 0)
    opened.manifest(digest)
    opened.download(BLOB, tmp_path / "blob")
    assert (len(registry.requests), len(mirror.requests)) == (1, 2)


# Whole bundles


def target(client, registry, name="kata/x", tag="v1"):
    return client.repository(parse_reference(f"{registry.host}/{name}:{tag}"))


def attach(repository, subject, kind="application/x.note"):
    note = layer(b"a note")
    repository.upload(note, lambda: io.BytesIO(b"a note"))
    repository.upload(EMPTY, lambda: io.BytesIO(b"{}"))
    data = image_manifest(EMPTY, [note], subject=subject, artifact_type=kind)
    return repository.put_manifest(data, mediatypes.IMAGE_MANIFEST)


def test_a_bundle_is_named_last(fake, client, sample):
    registry = fake()
    done = copy_from_layout(Layout.open(sample.directory), target(client(), registry), tags=("v1", "v2"))
    assert (done.digest, done.moved_bytes, done.documents) == (sample.digest, done.total_bytes, 3)
    puts = [
        request.path.rpartition("/")[2]
        for request in registry.requests
        if request.method == "PUT" and "manifests" in request.path
    ]
    assert puts[-3:] == [sample.digest, "v1", "v2"]
    assert all(name.startswith("sha256:") for name in puts[:-2])
    first = next(i for i, request in enumerate(registry.requests) if request.method == "PUT" and "manifests" in request.path)
    assert not any("blobs" in request.path for request in registry.requests[first:])
    again = copy_from_layout(Layout.open(sample.directory), target(client(), registry), tags=("v1",))
    assert (again.moved_bytes, again.moved_blobs) == (0, 0)


def test_a_push_that_fails_gives_no_name(fake, client, sample):
    registry = fake()
    blobs = [0]

    def fail_late(request):
        blobs[0] += request.method == "PUT"
        return error(403, "DENIED") if blobs[0] == 5 else None

    registry.fault = fail_late
    with pytest.raises(RegistryStatusError):
        copy_from_layout(Layout.open(sample.directory), target(client(), registry), tags=("v1",), jobs=1)
    assert registry.tags == {}
    assert registry.manifests == {}


def test_what_would_move_is_what_moves(fake, client, sample, tmp_path):
    registry = fake()
    layout = Layout.open(sample.directory)
    would = copy_from_layout(layout, target(client(), registry), tags=("v1",), dry_run=True)
    assert not any(request.method in {"POST", "PUT", "PATCH"} for request in registry.requests)
    done = copy_from_layout(layout, target(client(), registry), tags=("v1",))
    assert (would.moved_bytes, would.moved_blobs) == (done.moved_bytes, done.moved_blobs)
    bundle = open_remote_bundle(target(client(), registry))
    would = pull_bundle(bundle, tmp_path / "out", is_whole=True, dry_run=True)
    assert not (tmp_path / "out").exists()
    assert pull_bundle(bundle, tmp_path / "out", is_whole=True).moved_bytes == would.moved_bytes > 0


def test_only_the_layers_that_a_shim_needs_are_pulled(fake, client, sample, tmp_path):
    from kata_bundle.core.arch import Arch

    registry = fake()
    copy_from_layout(Layout.open(sample.directory), target(client(), registry), tags=("v1",))
    registry.server.requests.clear()
    remote = open_remote_bundle(target(client(), registry), arches=[Arch.X86_64])
    done = pull_bundle(remote, tmp_path / "out", shims=["clh"])
    assert registry.count("GET", "/blobs/") == 1 + 4, "the config once for looking, then it and three layers"
    bundle = open_bundle(tmp_path / "out")
    assert (bundle.digest, bundle.arches(), set(bundle.index(Arch.X86_64).shims)) == (sample.digest, (Arch.X86_64,), {"clh"})
    assert set(bundle.index(Arch.X86_64).layers) == {"cloud-hypervisor", "kernel", "shim-v2-go"}
    with pytest.raises(IntegrityError):
        bundle.layer_path(Arch.X86_64, "qemu")
    with pytest.raises(IntegrityError, match="no image for s390x"):
        open_bundle(tmp_path / "out", arches=[Arch.S390X])
    with pytest.raises(IntegrityError, match="only a part"):
        copy_from_layout(Layout.open(tmp_path / "out"), target(client(), registry, "kata/y"), tags=("v1",))

    whole = pull_bundle(open_remote_bundle(target(client(), registry)), tmp_path / "out", is_whole=True)
    assert whole.moved_blobs == whole.blobs - done.blobs
    assert verify_layout(tmp_path / "out") == []
    with pytest.raises(UsageError, match='no shim "qemo"') as caught:
        pull_bundle(remote, tmp_path / "out", shims=["qemo"])
    assert caught.value.hint == 'did you mean "qemu"?'


def test_what_a_folder_has_is_checked_before_it_is_kept(fake, client, sample, tmp_path):
    registry = fake()
    copy_from_layout(Layout.open(sample.directory), target(client(), registry), tags=("v1",))
    bundle = open_remote_bundle(target(client(), registry))
    pull_bundle(bundle, tmp_path / "out", is_whole=True)
    largest = max((tmp_path / "out/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob = max((blob for arch in bundle.arches() for blob in bundle.layers(arch).values()), key=lambda blob: blob.size_bytes)
    path = largest.with_name(blob.digest.partition(":")[2])
    path.chmod(0o600)
    path.write_bytes(b"?" * blob.size_bytes)
    done = pull_bundle(bundle, tmp_path / "out", is_whole=True)
    assert (done.moved_blobs, done.moved_bytes) == (1, blob.size_bytes)
    assert verify_layout(tmp_path / "out") == []


def test_a_folder_with_something_else_is_left_alone(fake, client, sample, tmp_path):
    registry = fake()
    copy_from_layout(Layout.open(sample.directory), target(client(), registry), tags=("v1",))
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="no part of an image layout"):
        pull_bundle(open_remote_bundle(target(client(), registry)), tmp_path, is_whole=True)


@pytest.mark.parametrize("with_api", [True, False])
def test_copies_keep_what_is_attached_everywhere(fake, client, sample, tmp_path, with_api):
    first, second = fake(referrers=with_api), fake(referrers=not with_api)
    one = client()
    origin = target(one, first)
    copy_from_layout(Layout.open(sample.directory), origin, tags=("v1",))
    index = origin.resolve()
    note = attach(origin, index)
    attach(origin, note, "application/x.note-on-a-note")

    done = copy_between(origin, target(one, second), tags=("v1",), referrers=True)
    assert (done.digest, len(done.referrers)) == (sample.digest, 2)
    assert {d.digest for d in target(one, second).referrers(sample.digest)} == {note.digest}
    assert copy_between(origin, target(one, second), tags=("v1",), referrers=True).moved_blobs == 0

    copy_to_layout(target(one, second), tmp_path / "out", referrers=True)
    assert verify_layout(tmp_path / "out") == []
    assert open_bundle(tmp_path / "out").digest == sample.digest
    assert [d.digest for d in LayoutSource(Layout.open(tmp_path / "out")).referrers(sample.digest)] == [note.digest]
    copy_to_layout(target(one, second), tmp_path / "out", referrers=True)

    back = target(one, first, "kata/back")
    copy_from_layout(Layout.open(tmp_path / "out"), back, tags=("v1",), referrers=True)
    assert [d.digest for d in back.referrers(note.digest)] != []
    without = target(one, first, "kata/without")
    copy_from_layout(Layout.open(tmp_path / "out"), without, tags=("v1",))
    assert without.referrers(sample.digest) == ()


def test_within_a_registry_nothing_moves(fake, client, sample):
    registry = fake()
    one = client()
    copy_from_layout(Layout.open(sample.directory), target(one, registry), tags=("v1",))
    done = copy_between(target(one, registry), target(one, registry, "kata/y"), tags=("v2",))
    assert (done.moved_bytes, done.mounted_bytes) == (0, done.total_bytes)


def test_a_repository_is_listed(fake, client, sample):
    registry = fake()
    one = client()
    copy_from_layout(Layout.open(sample.directory), target(one, registry), tags=("v1", "v2"))
    registry.add_manifest("kata/x", b"{}", mediatypes.DOCKER_MANIFEST, "docker")
    listed = {tag.name: tag for tag in list_tags(target(one, registry))}
    assert {name: tag.kind for name, tag in listed.items()} == {"docker": Kind.UNREADABLE, "v1": Kind.BUNDLE, "v2": Kind.BUNDLE}
    assert "docker" in listed["docker"].problem
    assert [(p.platform, p.shims, p.layers) for p in listed["v1"].platforms] == [
        ("linux/s390x", ("clh", "qemu"), 4), ("linux/amd64", ("clh", "qemu"), 4),
    ]  # fmt: skip
    assert describe(target(one, registry)).referrers == ()


def test_a_pinned_digest_is_what_is_opened_whatever_the_tag_says(fake, client, sample):
    registry = fake()
    one = client()
    copy_from_layout(Layout.open(sample.directory), target(one, registry), tags=("v1",))
    registry.add_manifest("kata/x", image_index([]), mediatypes.IMAGE_INDEX, "v1")
    pinned = one.repository(parse_reference(f"{registry.host}/kata/x:v1@{sample.digest}"))
    assert open_remote_bundle(pinned).digest == sample.digest
    with pytest.raises(IntegrityError, match="no image for any architecture"):
        open_remote_bundle(target(one, registry))
    with pytest.raises(NotFoundError):
        open_remote_bundle(one.repository(parse_reference(f"{registry.host}/kata/x@{BLOB.digest}")))


def test_a_closed_client_does_nothing_more(fake, client, tmp_path):
    registry = fake()
    one = client()
    one.close()
    with pytest.raises(UnreachableError, match="closed"):
        target(one, registry).manifest()
