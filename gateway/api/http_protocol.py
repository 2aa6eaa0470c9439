"""uvicorn's HTTP/1.1 protocol with the bounds that it does not have: on heads, on slow clients, on connections, on pipelining.

With httptools, uvicorn puts no limit to the size of a header or the number of headers, waits for a head for ever, and takes as
many connections as come. All of that costs a client nothing but a socket, and no key. Nothing here is called while a stream is
sent: the deadlines are seen to by one look at all connections each second, and the sizes while a head or a body comes in.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any, Protocol

import httptools
import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from gateway import errors
from gateway.api.client_departure import Departure
from gateway.api.request_head import head_fault
from gateway.config import Settings

SWEEP_S = 1.0
"""Between two looks at all connections."""
LINGER_S = 2.0
"""For which the rest of a refused body is read and dropped, so that the client gets to read why."""
LINGER_BYTES = 1024 * 1024
PIPELINED = 8
"""Requests that may wait for the answer to one before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """See the settings of the same names (gateway/config.py)."""

    max_header_bytes: int
    max_header_fields: int
    header_deadline_s: float
    body_min_bytes_s: int
    body_grace_s: float
    max_connections: int
    max_connections_per_address: int

    @classmethod
    def of(cls, settings: Settings, descriptors: int) -> "HttpLimits":
        """Where the settings leave the connections open they follow from the descriptors that this process may have."""
        most = settings.max_connections or descriptors * 4 // 5
        return cls(
            max_header_bytes=settings.max_header_bytes,
            max_header_fields=settings.max_header_fields,
            header_deadline_s=settings.header_deadline_s,
            body_min_bytes_s=settings.body_min_bytes_s,
            body_grace_s=settings.body_grace_s,
            max_connections=most,
            max_connections_per_address=settings.max_connections_per_address or most // 2,
        )


class ClientConnection(Protocol):
    """What `Connections` counts."""

    address: str
    loop: asyncio.AbstractEventLoop

    def check(self, now: float) -> None:
        """Close it where its client is too slow."""


class Connections:
    """All connections of a process: how many there are, and from where; each is looked at once a second."""

    def __init__(self, limits: HttpLimits) -> None:
        self.limits = limits
        self._open: set[ClientConnection] = set()
        self._by_address: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def open(self, connection: ClientConnection) -> bool:
        """Count a new one. False: there are too many."""
        address = connection.address
        if (
            len(self._open) >= self.limits.max_connections
            or self._by_address[address] >= self.limits.max_connections_per_address
        ):
            return False
        self._open.add(connection)
        self._by_address[address] += 1
        if self._timer is None:
            self._timer = connection.loop.call_later(SWEEP_S, self._sweep, connection.loop)
        return True

    def close(self, connection: ClientConnection) -> None:
        """One has ended."""
        if connection not in self._open:
            return
        self._open.remove(connection)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in tuple(self._open):
            connection.check(now)
        self._timer = loop.call_later(SWEEP_S, self._sweep, loop) if self._open else None


class ReadRate:
    """Whether a client sends fast enough: it has some seconds of credit, which its silence uses up and its bytes earn."""

    def __init__(self, limits: HttpLimits, now: float) -> None:
        self._limits = limits
        self._credit_s = limits.body_grace_s
        self._seen_at = now
        self.received = 0
        """Bytes since the last look."""

    def too_slow(self, now: float, *, reading: bool) -> bool:
        """To be asked now and then. `reading`: whether it could send at all, or it is we who do not read."""
        if reading:
            self._credit_s += self.received / self._limits.body_min_bytes_s - (now - self._seen_at)
            self._credit_s = min(self._credit_s, self._limits.body_grace_s)
        self.received, self._seen_at = 0, now
        return self._credit_s < 0


class BoundedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._all = connections
        self._limits = connections.limits
        self.address = ""
        self._refusal: errors.RagfleetError | None = None
        # The head that is awaited: since when (None while a request is under way, and while nothing of a further one has come:
        # uvicorn's timer sees to kept connections), and what has come of it.
        self._head_since: float | None = None
        self._head_bytes = 0
        self._head_fields = 0
        # What has come since something last came of it: a head, or a piece of a body.
        self._fruitless = 0
        self._progress = 0
        self._body: ReadRate | None = None
        """Of the body that is coming in."""
        # The rest of a body whose request is answered.
        self._linger_until: float | None = None
        self._linger_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._departure: Departure | None = None
        """Of the client, for the request that runs."""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._head_since = self.loop.time()
        if not self._all.open(self):
            self._refuse(errors.Overloaded("Too many connections are open.", status=503, retry_after_s=5))

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.close(self)
        super().connection_lost(exc)
        # uvicorn tells the latest request only.
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                self._abandon(cycle)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        before = self._progress
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # there is nothing to change to; the request is served as it stands
        except httptools.HttpParserError:
            self._refuse(self._refusal or errors.BadRequest("This is not HTTP.", code="invalid_http"))
            return
        self._fruitless = self._fruitless + len(data) if self._progress == before else 0
        if self._fruitless and self._head_since is None and (self._running is None or self._running.response_complete):
            self._head_since = self.loop.time()
        if self._fruitless > self._limits.max_header_bytes:
            self._refuse(self._head_too_large())

    def check(self, now: float) -> None:
        """Close it where its client is too slow."""
        if self.transport.is_closing():
            return
        if self._linger_until is not None:
            if now > self._linger_until:
                self.transport.close()
        elif self._body is not None:
            if self._body.too_slow(now, reading=not self.flow.read_paused):
                self._refuse(_timeout("The body comes too slowly."))
        elif self._head_since is not None and now - self._head_since > self._limits.header_deadline_s:
            if self._fruitless:
                self._refuse(_timeout("The head of the request comes too slowly."))
            else:
                self.transport.close()

    # The parser's callbacks; what they raise ends the parsing

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_fields += 1
        self._head_bytes += len(name) + len(value)
        if self._head_fields > self._limits.max_header_fields or self._head_bytes > self._limits.max_header_bytes:
            self._refusal = self._head_too_large()
            raise ValueError
        if self._body is None:  # a trailer is nothing that anybody here reads
            name = name.lower()  # the rest is uvicorn's, without the call for each field
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._progress += 1
        if len(self.url) > self._limits.max_header_bytes:
            self._refusal = self._head_too_large()
            raise ValueError
        if len(self.pipeline) >= PIPELINED:
            self._refusal = errors.BadRequest("Too many requests wait for an answer on one connection.")
            raise ValueError
        if (fault := head_fault(self.parser.get_http_version(), self.headers)) is not None:
            self._refusal = errors.BadRequest(fault, code="invalid_http")
            raise ValueError
        self._head_since, self._head_bytes, self._head_fields = None, 0, 0
        self._body = ReadRate(self._limits, self.loop.time())
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._progress += 1
        if self._body is not None:
            self._body.received += len(body)
        if self._linger_until is not None:
            self._linger_bytes -= len(body)
            if self._linger_bytes < 0:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._progress += 1
        self._body, self._head_bytes, self._head_fields = None, 0, 0
        if self._linger_until is not None:
            self._linger_until, self._head_since = None, self.loop.time()
        super().on_message_complete()

    # The answer

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # type: ignore[override]
        self._running = cycle
        self._departure = cycle.scope["ragfleet.departure"] = Departure(self.flow)  # type: ignore[typeddict-unknown-key]
        if cycle.scope["http_version"] != "1.1":
            app = _without_chunks(app, cycle)
        super()._start_asgi_task(cycle, app)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._running is None or not self._running.response_complete:
            return  # the next one runs already
        now = self.loop.time()
        if self._body is not None:
            self._linger_until, self._linger_bytes = now + LINGER_S, LINGER_BYTES
        else:
            self._head_since = now if self._fruitless else None

    def _refuse(self, error: errors.RagfleetError) -> None:
        """Say why, unless an answer is under way, and close."""
        if self.transport.is_closing():
            return
        cycle = self._running
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_response(error))
        if cycle is not None and not cycle.response_complete:
            self._abandon(cycle)
        self.transport.close()

    def _abandon(self, cycle: RequestResponseCycle) -> None:
        """Nobody reads its answer any more."""
        cycle.disconnected = True
        cycle.message_event.set()
        if cycle is self._running and self._departure is not None:
            self._departure.happen()

    def _head_too_large(self) -> errors.BadRequest:
        limits = self._limits
        return errors.BadRequest(
            f"The head of a request has at most {limits.max_header_bytes} bytes and {limits.max_header_fields} fields.",
            status=431,
            code="headers_too_large",
        )


def _without_chunks(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    """The app for a client of HTTP/1.0, which knows no chunks: a body of unknown length ends with the connection."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        is_open = False

        async def sent(message: Message) -> None:
            nonlocal is_open
            if message["type"] == "http.response.start":
                is_open = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
                if is_open:
                    cycle.chunked_encoding = cycle.keep_alive = False
            elif is_open:
                cycle.expected_content_length = len(message.get("body", b""))  # it counts what is still to come
            await send(message)

        await app(scope, receive, sent)

    return served


def _timeout(message: str) -> errors.BadRequest:
    return errors.BadRequest(message, status=408, code="request_timeout")


def _response(error: errors.RagfleetError) -> bytes:
    body = orjson.dumps(errors.body(error))
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *errors.headers(error),
    ]
    lines = b"".join(b"%b: %b\r\n" % field for field in head)
    return b"%b%b\r\n%b" % (STATUS_LINE[errors.face(error).status], lines, body)
