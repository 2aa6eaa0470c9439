"""Answers that run while something is done to a host, and what must be true of them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.hosts.parts import GATEWAY_PORT, KEY, Host, Hosts
from tests.support.chat_client import Client, Seen

MODEL = "smollm2-135m-instruct"
STREAMS, TOKENS = 8, 200
"""Of each gateway; an answer takes 5 s."""
DEADLINE_S = 150.0


async def until(check: Callable[[], Any], what: str, *, seconds: float = DEADLINE_S) -> float:
    """Ask ten times a second until it is so; the seconds it took. Fails after `seconds`."""
    began = time.monotonic()
    while not await asyncio.to_thread(check):
        if time.monotonic() - began > seconds:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        await asyncio.sleep(0.1)
    return round(time.monotonic() - began, 2)


class Answers:
    """The same questions at every gateway, and the answers to them that nothing disturbed."""

    def __init__(self, clients: dict[str, Client]) -> None:
        self._clients = clients
        self.alone: list[Seen] = []

    async def undisturbed(self) -> None:
        """Ask each question once, of the first gateway."""
        first = next(iter(self._clients))
        self.alone = await asyncio.gather(*self._ask(first, [Seen() for _ in range(STREAMS)]))
        assert [seen.error for seen in self.alone] == [None] * STREAMS
        assert len({seen.text for seen in self.alone}) == STREAMS

    async def begin(self, gateways: Sequence[Host]) -> "Running":
        """Ask all of them of each of these gateways; returns when every answer has begun."""
        seen = {host.name: [Seen() for _ in range(STREAMS)] for host in gateways}
        tasks = [asyncio.create_task(ask) for name, each in seen.items() for ask in self._ask(name, each)]
        running = Running(self, seen, tasks)
        await until(running.has_begun, "every answer has begun")
        return running

    def _ask(self, gateway: str, seen: Sequence[Seen]) -> list[Any]:
        client = self._clients[gateway]
        return [
            client.ask(MODEL, f"Tell the story of harbour number {number}.", max_tokens=TOKENS, seen=each)
            for number, each in enumerate(seen)
        ]


class Running:
    """Answers that are on their way."""

    def __init__(self, answers: Answers, seen: dict[str, list[Seen]], tasks: Sequence["asyncio.Task[Seen]"]) -> None:
        self._answers = answers
        self._seen = seen
        self._tasks = tasks

    def has_begun(self) -> bool:
        """Each has a token, or has ended."""
        return all(seen.at or seen.ended for each in self._seen.values() for seen in each)

    async def identical(self) -> list[Seen]:
        """Wait for the ends: none failed, and each has the very text and tokens that it has undisturbed."""
        await asyncio.gather(*self._tasks)
        alone = self._answers.alone
        for gateway, answers in self._seen.items():
            assert [seen.error for seen in answers] == [None] * STREAMS, gateway
            assert [seen.text for seen in answers] == [seen.text for seen in alone], gateway
            assert [seen.completion_tokens for seen in answers] == [seen.completion_tokens for seen in alone], gateway
        return [seen for answers in self._seen.values() for seen in answers]


def left(seen: Sequence[Seen], instance: str) -> int:
    """Answers that began at this instance and ended at another."""
    return sum(each.moved and each.attempts[0]["instance"] == instance for each in seen)


def loses(host: Host, instance: str) -> Callable[[], bool]:
    """Whether this host's gateway gives that instance no work."""
    return lambda: bool(seen := host.instances()) and seen.get(instance, {"state": "gone"})["state"] != "ready"


@asynccontextmanager
async def asked(hosts: Hosts) -> AsyncIterator[Answers]:
    """Clients of all gateways."""
    async with AsyncExitStack() as stack:
        clients = {
            host.name: await stack.enter_async_context(
                Client(GATEWAY_PORT, KEY, host=host.address, deadline_s=DEADLINE_S)
            )
            for host in hosts.all
        }
        answers = Answers(clients)
        await answers.undisturbed()
        yield answers
