"""Connections to Triton and what comes over them, byte by byte, with a transport that is only a list."""

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.triton.connection import Connection, Pool, request_bytes
from gateway.triton.errors import Cause, InstanceError, RequestRefused
from gateway.triton.llm import GenerateRequest, TokenStream

KEY = ("10.0.0.1", 8101)
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Transport:
    """What a connection does to its transport."""

    def __init__(self) -> None:
        self.written = b""
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


class Response:
    """An exchange that remembers."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.body = b""

    def on_status(self, status: int) -> None:
        self.heard.append(status)

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_read(self) -> None:
        pass

    def on_end(self) -> None:
        self.heard.append("end")

    def on_lost(self, error: InstanceError) -> None:
        self.heard.append(error.cause)


def connected(pool: Pool) -> Connection:
    connection = Connection(pool, KEY)
    connection.connection_made(Transport())  # type: ignore[arg-type]
    return connection


def transport_of(connection: Connection) -> Transport:
    return connection._transport  # type: ignore[return-value]


def idle(pool: Pool) -> Connection:
    """A connection whose first exchange is over."""
    connection = connected(pool)
    connection.send(b"x", Response())
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return connection


# One exchange


@given(st.data())
def test_response_may_come_in_any_pieces(data: st.DataObject) -> None:
    raw = HEAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    cuts = sorted(data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=6)))
    connection, response = connected(Pool()), Response()
    connection.send(b"x", response)
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        if raw[start:end]:
            connection.data_received(raw[start:end])
    assert response.body == b"abcde"
    assert response.heard == [200, "end"]


def test_connection_that_breaks_ends_the_exchange_once() -> None:
    connection, response = connected(Pool()), Response()
    connection.send(b"x", response)
    connection.data_received(HEAD + b"3\r\nabc\r\n")
    connection.connection_lost(None)
    connection.connection_lost(ConnectionResetError())
    assert response.heard == [200, Cause.RESET]


def test_nonsense_is_a_reset() -> None:
    connection, response = connected(Pool()), Response()
    connection.send(b"x", response)
    connection.data_received(b"SSH-2.0-OpenSSH\r\n")
    assert response.heard == [Cause.RESET]
    assert transport_of(connection).aborted


def test_aborted_exchange_hears_nothing_more() -> None:
    connection, response = connected(Pool()), Response()
    connection.send(b"x", response)
    connection.abort()
    connection.connection_lost(None)
    assert response.heard == []
    assert transport_of(connection).aborted


async def test_response_that_asks_to_close_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    connection, response = connected(pool), Response()
    connection.send(b"x", response)
    connection.data_received(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert response.heard == [200, "end"]
    assert transport_of(connection).aborted
    assert not pool._idle.get(KEY)


def test_requests() -> None:
    assert request_bytes("GET", "h", 1, "/metrics") == b"GET /metrics HTTP/1.1\r\nHost: h:1\r\n\r\n"
    head, _, body = request_bytes("POST", "h", 1, "/x", b"{}").partition(b"\r\n\r\n")
    assert b"Content-Length: 2" in head
    assert body == b"{}"


# The pool


async def test_connection_is_taken_again_the_last_one_first() -> None:
    pool = Pool()
    first, second = idle(pool), idle(pool)
    assert await pool.take(*KEY) == (second, True)
    assert await pool.take(*KEY) == (first, True)


async def test_only_connections_that_are_young_and_whole_are_taken() -> None:
    pool = Pool()
    young, broken, unasked = idle(pool), idle(pool), idle(pool)
    broken.connection_lost(None)
    unasked.data_received(b"HTTP/1.1 408 Too late\r\n\r\n")
    assert transport_of(unasked).aborted
    assert await pool.take(*KEY) == (young, True)


async def test_old_connections_are_closed_by_the_sweep() -> None:
    pool = Pool(idle_s=0.0)
    old = idle(pool)
    pool.sweep()
    assert transport_of(old).aborted
    pool = Pool(idle_s=60.0)
    kept = idle(pool)
    pool.sweep()
    assert not transport_of(kept).aborted


def test_no_more_than_so_many_are_kept() -> None:
    pool = Pool(idle_per_host=2)
    connections = [idle(pool) for _ in range(3)]
    assert [transport_of(c).aborted for c in connections] == [False, False, True]


def test_closing_one_host_leaves_the_others() -> None:
    pool = Pool()
    here, there = idle(pool), Connection(pool, ("10.0.0.2", 8101))
    there.connection_made(Transport())  # type: ignore[arg-type]
    pool.give(("10.0.0.2", 8101), there)
    pool.close(KEY)
    assert (transport_of(here).aborted, transport_of(there).aborted) == (True, False)
    pool.close()
    assert transport_of(there).aborted


async def test_fresh_connection_leaves_the_idle_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()
    idle(pool)

    async def create(make: Any, host: str, port: int, **_: Any) -> tuple[None, Connection]:
        assert (host, port) == KEY
        return None, make()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create)
    connection, used = await pool.take(*KEY, fresh=True)
    assert not used
    assert connection not in pool._idle[KEY]


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), OSError("no route"), TimeoutError()])
async def test_host_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def create(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create)
    with pytest.raises(InstanceError) as caught:
        await Pool().take(*KEY)
    assert caught.value.cause is Cause.CONNECT


async def test_host_that_does_not_answer_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    async def create(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create)
    with pytest.raises(InstanceError, match=r"within 0\.01 s") as caught:
        await Pool(connect_deadline_s=0.01).take(*KEY)
    assert caught.value.cause is Cause.CONNECT


# The stream of tokens


def stream_of(*, kept: bool = False) -> TokenStream:
    stream = TokenStream(deadline=10.0, patience_s=5.0, forget=lambda _: None, traffic=lambda: None)
    stream.attach(connected(Pool()), kept=kept)
    return stream


def event(**fields: Any) -> bytes:
    return b"data: " + orjson.dumps({"id": "1", "model_name": "llm", "sequence_length": 1, **fields}) + b"\n\n"


@given(st.lists(st.integers(0, 200_000) | st.lists(st.integers(0, 9), max_size=3), min_size=1, max_size=8), st.data())
def test_ids_whatever_the_pieces(outputs: list[Any], data: st.DataObject) -> None:
    raw = b"".join(event(output_ids=output) for output in outputs)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=6)))
    stream = stream_of()
    stream.on_status(200)
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        stream.on_body(raw[start:end])
    stream.on_end()
    expected = [i for output in outputs for i in (output if isinstance(output, list) else [output])]

    async def read() -> list[int]:
        ids = []
        while more := await stream.next():
            ids += more
        return ids

    assert asyncio.run(read()) == expected


async def test_ids_that_came_before_an_error_are_given_first() -> None:
    stream = stream_of()
    stream.on_status(200)
    stream.on_body(event(output_ids=1) + event(output_ids=2) + b'data: {"error":"llm: bad request: no"}\n\n')
    assert await stream.next() == [1, 2]
    for _ in range(2):
        with pytest.raises(RequestRefused):
            await stream.next()


async def test_sink_takes_ids_without_anybody_waking_until_it_refuses() -> None:
    taken: list[list[int]] = []

    def take(ids: list[int]) -> bool:
        if 5 in ids:
            return False
        taken.append(ids)
        return True

    stream = stream_of()
    stream.on_status(200)
    stream.sink = take
    reader = asyncio.ensure_future(stream.next())
    await asyncio.sleep(0)
    stream.on_body(event(output_ids=1) + event(output_ids=2))
    stream.on_body(event(output_ids=3))
    stream.on_read()
    assert taken == [[1, 2, 3]]  # one read, one call
    stream.on_read()
    await asyncio.sleep(0)
    assert not reader.done()
    stream.on_body(event(output_ids=4) + event(output_ids=5))
    stream.on_read()
    stream.on_body(event(output_ids=6))
    stream.on_read()
    assert await reader == [4, 5, 6]  # and it is not asked again
    assert taken == [[1, 2, 3]]


async def test_ids_behind_the_sinks_last_read_come_before_the_error() -> None:
    stream = stream_of()
    stream.on_status(200)
    stream.sink = lambda ids: True
    reader = asyncio.ensure_future(stream.next())
    await asyncio.sleep(0)
    stream.on_body(event(output_ids=1))
    stream.on_lost(InstanceError(Cause.RESET, "gone"))
    assert await reader == [1]
    with pytest.raises(InstanceError):
        await stream.next()


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (500, b'{"error":"crashed"}', Cause.ENGINE),
        (503, b'data: {"error":"llm: queue full: 3"}\n\n', Cause.BUSY),
        (503, b'{"error":"llm: queue full: 3"}', Cause.BUSY),
        (502, b"<html>", Cause.ENGINE),
        (500, b"", Cause.ENGINE),
        (500, b"[1]", Cause.ENGINE),
        (500, b'{"error":null}', Cause.ENGINE),
    ],
)
async def test_refused_stream(status: int, body: bytes, cause: Cause) -> None:
    stream = stream_of()
    stream.on_status(status)
    for at in range(len(body)):
        stream.on_body(body[at : at + 1])
    stream.on_end()
    with pytest.raises(InstanceError) as caught:
        await stream.next()
    assert caught.value.cause is cause


async def test_refusal_is_quoted_as_it_was_meant() -> None:
    stream = stream_of()
    stream.on_status(400)
    stream.on_body(b'data: {"error":"llm: bad request: \\"x\\" is not a number"}\n\n')  # as Triton 2.51 writes it
    stream.on_end()
    with pytest.raises(RequestRefused, match=r'^"x" is not a number$'):
        await stream.next()


@pytest.mark.parametrize("body", [b"data: {no\n\n", b"data: 5\n\n", b"data: []\n\n", b"event: x\n\n"])
async def test_event_that_makes_no_sense_is_the_engines_fault(body: bytes) -> None:
    stream = stream_of()
    stream.on_status(200)
    stream.on_body(event(output_ids=1) + body)
    assert await stream.next() == [1]
    with pytest.raises(InstanceError) as caught:
        await stream.next()
    assert caught.value.cause is Cause.ENGINE


@pytest.mark.parametrize(
    ("kept", "status", "cause"), [(True, 0, Cause.STALE), (True, 200, Cause.RESET), (False, 0, Cause.RESET)]
)
async def test_lost_connection_is_stale_only_before_anything_came_over_a_kept_one(
    kept: bool, status: int, cause: Cause
) -> None:
    stream = stream_of(kept=kept)
    if status:
        stream.on_status(status)
    stream.on_lost(InstanceError(Cause.RESET, "gone"))
    with pytest.raises(InstanceError) as caught:
        await stream.next()
    assert caught.value.cause is cause


async def test_failing_a_stream_wakes_its_reader_and_drops_the_connection() -> None:
    stream = stream_of()
    reading = asyncio.ensure_future(stream.next())
    await asyncio.sleep(0)
    stream.fail(InstanceError(Cause.DRAIN, "first"))
    stream.fail(InstanceError(Cause.STALL, "second"))
    with pytest.raises(InstanceError, match="first"):
        await reading
    assert stream._connection is not None
    assert transport_of(stream._connection).aborted


async def test_stream_that_has_ended_cannot_fail_any_more() -> None:
    stream = stream_of()
    stream.on_status(200)
    stream.on_end()
    stream.fail(InstanceError(Cause.STALL, "late"))
    stream.close()
    assert await stream.next() == []


async def test_finished_stream_leaves_its_connection_to_the_end_of_the_response(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.triton.llm.time.monotonic", lambda: 100.0)
    stream = stream_of()
    stream.on_status(200)
    stream.on_body(event(output_ids=1))
    stream.finish()
    assert stream._connection is not None
    assert not transport_of(stream._connection).aborted
    assert stream.deadline == 100.0 + TokenStream.FAREWELL_S
    stream.fail(InstanceError(Cause.STALL, "no end"))  # as the sweep does then
    assert transport_of(stream._connection).aborted


async def test_silence_is_measured_from_the_last_token_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of()
    assert stream.quiet_s(1e9) == 0.0
    monkeypatch.setattr("gateway.triton.llm.time.monotonic", lambda: 100.0)
    stream.on_status(200)
    stream.on_body(event(output_ids=1))
    assert (stream.quiet_s(103.0), stream.deadline) == (3.0, 105.0)


def test_generate_request() -> None:
    body = orjson.loads(
        GenerateRequest(id="a/1", input_ids=[1, 2], request_output_len=5, sampling={"seed": 2**64 - 1}).encode()
    )
    assert body == {
        "id": "a/1",
        "input_ids": [1, 2],
        "input_lengths": 2,
        "request_output_len": 5,
        "streaming": True,
        "seed": 2**64 - 1,
    }
