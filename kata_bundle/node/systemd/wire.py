"""D-Bus messages to and from systemd's manager, as bytes. Pure.

Sources: D-Bus specification ("Message Protocol"), org.freedesktop.systemd1(5), installer specification §17. Marshalling is
jeepney's.
Must not know: sockets, time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kata_bundle.core.record import record
from kata_bundle.node.systemd.errors import SystemdError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "BUS_INTERFACE",
    "BUS_NAME",
    "BUS_PATH",
    "MANAGER_INTERFACE",
    "MANAGER_NAME",
    "MANAGER_PATH",
    "MAX_MESSAGE",
    "PREFIX_SIZE",
    "PROPERTIES_INTERFACE",
    "SERVICE_INTERFACE",
    "UNIT_INTERFACE",
    "Message",
    "decode",
    "encode_call",
    "frame_size",
    "unit_name",
]

MANAGER_NAME = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER_INTERFACE = "org.freedesktop.systemd1.Manager"
UNIT_INTERFACE = "org.freedesktop.systemd1.Unit"
SERVICE_INTERFACE = "org.freedesktop.systemd1.Service"
PROPERTIES_INTERFACE = "org.freedesktop.DBus.Properties"
BUS_NAME = "org.freedesktop.DBus"
BUS_PATH = "/org/freedesktop/DBus"
BUS_INTERFACE = "org.freedesktop.DBus"

MAX_MESSAGE = 128 << 20
"""Largest message in bytes that D-Bus allows."""
PREFIX_SIZE = 16
"""Bytes of a message that tell its size."""

_SUFFIXES = frozenset(
    f".{kind}"
    for kind in ("automount", "device", "mount", "path", "scope", "service", "slice", "socket", "swap", "target", "timer")
)


@record
class Message:
    """A decoded message; absent fields are empty or 0.

    ``kind`` is ``method_call``, ``method_return``, ``error`` or ``signal``.
    """

    kind: str
    serial: int
    flags: int
    body_length: int
    path: str
    interface: str
    member: str
    destination: str
    sender: str
    error_name: str
    signature: str
    reply_serial: int
    body: tuple[object, ...]


def encode_call(
    member: str,
    arguments: Sequence[object] = (),
    *,
    signature: str = "",
    serial: int,
    no_reply: bool = False,
    path: str = MANAGER_PATH,
    interface: str = MANAGER_INTERFACE,
    destination: str = MANAGER_NAME,
) -> bytes:
    """Return a method call, by default to systemd's manager.

    Raises :class:`SystemdError` when the arguments do not fit ``signature``.
    """
    from jeepney.low_level import Endianness, Header, HeaderFields, MessageFlag, MessageType
    from jeepney.low_level import Message as Raw

    fields = {
        HeaderFields.path: path,
        HeaderFields.destination: destination,
        HeaderFields.interface: interface,
        HeaderFields.member: member,
    }
    if signature:
        fields[HeaderFields.signature] = signature
    flags = MessageFlag.no_reply_expected if no_reply else MessageFlag(0)
    header = Header(Endianness.little, MessageType.method_call, flags, 1, -1, serial, fields)
    try:
        data: bytes = Raw(header, tuple(arguments)).serialise(serial)
    except Exception as error:
        msg = f'cannot write the arguments of {member} as D-Bus "{signature}": {error}'
        raise SystemdError(msg) from error
    return data


def frame_size(prefix: bytes) -> int:
    """Return the size in bytes of the message that starts with the 16 bytes ``prefix``.

    Raises :class:`SystemdError` when it is no D-Bus message or larger than :data:`MAX_MESSAGE`.
    """
    order = {0x6C: "little", 0x42: "big"}.get(prefix[0])
    if order == "little":
        body, fields = int.from_bytes(prefix[4:8], "little"), int.from_bytes(prefix[12:16], "little")
    elif order == "big":
        body, fields = int.from_bytes(prefix[4:8], "big"), int.from_bytes(prefix[12:16], "big")
    else:
        msg = f"systemd sent something that is no D-Bus message: {prefix[:16]!r}"
        raise SystemdError(msg)
    size = (PREFIX_SIZE + fields + 7) // 8 * 8 + body
    if size > MAX_MESSAGE:
        msg = f"systemd announced a message of {size} bytes, more than the {MAX_MESSAGE} that D-Bus allows"
        raise SystemdError(msg)
    return size


def decode(data: bytes) -> Message:
    """Return the message in ``data``, one complete frame. Raises :class:`SystemdError` for anything malformed."""
    from jeepney.low_level import HeaderFields
    from jeepney.low_level import Message as Raw

    if len(data) < PREFIX_SIZE or frame_size(data[:PREFIX_SIZE]) != len(data):
        msg = f"systemd sent a malformed D-Bus message: {len(data)} bytes are not what it announces"
        raise SystemdError(msg)
    try:
        raw = Raw.from_buffer(data)
        header = raw.header
        fields = {key.name: value for key, value in header.fields.items() if isinstance(key, HeaderFields)}
        return Message(
            kind=str(header.message_type.name),
            serial=int(header.serial),
            flags=int(header.flags),
            body_length=int(header.body_length),
            path=str(fields.get("path", "")),
            interface=str(fields.get("interface", "")),
            member=str(fields.get("member", "")),
            destination=str(fields.get("destination", "")),
            sender=str(fields.get("sender", "")),
            error_name=str(fields.get("error_name", "")),
            signature=str(fields.get("signature", "")),
            reply_serial=int(fields.get("reply_serial", 0)),
            body=tuple(raw.body),
        )
    except Exception as error:  # jeepney raises whatever its parsing stumbles over
        msg = f"systemd sent a malformed D-Bus message: {error!r}"
        raise SystemdError(msg) from error


def unit_name(name: str) -> str:
    """Return ``name`` with ``.service`` unless it ends in a unit type already (D20)."""
    return name if any(name.endswith(suffix) and name != suffix for suffix in _SUFFIXES) else f"{name}.service"
