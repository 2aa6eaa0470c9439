"""A request that holds an engine, whole or streamed: it ends when the client leaves, and every error finds its way out.

What a request holds is taken inside `serve` and given back by its context managers, so that no path can leak it.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from gateway import errors
from gateway.api.authentication import Authenticator
from gateway.api.bodies import Bodies
from gateway.api.client_departure import Departure, departure_of
from gateway.api.middleware import raw_send
from gateway.api.sse import error_event
from gateway.api.uvicorn_writer import uvicorn_writer
from gateway.serving.event_feed import QuickWriter
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.tenants.key import Scope as KeyScope
from gateway.tenants.tenant import Tenant

log = logging.getLogger("ragfleet.gateway")

JSON = (b"content-type", b"application/json")
EVENTS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class EventWriter(ABC):
    """Where the events of an answer go: to its client, or into its journal."""

    @property
    @abstractmethod
    def started(self) -> bool:
        """Whether there were events, after which an error can only be one."""

    @abstractmethod
    def hold(self, data: bytes) -> None:
        """Events that go in front of the next ones: until there are any, an error still has a status of its own."""

    @abstractmethod
    async def events(self, data: bytes = b"") -> None:
        """Some whole events, behind those that are held."""

    @abstractmethod
    async def end(self, data: bytes) -> None:
        """The last events."""

    @abstractmethod
    def choice(self, index: int) -> "EventWriter":
        """For what is one choice's own."""

    @abstractmethod
    def quick(self) -> QuickWriter | None:
        """The quick way; None where there is none (yet)."""

    async def pieces(
        self,
        answer: GeneratedAnswer,
        event: Callable[[str], bytes],
        *,
        thought: Callable[[str], bytes] | None = None,
        note: Callable[[], bytes] = bytes,
    ) -> None:
        """The text of an answer to its end, each piece as an `event`, all but the first one on the quick way.

        thought: the event of a piece of the thoughts in front of the text.
        note: events in front of the piece that has just come; nothing as a rule. Asked for what comes first from each instance.
        """
        relayed = False
        while (piece := await answer.next()) is not None:
            if told := note():
                await self.events(told)
            if thought is not None and answer.reasoning is not None and (new := answer.reasoning.take()):
                await self.events(thought(new) + (event(piece) if piece else b""))
            elif piece:
                await self.events(event(piece))
            if piece and not relayed:
                relayed = True
                if (quick := self.quick()) is not None:
                    answer.relay(quick.ready, lambda text: quick.write(event(text)))


class ResponseWriter(EventWriter):
    """A response on its way out: one JSON body, or events."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send = send
        self._send_chunk = raw_send(scope, send)
        self._beginning = asyncio.Lock()
        self._held = b""
        self._started = False
        self.complete = False

    @property
    def started(self) -> bool:
        """See EventWriter: the head of the stream has gone out."""
        return self._started

    async def json(self, body: Mapping[str, Any]) -> None:
        """The whole answer."""
        self.complete = True
        await send_json(self._send, 200, body)

    def hold(self, data: bytes) -> None:
        """See EventWriter."""
        self._held += data

    async def events(self, data: bytes = b"") -> None:
        """See EventWriter."""
        await self._begin()
        data, self._held = self._held + data, b""
        await self._send_chunk({"type": "http.response.body", "body": data, "more_body": True})

    def choice(self, index: int) -> "ResponseWriter":
        """See EventWriter."""
        return self

    def quick(self) -> QuickWriter | None:
        """See EventWriter; uvicorn_writer.py."""
        return uvicorn_writer(self._send_chunk)

    async def end(self, data: bytes) -> None:
        """See EventWriter."""
        await self._begin()
        self.complete = True
        await self._send_chunk({"type": "http.response.body", "body": self._held + data})

    async def error(self, error: errors.RagfleetError, event: bytes) -> None:
        """An error response, or `event` in a stream that has begun."""
        self.complete = True
        if self.started:
            await self._send({"type": "http.response.body", "body": event})
        else:
            await send_error(self._send, error)

    async def _begin(self) -> None:
        if self._started:
            return
        async with self._beginning:  # several choices may have something to say at once
            if not self._started:
                await self._send({"type": "http.response.start", "status": 200, "headers": list(EVENTS)})
                self._started = True


class StreamingRequest(ABC):
    """One request and its answer. Subclasses read the body in `__init__`, which raises RagfleetError."""

    @abstractmethod
    async def serve(self, out: ResponseWriter) -> None:
        """Answer. Raises RagfleetError at any point."""

    def failure(self, error: errors.RagfleetError) -> bytes:
        """The end of a stream that had begun: events."""
        return error_event(error)


_SWITCH = MappingProxyType({b"true": True, b"false": False})


@dataclass(frozen=True, slots=True)
class StreamHeaders:
    """What the head of a request says of its stream."""

    journal: bool | None = None
    """Whether it is to have a journal; None: it does not say."""
    last_event_id: str | None = None
    """The last event of a stream that broke, which is to be gone on with; None: a new one."""

    @classmethod
    def of(cls, scope: Scope) -> "StreamHeaders":
        """Raises BadRequest."""
        journal, last = None, None
        for name, value in scope["headers"]:
            if name == b"last-event-id":
                last = value.decode("latin-1")
            elif name == b"x-ragfleet-journal":
                if value not in _SWITCH:
                    raise errors.BadRequest("X-Ragfleet-Journal is true or false.", param="X-Ragfleet-Journal")
                journal = _SWITCH[value]
        return cls(journal, last)


NOTHING_SAID = StreamHeaders()


Opener = Callable[[bytes, Tenant, str, StreamHeaders], StreamingRequest]
"""Body, tenant, request id, what the head says → a request."""
OnRefusal = Callable[[Tenant | None, errors.RagfleetError], None]
"""Told of what is refused before it is served; the tenant is None where the key is nobody's."""


class StreamingEndpoint:
    """The ASGI application of a path whose requests hold an engine: key, body, answer.

    It is a plain ASGI application because FastAPI's own way to an endpoint (dependencies, exit stacks, a request object)
    costs as much as a dozen tokens, and reads and refuses bodies in shapes that are not OpenAI's.
    """

    def __init__(
        self, opener: Opener, authenticator: Authenticator, bodies: Bodies, on_refusal: OnRefusal, *, scope: KeyScope
    ) -> None:
        """scope: what the key must be good for."""
        self._required = (scope,)
        self._opener = opener
        self._authenticator = authenticator
        self._bodies = bodies
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises RagfleetError for what is refused before anything is taken."""
        tenant: Tenant | None = None
        try:
            tenant = scope["state"]["tenant"] = await self._authenticator.tenant_of(scope)
            tenant.key.require(self._required)
            await self._serve(tenant, scope, receive, send)
        except errors.RagfleetError as error:
            self._on_refusal(tenant, error)
            raise

    async def _serve(self, tenant: Tenant, scope: Scope, receive: Receive, send: Send) -> None:
        headers = StreamHeaders.of(scope)
        with self._bodies.hold(tenant.name, tenant.smallest(lambda limits: limits.queued_bytes)) as held:
            body = await held.read(scope, receive)
            if body is not None:
                request_id = scope["state"]["request_id"]
                request = await held.parsed(body, lambda body: self._opener(body, tenant, request_id, headers))
                del body  # the request has its own copy of what is in it
                await _answer(request, ResponseWriter(scope, send), departure_of(scope), receive)


async def _answer(
    request: StreamingRequest, out: ResponseWriter, departure: Departure | None, receive: Receive
) -> None:
    """Serve a request, which is cancelled when its client leaves. departure: None where only `receive` tells of it."""
    task = asyncio.current_task()
    assert task is not None
    left = False

    def leave() -> None:
        nonlocal left
        if not left and not out.complete:
            left = True
            task.cancel()

    watcher = asyncio.ensure_future(_watch(receive, leave)) if departure is None else None
    try:
        if departure is not None:
            departure.watch(leave)
        await request.serve(out)
    except errors.RagfleetError as error:
        await out.error(error, request.failure(error) if out.started else b"")
    except asyncio.CancelledError:
        if not left or task.uncancel() > 0:  # it is the server that ends it
            raise
    finally:
        if departure is not None:
            departure.ignore()
        if watcher is not None:
            watcher.cancel()


async def _watch(receive: Receive, leave: Callable[[], None]) -> None:
    """Call `leave` when the client leaves. The server says "disconnect" after a whole answer, too."""
    while (await receive())["type"] != "http.disconnect":
        pass
    leave()


async def send_json(
    send: Send, status: int, body: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """A whole JSON response."""
    raw = orjson.dumps(body)
    head = [JSON, (b"content-length", str(len(raw)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": raw})


async def send_error(send: Send, error: errors.RagfleetError) -> None:
    """An error in OpenAI's shape."""
    if error.detail:
        log.warning("%s", error)
    await send_json(send, errors.face(error).status, errors.body(error), errors.headers(error))
