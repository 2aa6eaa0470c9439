"""One fault after the other at steady load of every kind, with two gateways: instances, gateways and Consul are lost in turn.

Streams with a journal must all come whole: where their gateway is killed, their clients go on at the other one. Some have no
journal: they survive the loss of an instance, and a killed gateway cuts them; of those only what they cost is looked at.
"""

import asyncio
import os
import random
import secrets
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from benchmarks.chaos.account import Account
from benchmarks.chaos.mixture import KINDS, Answers, messages
from benchmarks.chaos.scenarios import MODEL, Row, kill_consul, summary
from tests.support.chat_client import Client, Seen
from tests.support.observed_fleet import Victim
from tests.support.resuming_client import ResumedChat, ask_resuming

JOURNALED, CUTTABLE = 12, 2
"""Clients, each of which asks again and again."""
ACCEPTED_S = 90.0
"""A request is asked again for so long, until a gateway takes it."""
BACK_S = 90.0
FAULTS = ("kill", "stop", "slow", "error", "consul", "gateway")


@dataclass(slots=True)
class Load:
    """The clients, and what they saw."""

    urls: list[str]
    key: str
    account: Account
    done: bool = False
    seen: list[Seen] = field(default_factory=list)
    answers: Answers = field(default_factory=Answers)
    killed: list[tuple[int, float]] = field(default_factory=list)
    """Gateways, by their place, and when (monotonic seconds)."""
    resumed_s: list[float] = field(default_factory=list)
    """Silences of streams that went on at another gateway."""

    async def run(self) -> None:
        """Until `done`, and what runs then has ended."""
        headers = {"Authorization": f"Bearer {self.key}"}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=120)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as http:
            clients = [self._with_journal(http, number) for number in range(JOURNALED)]
            clients += [self._without(number) for number in range(CUTTABLE)]
            await asyncio.gather(*clients)

    async def _with_journal(self, http: aiohttp.ClientSession, number: int) -> None:
        kinds = list(KINDS)
        for turn in count():
            if self.done:
                return
            kind = kinds[(number + turn) % len(kinds)]
            body = {
                "model": MODEL,
                "messages": messages(kind, turn),
                "temperature": 0,
                "stream_options": {"include_usage": True},
                **KINDS[kind].parameters,
            }
            chat = await self._accepted(http, body, number + turn)
            if chat.seen.error is None and not chat.is_whole:
                chat.seen.error = "events are missing, or came twice"
            self.seen.append(chat.seen)
            if chat.seen.ok:
                self.answers.check(kind, turn, chat.seen)
                self.account.by_row[chat.answer_id] = chat.seen.completion_tokens
            if chat.resumed_at:
                self.resumed_s.append(chat.resumed_at - chat.broke_at)

    async def _accepted(self, http: aiohttp.ClientSession, body: dict[str, Any], gateway: int) -> ResumedChat:
        """Asked of one gateway after the other until there is a first event: what has none was not accepted."""
        end = time.monotonic() + ACCEPTED_S
        while True:
            gateway %= len(self.urls)
            chat = await ask_resuming(http, [*self.urls[gateway:], *self.urls[:gateway]], body)
            unaccepted = not chat.ids and chat.seen.status in (0, 200, 429, 503)
            if not unaccepted or time.monotonic() > end:
                return chat
            self.account.unaccepted += 1
            gateway += 1
            await asyncio.sleep(0.2)

    async def _without(self, number: int) -> None:
        """Streams without a journal at one gateway; while it is away its client waits."""
        gateway = number % len(self.urls)
        port = int(self.urls[gateway].rsplit(":", 1)[1])
        each_token = {"include_usage": True, "continuous_usage_stats": True}
        parameters = {**KINDS["plain"].parameters, "stream_options": each_token}
        async with Client(port, self.key) as client:
            for turn in count():
                if self.done:
                    return
                request_id, question = f"chaos-{secrets.token_hex(8)}", list(messages("plain", turn))
                seen = await client.ask(MODEL, question, request_id=request_id, **parameters)
                if seen.ok:
                    self.seen.append(seen)
                    self.answers.check("plain", turn, seen)
                    self.account.by_request[request_id] = seen.completion_tokens
                elif seen.status == 200 and seen.cut and self._was_killed(gateway, seen):
                    self.account.cut[request_id] = seen.completion_tokens
                elif seen.status in (0, 503):
                    self.account.unaccepted += 1
                    await asyncio.sleep(0.2)
                else:
                    self.seen.append(seen)

    def _was_killed(self, gateway: int, seen: Seen) -> bool:
        return any(which == gateway and seen.started <= at <= seen.ended for which, at in self.killed)


def gateway_name(gateway: int) -> str:
    """A part of `ragfleet status`, by its place among the gateways."""
    return f"gateway-{gateway}" if gateway else "gateway"


async def random_faults(victim: Victim, *, seconds: float, seed: int) -> Row:
    """Every kind of fault as often as any other, in an order that the seed gives, until the time is over."""
    fleet = victim.fleet
    account = Account(fleet.home)
    await asyncio.to_thread(account.begin)
    load = Load(list(fleet.gateway_urls), fleet.key, account)
    counts: dict[str, int] = {}

    async def act() -> None:
        try:
            await asyncio.sleep(1)
            await _faults(victim, load, random.Random(seed), seconds, counts)
            await asyncio.sleep(2)
        finally:
            load.done = True

    await asyncio.gather(load.run(), act())
    row = summary(load.seen)
    sums, missed = await account.settled()
    whole = sum(seen.ok for seen in load.seen)
    if load.answers.identical != whole:
        missed.append(f"{whole - load.answers.identical} answers differ from earlier ones to the same questions")
    silences = sorted(load.resumed_s)
    return {
        **row,
        "moved": row["moved"] + len(silences),
        "identical": load.answers.identical,
        "kinds": load.answers.whole,
        "faults": counts,
        "resumed": len(silences),
        "resumed_p50_s": silences[len(silences) // 2] if silences else 0.0,
        "resumed_max_s": silences[-1] if silences else 0.0,
        "ledger": sums,
        "missed": [*row["missed"], *load.answers.faults[:5], *missed],
    }


async def _faults(victim: Victim, load: Load, rng: random.Random, seconds: float, counts: dict[str, int]) -> None:
    names = sorted(await victim.instances())
    began = time.monotonic()
    deck = _decks(rng)
    while time.monotonic() < began + seconds:
        fault, name = next(deck), rng.choice(names)
        counts[fault] = counts.get(fault, 0) + 1
        gateway = rng.randrange(len(victim.fleet.gateway_urls))
        where = {"consul": "", "gateway": gateway_name(gateway)}.get(fault, name)
        print(f"  {time.monotonic() - began:5.0f} s  {fault} {where}", flush=True)
        if fault == "kill":
            victim.signal(name, signal.SIGKILL)
            await asyncio.sleep(1)
        elif fault == "stop":
            pid = victim.signal(name, signal.SIGSTOP)
            await asyncio.sleep(rng.uniform(3, 8))
            victim.revive(name, pid)
        elif fault == "consul":
            await kill_consul(victim)
        elif fault == "gateway":
            await _kill_gateway(victim, load, gateway)
        else:
            victim.fault(name, {"slow": {"slow": 10}, "error": {"error_at_token": 20}}[fault])
            await asyncio.sleep(rng.uniform(2, 5))
            victim.fault(name, {})
        # The next fault comes when the fleet is whole again: the claim is about losing one thing at a time.
        await victim.ready(len(names))


def _decks(rng: random.Random) -> Iterator[str]:
    while True:
        yield from rng.sample(FAULTS, len(FAULTS))


async def _kill_gateway(victim: Victim, load: Load, gateway: int) -> None:
    """SIGKILL, and until its supervisor has another one that is ready. Raises TimeoutError."""
    name, url = gateway_name(gateway), victim.fleet.gateway_urls[gateway]
    before = victim.part_pid(name)
    load.killed.append((gateway, time.monotonic()))
    os.kill(before, signal.SIGKILL)
    end = time.monotonic() + BACK_S
    while victim.part_pid(name) in (before, 0) or not await asyncio.to_thread(_answers, url):
        if time.monotonic() > end:
            raise TimeoutError(f"{name} was not back within {BACK_S:g} s")
        await asyncio.sleep(0.1)


def _answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/health/ready", timeout=5) as response:
        return bool(response.status == 200)
    return False
