"""One blob into a registry: mounted from a sibling repository, or sent and continued after a break.

Source: distribution-spec 1.1, "Pushing blobs". The registry is told the digest last and checks it. A session that the registry
has forgotten, or whose state it cannot continue, is begun anew. Must not know: what the blob is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, Final

from kata_bundle.core.errors import HostError, IntegrityError, host_error
from kata_bundle.oci.registry.auth import Scope
from kata_bundle.oci.registry.errors import NotFoundError, ProtocolError, RegistryError, RegistryStatusError
from kata_bundle.oci.registry.locations import resolve_location, with_query
from kata_bundle.oci.registry.transport import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kata_bundle.core.errors import BundleError
    from kata_bundle.oci.descriptor import Descriptor
    from kata_bundle.oci.registry.answer import Answer
    from kata_bundle.oci.registry.hosts import Endpoint, Origin
    from kata_bundle.oci.registry.transport import Transport

__all__ = ["Upload"]

_PIECE: Final = 256 << 10
_RANGE = re.compile(r"(?:bytes=)?0-([0-9]{1,18})")
_SMALLER_BYTES: Final = 16 << 20
"""Size of one request once the registry, or a proxy before it, has refused a larger one."""
_MAX_WORDS: Final = 64 << 10


class _Session:
    """Where an upload goes on, as the registry said last, and how much it has."""

    def __init__(self, origin: Origin, path: str) -> None:
        self.origin, self.path = origin, path
        self.offset = 0


class Upload:
    """The upload of one blob to one repository."""

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        repository: str,
        descriptor: Descriptor,
        source: Callable[[], BinaryIO],
        *,
        moved: Callable[[int], None],
    ) -> None:
        self._transport, self._endpoint = transport, endpoint
        self._repository, self._descriptor, self._source = repository, descriptor, source
        self._moved = moved
        self._what = f"upload of {descriptor.digest} to {endpoint.name}/{repository}"
        self._scopes = (Scope(repository=repository, actions=("pull", "push")),)
        self._sent = 0
        self._piece_bytes = transport.limits.upload_chunk_bytes

    def is_there(self) -> bool:
        """Return whether the repository has the blob already."""
        path = f"{self._endpoint.path}/{self._repository}/blobs/{self._descriptor.digest}"
        request = Request(what=self._what, method="HEAD", path=path, scopes=self._scopes)
        try:
            return self._transport.exchange(self._endpoint, request, {200}, lambda _answer: True)
        except NotFoundError:
            return False

    def mount(self, repository: str) -> bool:
        """Return whether the registry took the blob over from its ``repository``; no bytes move. Failing is no error."""
        from urllib.parse import quote

        query = f"?mount={quote(self._descriptor.digest, safe='')}&from={quote(repository, safe='')}"
        scopes = (*self._scopes, Scope(repository=repository, actions=("pull",)))
        try:
            session = self._start(query, scopes)
        except RegistryStatusError as error:
            if error.status in {400, 401, 403, 404, 405}:
                return False
            raise
        if session is not None:
            self._cancel(session)
        return session is None

    def send(self) -> None:
        """Send the blob. Raises :class:`RegistryError`, :class:`IntegrityError` when the source is not the blob."""
        attempt = 0
        session: _Session | None = None
        while True:
            before = self._sent
            try:
                if session is None:
                    self._account(0)
                    session = self._start("", self._scopes)
                if session is None or self._send(session):
                    return
                continue  # one piece of several
            except RegistryStatusError as error:
                if error.status == 413 and (self._piece_bytes or 1 << 62) > _SMALLER_BYTES:
                    self._piece_bytes, session = _SMALLER_BYTES, None
                    continue
                failure: RegistryError = error
                forgotten = session is not None and error.status in {400, 404, 416}
                failure.retryable = failure.retryable or forgotten
            except RegistryError as error:
                failure, forgotten = error, False
            attempt = 1 if self._sent > before and not forgotten else attempt + 1
            self._transport.wait_or_raise(failure, attempt)
            session = None if session is None or forgotten else self._look(session)
            if session is None and self.is_there():
                return  # only the answer was lost

    def _send(self, session: _Session) -> bool:
        """Send what is left, or one piece of it; return whether the registry has the blob."""
        size = self._descriptor.size_bytes
        if size <= self._transport.limits.inline_bytes and session.offset == 0:
            self._commit(session, whole=True)
            return True
        if session.offset < size:
            count = min(size - session.offset, self._piece_bytes or size)
            self._patch(session, count)
            if session.offset < size:
                return False
        self._commit(session, whole=False)
        return True

    def _start(self, query: str, scopes: tuple[Scope, ...]) -> _Session | None:
        """Begin an upload; ``None`` when the registry says that it has the blob now."""
        path = f"{self._endpoint.path}/{self._repository}/blobs/uploads/{query}"
        request = Request(
            what=self._what, method="POST", path=path, scopes=scopes, headers={"Content-Length": "0"}, body=lambda: b""
        )

        def read(answer: Answer) -> _Session | None:
            if answer.status == 201:
                return None
            least = answer.header("OCI-Chunk-Min-Length") or ""
            if self._piece_bytes is not None and least.isascii() and least.isdigit():
                self._piece_bytes = max(self._piece_bytes, int(least[:12]))
            return _Session(*self._location(answer))

        return self._transport.exchange(self._endpoint, request, {201, 202}, read)

    def _patch(self, session: _Session, count: int) -> None:
        first, last = session.offset, session.offset + count - 1
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(count)}
        if first or count < self._descriptor.size_bytes:
            headers["Content-Range"] = f"{first}-{last}"
        request = self._request(session, "PATCH", session.path, headers, lambda: self._body(first, count))
        with self._transport.once(self._endpoint, request, {202, 201, 204}) as answer:
            if answer.header("Location"):
                session.origin, session.path = self._location(answer)
            session.offset = _taken(answer, first + count)
            answer.read(_MAX_WORDS)
        if not first < session.offset <= last + 1:
            msg = f"{self._what}: the registry says that it has {session.offset} bytes after bytes {first} to {last} were sent"
            raise ProtocolError(msg)

    def _commit(self, session: _Session, *, whole: bool) -> None:
        limits = self._transport.limits
        count = self._descriptor.size_bytes if whole else 0
        request = self._request(
            session,
            "PUT",
            with_query(session.path, "digest", self._descriptor.digest),
            {"Content-Type": "application/octet-stream", "Content-Length": str(count)},
            (lambda: self._body(0, count)) if count else (lambda: b""),
            answer_s=limits.answer_s + self._descriptor.size_bytes / limits.commit_bytes_per_s,
        )
        try:
            with self._transport.once(self._endpoint, request, {201, 204}) as answer:
                stated = answer.header("Docker-Content-Digest")
                answer.read(_MAX_WORDS)
        except RegistryStatusError as error:
            if error.code == "DIGEST_INVALID":
                # Our own reading found the digest right, so it was changed on the way: that may go better.
                error.retryable = True
            raise
        if stated not in {None, self._descriptor.digest}:
            msg = f"{self._what}: the registry says that it is {stated[:80]!a}"
            raise IntegrityError(msg)

    def _look(self, session: _Session) -> _Session | None:
        """Return the session with what the registry really has; ``None`` when it is to be begun anew."""
        request = self._request(session, "GET", session.path, {}, None)
        try:
            with self._transport.once(self._endpoint, request, {204, 200}) as answer:
                if answer.header("Location"):
                    session.origin, session.path = self._location(answer)
                session.offset = _taken(answer, 0)
        except RegistryError:
            return None
        # "0-0" is what some say of nothing and some of one byte.
        if not 1 < session.offset <= self._descriptor.size_bytes:
            self._cancel(session)
            return None
        self._account(session.offset)
        return session

    def _cancel(self, session: _Session) -> None:
        request = self._request(session, "DELETE", session.path, {}, None)
        try:
            self._transport.once(self._endpoint, request, {200, 202, 204}).close()
        except RegistryError:
            return  # it will forget it by itself

    def _request(
        self,
        session: _Session,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Callable[[], bytes | Iterator[bytes]] | None,
        *,
        answer_s: float | None = None,
    ) -> Request:
        return Request(
            what=self._what,
            method=method,
            path=path,
            scopes=self._scopes,
            headers=headers,
            body=body,
            origin=session.origin,
            answer_s=answer_s,
        )

    def _location(self, answer: Answer) -> tuple[Origin, str]:
        return resolve_location(
            answer.origin, answer.path, answer.header("Location") or "", what=f"{self._what}: the place to send to"
        )

    def _body(self, first: int, count: int) -> Iterator[bytes]:
        """Yield ``count`` bytes from ``first`` on. What stands before is read too: the source checks its digest at its end."""
        end = first + count
        self._account(first)
        try:
            stream = self._source()
        except OSError as error:
            raise _unreadable(error) from error
        with stream:
            at = 0
            while at < end and (data := _read(stream, min(_PIECE, (first if at < first else end) - at))):
                if at >= first:
                    yield data
                    self._account(at + len(data))
                at += len(data)
        if at != end:
            msg = f"{self._what}: the source ended after {at} of {self._descriptor.size_bytes} bytes"
            raise IntegrityError(msg)

    def _account(self, offset: int) -> None:
        """Progress stands at ``offset`` now."""
        self._moved(offset - self._sent)
        self._sent = offset


def _read(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except OSError as error:
        # Here, or it would be taken for one of the connection.
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> BundleError:
    return host_error(error) or HostError(f"{error.strerror}: {error.filename or 'a file to send'}")


def _taken(answer: Answer, otherwise: int) -> int:
    """Return how many bytes the registry says it has; ``otherwise`` when it says nothing of use."""
    found = _RANGE.fullmatch((answer.header("Range") or "").strip())
    return int(found[1]) + 1 if found is not None else otherwise
