"""How a request becomes authorised: basic authentication, and bearer tokens (the "Docker Registry v2 authentication" documents).

Nothing is sent before a registry asks for it. Tokens are kept as long as they are good, by what they allow. A token service is
told a login only when it is on the registry's own host or beside it under one domain, or was named by the user: a registry, or
somebody on the way, could otherwise have passwords sent anywhere. Must not know: retries, what is asked of registries.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Final, Protocol

from kata_bundle.core import canonical, clock
from kata_bundle.core.errors import IntegrityError
from kata_bundle.core.record import record
from kata_bundle.oci.registry.errors import DeniedError, ProtocolError
from kata_bundle.oci.registry.locations import resolve_location
from kata_bundle.oci.registry.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from kata_bundle.oci.registry.challenge import Challenge
    from kata_bundle.oci.registry.credentials import Credentials, Login
    from kata_bundle.oci.registry.hosts import Endpoint, Origin

__all__ = ["Authorizer", "Scope", "TokenService", "is_related"]

_MAX_TOKEN_ANSWER: Final = 512 << 10
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]{1,65536}")
_USUAL_LIFE_S: Final = 60.0
_LONGEST_LIFE_S: Final = 3600.0
_CLIENT: Final = "kata-bundle"


@record(order=True)
class Scope:
    """What a request does with one repository."""

    repository: str
    actions: tuple[str, ...]

    def __str__(self) -> str:
        return f"repository:{self.repository}:{','.join(self.actions)}"


class TokenService(Protocol):
    """Sends the one kind of request that this module makes."""

    def __call__(
        self, origin: Origin, path: str, *, headers: Mapping[str, str], form: Mapping[str, str] | None, limit_bytes: int
    ) -> tuple[int, bytes]:
        """Return status and body of a GET, or of a POST of ``form``; no redirects, no authorisation but in ``headers``."""


@record(frozen=False)
class _Token:
    value: str
    allows: Mapping[str, frozenset[str]]
    good_until: float


class _State:
    """What one server has asked for."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.basic = False
        self.bearer: Mapping[str, str] | None = None
        self.tokens: list[_Token] = []


class Authorizer:
    """Makes ``Authorization`` headers. Safe for several threads; a token that several need is fetched once."""

    def __init__(self, credentials: Credentials, service: TokenService, *, token_hosts: Collection[str] = ()) -> None:
        self._credentials = credentials
        self._service = service
        self._token_hosts = frozenset(host.lower() for host in token_hosts)
        self._lock = threading.Lock()
        self._states: dict[tuple[Origin, str], _State] = {}
        self._secrets: set[str] = set()

    def header(self, endpoint: Endpoint, scopes: Sequence[Scope]) -> str | None:
        """Return the header's value for a request, ``None`` while the server has not asked for any.

        Raises :class:`RegistryError` when a token service refuses or is not to be trusted with a login.
        """
        state = self._state(endpoint)
        with state.lock:
            if state.basic:
                return self._basic(endpoint, scopes)
            if state.bearer is None:
                return None
            return self._bearer(endpoint, state, _merged(scopes, state.bearer.get("scope", "")), scopes)

    def challenged(self, endpoint: Endpoint, challenges: Sequence[Challenge], scopes: Sequence[Scope], sent: str | None) -> bool:
        """Take note of a 401; return whether another try with a new :meth:`header` can succeed.

        ``sent`` is what the refused request had. Raises like :meth:`header`, and :class:`DeniedError` without a login.
        """
        state = self._state(endpoint)
        bearer = next((c for c in challenges if c.scheme == "bearer" and "realm" in c.parameters), None)
        basic = any(c.scheme == "basic" for c in challenges)
        with state.lock:
            if bearer is not None:
                state.tokens = [token for token in state.tokens if f"Bearer {token.value}" != sent]
                state.bearer, state.basic = dict(bearer.parameters), False
            elif basic:
                if self._login(endpoint, scopes) is None:
                    msg = f"{endpoint.name} asks for a login, and there is none for it"
                    raise DeniedError(msg, status=401, hint=_LOGIN_HINT)
                state.bearer, state.basic = None, True
            else:
                return False
        return self.header(endpoint, scopes) != sent

    def redact(self, text: str) -> str:
        """Return ``text`` without any login or token that was used."""
        with self._lock:
            secrets = sorted(self._secrets, key=len, reverse=True)
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    def _state(self, endpoint: Endpoint) -> _State:
        with self._lock:
            return self._states.setdefault((endpoint.origin, endpoint.name), _State())

    def _login(self, endpoint: Endpoint, scopes: Sequence[Scope]) -> Login | None:
        login = self._credentials.find(endpoint.name, scopes[0].repository if scopes else "")
        if login is not None:
            self._keep_secret(*login.secrets, login.basic().removeprefix("Basic ") if login.password else "")
        return login

    def _keep_secret(self, *values: str) -> None:
        with self._lock:
            self._secrets.update(value for value in values if len(value) > 3)

    def _basic(self, endpoint: Endpoint, scopes: Sequence[Scope]) -> str | None:
        login = self._login(endpoint, scopes)
        return None if login is None else login.basic()

    def _bearer(self, endpoint: Endpoint, state: _State, wanted: Mapping[str, frozenset[str]], scopes: Sequence[Scope]) -> str:
        now = clock.monotonic()
        state.tokens = [token for token in state.tokens if token.good_until > now]
        for token in state.tokens:
            if all(actions <= token.allows.get(resource, frozenset()) for resource, actions in wanted.items()):
                return f"Bearer {token.value}"
        login = self._login(endpoint, scopes)
        if login is not None and login.registry_token:
            return f"Bearer {login.registry_token}"
        token = self._fetch(endpoint, state.bearer or {}, wanted, login)
        self._keep_secret(token.value)
        state.tokens.append(token)
        return f"Bearer {token.value}"

    def _fetch(
        self, endpoint: Endpoint, challenge: Mapping[str, str], wanted: Mapping[str, frozenset[str]], login: Login | None
    ) -> _Token:
        from urllib.parse import urlencode

        what = f"the token service that {endpoint.name} names"
        origin, path = resolve_location(endpoint.origin, "/", challenge["realm"], what=what)
        self._check_service(endpoint, origin, login)
        service = {"service": challenge["service"]} if challenge.get("service") else {}
        scopes = [f"{resource}:{','.join(sorted(actions))}" for resource, actions in sorted(wanted.items())]
        if login is not None and login.identity_token:
            form = {
                "grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": _CLIENT, **service,
                "scope": " ".join(scopes),
            }  # fmt: skip
            status, data = self._service(origin, path, headers={}, form=form, limit_bytes=_MAX_TOKEN_ANSWER)
        else:
            query = urlencode([*service.items(), *(("scope", scope) for scope in scopes), ("client_id", _CLIENT)])
            headers = {"Authorization": login.basic()} if login is not None else {}
            joined = f"{path}{'&' if '?' in path else '?'}{query}"
            status, data = self._service(origin, joined, headers=headers, form=None, limit_bytes=_MAX_TOKEN_ANSWER)
        if status in {401, 403} or (status == 400 and login is not None and login.identity_token):
            how = "the login for it" if login is not None else "access without a login"
            msg = f"the token service of {endpoint.name} at {origin} refused {how} with status {status}"
            raise DeniedError(msg, status=status, hint=_LOGIN_HINT)
        if status != 200:
            msg = f"the token service of {endpoint.name} at {origin} answered with status {status}"
            raise ProtocolError(msg, retryable=status == 429 or status >= 500)
        return _read_token(data, wanted, f"the answer of the token service of {endpoint.name} at {origin}")

    def _check_service(self, endpoint: Endpoint, origin: Origin, login: Login | None) -> None:
        """Raise :class:`ProtocolError` unless the service may be asked, and told ``login`` when there is one."""
        if origin.scheme != "https" and endpoint.origin.scheme == "https":
            msg = f"{endpoint.name} names a token service without TLS ({origin}); it is not asked"
            raise ProtocolError(msg)
        if is_loopback(origin.host) and not is_loopback(endpoint.origin.host):
            msg = f"{endpoint.name} names a token service on this machine ({origin}); it is not asked"
            raise ProtocolError(msg)
        trusted = is_related(endpoint.origin.host, origin.host) or not self._token_hosts.isdisjoint(
            {origin.host, origin.authority}
        )
        if login is not None and not trusted:
            msg = f"{endpoint.name} names a token service on another host, {origin}; the login is not sent there"
            raise ProtocolError(msg, hint=f"if that host is right: --token-host {origin.host}")


_LOGIN_HINT: Final = "log in with any container tool, or name a config.json with --auth-file (docs/reference/registries.md)"


def is_related(registry: str, service: str) -> bool:
    """Return whether ``service`` is the host of ``registry``, below it, above it, or beside it under a domain of their own."""
    if registry == service or service.endswith(f".{registry}"):
        return True
    parent = registry.partition(".")[2]
    labels = parent.split(".")
    numeric = registry.replace(".", "").isdigit() or registry.startswith("[")
    if numeric or len(labels) < 2:
        return False
    # What looks like a suffix under which anybody registers names (co.uk, com.au) is nobody's domain.
    if len(labels) == 2 and len(labels[1]) == 2 and len(labels[0]) <= 3:
        return False
    return service == parent or service.endswith(f".{parent}")


def _merged(scopes: Sequence[Scope], challenge: str) -> dict[str, frozenset[str]]:
    """Return resource → actions of what we need and what the server said is needed."""
    merged: dict[str, set[str]] = {}
    for scope in scopes:
        merged.setdefault(f"repository:{scope.repository}", set()).update(scope.actions)
    for text in challenge.split():
        resource, _, actions = text.rpartition(":")
        if resource.startswith("repository:") and any(scope.repository == resource.partition(":")[2] for scope in scopes):
            merged[resource].update(action for action in actions.split(",") if action)
        elif resource and not scopes:
            merged.setdefault(resource, set()).update(action for action in actions.split(",") if action)
    return {resource: frozenset(actions) for resource, actions in merged.items()}


def _read_token(data: bytes, wanted: Mapping[str, frozenset[str]], what: str) -> _Token:
    try:
        fields = canonical.loads(data, what=what)
    except IntegrityError:
        fields = None  # the parser's words may quote the token
    value = (fields.get("token") or fields.get("access_token")) if isinstance(fields, dict) else None
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        msg = f"{what} holds no token"
        raise ProtocolError(msg)
    stated = fields.get("expires_in")
    life = float(stated) if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0 else _USUAL_LIFE_S
    life = min(life, _LONGEST_LIFE_S)
    return _Token(value=value, allows=dict(wanted), good_until=clock.monotonic() + life - min(10.0, life / 4))
