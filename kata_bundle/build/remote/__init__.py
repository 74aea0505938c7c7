"""Caches of actions and executors on other machines: Remote Execution API servers, OCI registries.

What is heavy is imported when it is first used. Must not know: rules, the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.build.remote.ports import Guarded, RemoteExecutor, SharedCache

if TYPE_CHECKING:
    from pathlib import Path

    from kata_bundle.oci.registry import RegistrySettings

__all__ = ["Guarded", "RemoteExecutor", "SharedCache", "open_cache", "open_executor"]


def open_cache(
    url: str,
    *,
    instance: str = "",
    token: str | None = None,
    ca_file: Path | None = None,
    registry: RegistrySettings | None = None,
) -> SharedCache:
    """Return the cache at ``grpc://HOST:PORT``, ``grpcs://HOST[:PORT]`` or ``oci://HOST[:PORT]/REPOSITORY``; nothing is asked.

    Raises :class:`UsageError` for any other address.
    """
    if url.startswith("oci://"):
        from kata_bundle.build.remote.ocicache import OciCache
        from kata_bundle.core.errors import UsageError
        from kata_bundle.oci.registry import parse_reference

        reference = parse_reference(url)
        if not reference.is_bare:
            msg = f'"{reference}" names one thing in a repository; a cache is the repository'
            raise UsageError(msg, hint=f"oci://{reference.name}")
        return OciCache(reference, registry)
    from kata_bundle.build.remote.reapi import ReapiCache
    from kata_bundle.build.remote.settings import parse_server

    return ReapiCache(parse_server(url, instance=instance, token=token, ca_file=ca_file))


def open_executor(url: str, *, instance: str = "", token: str | None = None, ca_file: Path | None = None) -> RemoteExecutor:
    """Return the execution service at ``grpc://HOST:PORT`` or ``grpcs://HOST[:PORT]``; raises like :func:`open_cache`."""
    from kata_bundle.build.remote.reapi import ReapiExecutor
    from kata_bundle.build.remote.settings import parse_server

    return ReapiExecutor(parse_server(url, instance=instance, token=token, ca_file=ca_file))
