"""A MOCK registry in memory, for what no real one at hand does: the referrers API, uploads continued after a break, tokens.

Follows OCI distribution-spec 1.1. ``fault`` sees every request first and may answer it, so that a test decides what goes wrong
and when. Whatever a real registry can show is tested with a real one (``tests/interop/registry``).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from collections.abc import Callable

from tests.support.httpserver import Received, Reply, Server, reply

INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def error(status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> bytes:
    return reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)


class FakeRegistry:
    """State of the mock; ``server`` listens."""

    def __init__(self, *, referrers: bool = True, login: tuple[str, str] | None = None, tokens: bool = False, tls=None) -> None:
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.uploads: dict[str, bytearray] = {}
        self.with_referrers, self.login, self.with_tokens = referrers, login, tokens
        self.realm: str | None = None
        self.issued: dict[str, str] = {}
        self.token_life = 300
        self.page = 1000
        self.fault: Callable[[Received], Reply | None] = lambda _request: None
        self._numbers = itertools.count(1)
        self.server = Server(self._handle, tls=tls)
        self.host = self.server.host

    @property
    def requests(self) -> list[Received]:
        return self.server.requests

    def count(self, method: str, pattern: str) -> int:
        return sum(1 for request in self.requests if request.method == method and re.search(pattern, request.path))

    def add_blob(self, repository: str, data: bytes) -> str:
        self.blobs[repository, digest_of(data)] = data
        return digest_of(data)

    def add_manifest(self, repository: str, data: bytes, media_type: str, tag: str | None = None) -> str:
        self.manifests[repository, digest_of(data)] = (media_type, data)
        if tag:
            self.tags[repository, tag] = digest_of(data)
        return digest_of(data)

    def close(self) -> None:
        self.server.close()

    def __enter__(self) -> FakeRegistry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Answers

    def _handle(self, request: Received) -> Reply | None:
        wrong = self.fault(request)
        if wrong is not None:
            return None if wrong == b"drop" else wrong
        if request.path == "/token":
            return self._token(request)
        refused = self._refused(request)
        if refused is not None:
            return refused
        found = re.fullmatch(r"/v2/(.+?)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)", request.path)
        if found is None:
            return error(404, "NAME_UNKNOWN")
        repository, what, rest = found.groups()
        match what:
            case "blobs/uploads":
                return self._upload(request, repository, rest)
            case "blobs":
                return self._blob(request, repository, rest)
            case "manifests":
                return self._manifest(request, repository, rest)
            case "tags":
                return self._list_tags(request, repository)
            case _:
                return self._list_referrers(request, repository, rest)

    def _basic(self) -> str:
        assert self.login is not None
        return "Basic " + base64.b64encode(":".join(self.login).encode()).decode()

    def _refused(self, request: Received) -> bytes | None:
        if self.with_tokens:
            sent = request.headers.get("authorization", "").removeprefix("Bearer ")
            name = re.match(r"/v2/(.+?)/(?:blobs|manifests|tags|referrers)/", request.path)
            need = "pull" if request.method in {"GET", "HEAD"} else "push"
            wanted = f"repository:{name[1] if name else ''}:"
            allowed = self.issued.get(sent, "")
            if any(scope.startswith(wanted) and need in scope for scope in allowed.split()):
                return None
            actions = "pull" if need == "pull" else "pull,push"
            realm = self.realm or f"http://{self.host}/token"
            challenge = f'Bearer realm="{realm}",service="mock",scope="{wanted}{actions}"'
            return error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": challenge})
        if self.login is not None and request.headers.get("authorization") != self._basic():
            return error(401, "UNAUTHORIZED", headers={"WWW-Authenticate": 'Basic realm="mock"'})
        return None

    def _token(self, request: Received) -> bytes:
        from urllib.parse import parse_qs, parse_qsl, urlsplit

        if request.method == "POST":
            form = {key: value[0] for key, value in parse_qs(request.body.decode()).items()}
            if self.login is not None and form.get("refresh_token") != self.login[1]:
                return error(401, "UNAUTHORIZED")
            scopes = form.get("scope", "")
        else:
            if self.login is not None and request.headers.get("authorization") != self._basic():
                return error(401, "UNAUTHORIZED")
            scopes = " ".join(value for key, value in parse_qsl(urlsplit(request.target).query) if key == "scope")
        token = f"token-{next(self._numbers)}"
        self.issued[token] = scopes
        return reply(200, json.dumps({"token": token, "expires_in": self.token_life}).encode())

    def _blob(self, request: Received, repository: str, digest: str) -> bytes:
        data = self.blobs.get((repository, digest))
        if data is None:
            return error(404, "BLOB_UNKNOWN")
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if asked is None:
            return reply(200, data)
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        if first >= len(data):
            return reply(416)
        return reply(206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    def _upload(self, request: Received, repository: str, session: str) -> bytes:
        if request.method == "POST":
            source, digest = request.query.get("from"), request.query.get("mount")
            if source and digest and (source, digest) in self.blobs:
                self.blobs[repository, digest] = self.blobs[source, digest]
                return reply(201, headers={"Location": f"/v2/{repository}/blobs/{digest}"})
            name = f"u{next(self._numbers)}"
            self.uploads[name] = bytearray()
            return reply(202, headers={"Location": f"/v2/{repository}/blobs/uploads/{name}?state=secret"})
        data = self.uploads.get(session)
        if data is None:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        place = {"Location": f"/v2/{repository}/blobs/uploads/{session}?state=secret{len(data)}"}
        if request.method == "DELETE":
            del self.uploads[session]
            return reply(204)
        if request.method == "GET":
            return reply(204, headers={**place, "Range": f"0-{max(len(data) - 1, 0)}"})
        stated = re.fullmatch(r"(\d+)-(\d+)", request.headers.get("content-range", ""))
        if stated is not None and (int(stated[1]) != len(data) or int(stated[2]) - int(stated[1]) + 1 != len(request.body)):
            return error(416, "BLOB_UPLOAD_INVALID")
        data += request.body
        if request.method == "PATCH":
            return reply(202, headers={**place, "Range": f"0-{max(len(data) - 1, 0)}"})
        digest = request.query["digest"]
        if digest_of(bytes(data)) != digest:
            return error(400, "DIGEST_INVALID")
        self.blobs[repository, digest] = bytes(data)
        del self.uploads[session]
        return reply(201, headers={"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": digest})

    def _manifest(self, request: Received, repository: str, target: str) -> bytes:
        if request.method == "PUT":
            digest = digest_of(request.body)
            self.manifests[repository, digest] = (request.headers["content-type"], request.body)
            if not target.startswith("sha256:"):
                self.tags[repository, target] = digest
            subject = json.loads(request.body).get("subject")
            known = {"OCI-Subject": subject["digest"]} if subject and self.with_referrers else {}
            return reply(201, headers={"Docker-Content-Digest": digest, **known})
        digest = target if target.startswith("sha256:") else self.tags.get((repository, target), "")
        if (repository, digest) not in self.manifests:
            return error(404, "MANIFEST_UNKNOWN")
        if request.method == "DELETE":
            del self.manifests[repository, digest]
            self.tags = {key: value for key, value in self.tags.items() if value != digest}
            return reply(202)
        media_type, data = self.manifests[repository, digest]
        return reply(200, data, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _list_tags(self, request: Received, repository: str) -> bytes:
        names = sorted(tag for name, tag in self.tags if name == repository)
        rest = [name for name in names if name > request.query.get("last", "")]
        page = rest[: min(int(request.query.get("n", self.page)), self.page)]
        more = (
            {"Link": f'</v2/{repository}/tags/list?n={self.page}&last={page[-1]}>; rel="next"'} if len(page) < len(rest) else {}
        )
        return reply(200, json.dumps({"name": repository, "tags": page}).encode(), more)

    def _list_referrers(self, request: Received, repository: str, digest: str) -> bytes:
        if not self.with_referrers:
            return reply(404, b"404 page not found")
        found = []
        for (name, own), (media_type, data) in sorted(self.manifests.items()):
            document = json.loads(data)
            if name == repository and (document.get("subject") or {}).get("digest") == digest:
                kind = document.get("artifactType") or document["config"]["mediaType"]
                found.append({"mediaType": media_type, "digest": own, "size": len(data), "artifactType": kind})
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        return reply(200, json.dumps(document).encode(), {"Content-Type": INDEX})
