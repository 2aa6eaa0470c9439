"""A request ends when its client leaves, and no sooner, whoever tells of it: our protocol, or only the server's `receive`."""

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from gateway.api.client_departure import Departure
from gateway.api.streaming import ResponseWriter, StreamingRequest, _answer


class Transport:
    """Of a client that sends nothing more."""

    def __init__(self) -> None:
        self.reads = True

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


class Waiting(StreamingRequest):
    """An answer that comes when it is let go."""

    def __init__(self) -> None:
        self.begun, self.go, self.end = asyncio.Event(), asyncio.Event(), ""

    async def serve(self, out: ResponseWriter) -> None:
        self.begun.set()
        try:
            await self.go.wait()
            await out.json({})
            self.end = "whole"
        except asyncio.CancelledError:
            self.end = "cancelled"
            raise


class Client:
    """Its request is answered with a departure, or without one, where `receive` tells."""

    def __init__(self, *, has_departure: bool) -> None:
        self.transport = Transport()
        self.flow = FlowControl(self.transport)  # type: ignore[arg-type]
        self.departure = Departure(self.flow) if has_departure else None
        self.gone = asyncio.Event()
        self.request = Waiting()
        self.answer: asyncio.Task[None] | None = None

    def ask(self) -> "asyncio.Task[None]":
        out = ResponseWriter({}, self._send)
        return asyncio.ensure_future(_answer(self.request, out, self.departure, self._receive))

    def leave(self) -> None:
        self.gone.set()
        if self.departure is not None:
            self.departure.happen()

    async def _send(self, message: Any) -> None:
        pass

    async def _receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture(params=["departure", "receive"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(has_departure=request.param == "departure")


async def test_who_leaves_ends_the_request_and_nothing_else(client: Client) -> None:
    answer = client.ask()
    await client.request.begun.wait()
    client.leave()
    await answer
    assert client.request.end == "cancelled"
    assert not answer.cancelled()
    assert not answer.cancelling()


async def test_who_has_left_before_ends_it_too(client: Client) -> None:
    client.leave()
    await client.ask()
    assert client.request.end == "cancelled"


async def test_who_leaves_behind_the_whole_answer_ends_nothing(client: Client) -> None:
    answer = client.ask()
    await client.request.begun.wait()
    client.request.go.set()
    await answer
    client.leave()
    await asyncio.sleep(0)
    assert client.request.end == "whole"


async def test_the_server_may_end_it(client: Client) -> None:
    answer = client.ask()
    await client.request.begun.wait()
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert client.request.end == "cancelled"


async def test_a_server_that_ends_it_is_heard_beside_a_client_that_leaves(client: Client) -> None:
    answer = client.ask()
    await client.request.begun.wait()
    answer.cancel()
    client.leave()
    with pytest.raises(asyncio.CancelledError):
        await answer


async def test_a_departure_is_noticed_where_nothing_was_read() -> None:
    client = Client(has_departure=True)  # else the server's own `receive` sees to it
    client.flow.pause_reading()
    answer = client.ask()
    await client.request.begun.wait()
    assert client.transport.reads
    client.leave()
    await answer
