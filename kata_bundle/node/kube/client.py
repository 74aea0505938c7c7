"""JSON requests to a Kubernetes API server: one pool, time limits, bounded retries, tokens that rotate.

Must not know: resources; those are typed in ``api``.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, NamedTuple

from kata_bundle.core import canonical, clock
from kata_bundle.core.errors import HostError, IntegrityError
from kata_bundle.node.kube.errors import KubeError, KubeStatusError, KubeUnreachableError
from kata_bundle.node.pause import StopRequestedError, sleep_through

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

    from urllib3 import BaseHTTPResponse, HTTPConnectionPool

    from kata_bundle.node.kube.access import ClusterAccess
    from kata_bundle.node.pause import Pause

__all__ = ["APPLY_PATCH", "JSON_PATCH", "MERGE_PATCH", "KubeClient"]

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_CONNECT_S = 5.0
_READ_S = 15.0
_DEADLINE_S = 45.0
_TRIES = 6
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0
_MAX_ANSWER = 64 << 20
_BUSY = 429
_UNAUTHORIZED = 401


class KubeClient:
    """Talks to one API server. Use it as a context; it may be used from several threads."""

    def __init__(
        self,
        access: ClusterAccess,
        *,
        connect_s: float = _CONNECT_S,
        read_s: float = _READ_S,
        deadline_s: float = _DEADLINE_S,
        tries: int = _TRIES,
        pause: Pause = sleep_through,
        pool_size: int = 4,
    ) -> None:
        self._access = access
        self._deadline_s = deadline_s
        self._tries = tries
        self._pause = pause
        self._connect_s, self._read_s = connect_s, read_s
        self._pool = _open_pool(access, pool_size)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def __enter__(self) -> KubeClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def namespace(self) -> str:
        """The namespace that the credentials belong to."""
        return self._access.namespace

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> object:
        """Return the parsed answer to a request.

        A broken connection, a time-out, 429 and 5xx are tried again with growing pauses (or as ``Retry-After`` says) until the
        tries or the deadline are used up; a POST only where it cannot have been carried out. 401 is tried once more with the
        token read again. Raises :class:`KubeStatusError` for a refusal, :class:`KubeUnreachableError` for no answer.
        """
        url = path + (f"?{_encoded(query)}" if query else "")
        request = _Request(method, url, None if body is None else canonical.dumps(body), content_type)
        end = clock.monotonic() + self._deadline_s
        renewed = False
        attempt = 0
        while True:
            attempt += 1
            try:
                return self._once(request)
            except KubeStatusError as error:
                failure: KubeError = error
                if error.status == _UNAUTHORIZED and not renewed and self._access.token_file:
                    renewed = True
                    continue
                again = error.status == _BUSY or (error.status >= 500 and method != "POST")
                after_s = error.retry_after_s
            except KubeUnreachableError as error:
                failure, again, after_s = error, method != "POST" or not error.maybe_done, 0.0
            if not again or attempt >= self._tries:
                raise failure
            spread = random.uniform(0.75, 1.25)  # noqa: S311 - so that many nodes do not come back at once
            pause_s = max(min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S) * spread, after_s)
            if clock.monotonic() + pause_s >= end:
                raise failure
            if self._pause(pause_s):
                doing = f"waiting for the Kubernetes API ({request.what})"
                raise StopRequestedError(doing) from failure

    def _once(self, request: _Request) -> object:
        import urllib3
        from urllib3.exceptions import HTTPError, NewConnectionError

        headers = {"Accept": "application/json", "User-Agent": "kata-bundle"}
        token = self._access.bearer()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if request.data is not None:
            headers["Content-Type"] = request.content_type
        try:
            answer = self._pool.urlopen(
                request.method,
                request.url,
                body=request.data,
                headers=headers,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=self._connect_s, read=self._read_s),
                preload_content=False,
            )
            try:
                content = _content(answer, request.what)
            finally:
                answer.release_conn()
        except HTTPError as error:
            msg = f"the Kubernetes API at {self._access.server} does not answer {request.what}: {error}"
            raise KubeUnreachableError(msg, maybe_done=not isinstance(error, NewConnectionError)) from error
        if 200 <= answer.status < 300:
            return content
        raise _refusal(request.what, answer.status, content, answer.headers.get("Retry-After"))


class _Request(NamedTuple):
    method: str
    url: str
    data: bytes | None
    content_type: str

    @property
    def what(self) -> str:
        return f"{self.method} {self.url}"


def _content(answer: BaseHTTPResponse, what: str) -> object:
    data = answer.read(_MAX_ANSWER + 1)
    if len(data) > _MAX_ANSWER:
        answer.close()
        msg = f"the answer to {what} has more than {_MAX_ANSWER} bytes"
        raise KubeError(msg)
    if not data:
        return None
    try:
        return canonical.loads(data, what=f"the answer to {what}")
    except IntegrityError as error:
        if 200 <= answer.status < 300:
            raise KubeError(str(error)) from error
        # A proxy's or an overloaded server's refusal is often plain text.
        return {"message": data[:200].decode("utf-8", "replace").strip()}


def _refusal(what: str, status: int, content: object, retry_after: str | None) -> KubeStatusError:
    fields = content if isinstance(content, dict) else {}
    message, reason = fields.get("message"), fields.get("reason")
    hint = message if isinstance(message, str) and message else "no reason given"
    text = f"the Kubernetes API refused {what} with {status}: {hint}"
    # Kubernetes sends seconds, never a date.
    after_s = min(float(retry_after), 60.0) if retry_after and retry_after.isascii() and retry_after.isdigit() else 0.0
    return KubeStatusError(text, status=status, reason=reason if isinstance(reason, str) else "", retry_after_s=after_s)


def _encoded(query: Mapping[str, str]) -> str:
    from urllib.parse import urlencode

    return urlencode(sorted(query.items()))


def _open_pool(access: ClusterAccess, size: int) -> HTTPConnectionPool:
    from urllib3 import connection_from_url

    if access.server.startswith("https://"):
        return connection_from_url(
            access.server,
            maxsize=size,
            ssl_context=_tls(access),
            assert_hostname=access.server_name if access.verify else False,
            server_hostname=access.server_name,
        )
    return connection_from_url(access.server, maxsize=size)


def _tls(access: ClusterAccess) -> ssl.SSLContext:
    import ssl

    from urllib3 import disable_warnings
    from urllib3.exceptions import InsecureRequestWarning

    context = ssl.create_default_context(cadata=access.ca.decode("ascii", "replace") if access.ca else None)
    if not access.verify:
        # The kubeconfig asks for it; saying so at every request helps nobody.
        disable_warnings(InsecureRequestWarning)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.client_certificate is not None and access.client_key is not None:
        # OpenSSL wants a file; this one is in memory and has no name.
        descriptor = os.memfd_create("client", os.MFD_CLOEXEC)
        with open(descriptor, "wb") as stream:
            stream.write(access.client_certificate + b"\n" + access.client_key)
            stream.flush()
            try:
                context.load_cert_chain(f"/proc/self/fd/{descriptor}")
            except (ssl.SSLError, OSError) as error:
                msg = f"the client certificate cannot be used: {error}"
                raise HostError(msg) from error
    return context
