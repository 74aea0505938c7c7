"""Pools of urllib3 connections, a set for each way of reaching a server: directly or through a proxy, by these certificates.

The only module that knows urllib3's classes. Connections are watched from the moment a request is sent until its answer is read
(``watch``). Must not know: registries, credentials for them.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from kata_bundle.core.errors import HostError, UsageError
from kata_bundle.oci.registry.proxies import proxy_for
from kata_bundle.oci.registry.watch import Watch

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

    from urllib3 import BaseHTTPResponse, PoolManager
    from urllib3.connectionpool import HTTPConnectionPool
    from urllib3.response import HTTPResponse

    from kata_bundle.oci.registry.hosts import Origin, Tls
    from kata_bundle.oci.registry.proxies import Proxy
    from kata_bundle.oci.registry.settings import RegistrySettings
    from kata_bundle.oci.registry.watch import Guard

__all__ = ["Connections"]

_POOL_SIZE = 16
_SEND_BYTES = 256 << 10


class Connections:
    """Sends single requests. Safe for several threads."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._managers: dict[tuple[Tls | None, Proxy | None], PoolManager] = {}
        self._watch = Watch()

    def send(
        self,
        origin: Origin,
        tls: Tls,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
        answer_s: float,
    ) -> BaseHTTPResponse:
        """Return the answer to one request, its head read and its body not; nothing is followed, decoded or tried again.

        Raises what urllib3 raises (``HTTPError``), :class:`UsageError` or :class:`HostError` for unusable certificates.
        """
        import urllib3

        limits = self._settings.limits
        manager = self._manager(origin, tls)
        answer: BaseHTTPResponse = manager.urlopen(
            method,
            f"{origin}{path}",
            body=body,
            headers=dict(headers),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
            timeout=urllib3.Timeout(connect=limits.connect_s, read=answer_s),
        )
        return answer

    def close(self) -> None:
        """End all connections, also those in use by other threads."""
        self._watch.close()
        with self._lock:
            for manager in self._managers.values():
                manager.clear()
            self._managers.clear()

    def _manager(self, origin: Origin, tls: Tls) -> PoolManager:
        proxy = proxy_for(origin, self._settings.environment)
        key = (tls if origin.scheme == "https" else None, proxy)
        with self._lock:
            found = self._managers.get(key)
            if found is None:
                found = self._managers[key] = self._open(*key)
            return found

    def _open(self, tls: Tls | None, proxy: Proxy | None) -> PoolManager:
        import urllib3

        settings: dict[str, Any] = {"num_pools": _POOL_SIZE, "maxsize": _POOL_SIZE, "blocksize": _SEND_BYTES}
        if tls is not None:
            settings["ssl_context"] = _context(tls)
            if not tls.verify:
                settings["assert_hostname"] = False
        manager: PoolManager
        if proxy is None:
            manager = urllib3.PoolManager(**settings)
        else:
            headers = urllib3.make_headers(proxy_basic_auth=proxy.login) if proxy.login is not None else None
            manager = urllib3.ProxyManager(proxy.url, proxy_headers=headers, **settings)
        manager.pool_classes_by_scheme = _pool_classes(self._watch, self._settings.limits.send_s)
        return manager


def _context(tls: Tls) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    for file in tls.roots:
        try:
            context.load_verify_locations(cafile=file)
        except (OSError, ssl.SSLError) as error:
            msg = f"{file} holds no certificates that can be trusted: {_reason(error)}"
            raise UsageError(msg, hint="expected PEM certificates") from None
    if tls.certificate is not None:
        try:
            # A key with a password would be asked for on the terminal; here it is an error.
            context.load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
        except (OSError, ssl.SSLError) as error:
            msg = f"the client certificate {tls.certificate} cannot be used: {_reason(error)}"
            raise HostError(msg) from None
    if not tls.verify:
        from urllib3 import disable_warnings
        from urllib3.exceptions import InsecureRequestWarning

        # The administrator's file asks for it; saying so at every request helps nobody.
        disable_warnings(InsecureRequestWarning)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)


def _pool_classes(watch: Watch, send_s: float) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools whose connections are under ``watch`` while an answer is awaited and read.

    urllib3 has one time limit for connecting and sending, and another for reading; here one piece of a body may take ``send_s``.
    """
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    class Watched(HTTPConnection):
        guard: Guard | None = None

        def connect(self) -> None:
            super().connect()
            self.sock.settimeout(send_s)

        def request(self, *args: Any, **settings: Any) -> None:
            if self.sock is not None:  # a connection that is used again would be given the time for connecting
                self.timeout = send_s
            super().request(*args, **settings)

        def getresponse(self) -> HTTPResponse:  # type: ignore[override]
            # By now urllib3 has put the time for reading here.
            self.guard = watch.guard(self.sock)
            self.guard.within(self.timeout or 0.0)
            try:
                return super().getresponse()
            except BaseException:
                self.guard.release()
                raise

    class WatchedTls(Watched, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Watched

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = WatchedTls

    return {"http": Pool, "https": TlsPool}
