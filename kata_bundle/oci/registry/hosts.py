"""Where a registry is really asked: mirrors, certificates and headers by host, as containerd's ``hosts.toml`` states them.

One folder a host below any of a few places; the first folder found decides alone. Beside ``hosts.toml``, or instead of it,
Docker's certificate files are read: ``*.crt`` roots, ``NAME.cert`` with ``NAME.key`` for us. All of it is the administrator's
word, so what cannot be understood is an error and not ignored. Must not know: requests, credentials.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from kata_bundle.core.errors import UsageError
from kata_bundle.core.record import field, record
from kata_bundle.oci.registry.reference import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kata_bundle.oci.registry.settings import RegistrySettings

__all__ = ["FOLDERS_VARIABLE", "Endpoint", "Origin", "Tls", "endpoints", "parse_origin"]

FOLDERS_VARIABLE: Final = "KATA_BUNDLE_REGISTRY_HOSTS"
"""Environment variable: folders to look in instead of the usual places, separated by colons."""

_SYSTEM_FOLDERS: Final = (
    "/etc/kata-bundle/certs.d", "/etc/containerd/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d",
)  # fmt: skip
_CAPABILITIES: Final = frozenset({"pull", "resolve", "push"})
_HOST_KEYS: Final = frozenset(
    {"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout"},
)
_MAX_FILE: Final = 1 << 20


@record(order=True)
class Origin:
    """Scheme, host and port: what may share a connection and what credentials belong to."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port."""
        usual = {"https": 443, "http": 80}[self.scheme]
        return self.host if self.port == usual else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@record
class Tls:
    """What a TLS connection trusts and shows, beside the system's roots."""

    roots: tuple[Path, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    """``None``: in the certificate's file."""
    verify: bool = True


@record
class Endpoint:
    """One server that may be asked for a registry's content."""

    name: str
    """What credentials for it are kept under: the host as a reference writes it."""
    origin: Origin
    path: str
    """What stands before a repository's name: ``/v2`` unless overridden."""
    capabilities: frozenset[str]
    tls: Tls
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request to this origin; may hold secrets."""
    is_mirror: bool = False

    def repository(self, name: str) -> str:
        """Return what the server itself calls repository ``name``; one with a path of its own has it below that path."""
        prefix = self.path.removeprefix("/v2").strip("/")
        return f"{prefix}/{name}" if prefix else name


def endpoints(host: str, settings: RegistrySettings) -> tuple[Endpoint, ...]:
    """Return the servers to ask for content of registry ``host``: mirrors in the file's order, then the registry itself.

    Raises :class:`UsageError` naming the file and the member for a configuration that cannot be understood.
    """
    extra = (settings.ca_file,) if settings.ca_file is not None else ()
    folder = _folder(host, settings)
    tls = Tls(roots=extra)
    if folder is None:
        return (_registry(host, _default_origin(host, settings), tls),)
    tls = _certificates(folder, extra)
    file = folder / "hosts.toml"
    text = _text(file)
    if text is None:
        return (_registry(host, _default_origin(host, settings), tls),)
    return _parse(text, file, host, settings, tls)


def parse_origin(url: str, *, what: str) -> tuple[Origin, str]:
    """Return origin and path of an http or https address; raise :class:`UsageError` naming ``what`` for anything else."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        msg = f"{what}: expected an http or https address without user and query"
        raise UsageError(msg)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Origin(scheme=parts.scheme, host=host, port=port or {"https": 443, "http": 80}[parts.scheme]), parts.path.rstrip("/")


def _default_origin(host: str, settings: RegistrySettings) -> Origin:
    plain = settings.plain_http or (is_loopback(host) and settings.ca_file is None)
    return parse_origin(f"{'http' if plain else 'https'}://{host}", what=f'registry "{host}"')[0]


def _registry(host: str, origin: Origin, tls: Tls, headers: Mapping[str, str] | None = None, path: str = "/v2") -> Endpoint:
    return Endpoint(name=host, origin=origin, path=path, capabilities=_CAPABILITIES, tls=tls, headers=headers or {})


def _folder(host: str, settings: RegistrySettings) -> Path | None:
    bare, colon, port = host.rpartition(":")
    names = [host] if not colon or host.endswith("]") else [f"{bare}_{port}_", host]
    places = settings.hosts_folders if settings.hosts_folders is not None else _usual_folders(settings.environment)
    for place in places:
        for name in (*names, "_default"):
            if (place / name).is_dir():
                return place / name
    return None


def _usual_folders(environment: Mapping[str, str]) -> tuple[Path, ...]:
    named = environment.get(FOLDERS_VARIABLE)
    if named:
        return tuple(Path(part) for part in named.split(":") if part)
    config = environment.get("XDG_CONFIG_HOME") or (
        os.path.join(environment["HOME"], ".config") if environment.get("HOME") else ""
    )
    own = (Path(config) / "kata-bundle" / "certs.d",) if config else ()
    return (*own, *map(Path, _SYSTEM_FOLDERS))


def _certificates(folder: Path, extra: tuple[Path, ...]) -> Tls:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        msg = f"cannot read {folder}: {error.strerror}"
        raise UsageError(msg) from None
    certificates = [name for name in names if name.endswith(".cert")]
    roots = (*extra, *(folder / name for name in names if name.endswith(".crt")))
    if not certificates:
        return Tls(roots=roots)
    certificate = folder / certificates[0]
    key = certificate.with_suffix(".key")
    if not key.exists():
        msg = f"{certificate} has no key beside it"
        raise UsageError(msg, hint=f"expected {key}")
    return Tls(roots=roots, certificate=certificate, key=key)


def _text(file: Path) -> str | None:
    try:
        with open(file, "rb") as stream:
            data = stream.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            _wrong(file, f"more than the {_MAX_FILE} bytes allowed")
        return data.decode("utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror}"
        raise UsageError(msg) from None
    except UnicodeDecodeError:
        _wrong(file, "not UTF-8")


def _parse(text: str, file: Path, host: str, settings: RegistrySettings, base: Tls) -> tuple[Endpoint, ...]:
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _wrong(file, str(error))
    unknown = sorted(set(document) - _HOST_KEYS - {"server", "host"})
    if unknown:
        _wrong(file, f'unknown member "{unknown[0]}"')
    server = document.get("server")
    path = "/v2"
    if server is None:
        origin = _default_origin(host, settings)
    elif isinstance(server, str):
        origin, path = parse_origin(server if "://" in server else f"https://{server}", what=f"{file}: server")
        path = path if path.endswith("/v2") or document.get("override_path") is True else f"{path}/v2"
    else:
        _wrong(file, "server: expected a text")
    own = _Table({key: value for key, value in document.items() if key not in {"server", "host"}}, file, "server")
    # A mirror is another server: of what is configured for the registry it gets only the roots given for the whole command.
    shared = Tls(roots=(settings.ca_file,) if settings.ca_file is not None else ())
    result = [_mirror(address, table, file, shared) for address, table in _tables(document.get("host", {}), file)]
    return (*result, _registry(host, origin, own.tls(base), own.headers(), path))


def _tables(value: object, file: Path) -> list[tuple[str, dict[str, object]]]:
    if not isinstance(value, dict):
        _wrong(file, "host: expected tables")
    result = []
    for address, table in value.items():
        if not isinstance(table, dict):
            _wrong(file, f'host."{address}": expected a table')
        result.append((address, table))
    return result


def _mirror(address: str, members: dict[str, object], file: Path, base: Tls) -> Endpoint:
    where = f'host."{address}"'
    unknown = sorted(set(members) - _HOST_KEYS)
    if unknown:
        _wrong(file, f'{where}: unknown member "{unknown[0]}"')
    origin, path = parse_origin(address if "://" in address else f"https://{address}", what=f"{file}: {where}")
    table = _Table(members, file, where)
    capabilities = frozenset(table.texts("capabilities") or _CAPABILITIES)
    if not capabilities <= _CAPABILITIES:
        _wrong(file, f"{where}.capabilities: expected some of {', '.join(sorted(_CAPABILITIES))}")
    overridden = table.flag("override_path")
    return Endpoint(
        name=origin.authority,
        origin=origin,
        path=path if overridden or path.endswith("/v2") else f"{path}/v2",
        capabilities=capabilities,
        tls=table.tls(base),
        headers=table.headers(),
        is_mirror=True,
    )


class _Table:
    """The members that a server and a mirror share."""

    def __init__(self, members: Mapping[str, object], file: Path, where: str) -> None:
        self._members, self._file, self._where = members, file, where

    def flag(self, key: str) -> bool:
        value = self._members.get(key, False)
        if not isinstance(value, bool):
            self._wrong(key, "true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._members.get(key, [])
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            self._wrong(key, "a text or an array of texts")
        return tuple(items)

    def headers(self) -> dict[str, str]:
        value = self._members.get("header", {})
        result = {}
        for name, given in value.items() if isinstance(value, dict) else [("", None)]:
            text = given[0] if isinstance(given, list) and len(given) == 1 else given
            # The value may be a secret: an error names the header only.
            if not isinstance(text, str) or not _is_header(name, text):
                self._wrong("header", "headers with one line of text each")
            result[name] = text
        return result

    def tls(self, base: Tls) -> Tls:
        roots = tuple(self._path(name) for name in self.texts("ca"))
        pairs = self._members.get("client")
        certificate, key = base.certificate, base.key
        if pairs is not None:
            first = pairs[0] if isinstance(pairs, list) and pairs else pairs
            names = [first] if isinstance(first, str) else first
            if not isinstance(names, list) or not 1 <= len(names) <= 2 or not all(isinstance(name, str) for name in names):
                self._wrong("client", "a file, or a certificate's and a key's file")
            certificate = self._path(names[0])
            key = self._path(names[1]) if len(names) == 2 and names[1] else None
        return Tls(roots=(*base.roots, *roots), certificate=certificate, key=key, verify=not self.flag("skip_verify"))

    def _path(self, name: str) -> Path:
        return self._file.parent / name

    def _wrong(self, key: str, expected: str) -> NoReturn:
        _wrong(self._file, f"{self._where}.{key}: expected {expected}")


def _is_header(name: str, value: str) -> bool:
    return bool(name) and name.isascii() and name.replace("-", "").isalnum() and value.isprintable() and value.isascii()


def _wrong(file: Path, what: str) -> NoReturn:
    msg = f"{file}: {what}"
    raise UsageError(msg, hint="the format is that of containerd's hosts.toml: docs/reference/registries.md")
