"""How to reach a Kubernetes API: from inside a pod, or from a kubeconfig file.

Sources: Kubernetes documentation "Accessing the Kubernetes API from a Pod" and the client-go ``Config`` v1 format.
Must not know: what is asked of the API.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.core.record import record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ClusterAccess", "in_cluster", "load_access", "load_kubeconfig"]

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_MAX_FILE = 4 << 20


@record
class ClusterAccess:
    """Where the API is and how to prove who we are.

    ``token_file`` is read again for every request, since tokens rotate. Certificates are PEM bytes.
    """

    server: str
    namespace: str = "default"
    ca: bytes | None = None
    verify: bool = True
    server_name: str | None = None
    token: str | None = None
    token_file: str | None = None
    client_certificate: bytes | None = None
    client_key: bytes | None = None

    def bearer(self) -> str | None:
        """Return the token to present now, ``None`` when there is none. Raises :class:`HostError` when its file is unreadable."""
        if self.token_file is not None:
            return _read(self.token_file).decode("utf-8", "replace").strip()
        return self.token


def load_access(environment: Mapping[str, str], *, kubeconfig: str | None = None) -> ClusterAccess:
    """Return the access to use: ``kubeconfig``, else the pod's own, else ``$KUBECONFIG``.

    Raises :class:`UsageError` when there is none.
    """
    if kubeconfig:
        return load_kubeconfig(kubeconfig)
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environment)
    if environment.get("KUBECONFIG"):
        return load_kubeconfig(environment["KUBECONFIG"])
    msg = "there is no Kubernetes API to talk to"
    raise UsageError(msg, hint="run in a pod with a service account, or name a kubeconfig file in KUBECONFIG")


def in_cluster(environment: Mapping[str, str], *, folder: str = SERVICE_ACCOUNT) -> ClusterAccess:
    """Return the access of the pod's service account. Raises :class:`HostError` when a part of it is missing."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        msg = "KUBERNETES_SERVICE_HOST is not set"
        raise UsageError(msg, hint="this only works inside a pod")
    token_file = os.path.join(folder, "token")
    _read(token_file)
    namespace = os.path.join(folder, "namespace")
    return ClusterAccess(
        server=f"https://{f'[{host}]' if ':' in host else host}:{port or '443'}",
        namespace=_read(namespace).decode("utf-8", "replace").strip() or "default" if os.path.exists(namespace) else "default",
        ca=_read(os.path.join(folder, "ca.crt")),
        token_file=token_file,
    )


def load_kubeconfig(path: str) -> ClusterAccess:
    """Return the access that the current context of the kubeconfig file ``path`` describes.

    Raises :class:`UsageError` when it is incomplete or wants a credential plug-in.
    """
    import yaml

    folder = os.path.dirname(os.path.abspath(path))
    try:
        document = yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        msg = f"{path} is not valid YAML: {error}"
        raise UsageError(msg) from error
    config = _Section(document, path, folder)
    context = config.named("contexts", config.text("current-context"), "context")
    cluster = config.named("clusters", context.text("cluster"), "cluster")
    user = config.named("users", context.text("user"), "user")
    for plugin in ("exec", "auth-provider"):
        if user.value(plugin) is not None:
            msg = (
                f'{path}: user "{context.text("user")}" gets its credentials from a plug-in ("{plugin}"), which is not supported'
            )
            raise UsageError(msg, hint="use a token, a token file or a client certificate")
    token_file = user.optional("tokenFile")
    server = cluster.text("server").rstrip("/")
    if not server.startswith(("http://", "https://")):
        msg = f'{path}: server "{server}" is no http or https address'
        raise UsageError(msg)
    return ClusterAccess(
        server=server,
        namespace=context.optional("namespace") or "default",
        ca=cluster.content("certificate-authority"),
        verify=cluster.value("insecure-skip-tls-verify") is not True,
        server_name=cluster.optional("tls-server-name"),
        token=user.optional("token"),
        token_file=os.path.join(folder, token_file) if token_file else None,
        client_certificate=user.content("client-certificate"),
        client_key=user.content("client-key"),
    )


class _Section:
    """A mapping inside a kubeconfig file, with errors that say where it is."""

    def __init__(self, value: object, where: str, folder: str) -> None:
        if not isinstance(value, dict):
            msg = f"{where}: expected a mapping"
            raise UsageError(msg)
        self._value: dict[object, object] = value
        self._where = where
        self._folder = folder

    def value(self, key: str) -> object:
        return self._value.get(key)

    def optional(self, key: str) -> str | None:
        value = self._value.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            msg = f"{self._where}: {key} is no text"
            raise UsageError(msg)
        return value

    def text(self, key: str) -> str:
        value = self.optional(key)
        if value is None:
            msg = f"{self._where}: {key} is missing"
            raise UsageError(msg)
        return value

    def named(self, listing: str, name: str, member: str) -> _Section:
        items = self._value.get(listing)
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict) and item.get("name") == name:
                return _Section(item.get(member), f'{self._where}: {member} "{name}"', self._folder)
        msg = f'{self._where}: {listing} has no "{name}"'
        raise UsageError(msg)

    def content(self, key: str) -> bytes | None:
        """Return what ``<key>-data`` holds or the file ``<key>`` names; the former wins, as in client-go."""
        data, path = self.optional(f"{key}-data"), self.optional(key)
        if data is not None:
            try:
                return base64.b64decode(data, validate=True)
            except (binascii.Error, ValueError):
                msg = f"{self._where}: {key}-data is not base64"
                raise UsageError(msg) from None
        return _read(os.path.join(self._folder, path)) if path is not None else None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(_MAX_FILE)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise HostError(msg) from error
