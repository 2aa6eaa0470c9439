"""Answers that run while something is done to a host, and what must be true of them."""

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.hosts.parts import GATEWAY_PORT, KEY, Host, Hosts
from tests.support.chat_client import Client, Seen
from tests.support.resuming_client import ResumedChat, ask_resuming

MODEL = "smollm2-135m-instruct"
STREAMS, TOKENS = 8, 200
"""Of each gateway; an answer takes 5 s."""
DEADLINE_S = 240.0
"""For whatever must come about, however busy the machine is."""
SILENCE_S = 4.0
"""Past which a client that can go on elsewhere takes its gateway for lost."""
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


async def until(
    check: Callable[[], Any], what: str, *, seconds: float = DEADLINE_S, seen: Callable[[], object] = lambda: ""
) -> float:
    """Ask ten times a second until it is so; the seconds it took. Fails after `seconds`, and tells what is `seen` then."""
    began = time.monotonic()
    while not await asyncio.to_thread(check):
        if time.monotonic() - began > seconds:
            pytest.fail(f"not within {seconds:.0f} s: {what}; {seen()}")
        await asyncio.sleep(0.1)
    return round(time.monotonic() - began, 2)


class Ledger:
    """What clients have received, of all tests, beside what the gateways have written of it."""

    def __init__(self) -> None:
        self.received = 0
        """Tokens."""

    def charged(self, by: Host) -> int:
        """Tokens in the ledger, as this gateway says; -1 where it does not."""
        request = urllib.request.Request(f"{by.url}/v1/usage?bucket_width=1h", headers=AUTHORIZED)
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                page = json.load(response)
        except (OSError, ValueError):
            return -1
        return sum(int(result["output_tokens"]) for bucket in page["data"] for result in bucket["results"])

    def is_complete(self, by: Host) -> bool:
        """Whether both are equal."""
        return self.charged(by) == self.received

    def beside(self, hosts: Sequence[Host]) -> str:
        """Both, and the rows that each gateway has still to write."""
        return f"{self.charged(hosts[0])} charged, {self.received} received; {[_waiting_rows(host) for host in hosts]} rows wait"


def _waiting_rows(host: Host) -> str:
    try:
        with urllib.request.urlopen(f"{host.url}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
    except OSError as error:
        return str(error)
    return next((line.rpartition(" ")[2] for line in lines if line.startswith("ragfleet_ledger_rows_waiting ")), "?")


class Resuming:
    """Chats whose clients go on at the next gateway when they lose theirs."""

    def __init__(self, http: aiohttp.ClientSession, gateways: Sequence[Host]) -> None:
        self.chats = [ResumedChat() for _ in range(STREAMS)]
        urls = [host.url for host in gateways]
        self._tasks = [
            asyncio.create_task(ask_resuming(http, urls, self._body(number), chat, deadline_s=DEADLINE_S))
            for number, chat in enumerate(self.chats)
        ]

    def has_begun(self) -> bool:
        """Each has a token, or has ended."""
        return all(chat.seen.at or chat.seen.ended for chat in self.chats)

    async def ended(self) -> None:
        """Wait for the ends."""
        await asyncio.gather(*self._tasks)

    @staticmethod
    def _body(number: int) -> dict[str, Any]:
        messages = [{"role": "user", "content": question(number)}]
        usage = {"stream_options": {"include_usage": True}}
        return {"model": MODEL, "messages": messages, "max_tokens": TOKENS, "temperature": 0, **usage}


class Answers:
    """The same questions at every gateway, and the answers to them that nothing disturbed."""

    def __init__(self, clients: dict[str, Client], http: aiohttp.ClientSession) -> None:
        self._clients = clients
        self._http = http
        self._resuming: list[Resuming] = []
        self.alone: list[Seen] = []

    @property
    def resumed_tokens(self) -> int:
        """Of the answers of `begin_resuming`."""
        return sum(chat.seen.completion_tokens for each in self._resuming for chat in each.chats)

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

    async def begin_resuming(self, gateways: Sequence[Host]) -> Resuming:
        """The questions once, at the first of these gateways; returns when every answer has begun."""
        chats = Resuming(self._http, gateways)
        self._resuming.append(chats)
        await until(chats.has_begun, "every answer has begun")
        return chats

    def _ask(self, gateway: str, seen: Sequence[Seen]) -> list[Any]:
        client = self._clients[gateway]
        return [client.ask(MODEL, question(number), max_tokens=TOKENS, seen=each) for number, each in enumerate(seen)]


def question(number: int) -> str:
    """Another one for each stream of a gateway."""
    return f"Tell the story of harbour number {number}."


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
async def asked(hosts: Hosts, ledger: Ledger) -> AsyncIterator[Answers]:
    """Clients of all gateways."""
    # Of a host whose cable is pulled nothing is heard, not even that it is gone.
    silence = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(aiohttp.ClientSession(headers=AUTHORIZED, timeout=silence))
        clients = {
            host.name: await stack.enter_async_context(
                Client(GATEWAY_PORT, KEY, host=host.address, deadline_s=DEADLINE_S)
            )
            for host in hosts.all
        }
        answers = Answers(clients, http)
        await answers.undisturbed()
        try:
            yield answers
        finally:
            ledger.received += sum(client.received for client in clients.values()) + answers.resumed_tokens
