"""What a server can do, asked once a connection and checked against what we need (Remote Execution API, ``Capabilities``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kata_bundle.build.remote.errors import ServerError

if TYPE_CHECKING:
    from kata_bundle.build.remote.rpc import Connection

__all__ = ["NEWEST", "OLDEST", "Features", "negotiate"]

OLDEST: Final = (2, 0)
NEWEST: Final = (2, 12)
"""The versions of the API that this client speaks."""
_EXECUTION: Final = (2, 2)
"""Since then an action names its platform and output paths as ours do."""
_METHOD: Final = "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities"


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """What of a server's abilities changes what we send."""

    batch_bytes: int
    """Most content in one batch."""
    max_blob_bytes: int | None
    """Largest blob taken; ``None``: any."""
    zstd: bool
    """Whether streams may be compressed."""
    zstd_batches: bool
    """Whether blobs in batches that we send may be."""
    can_update: bool
    """Whether it takes results of actions from us."""


async def negotiate(connection: Connection, *, execution: bool = False) -> Features:
    """Return the server's features.

    Raises :class:`ServerError` when it speaks no version of the API that we do, does not know sha256, or with ``execution`` does
    not execute; the message names what it has.
    """
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    request = api.GetCapabilitiesRequest(instance_name=connection.settings.instance)
    reply = await connection.call(_METHOD, request, api.ServerCapabilities)
    url = connection.settings.url
    low, high = _version(reply.low_api_version), _version(reply.high_api_version)
    _check_versions(url, low, high)
    cache, limits = reply.cache_capabilities, connection.limits
    _check_sha256(url, cache.digest_functions, "cache")
    if execution:
        abilities = reply.execution_capabilities
        if not abilities.exec_enabled:
            msg = f"{url} does not execute actions"
            raise _unfit(msg, "use it as --remote-cache, or ask its administrator for execution")
        if high < _EXECUTION:
            msg = f"{url} executes by version {_text(high)} of the Remote Execution API, {_text(_EXECUTION)} is needed"
            raise _unfit(msg, None)
        _check_sha256(url, abilities.digest_functions or [abilities.digest_function], "executor")
    stated = cache.max_batch_total_size_bytes
    zstd = api.Compressor.Value.ZSTD
    return Features(
        # Zero and less mean "no limit", which is not ours: a message has to be taken by the server's gRPC library too.
        batch_bytes=min(stated, limits.message_bytes) if stated > 0 else limits.message_bytes,
        max_blob_bytes=cache.max_cas_blob_size_bytes if cache.max_cas_blob_size_bytes > 0 else None,
        zstd=zstd in cache.supported_compressors,
        zstd_batches=zstd in cache.supported_batch_update_compressors,
        can_update=cache.action_cache_update_capabilities.update_enabled,
    )


def _check_versions(url: str, low: tuple[int, int], high: tuple[int, int]) -> None:
    if high == (0, 0):
        msg = f"{url} does not say which versions of the Remote Execution API it speaks"
        raise _unfit(msg, "is it such a server?")
    if high < OLDEST or low > NEWEST:
        msg = (
            f"{url} speaks versions {_text(low)} to {_text(high)} of the Remote Execution API, "
            f"this program {_text(OLDEST)} to {_text(NEWEST)}"
        )
        raise _unfit(msg, "use another version of the server or of this program")


def _check_sha256(url: str, functions: Any, what: str) -> None:
    from kata_bundle.build.reapi import remote_execution_pb2 as api

    if api.DigestFunction.Value.SHA256 not in functions:
        known = [name for name, value in api.DigestFunction.Value.items() if value in functions and value]
        msg = f"the {what} {url} does not name content by sha256 (it knows {', '.join(known) or 'no digest function'})"
        raise _unfit(msg, "have sha256 allowed there")


def _unfit(message: str, hint: str | None) -> ServerError:
    return ServerError(message, code="FAILED_PRECONDITION", hint=hint)


def _version(message: Any) -> tuple[int, int]:
    return int(message.major), int(message.minor)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
