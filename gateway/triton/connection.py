"""HTTP/1.1 to Triton with as little between the socket and the caller as Python allows.

Measured (docs/transport.md): reading a token stream costs a fraction of what gRPC does, because nothing
but httptools' parser stands between `data_received` and the caller. One connection carries one exchange at a time.
"""

import asyncio
import ssl
import time
from typing import Protocol, cast

import httptools

from gateway.triton.errors import Cause, InstanceError


class Exchange(Protocol):
    """Who receives one response, piece by piece, from the event loop's callbacks. None of these may block or raise."""

    def on_status(self, status: int) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_read(self) -> None:
        """All of the body that one read from the socket held has been given; more is to come."""

    def on_end(self) -> None: ...
    def on_lost(self, error: InstanceError) -> None: ...


class Connection(asyncio.Protocol):
    """One connection; `send` starts an exchange, which ends by `on_end` or `on_lost`, never both."""

    def __init__(self, pool: "Pool", key: tuple[str, int]) -> None:
        self._pool = pool
        self._key = key
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self.idle_since = 0.0
        self.closed = False

    # The exchange, called by the owner

    def send(self, request: bytes, exchange: Exchange) -> None:
        """Write a whole request; what comes back goes to `exchange`."""
        assert self._transport is not None
        assert self._exchange is None
        self._exchange = exchange
        self._parser = httptools.HttpResponseParser(self)
        self._transport.write(request)

    def abort(self) -> None:
        """Drop the connection now; Triton sees the disconnect and cancels the request. The exchange hears nothing more."""
        self._exchange = None
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no subclass of it

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._exchange is None:
            self.abort()  # bytes that nobody asked for
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(InstanceError(Cause.RESET, f"unreadable HTTP from {self._name}: {error}"))
            return
        if self._exchange is not None:
            self._exchange.on_read()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._pool.forget(self._key, self)
        self._fail(InstanceError(Cause.RESET, f"connection to {self._name} lost{f': {exc}' if exc else ''}"))

    # httptools' callbacks

    def on_headers_complete(self) -> None:
        if self._exchange is not None and self._parser is not None:
            self._exchange.on_status(self._parser.get_status_code())

    def on_body(self, data: bytes) -> None:
        if self._exchange is not None:
            self._exchange.on_body(data)

    def on_message_complete(self) -> None:
        exchange, self._exchange = self._exchange, None
        keep = self._parser is not None and self._parser.should_keep_alive()
        self._parser = None
        if keep and not self.closed:
            self._pool.give(self._key, self)
        else:
            self.abort()
        if exchange is not None:
            exchange.on_end()

    @property
    def _name(self) -> str:
        return f"{self._key[0]}:{self._key[1]}"

    def _fail(self, error: InstanceError) -> None:
        exchange, self._exchange = self._exchange, None
        if not self.closed:
            self.abort()
        if exchange is not None:
            exchange.on_lost(error)


class Pool:
    """Idle connections by host. Triton waits for open connections when it shuts down, so idle ones are few and short-lived."""

    def __init__(
        self,
        *,
        connect_deadline_s: float = 2.0,
        idle_s: float = 4.0,
        idle_per_host: int = 64,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._idle: dict[tuple[str, int], list[Connection]] = {}
        self._connect_deadline_s = connect_deadline_s
        self._idle_s = idle_s
        self._idle_per_host = idle_per_host

    async def take(self, host: str, port: int, *, fresh: bool = False) -> tuple[Connection, bool]:
        """A connection, new if `fresh`, and whether it was used before. Raises InstanceError(CONNECT) within the deadline."""
        idle = [] if fresh else self._idle.get((host, port))
        while idle:
            connection = idle.pop()
            if not connection.closed and time.monotonic() - connection.idle_since < self._idle_s:
                return connection, True
            connection.abort()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_deadline_s):
                _, made = await loop.create_connection(
                    lambda: Connection(self, (host, port)), host, port, ssl=self._tls
                )
        except TimeoutError as error:
            message = f"no connection to {host}:{port} within {self._connect_deadline_s:g} s"
            raise InstanceError(Cause.CONNECT, message) from error
        except OSError as error:
            raise InstanceError(Cause.CONNECT, f"cannot connect to {host}:{port}: {error}") from error
        return made, False

    def give(self, key: tuple[str, int], connection: Connection) -> None:
        """Take back a connection whose exchange has ended."""
        idle = self._idle.setdefault(key, [])
        if len(idle) >= self._idle_per_host:
            connection.abort()
            return
        connection.idle_since = time.monotonic()
        idle.append(connection)

    def forget(self, key: tuple[str, int], connection: Connection) -> None:
        """Drop a connection that broke while idle."""
        idle = self._idle.get(key)
        if idle and connection in idle:
            idle.remove(connection)

    def close(self, key: tuple[str, int] | None = None) -> None:
        """Close the idle connections of one host (it drains: an open one would hold up its exit), or of all."""
        for each in [key] if key is not None else list(self._idle):
            for connection in self._idle.pop(each, []):
                connection.abort()

    def sweep(self) -> None:
        """Close what has been idle for too long; called now and then by the owner."""
        now = time.monotonic()
        for key, idle in list(self._idle.items()):
            stale = [c for c in idle if now - c.idle_since >= self._idle_s]
            self._idle[key] = [c for c in idle if now - c.idle_since < self._idle_s]
            for connection in stale:
                connection.abort()


def request_bytes(method: str, host: str, port: int, path: str, body: bytes = b"", *, traceparent: str = "") -> bytes:
    """One HTTP/1.1 request, whole. traceparent: on whose behalf (W3C trace context)."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if traceparent:
        head += f"traceparent: {traceparent}\r\n"
    if body or method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class _Whole:
    """An exchange that collects the response into a future."""

    def __init__(self, future: asyncio.Future[tuple[int, bytes]]) -> None:
        self._future = future
        self._status = 0
        self._parts: list[bytes] = []

    def on_status(self, status: int) -> None:
        self._status = status

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_read(self) -> None:
        pass

    def on_end(self) -> None:
        if not self._future.done():
            self._future.set_result((self._status, b"".join(self._parts)))

    def on_lost(self, error: InstanceError) -> None:
        if not self._future.done():
            self._future.set_exception(error)


async def get(pool: Pool, host: str, port: int, path: str, deadline_s: float) -> bytes:
    """The body of a 200 answer. Raises InstanceError, also for another status."""
    status, body = await fetch(pool, "GET", host, port, path, deadline_s=deadline_s)
    if status != 200:
        raise InstanceError(Cause.ENGINE, f"HTTP status {status}")
    return body


async def fetch(
    pool: Pool,
    method: str,
    host: str,
    port: int,
    path: str,
    *,
    body: bytes = b"",
    deadline_s: float,
    traceparent: str = "",
) -> tuple[int, bytes]:
    """One idempotent request: (status, body).

    A kept connection that turns out dead is replaced once. Raises InstanceError: CONNECT, RESET, or STALL past the deadline.
    """
    request = request_bytes(method, host, port, path, body, traceparent=traceparent)
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                connection, used = await pool.take(host, port)
                future: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
                connection.send(request, _Whole(future))
                try:
                    return await future
                except asyncio.CancelledError:
                    connection.abort()
                    raise
                except InstanceError:
                    if not used:
                        raise
    except TimeoutError as error:
        raise InstanceError(Cause.STALL, f"{host}:{port}{path} did not answer within {deadline_s:g} s") from error
