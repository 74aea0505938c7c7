"""An answer being read: bounded, undecoded, under watch; every way in which a body can break is one kind of error.

Must not know: what was asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kata_bundle.oci.registry.errors import ProtocolError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from urllib3 import BaseHTTPResponse

    from kata_bundle.oci.registry.hosts import Origin
    from kata_bundle.oci.registry.settings import Limits
    from kata_bundle.oci.registry.watch import Guard

__all__ = ["CHUNK_BYTES", "Answer"]

CHUNK_BYTES: Final = 1 << 20
_DRAIN_BYTES: Final = 64 << 10
"""What is read of a body nobody wants, so that its connection can be used again; a longer one costs the connection."""


class Answer:
    """Status and headers, and the body to be read once. Use it as a context."""

    def __init__(
        self, raw: BaseHTTPResponse, *, what: str, origin: Origin, path: str, limits: Limits, has_body: bool = True
    ) -> None:
        self._raw = raw
        self._limits = limits
        self._guard: Guard | None = getattr(raw.connection, "guard", None)
        self._ended = False
        self._has_body = has_body
        self.what = what
        self.origin = origin
        """Where it came from, after redirects."""
        self.path = path
        self.status = raw.status

    def header(self, name: str) -> str | None:
        """Return a header's value, ``None`` when absent; of a repeated one all values, with commas between."""
        return self._raw.headers.get(name)

    def headers(self, name: str) -> list[str]:
        """Return the values of a header that may stand several times."""
        return list(self._raw.headers.getlist(name))

    @property
    def length(self) -> int | None:
        """The body's length as the server states it; raises :class:`ProtocolError` when it is no number."""
        text = self.header("Content-Length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            msg = f"{self.what}: the length of the answer is no number"
            raise ProtocolError(msg)
        return int(text)

    def read(self, limit_bytes: int) -> bytes:
        """Return the whole body; raise :class:`ProtocolError` when it is longer, :class:`UnreachableError` when it breaks off."""
        if self._guard is not None:
            self._guard.within(self._limits.answer_s)
        stated = self.length
        if stated is not None and stated > limit_bytes:
            raise self._too_long(limit_bytes)
        parts: list[bytes] = []
        left = limit_bytes
        for part in self._parts():
            left -= len(part)
            if left < 0:
                raise self._too_long(limit_bytes)
            parts.append(part)
        return b"".join(parts)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body in pieces as they come; whoever takes them counts them. Raises like :meth:`read`."""
        if self._guard is not None:
            self._guard.at_least(self._limits.slow_bytes, self._limits.slow_s)
        for part in self._parts():
            if self._guard is not None:
                self._guard.advance(len(part))
            yield part

    def _parts(self) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        encoding = self.header("Content-Encoding")
        if encoding is not None and encoding.strip().lower() != "identity":
            # None was asked for. Decoding what a stranger compressed is how a small answer becomes a large one.
            msg = f'{self.what}: the answer is encoded as "{encoding[:40]!a}", which was not asked for'
            raise ProtocolError(msg)
        try:
            while part := self._raw.read1(CHUNK_BYTES, decode_content=False):
                yield part
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # The last two: a connection that the watch ended under our feet.
            raise self._broken(error) from None
        if self._guard is not None and self._guard.cut is not None:
            raise self._broken(None)
        self._ended = True

    def _broken(self, error: Exception | None) -> UnreachableError:
        why = self._guard.cut if self._guard is not None and self._guard.cut else type(error).__name__
        msg = f"{self.what}: the answer from {self.origin} broke off ({why})"
        return UnreachableError(msg, retryable=True)

    def _too_long(self, limit_bytes: int) -> ProtocolError:
        return ProtocolError(f"{self.what}: the answer from {self.origin} has more than the {limit_bytes} bytes allowed")

    def close(self) -> None:
        """Give the connection back when the body was read or what is left of it is short, else end it."""
        try:
            if not self._ended and self._is_short() and self.header("Content-Encoding") is None:
                for _ in self._parts():
                    pass
        except (ProtocolError, UnreachableError):
            self._ended = False
        finally:
            if self._guard is not None:
                self._guard.release()
            if self._ended:
                self._raw.release_conn()
            else:
                self._raw.close()

    def _is_short(self) -> bool:
        if not self._has_body:  # the answer to HEAD states the length of what it does not have
            return True
        stated = self.header("Content-Length")
        return stated is not None and stated.isascii() and stated.isdigit() and int(stated[:20]) <= _DRAIN_BYTES

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
