"""Where a guest's agent listens, in the spelling that Kata's own programs use.

::

    vsock://3:1024                      a virtual socket: context id of the guest, port
    hvsock:///run/vc/vm/x/root/kata.hvsock:1024   a hypervisor's Unix socket that leads to guest ports
    unix:///run/x.sock                  a Unix socket

Must not know: how to connect.
"""

from __future__ import annotations

from enum import StrEnum

from kata_bundle.core.errors import UsageError
from kata_bundle.core.record import record

__all__ = ["AgentAddress", "Transport", "parse_address"]

_MAX_U32 = (1 << 32) - 1
_MAX_PATH = 107
"""Bytes of a Unix socket's path that the kernel takes."""
_EXPECTED = "vsock://CID:PORT, hvsock://PATH:PORT or unix://PATH"


class Transport(StrEnum):
    """How the bytes get to the agent; the values are the schemes of addresses."""

    VSOCK = "vsock"
    HYBRID_VSOCK = "hvsock"
    UNIX = "unix"


@record
class AgentAddress:
    """An agent's address: ``cid`` for vsock, ``path`` for the others, ``port`` for both kinds of vsock."""

    transport: Transport
    cid: int = 0
    path: str = ""
    port: int = 0

    def __str__(self) -> str:
        match self.transport:
            case Transport.VSOCK:
                return f"vsock://{self.cid}:{self.port}"
            case Transport.HYBRID_VSOCK:
                return f"hvsock://{self.path}:{self.port}"
        return f"unix://{self.path}"


def parse_address(text: str) -> AgentAddress:
    """Return the address that ``text`` spells. Raises :class:`UsageError` for anything else."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme in set(Transport):
        transport = Transport(scheme)
        if transport is Transport.UNIX:
            if _is_path(rest):
                return AgentAddress(transport=transport, path=rest)
        else:
            place, colon, number = rest.rpartition(":")
            port = _number(number)
            if colon and port is not None:
                if transport is Transport.HYBRID_VSOCK and _is_path(place):
                    return AgentAddress(transport=transport, path=place, port=port)
                cid = _number(place)
                if transport is Transport.VSOCK and cid is not None:
                    return AgentAddress(transport=transport, cid=cid, port=port)
    msg = f'"{text[:200]}" is no address of an agent'
    raise UsageError(msg, hint=f"expected {_EXPECTED}, paths absolute and at most {_MAX_PATH} bytes long")


def _is_path(text: str) -> bool:
    return text.startswith("/") and "\0" not in text and len(text.encode("utf-8", "surrogateescape")) <= _MAX_PATH


def _number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    value = int(text)
    return value if value <= _MAX_U32 else None
