"""Who we are to a registry: ``config.json`` as Docker and containers-auth.json(5) have it, and credential helpers.

Helpers speak Docker's credential-helper protocol: the server's name on standard input, a JSON object on standard output. Secrets
live in values that do not show them, and go nowhere but to the registry they are for. Must not know: requests.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kata_bundle.core import canonical
from kata_bundle.core.errors import BuildError, HostError, IntegrityError, UsageError
from kata_bundle.core.record import field, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.oci.registry.settings import RegistrySettings

__all__ = ["Credentials", "Login", "config_files"]

_MAX_FILE: Final = 4 << 20
_HELPER_S: Final = 30.0
_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_IDENTITY_USER: Final = "<token>"
"""What a helper or a file gives as user where the secret is an identity token."""
_NOT_FOUND: Final = "credentials not found"


@record
class Login:
    """What proves who we are: user and password, an identity token to trade for access tokens, or an access token."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return tuple(value for value in (self.password, self.identity_token, self.registry_token) if value)

    def basic(self) -> str:
        """Return the value of an ``Authorization`` header for basic authentication."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


class Credentials:
    """Looks up logins; each is looked up once, a helper is asked once for each name. Safe for several threads."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str], Login | None] = {}
        self._asked: dict[tuple[str, str], Login | None] = {}
        self._files: list[tuple[Path, Mapping[str, object]]] | None = None

    def find(self, host: str, repository: str = "") -> Login | None:
        """Return the login for a repository of ``host`` (with its port, if any), ``None`` when there is none.

        The first file that has one decides; in it the longest name that is a prefix of ``host/repository``. Raises
        :class:`UsageError` for a file that cannot be understood, :class:`HostError` for a helper that is missing or fails.
        """
        key = (host, repository)
        with self._lock:
            if key not in self._found:
                self._found[key] = self._look(host, repository)
            return self._found[key]

    def _look(self, host: str, repository: str) -> Login | None:
        if self._files is None:
            self._files = [(path, document) for path in config_files(self._settings) if (document := _read(path)) is not None]
        names = _names(host, repository)
        for path, document in self._files:
            helpers = _table(document, "credHelpers", path)
            entries = {_key(name): value for name, value in _table(document, "auths", path).items()}
            for name in names:
                helper = helpers.get(name)
                if isinstance(helper, str) and helper and (login := self._ask(helper, name, path)) is not None:
                    return login
                if name in entries and (login := _login(entries[name], f'{path}: auths."{name}"')) is not None:
                    return login
            store = document.get("credsStore")
            if isinstance(store, str) and store and (login := self._ask(store, host, path)) is not None:
                return login
        return None

    def _ask(self, helper: str, server: str, path: Path) -> Login | None:
        key = (helper, server)
        if key not in self._asked:
            self._asked[key] = _ask_helper(helper, server, path, self._settings.environment)
        return self._asked[key]


def config_files(settings: RegistrySettings) -> tuple[Path, ...]:
    """Return where logins are looked for, in order; the files need not exist."""
    if settings.auth_file is not None:
        return (settings.auth_file,)
    environment = settings.environment
    if environment.get("REGISTRY_AUTH_FILE"):
        return (Path(environment["REGISTRY_AUTH_FILE"]),)
    home = environment.get("HOME", "")
    config = environment.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    docker = environment.get("DOCKER_CONFIG") or (os.path.join(home, ".docker") if home else "")
    return tuple(
        Path(folder, *rest)
        for folder, rest in (
            (docker, ("config.json",)), (runtime, ("containers", "auth.json")), (config, ("containers", "auth.json")),
        )
        if folder
    )  # fmt: skip


def _read(path: Path) -> Mapping[str, object] | None:
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise HostError(msg, hint="it may hold credentials for a registry; name another file with --auth-file") from None
    if len(data) > _MAX_FILE:
        msg = f"{path} has more than the {_MAX_FILE} bytes allowed"
        raise UsageError(msg)
    if not data.strip():
        return None
    try:
        document = canonical.loads(data, what=str(path))
    except IntegrityError:
        # The parser's words may quote the file, and that holds secrets.
        document = None
    if not isinstance(document, dict):
        msg = f"{path} is not a JSON object, expected a config.json with logins"
        raise UsageError(msg)
    return document


def _table(document: Mapping[str, object], member: str, path: Path) -> dict[str, object]:
    value = document.get(member)
    if value is None:
        return {}
    if not isinstance(value, dict):
        msg = f"{path}: {member} is no object"
        raise UsageError(msg)
    return value


def _names(host: str, repository: str) -> list[str]:
    """Return what may stand for the repository, the longest first."""
    parts = repository.split("/") if repository else []
    return ["/".join([host, *parts[:count]]) for count in range(len(parts), -1, -1)]


def _key(name: str) -> str:
    """Return a key of ``auths`` as a name: older tools wrote addresses with a scheme and the API's version."""
    name = re.sub(r"^https?://", "", name)
    return re.sub(r"/(v1|v2)?/?$", "", name)


def _login(value: object, where: str) -> Login | None:
    if not isinstance(value, dict):
        msg = f"{where} is no object"
        raise UsageError(msg)

    def text(key: str) -> str:
        found = value.get(key, "")
        if not isinstance(found, str):
            msg = f"{where}.{key} is no text"
            raise UsageError(msg)
        return found

    username, password = text("username"), text("password")
    if text("auth"):
        try:
            decoded = base64.b64decode(text("auth"), validate=True).decode("utf-8").rstrip("\0")
        except (binascii.Error, ValueError):
            decoded = ""
        username, colon, password = decoded.partition(":")
        if not colon:
            msg = f"{where}.auth is no base64 of user:password"
            raise UsageError(msg)
    identity, registry = text("identitytoken"), text("registrytoken")
    if username == _IDENTITY_USER and not identity:
        identity, username, password = password, "", ""
    if not (username or identity or registry):
        return None  # an empty entry says only that a helper or another file has it
    return Login(username=username, password=password, identity_token=identity, registry_token=registry)


def _ask_helper(helper: str, server: str, path: Path, environment: Mapping[str, str]) -> Login | None:
    import shutil

    from kata_bundle.core.process import run

    if not _HELPER_NAME.fullmatch(helper):
        msg = f"{path}: {helper[:80]!a} cannot be the name of a credential helper"
        raise UsageError(msg)
    program = f"docker-credential-{helper}"
    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        msg = f'{path} names the credential helper "{helper}", and program "{program}" is not installed'
        raise HostError(msg, hint="install it, or name another file with --auth-file")
    # A helper is the user's own program and finds its keys by the user's environment.
    try:
        done = run([found, "get"], env=dict(environment), timeout_s=_HELPER_S, stdin=server.encode(), check=False)
    except BuildError:
        msg = f'credential helper "{program}" did not answer for {server} within {_HELPER_S:g} s'
        raise HostError(msg, hint="it may wait for a password that nobody can type; name another file with --auth-file") from None
    if done.status:
        if _NOT_FOUND in done.text():
            return None
        msg = f'credential helper "{program}" failed for {server} with status {done.status}'
        raise HostError(msg, hint=f"echo {server} | {program} get   shows why")
    return _helper_answer(done.stdout, program)


def _helper_answer(data: bytes, program: str) -> Login | None:
    def wrong() -> HostError:
        return HostError(f'credential helper "{program}" did not answer with Username and Secret')

    try:
        fields = canonical.loads(data[:_MAX_FILE], what="answer")
    except IntegrityError:
        raise wrong() from None
    if not isinstance(fields, dict):
        raise wrong()
    username, secret = fields.get("Username"), fields.get("Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise wrong()
    if not secret and not username:
        return None
    if username == _IDENTITY_USER:
        return Login(identity_token=secret)
    return Login(username=username, password=secret)
