"""Requests to one server of a registry: authorised, redirected and tried again where that is right, and nowhere else.

Credentials and configured headers go to the server they are for and never along with a redirect to another. Must not know: what
the requests mean.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Final, TypeVar

from kata_bundle import __version__
from kata_bundle.core import canonical, clock
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import field, record
from kata_bundle.oci.registry.answer import Answer
from kata_bundle.oci.registry.auth import Authorizer, Scope
from kata_bundle.oci.registry.challenge import parse_challenges
from kata_bundle.oci.registry.connections import Connections
from kata_bundle.oci.registry.credentials import Credentials
from kata_bundle.oci.registry.errors import (
    DeniedError,
    NotFoundError,
    ProtocolError,
    RegistryError,
    RegistryStatusError,
    UnreachableError,
)
from kata_bundle.oci.registry.hosts import Tls, endpoints
from kata_bundle.oci.registry.locations import resolve_location

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from kata_bundle.oci.registry.hosts import Endpoint, Origin
    from kata_bundle.oci.registry.settings import RegistrySettings

__all__ = ["Request", "Transport"]

Result = TypeVar("Result")

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_MAX_REFUSAL: Final = 64 << 10
_AGENT: Final = f"kata-bundle/{__version__}"


@record
class Request:
    """One request below a server's path, or at an address that the server gave."""

    what: str
    """What it is for, as errors say it: ``manifest v1 of registry.example/kata``."""
    method: str
    path: str = field(repr=False)
    """With query; may hold a signature."""
    scopes: tuple[Scope, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Callable[[], bytes | Iterable[bytes]] | None = None
    """Makes the body; called anew for every try."""
    origin: Origin | None = None
    """Where to, when not to the server itself; then without credentials unless it is the same."""
    answer_s: float | None = None


class Transport:
    """Sends requests for a client. Safe for several threads."""

    def __init__(self, settings: RegistrySettings, *, pause: Callable[[float], object] | None = None) -> None:
        self.settings = settings
        self.limits = settings.limits
        self._connections = Connections(settings)
        self._authorizer = Authorizer(Credentials(settings), self._ask_token_service, token_hosts=settings.token_hosts)
        self._stopped = threading.Event()
        self._pause = pause or self._stopped.wait

    def close(self) -> None:
        """End everything, also what other threads are doing: their requests fail."""
        self._stopped.set()
        self._connections.close()

    def exchange(
        self, endpoint: Endpoint, request: Request, accept: Collection[int], consume: Callable[[Answer], Result]
    ) -> Result:
        """Return what ``consume`` makes of the answer. What may go better the next time is tried again, with growing pauses.

        Raises like :meth:`once`, and what ``consume`` raises.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                with self.once(endpoint, request, accept) as answer:
                    return consume(answer)
            except RegistryError as error:
                self.wait_or_raise(error, attempt)

    def wait_or_raise(self, error: RegistryError, attempt: int) -> None:
        """Wait before the next try after the failed ``attempt`` (from 1), or raise ``error`` when there is to be none."""
        if not error.retryable or attempt >= self.limits.tries or self._stopped.is_set():
            raise error
        usual = min(self.limits.first_pause_s * 2 ** (attempt - 1), self.limits.longest_pause_s)
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - so that many nodes do not come back at once
        asked = error.after_s
        if asked > self.limits.longest_wait_s:
            error.hint = f"it asks for a pause of {asked:g} s, more than this program waits: try again after that"
            raise error
        self._pause(max(usual * spread, asked))

    def once(self, endpoint: Endpoint, request: Request, accept: Collection[int]) -> Answer:
        """Return the answer to one try, its status one of ``accept``; close it.

        Raises :class:`NotFoundError`, :class:`DeniedError` or another :class:`RegistryStatusError` for other statuses,
        :class:`UnreachableError` and :class:`ProtocolError`; ``retryable`` says whether the same request may succeed later.
        """
        refused = 0
        while True:
            sent = self._authorization(endpoint, request)
            answer = self._follow(endpoint, request, sent)
            if answer.status in accept:
                return answer
            with answer:
                if answer.status == 401 and answer.origin == endpoint.origin and refused < 2:
                    refused += 1
                    challenges = parse_challenges(answer.headers("WWW-Authenticate"))
                    if self._authorizer.challenged(endpoint, challenges, self._scopes(endpoint, request), sent):
                        continue
                raise self._refusal(request, answer, has_login=sent is not None)

    def _authorization(self, endpoint: Endpoint, request: Request) -> str | None:
        if request.origin is not None and request.origin != endpoint.origin:
            return None
        return self._authorizer.header(endpoint, self._scopes(endpoint, request))

    @staticmethod
    def _scopes(endpoint: Endpoint, request: Request) -> tuple[Scope, ...]:
        return tuple(Scope(repository=endpoint.repository(s.repository), actions=s.actions) for s in request.scopes)

    def _follow(self, endpoint: Endpoint, request: Request, authorization: str | None) -> Answer:
        origin, path = request.origin or endpoint.origin, request.path
        for _ in range(self.limits.redirects + 1):
            headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity", **request.headers}
            if origin == endpoint.origin:
                headers.update(endpoint.headers)
                if authorization is not None:
                    headers["Authorization"] = authorization
            answer = self._send(endpoint, request, origin, path, headers)
            if answer.status not in _REDIRECTS or request.method not in {"GET", "HEAD"}:
                return answer
            with answer:
                origin, path = resolve_location(origin, path, answer.header("Location") or "", what=f"{request.what}: a redirect")
        msg = f"{request.what}: more than {self.limits.redirects} redirects"
        raise ProtocolError(msg)

    def _send(self, endpoint: Endpoint, request: Request, origin: Origin, path: str, headers: Mapping[str, str]) -> Answer:
        from urllib3.exceptions import HTTPError

        if self._stopped.is_set():
            msg = f"{request.what}: the client was closed"
            raise UnreachableError(msg)
        try:
            raw = self._connections.send(
                origin,
                self._tls(endpoint, origin),
                request.method,
                path,
                headers=headers,
                body=None if request.body is None else request.body(),
                answer_s=request.answer_s or self.limits.answer_s,
            )
        except (HTTPError, OSError) as error:
            # Not chained: urllib3's words hold whole addresses, and those may hold signatures.
            raise _unreachable(request.what, origin, error) from None
        return Answer(raw, what=request.what, origin=origin, path=path, limits=self.limits, has_body=request.method != "HEAD")

    def _tls(self, endpoint: Endpoint, origin: Origin) -> Tls:
        if origin == endpoint.origin or origin.scheme != "https":
            return endpoint.tls
        found = endpoints(origin.authority, self.settings)[-1]
        extra = (self.settings.ca_file,) if self.settings.ca_file is not None else ()
        return found.tls if found.origin == origin else Tls(roots=extra)

    def _ask_token_service(
        self, origin: Origin, path: str, *, headers: Mapping[str, str], form: Mapping[str, str] | None, limit_bytes: int
    ) -> tuple[int, bytes]:
        from urllib.parse import urlencode

        body = None if form is None else urlencode(form).encode("ascii")
        more = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        request = Request(
            what=f"an access token from {origin}",
            method="GET" if form is None else "POST",
            path=path,
            headers={**headers, **more, "User-Agent": _AGENT, "Accept": "application/json", "Accept-Encoding": "identity"},
            body=None if body is None else lambda: body,
        )
        endpoint = endpoints(origin.authority, self.settings)[-1]
        attempt = 0
        while True:
            attempt += 1
            try:
                with self._send(endpoint, request, origin, path, request.headers) as answer:
                    if answer.status in _REDIRECTS:
                        msg = f"{request.what}: it leads elsewhere, and a login is not sent along"
                        raise ProtocolError(msg)
                    if answer.status not in _AGAIN or attempt >= self.limits.tries:
                        return answer.status, answer.read(limit_bytes)
                    raise self._refusal(request, answer, has_login=False)
            except RegistryError as error:
                self.wait_or_raise(error, attempt)

    def _refusal(self, request: Request, answer: Answer, *, has_login: bool) -> RegistryStatusError:
        try:
            data = b"" if request.method == "HEAD" else answer.read(_MAX_REFUSAL)
        except RegistryError:
            data = b""
        code, words = _errors(data)
        words = self._authorizer.redact(words)
        status = answer.status
        said = f": {words}" if words else ""
        msg = f"{request.what}: {answer.origin} answered with status {status}{f' {code}' if code else ''}{said}"
        if status == 404:
            return NotFoundError(msg, status=status, code=code)
        if status in {401, 403}:
            rights = (
                "the login has not the rights for this" if has_login else "it may need a login (docs/reference/registries.md)"
            )
            return DeniedError(msg, status=status, code=code, hint=rights)
        hint = (
            "it speaks TLS there: leave --plain-http out, or give --ca-file"
            if b"HTTP request to an HTTPS server" in data
            else None
        )
        error = RegistryStatusError(msg, status=status, code=code, hint=hint, retryable=status in _AGAIN)
        error.after_s = _retry_after(answer.header("Retry-After"))
        return error


def _unreachable(what: str, origin: Origin, error: Exception) -> UnreachableError:
    import ssl

    from urllib3 import exceptions as failures

    hint: str | None = None
    retryable = True
    inner = error.args[0] if isinstance(error, failures.SSLError) and error.args else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        why, retryable = f"its certificate is not trusted: {inner.verify_message}", False
        hint = "name the root with --ca-file, or put it into the host's folder (docs/reference/registries.md)"
    elif isinstance(error, failures.SSLError):
        why, retryable = f"TLS failed: {getattr(inner, 'reason', None) or type(inner).__name__}", False
        hint = "if it speaks plain HTTP: --plain-http"
    elif isinstance(error, failures.ProxyError):
        why, hint = "the proxy cannot be used", "see HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
    elif isinstance(error, failures.NameResolutionError):
        why = "its name has no address"
    elif isinstance(error, failures.NewConnectionError):  # to urllib3 a kind of the next
        cause = error.__cause__ or error.__context__
        why = f"no connection ({getattr(cause, 'strerror', None) or type(error).__name__})"
    elif isinstance(error, failures.ConnectTimeoutError):
        why = "no connection in time"
    elif isinstance(error, failures.TimeoutError):
        why = "no answer in time"
    else:
        why = f"the connection broke ({type(error).__name__})"
    return UnreachableError(f"{what}: {origin} cannot be reached, {why}", hint=hint, retryable=retryable)


def _errors(data: bytes) -> tuple[str, str]:
    """Return the first code and message of a registry's error document, printable and short; empty for anything else."""
    try:
        document = canonical.loads(data, what="answer") if data else None
    except IntegrityError:
        return "", _printable(data.decode("utf-8", "replace"))
    listed = document.get("errors") if isinstance(document, dict) else None
    first = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], dict) else {}
    code, message = first.get("code"), first.get("message")
    return (
        _printable(code)[:40] if isinstance(code, str) else "",
        _printable(message) if isinstance(message, str) else "",
    )


def _printable(text: str) -> str:
    words = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return words if len(words) <= 200 else words[:197] + "..."


def _retry_after(text: str | None) -> float:
    """Return the seconds that a ``Retry-After`` header asks for, as number or date; 0 for anything else."""
    if not text:
        return 0.0
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text[:64]).timestamp() - clock.now())
    except (ValueError, TypeError, OverflowError):
        return 0.0
