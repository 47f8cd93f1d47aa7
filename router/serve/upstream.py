"""The pool of connections to the upstream server.

One HTTP/1.1 client for one origin on asyncio, as lean as a proxy wants it: a request costs a
tenth of what a general HTTP library takes for it. Redirects, cookies, compression and forward
proxies are not its business.
"""

from __future__ import annotations

import asyncio
import math
import ssl
import time
from asyncio import BaseEventLoop
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from router.errors import ConfigError
from router.serve.http_response import BadResponseError, ResponseHead, ResponseParser

__all__ = [
    "Timeouts",
    "Upstream",
    "UpstreamConnectionError",
    "UpstreamFailure",
    "UpstreamResponse",
    "UpstreamTimeoutError",
]

_HIGH_WATER = 1 << 18
_IDLE_S = 15.0
# a server that had closed a kept connection says so within a round trip
_STALE_S = 0.1
_REPEATABLE = frozenset({b"GET", b"HEAD"})


class UpstreamFailure(Exception):
    """The upstream gave no complete answer."""


class UpstreamConnectionError(UpstreamFailure):
    """There is no connection, or it broke."""


class UpstreamTimeoutError(UpstreamFailure):
    """The upstream took too long."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for the upstream, in seconds.

    Attributes
    ----------
    connect_s : float
        For a connection.
    first_byte_s : float
        From the request to the headers of its response.
    idle_s : float
        Between two pieces of a body.
    """

    connect_s: float = 5.0
    first_byte_s: float = 300.0
    idle_s: float = 120.0


class Upstream:
    """Sends requests to one server.

    Parameters
    ----------
    base_url : str
        Its base URL, such as ``https://api.oxlo.ai/v1``.
    timeouts : Timeouts, optional
        How long to wait.

    Raises
    ------
    ConfigError
        If `base_url` is not an http or https URL, or contains a user name or a query.
    """

    def __init__(self, base_url: str, timeouts: Timeouts | None = None) -> None:
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"the upstream {base_url!r} is not a URL ({error})") from error
        if parts.username is not None or parts.query or parts.fragment or "?" in base_url:
            raise ConfigError("the upstream's URL may have no user name, query or fragment")
        if parts.scheme not in ("http", "https") or not parts.hostname or not base_url.isascii():
            raise ConfigError(
                f"the upstream {base_url!r} is not a URL: use one such as https://api.oxlo.ai/v1"
            )
        if any(ord(character) <= 32 for character in base_url):
            raise ConfigError(f"the upstream {base_url!r} has a blank in it")
        if any(not 0 < len(label) < 64 for label in parts.hostname.rstrip(".").split(".")):
            raise ConfigError(f"the upstream {base_url!r} has no valid host name")
        self.timeouts: Timeouts = Timeouts() if timeouts is None else timeouts
        self._host = parts.hostname
        self._port = port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._path = parts.path.rstrip("/").encode()
        self._authority = parts.netloc.encode()
        self._idle: deque[_Connection] = deque()
        self._open: set[_Connection] = set()

    @property
    def n_connections(self) -> int:
        """Connections that are open, in use or not."""
        return len(self._open)

    async def request(
        self,
        method: bytes,
        path: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        body: bytes = b"",
    ) -> UpstreamResponse:
        """Send a request and wait for the headers of its response.

        A request that a connection kept from earlier did not take is sent once more on a new
        one: the server had closed it meanwhile. One that the server may have worked on is not,
        unless it only asks for something.

        Parameters
        ----------
        method, path : bytes
            Method, and path below the base URL with its query, such as ``/models``.
        headers : iterable of tuple of bytes
            Headers but for host, content-length and connection; without line breaks.
        body : bytes
            The body.

        Returns
        -------
        UpstreamResponse
            To be read to its end, or closed.

        Raises
        ------
        UpstreamFailure
            If there is no response.
        """
        head = [method, b" ", self._path, path, b" HTTP/1.1\r\nhost: ", self._authority, b"\r\n"]
        for name, value in headers:
            head += (name, b": ", value, b"\r\n")
        if body or method in (b"POST", b"PUT", b"PATCH"):
            head.append(b"content-length: %d\r\n" % len(body))
        head += (b"\r\n", body)
        data = b"".join(head)
        has_body, repeatable = method != b"HEAD", method in _REPEATABLE
        connection = self._take_idle()
        if connection is not None:
            try:
                return await connection.exchange(data, has_body, repeatable)
            except _StaleConnectionError:
                pass
        connection = await self._connect()
        return await connection.exchange(data, has_body, repeatable)

    def close(self) -> None:
        """Close every connection at once."""
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()

    def _take_idle(self) -> _Connection | None:
        oldest = time.monotonic() - _IDLE_S
        while self._idle and self._idle[0].idle_since < oldest:
            self._idle.popleft().abort()
        while self._idle:
            # the one used last: the others grow old and close
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        # uvloop has no such option
        options: dict[str, Any] = {}
        if isinstance(loop, BaseEventLoop):
            options["happy_eyeballs_delay"] = 0.25
        try:
            async with asyncio.timeout(self.timeouts.connect_s):
                connected = await loop.create_connection(
                    lambda: _Connection(self, loop),
                    self._host,
                    self._port,
                    ssl=self._tls,
                    **options,
                )
        except TimeoutError as error:
            raise UpstreamTimeoutError(
                f"no connection to the upstream within {self.timeouts.connect_s:g} s"
            ) from error
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise UpstreamConnectionError(f"no connection to the upstream: {reason}") from error
        connection: _Connection = connected[1]
        return connection

    # called by the connections

    def _opened(self, connection: _Connection) -> None:
        self._open.add(connection)

    def _released(self, connection: _Connection) -> None:
        self._idle.append(connection)

    def _closed(self, connection: _Connection) -> None:
        self._open.discard(connection)


class UpstreamResponse:
    """A response whose body is still to come.

    Attributes
    ----------
    status : int
        HTTP status.
    headers : list of tuple of bytes
        Its headers, names in lower case.
    """

    __slots__ = ("_connection", "_head", "_parser", "headers", "status")

    def __init__(self, head: ResponseHead, parser: ResponseParser, connection: _Connection) -> None:
        self._head = head
        # the connection may carry somebody else's response once this one was read
        self._parser = parser
        self._connection = connection
        self.status: int = head.status
        self.headers: list[tuple[bytes, bytes]] = head.headers

    def get(self, name: bytes) -> bytes | None:
        """Return the first header of a name in lower case, or None."""
        return self._head.get(name)

    @property
    def ended(self) -> bool:
        """Whether the whole body was read."""
        return self._connection.ended(self._parser)

    async def next_piece(self) -> bytes:
        """Return all of the body that has come in since the last time; nothing at its end.

        Raises
        ------
        UpstreamFailure
            If the body breaks off.
        """
        return await self._connection.read(self._parser)

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Parameters
        ----------
        limit : int
            The most bytes to take.

        Raises
        ------
        UpstreamFailure
            If the body breaks off or is longer.
        """
        body = await self.next_piece()
        if self.ended:
            return body
        pieces, size = [body], len(body)
        while piece := await self.next_piece():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                self.close()
                raise UpstreamConnectionError(f"the answer is longer than {limit:,} bytes")
        return b"".join(pieces)

    def close(self) -> None:
        """Let the connection go: back to the pool if the body was read, else closed."""
        self._connection.finish(self._parser)


class _StaleConnectionError(UpstreamConnectionError):
    """A connection that was kept had been closed before it took the request."""


class _Connection(asyncio.Protocol):
    """One connection; carries one exchange after the other."""

    def __init__(self, pool: Upstream, loop: asyncio.AbstractEventLoop) -> None:
        self.idle_since: float = 0.0
        self._pool = pool
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser: ResponseParser | None = None
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._fault: UpstreamFailure | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._fresh = True
        self._heard = False
        self._stale_until = 0.0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pool._opened(self)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        self._heard = True
        if parser is None:
            self.abort()  # bytes that nobody asked for
            return
        try:
            pieces = parser.feed(data)
        except BadResponseError as error:
            self._fail(UpstreamConnectionError(f"the upstream's answer is not HTTP: {error}"))
            self.abort()
            return
        for piece in pieces:
            self._pieces.append(piece)
            self._buffered += len(piece)
        if self._buffered > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        if parser.head is not None:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool._closed(self)
        parser = self._parser
        if parser is None or parser.done or self._fault is not None:
            self._wake()
            return
        try:
            if exc is not None:
                raise BadResponseError("the connection broke")
            parser.feed_eof()
            self._wake()
        except BadResponseError as error:
            stale = not (self._fresh or self._heard) and self._loop.time() < self._stale_until
            kind = _StaleConnectionError if stale else UpstreamConnectionError
            self._fail(kind(f"the upstream did not finish its answer: {error}"))

    # for the pool and the response

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def ended(self, parser: ResponseParser) -> bool:
        """Whether the whole body of a response was read."""
        return parser is not self._parser or (parser.done and not self._pieces)

    async def exchange(self, data: bytes, has_body: bool, repeatable: bool) -> UpstreamResponse:
        """Send a request and wait for the headers of its response."""
        self._stale_until = math.inf if repeatable else self._loop.time() + _STALE_S
        self._parser = parser = ResponseParser(has_body)
        self._pieces, self._buffered, self._heard, self._fault = [], 0, False, None
        try:
            if self._transport is None:
                raise _StaleConnectionError("the connection was closed")
            self._transport.write(data)
            while parser.head is None:
                await self._wait(self._pool.timeouts.first_byte_s, "no answer from the upstream")
        except BaseException:
            self.abort()
            raise
        return UpstreamResponse(parser.head, parser, self)

    async def read(self, parser: ResponseParser) -> bytes:
        """Return what has come in of a response's body; nothing at its end."""
        if parser is not self._parser:
            return b""
        try:
            while not self._pieces and not parser.done:
                await self._wait(self._pool.timeouts.idle_s, "nothing more from the upstream")
        except BaseException:
            self.abort()
            raise
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._buffered = [], 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        if parser.done:
            self.finish(parser)
        return data

    def finish(self, parser: ResponseParser) -> None:
        """End the exchange of a response: keep the connection if it is at the response's end."""
        if parser is not self._parser:
            return
        self._parser = None
        self._pieces, self._buffered = [], 0
        # one that reads no more would never hear the next answer
        if parser.done and parser.reusable and self.usable and not self._paused:
            self._fresh = False
            self.idle_since = time.monotonic()
            self._pool._released(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close the connection without waiting for anything."""
        if self._transport is not None:
            self._transport.abort()

    # waiting

    async def _wait(self, seconds: float, what: str) -> None:
        if self._fault is not None:
            raise self._fault
        if self._transport is None:
            raise UpstreamConnectionError("the connection to the upstream is closed")
        waiter = self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._time_out, waiter, seconds, what)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
        if self._fault is not None:
            raise self._fault

    def _time_out(self, waiter: asyncio.Future[None], seconds: float, what: str) -> None:
        if not waiter.done():
            waiter.set_exception(UpstreamTimeoutError(f"{what} for {seconds:g} s"))

    def _fail(self, fault: UpstreamFailure) -> None:
        self._fault = fault
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
