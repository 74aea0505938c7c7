"""Calls to one server: connection, deadlines, retries, bounds. gRPC is grpclib's, in pure Python.

Each piece of work has a connection and an event loop of its own (:func:`on_server`), so that threads share nothing. Must not
know: what is asked.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from kata_bundle.build.remote.errors import ServerError
from kata_bundle.core.errors import BuildError, HostError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from google.protobuf.message import Message
    from grpclib.client import Channel, Stream

    from kata_bundle.build.remote.settings import ServerSettings

    Reply = TypeVar("Reply", bound=Message)

Result = TypeVar("Result")

__all__ = ["Connection", "never", "on_server"]

_POLL_S = 0.2


def never() -> bool:
    """Return ``False``: nobody cancels."""
    return False


def on_server(
    settings: ServerSettings, work: Callable[[Connection], Awaitable[Result]], *, is_cancelled: Callable[[], bool] = never
) -> Result:
    """Return what ``work`` makes of a new connection, which is closed after it.

    Raises what ``work`` raises, and :class:`BuildError` when ``is_cancelled`` becomes true.
    """

    async def main() -> Result:
        connection = Connection(settings)
        task = asyncio.ensure_future(work(connection))
        try:
            while not (await asyncio.wait({task}, timeout=_POLL_S))[0]:
                if is_cancelled():
                    msg = f"work with {settings.url} was cancelled"
                    raise BuildError(msg)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
            connection.close()
            await asyncio.sleep(0)  # the loop closes sockets in its next round

    return asyncio.run(main())


class Connection:
    """A connection to the server of ``settings``, made by the first call and again after it broke. Of one event loop."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.limits = settings.limits
        self._channel: Channel | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            protocol: Any = self._channel._protocol
            transport = getattr(getattr(protocol, "connection", None), "_transport", None)
            self._channel.close()
            self._channel = None
            if transport is not None:
                # Closing alone waits until a peer that may be silent has taken what is still to be sent.
                transport.abort()

    async def call(self, method: str, request: Message, reply: type[Reply], *, timeout_s: float | None = None) -> Reply:
        """Return the answer to ``request``, tried again while that may help; raises :class:`ServerError`."""
        return await self.retrying(lambda _: self.once(method, request, reply, timeout_s=timeout_s))

    async def once(self, method: str, request: Message, reply: type[Reply], *, timeout_s: float | None = None) -> Reply:
        """Return the answer to one try."""
        answers: list[Reply] = []

        def take(answer: Reply) -> bool:
            answers.append(answer)
            return len(answers) > 1

        await self.exchange(method, [request], reply, take, timeout_s=timeout_s)
        if len(answers) != 1:
            msg = f"{self.settings.url}: {_short(method)} ended with {len(answers) or 'no'} answers"
            raise ServerError(msg, code="UNAVAILABLE")
        return answers[0]

    async def exchange(
        self,
        method: str,
        requests: Iterable[Message],
        reply: type[Reply],
        take: Callable[[Reply], bool],
        *,
        timeout_s: float | None = None,
    ) -> None:
        """Send ``requests`` and give every answer to ``take`` until that returns true; one try.

        A server that answers before it has everything is not sent the rest. Raises :class:`ServerError`, and unchanged what
        ``requests`` and ``take`` raise.
        """
        failure: Exception | None = None
        is_early: Exception | None = None
        is_enough = False
        try:
            async with self._open(method, reply, timeout_s or self.limits.call_s) as stream:
                await stream.send_request()
                self._bound(stream, method)
                try:
                    failure = await _send(stream, requests)
                except _broken() as error:
                    # The answer, if there is one, says why.
                    is_early = error
                while failure is None and not is_enough and (answer := await stream.recv_message()) is not None:
                    try:
                        is_enough = take(answer) or is_early is not None
                    except Exception as error:  # ours, not the server's: raised below
                        failure = error
                if failure is not None or is_enough:
                    await stream.cancel()
                elif is_early is not None:
                    raise is_early
        except ServerError:
            # What goes wrong with ending a call that has given its answer changes nothing.
            if failure is None and not is_enough:
                raise
        if failure is not None:
            raise failure

    async def retrying(self, attempt: Callable[[int], Awaitable[Result]]) -> Result:
        """Return what ``attempt(number)`` returns, called again with growing pauses while its error says that this may help."""
        number = 0
        while True:
            try:
                return await attempt(number)
            except ServerError as error:
                number += 1
                # A server that let a whole deadline pass gets one more chance, no more.
                if not error.retryable or number >= (2 if error.code == "DEADLINE_EXCEEDED" else self.limits.tries):
                    raise
            usual = min(self.limits.first_pause_s * 2 ** (number - 1), self.limits.longest_pause_s)
            await asyncio.sleep(usual * random.uniform(0.5, 1.0))  # noqa: S311 - so that many clients do not come back at once

    async def gather(self, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Do all of ``works``, some at a time; the first error ends the others and is raised."""
        waiting = iter(list(works))

        async def worker() -> None:
            for work in waiting:
                await work()

        tasks = [asyncio.ensure_future(worker()) for _ in range(self.limits.streams)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    @asynccontextmanager
    async def _open(self, method: str, reply: type[Reply], timeout_s: float) -> AsyncIterator[Stream[Message, Reply]]:
        from google.protobuf.message import DecodeError, Message

        channel = self._connected()
        from grpclib.client import StreamStreamMethod
        from grpclib.exceptions import GRPCError

        url, what = self.settings.url, _short(method)
        metadata = {} if self.settings.token is None else {"authorization": f"Bearer {self.settings.token}"}
        try:
            async with asyncio.timeout(timeout_s):
                opened: StreamStreamMethod[Message, Reply] = StreamStreamMethod(channel, method, Message, reply)
                async with opened.open(timeout=timeout_s, metadata=metadata) as stream:
                    yield stream
        except GRPCError as error:
            text = ascii((error.message or "")[:400])[1:-1]
            msg = f"{url} refused {what}: {error.status.name}{': ' if text else ''}{text}"
            raise ServerError(msg, code=error.status.name, hint=_HINTS.get(error.status.name)) from None
        except TimeoutError:
            msg = f"{url} did not answer {what} within {timeout_s:g} s"
            raise ServerError(msg, code="DEADLINE_EXCEEDED") from None
        except DecodeError as error:
            msg = f"{url} answered {what} with what is no {reply.__name__}: {error}"
            raise ServerError(msg, code="DATA_LOSS") from None
        except Exception as error:
            if not isinstance(error, (OSError, AssertionError, NotImplementedError, *_broken())):
                raise
            self.close()
            text = getattr(error, "strerror", None) or getattr(error, "verify_message", None) or str(error)
            msg = f"{url} does not answer {what}: {text or type(error).__name__}"
            is_untrusted = type(error).__name__ == "SSLCertVerificationError"
            hint = "name the PEM file of its authority with --remote-ca" if is_untrusted else None
            raise ServerError(msg, code="UNAVAILABLE", hint=hint, retryable=not is_untrusted) from None

    def _connected(self) -> Channel:
        if self._channel is None:
            try:
                from grpclib.client import Channel
                from grpclib.config import Configuration
            except ImportError:
                msg = "grpclib is not installed, which speaking to Remote Execution API servers needs"
                raise HostError(msg, hint="pip install 'kata-bundle[remote]'") from None
            config = Configuration(http2_connection_window_size=16 << 20, http2_stream_window_size=4 << 20)
            self._channel = Channel(self.settings.host, self.settings.port, ssl=self._tls(), config=config)
        return self._channel

    def _tls(self) -> Any:
        if not self.settings.tls:
            return None
        import ssl

        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.settings.ca_file is not None:
            try:
                context.load_verify_locations(self.settings.ca_file)
            except OSError as error:
                msg = f"{self.settings.ca_file} holds no certificates in PEM form: {error.strerror or error}"
                raise HostError(msg) from None
        context.set_alpn_protocols(["h2"])
        return context

    def _bound(self, stream: Any, method: str) -> None:
        """Have answers that are too large refused before they are read: the library takes up to 4 GiB into memory."""
        inner, limit = stream._stream, self.limits.answer_bytes
        receive = inner.recv_data

        async def bounded(size: int) -> bytes:
            if size > limit:
                msg = f"{self.settings.url} answers {_short(method)} with a message of {size} bytes, {limit} are allowed"
                raise ServerError(msg, code="DATA_LOSS")
            data: bytes = await receive(size)
            return data

        inner.recv_data = bounded


_HINTS = {
    "UNAUTHENTICATED": "name a file with a token with --remote-token-file, or set KATA_BUNDLE_REMOTE_TOKEN",
    "PERMISSION_DENIED": "the token does not allow this; --no-remote-upload only reads",
    "RESOURCE_EXHAUSTED": "the server has no room or has had enough for now; its administrator can change that",
}


async def _send(stream: Stream[Message, Any], requests: Iterable[Message]) -> Exception | None:
    """Send everything and say that this was it; return what making a request raised."""
    pending = iter(requests)
    while True:
        try:
            request = next(pending, None)
        except Exception as error:
            return error
        if request is None:
            await stream.end()
            return None
        await stream.send_message(request)


def _broken() -> tuple[type[Exception], ...]:
    """Return what the library raises for a call that the other side ended or broke."""
    from grpclib.exceptions import ProtocolError, StreamTerminatedError
    from h2.exceptions import H2Error

    return (StreamTerminatedError, ProtocolError, H2Error)


def _short(method: str) -> str:
    return method.rpartition("/")[2]
