"""The stream of token ids from one instance's `llm` model, over Triton's generate_stream endpoint.

One stream is one HTTP request, straight to `llm` and not through an ensemble, so that a stream that is closed
cancels the running step (reference: an ensemble does not pass a cancel on).
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.triton.connection import Connection, Pool, request_bytes
from gateway.triton.errors import Cause, InstanceError, RequestRefused, from_model

PATH = "/v2/models/llm/generate_stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """What one attempt asks of the engine. Field names in `sampling` are those of TensorRT-LLM's inputs."""

    id: str
    input_ids: Sequence[int]
    request_output_len: int
    sampling: Mapping[str, Any] = field(default_factory=dict)
    traceparent: str = ""
    """See request_bytes."""

    def encode(self) -> bytes:
        return orjson.dumps(
            {
                "id": self.id,
                "input_ids": self.input_ids,
                "input_lengths": len(self.input_ids),
                "request_output_len": self.request_output_len,
                "streaming": True,
                **self.sampling,
            }
        )


class TokenStream:
    """Token ids as they come. `next()` gives what has arrived, at least one id; an empty list is the end.

    With a `sink`, ids go to it in the very callback that read them, without a task waking up (docs/transport.md), for as
    long as it takes them. What it refuses, the end and every error come by `next()`, which has to be waited for meanwhile.
    The deadline is checked by one sweep over all streams (`TokenStreams`), not by a timer for each token.
    """

    FAREWELL_S = 1.0
    """How long the end of a response may take after its last id."""

    __slots__ = (
        "_connection",
        "_decode",
        "_done",
        "_error",
        "_forget",
        "_ids",
        "_kept",
        "_spoken",
        "_status",
        "_tail",
        "_traffic",
        "_waiter",
        "deadline",
        "patience_s",
        "reused_blocks",
        "sink",
    )

    def __init__(
        self,
        *,
        deadline: float,
        patience_s: float,
        forget: Callable[["TokenStream"], None],
        traffic: Callable[[], None],
        decode: Callable[[bytes], Any] = orjson.loads,
    ) -> None:
        """decode: reads an event; see `LogProbReader`."""
        self._decode = decode
        self._connection: Connection | None = None
        self._kept = False
        self._spoken = False
        self._ids: list[int] = []
        self._tail = b""
        self._status = 0
        self._done = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._forget = forget
        self._traffic = traffic
        self.deadline = deadline
        self.patience_s = patience_s
        self.sink: Callable[[list[int]], bool] | None = None
        """Takes all of some ids (True) or none of them, and is not asked again (False). It must not raise."""

        self.reused_blocks: int | None = None
        """KV blocks of the prompt that were not computed, as soon as the engine has told it (it may with the last token)."""

    def attach(self, connection: Connection, *, kept: bool) -> None:
        """Bind the connection that will carry this stream; `kept` says that it was used before."""
        self._connection = connection
        self._kept = kept

    async def next(self) -> list[int]:
        """At least one id, or [] at the end. Raises InstanceError or RequestRefused, after all ids that came before it."""
        while not self._ids:
            if self._error is not None:
                raise self._error
            if self._done:
                return []
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        ids, self._ids = self._ids, []
        return ids

    @property
    def spoken(self) -> bool:
        """Whether a token has come; before the first one a request may wait in the engine's queue."""
        return self._spoken

    def quiet_s(self, now: float) -> float:
        """Seconds since the last token (monotonic now); 0 before the first."""
        return max(0.0, now - (self.deadline - self.patience_s)) if self._spoken else 0.0

    def close(self) -> None:
        """Free the engine at once. Idempotent."""
        self.sink = None
        self._forget(self)
        if not self._done and self._connection is not None:
            self._connection.abort()
        self._done = True

    def finish(self) -> None:
        """All ids are here. The end of the response may still come, and then its connection can be used again."""
        self.sink = None
        self.patience_s = self.FAREWELL_S
        self.deadline = time.monotonic() + self.FAREWELL_S
        if self._error is not None:
            self.close()

    def fail(self, error: Exception) -> None:
        """End the stream with an error and cancel it on the instance."""
        if self._error is None and not self._done:
            self._error = error
            self.close()
            self._wake()

    # Exchange: from the event loop's callbacks

    def on_status(self, status: int) -> None:
        self._status = status

    def on_body(self, data: bytes) -> None:
        if self._status != 200:
            self._tail += data
            return
        events = (self._tail + data if self._tail else data).split(b"\n\n")
        self._tail = events.pop()
        try:
            for event in events:
                message = self._decode(event[6:])  # after "data: "
                ids = message.get("output_ids")
                if type(ids) is int:
                    self._ids.append(ids)
                elif type(ids) is list:
                    self._ids.extend(ids)
                elif "error" in message:
                    self.fail(from_model(str(message["error"])))
                if "kv_cache_reused_blocks" in message:
                    self.reused_blocks = int(message["kv_cache_reused_blocks"])
        except (ValueError, TypeError, AttributeError) as error:  # no JSON, or no object
            self.fail(InstanceError(Cause.ENGINE, f"unreadable event from llm: {error}"))
            return
        self.deadline = time.monotonic() + self.patience_s
        self._spoken = True
        if self.sink is None:
            self._wake()

    def on_read(self) -> None:
        self._traffic()
        if self.sink is not None and self._ids:
            ids, self._ids = self._ids, []
            if not self.sink(ids):
                self.sink = None
                self._ids = ids
                self._wake()

    def on_end(self) -> None:
        self._forget(self)
        if self._status != 200:
            self._error = self._error or _http_error(self._status, self._tail)
        self._done = True
        self._wake()

    def on_lost(self, error: InstanceError) -> None:
        self._forget(self)
        if self._kept and self._status == 0:
            error = InstanceError(Cause.STALE, "the kept connection had been closed")
        self._error = self._error or error
        self._done = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _http_error(status: int, body: bytes) -> InstanceError | RequestRefused:
    try:
        # Triton writes an error as an event whatever the status, and as plain JSON where it knows no such model.
        text = str(orjson.loads(body.removeprefix(b"data: "))["error"])
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode(errors="replace")
    return from_model(text or f"HTTP status {status}")


class Gathering:
    """Lets the tokens of many streams gather, as a network card moderates its interrupts.

    Triton sends each stream's token by itself, so with many streams the event loop would wake for nearly every one, and once
    tokens are paced the wake-ups cost more than the work (docs/transport.md has the measurement). After a round in which
    tokens came, the thread rests until `gather_s` has gone by since the last rest; what comes meanwhile is
    read in one go. A round that took longer than that is not followed by a rest, so a busy loop loses nothing.
    """

    def __init__(self, gather_s: float, streams: Sized, *, few: int = 4) -> None:
        """streams: those that live; below `few` the wake-ups are rare enough."""
        self._gather_s = gather_s
        self._streams = streams
        self._few = few if gather_s > 0 else sys.maxsize
        self._scheduled = False
        self._rested_at = 0.0

    def round(self) -> None:
        """Something came."""
        if self._scheduled or len(self._streams) < self._few:
            return
        self._scheduled = True
        # Two turns of the loop: whoever was woken by this round writes first.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._rest)

    def _rest(self) -> None:
        self._scheduled = False
        left = self._gather_s - (time.monotonic() - self._rested_at)
        if left > 0:
            time.sleep(left)
        self._rested_at = time.monotonic()


class TokenStreams:
    """Opens token streams and ends those that stall.

    gather_s: see `Gathering`; the most by which a token can be late because of it. 0: never.
    """

    SWEEP_S = 0.1

    def __init__(
        self, pool: Pool, *, first_token_deadline_s: float, token_deadline_s: float, gather_s: float = 0.0
    ) -> None:
        self._pool = pool
        self._first_s = first_token_deadline_s
        self._token_s = token_deadline_s
        self._live: set[TokenStream] = set()
        self._gathering = Gathering(gather_s, self._live)

    async def open(
        self,
        host: str,
        port: int,
        request: GenerateRequest,
        *,
        fresh: bool = False,
        decode: Callable[[bytes], Any] = orjson.loads,
    ) -> TokenStream:
        """Send the request, over a new connection if `fresh`. A kept one that turns out dead shows at `next()`, as STALE.

        decode: reads the events.
        """
        connection, kept = await self._pool.take(host, port, fresh=fresh)
        stream = TokenStream(
            deadline=time.monotonic() + self._first_s,
            patience_s=self._token_s,
            forget=self._live.discard,
            traffic=self._gathering.round,
            decode=decode,
        )
        self._live.add(stream)
        stream.attach(connection, kept=kept)
        message = request_bytes("POST", host, port, PATH, request.encode(), traceparent=request.traceparent)
        connection.send(message, stream)
        return stream

    async def run(self) -> None:
        """Watch over the deadlines until cancelled."""
        while True:
            await asyncio.sleep(self.SWEEP_S)
            now = time.monotonic()
            for stream in [s for s in self._live if now > s.deadline]:
                stream.fail(InstanceError(Cause.STALL, "the instance sent no token within the deadline"))
            self._pool.sweep()
