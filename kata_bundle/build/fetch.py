"""Files of the network as sources: by digest from the store, else from one of their addresses, checked before they are used.

A download that broke is continued where it stopped. The digest decides, whoever served the bytes. Must not know: rules' kinds.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from kata_bundle.core.digest import hex_part
from kata_bundle.core.errors import BuildError, IntegrityError, RemoteError
from kata_bundle.core.relpath import RelPath
from kata_bundle.core.tree import File, Tree
from kata_bundle.oci.registry.hosts import Origin
from kata_bundle.oci.registry.proxies import proxy_for

if TYPE_CHECKING:
    from pathlib import Path

    from urllib3 import PoolManager
    from urllib3.response import BaseHTTPResponse

    from kata_bundle.build.actionrules import Source
    from kata_bundle.core.digest import Digest
    from kata_bundle.core.events import Progress
    from kata_bundle.store import Store

__all__ = ["download_whole", "fetch"]

_ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 60.0
_CHUNK: Final = 1 << 20
_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def fetch(source: Source, store: Store, *, what: str, progress: Progress) -> Tree:
    """Return a tree of the one file that ``source`` states, named as its first address names it; its content is in ``store``.

    Raises :class:`RemoteError` naming every address when none serves it, :class:`IntegrityError` when one serves other bytes.
    """
    digest, size = source.digest, source.size_bytes
    if digest is None or size is None or not source.urls:
        msg = f"{what} states no address, digest or size"
        raise BuildError(msg)
    name = RelPath(os.path.basename(urlsplit(source.urls[0]).path) or "file")
    if store.size(digest) != size:
        _download(source.urls, digest, size, store, what=what, progress=progress)
    return Tree.of({name: File(mode=0o644, size_bytes=size, digest=digest)})


def _download(urls: tuple[str, ...], digest: Digest, size: int, store: Store, *, what: str, progress: Progress) -> None:
    folder = store.root / "downloads"
    folder.mkdir(exist_ok=True)
    partial = folder / f"{hex_part(digest)}.partial"
    reasons: list[str] = []
    is_wrong = False
    task = f"fetch {what}"
    progress.start(task, size)
    try:
        with store.lock(f"fetch-{hex_part(digest)[:32]}"):
            if store.size(digest) == size:
                return
            for url in urls:
                for _ in range(_ATTEMPTS):
                    reason = _attempt(url, partial, size, task, progress)
                    if reason is None:
                        try:
                            store.put_file(partial, digest)
                        except IntegrityError as error:
                            partial.unlink()
                            is_wrong = True
                            reasons.append(f"{url}: {error}")
                            break
                        partial.unlink()
                        return
                    reasons.append(f"{url}: {reason}")
    finally:
        progress.finish(task)
    msg = f"{what} cannot be fetched:\n  " + "\n  ".join(dict.fromkeys(reasons))
    if is_wrong:
        raise IntegrityError(msg, hint="find out why the file changed before pinning it again")
    raise RemoteError(msg, hint="is the address reachable from here? another one can be added to the source", retryable=True)


def _attempt(url: str, partial: Path, size: int, task: str, progress: Progress) -> str | None:
    """Continue the download; return why it did not come to its end, ``None`` when all bytes are there."""
    import urllib3

    have = partial.stat().st_size if partial.exists() else 0
    if have > size:
        partial.unlink()
        have = 0
    if have == size:
        return None
    headers = {"Accept-Encoding": "identity", "User-Agent": "kata-bundle"}
    if have:
        headers["Range"] = f"bytes={have}-"
    timeout = urllib3.Timeout(connect=_TIMEOUT_S, read=_TIMEOUT_S)
    try:
        with _pool(url) as pool:
            response = pool.request(
                "GET", url, headers=headers, preload_content=False, timeout=timeout, retries=False, redirect=True
            )
            try:
                return _receive(response, partial, have, size, task, progress)
            finally:
                response.release_conn()
    except urllib3.exceptions.HTTPError as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def download_whole(urls: tuple[str, ...], path: Path, *, what: str, max_bytes: int, progress: Progress) -> Path:
    """Return ``path``, written with what the first address that answers serves, whose length and digest nobody stated.

    Raises :class:`RemoteError` naming every address when none serves it whole within ``max_bytes``.
    """
    reasons = []
    for url in urls:
        reason = _whole(url, path, max_bytes)
        if reason is None:
            progress.note(f"fetched {what}, {path.stat().st_size} bytes")
            return path
        reasons.append(f"{url}: {reason}")
    msg = f"{what} cannot be fetched:\n  " + "\n  ".join(reasons)
    raise RemoteError(msg, hint="is the address reachable from here?", retryable=True)


def _whole(url: str, path: Path, max_bytes: int) -> str | None:
    """Write what ``url`` serves; return why it did not come to its end, ``None`` when it did."""
    import urllib3

    timeout = urllib3.Timeout(connect=_TIMEOUT_S, read=_TIMEOUT_S)
    headers = {"Accept-Encoding": "identity", "User-Agent": "kata-bundle"}
    have = 0
    try:
        with _pool(url) as pool:
            response = pool.request(
                "GET", url, headers=headers, preload_content=False, timeout=timeout, retries=False, redirect=True
            )
            try:
                if response.status != 200:
                    return f"answered {response.status} {response.reason or ''}".rstrip()
                with open(path, "wb") as sink:
                    for chunk in response.stream(_CHUNK):
                        have += len(chunk)
                        if have > max_bytes:
                            return f"is larger than {max_bytes} bytes"
                        sink.write(chunk)
            finally:
                response.release_conn()
    except urllib3.exceptions.HTTPError as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def _pool(url: str) -> PoolManager:
    """Return a client that goes through the environment's proxy for ``url``; certificates are checked."""
    import urllib3

    parts = urlsplit(url)
    origin = Origin(scheme=parts.scheme, host=parts.hostname or "", port=parts.port or {"https": 443}.get(parts.scheme, 80))
    proxy = proxy_for(origin, os.environ)
    if proxy is None:
        return urllib3.PoolManager()
    headers = None if proxy.login is None else urllib3.make_headers(proxy_basic_auth=proxy.login)
    return urllib3.ProxyManager(proxy.url, proxy_headers=headers)


def _receive(  # noqa: PLR0917
    response: BaseHTTPResponse, partial: Path, have: int, size: int, task: str, progress: Progress
) -> str | None:
    mode = "ab"
    if response.status == 206:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or int(match.group(1)) != have:
            return f"answered with another part than was asked for: {response.headers.get('Content-Range', '')[:80]!r}"
    elif response.status == 200:
        mode, have = "wb", 0
    else:
        return f"answered {response.status} {response.reason or ''}".rstrip()
    with open(partial, mode) as sink:
        progress.advance(task, have)
        for chunk in response.stream(_CHUNK):
            have += len(chunk)
            if have > size:
                break
            sink.write(chunk)
            progress.advance(task, len(chunk))
    if have > size:
        partial.unlink()
        return f"sends more than the expected {size} bytes"
    if have < size:
        return f"ended after {have} of {size} bytes"
    return None
