"""What everybody else notices while a fleet is attacked: liveness, a second tenant's answers, memory, ejections."""

import asyncio
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Self

import aiohttp
import psutil

from tests.support.attacks import Target
from tests.support.chat_client import Client

LIVE_EVERY_S = 0.02
ASK_EVERY_S = 0.5
ANSWER_TOKENS = 8


@dataclass(slots=True)
class Noticed:
    """Of one stretch of time."""

    live_s: list[float] = field(default_factory=list)
    """Seconds of each /health/live."""
    ttft_s: list[float] = field(default_factory=list)
    """Of the second tenant's answers: until the first token,"""
    answer_s: list[float] = field(default_factory=list)
    """until the last one,"""
    step_s: list[float] = field(default_factory=list)
    """and between two."""
    embedding_s: list[float] = field(default_factory=list)
    """Of its embeddings of one text."""
    failed: list[str] = field(default_factory=list)
    """What of it was refused, or broke."""
    waited_s: float = 0.0
    """For an answer that has not begun."""
    rss_mb: float = 0.0
    """The most."""
    ejections: float = 0.0
    """Of all instances."""
    out: list[str] = field(default_factory=list)
    """Why instances are out at its end."""


class Watch:
    """Looks at a gateway until it is left. `stretch()` begins to note anew."""

    def __init__(self, other: Target, pid: int) -> None:
        """other: the gateway, as the second tenant knows it."""
        self._url = f"http://127.0.0.1:{other.port}"
        self._client = Client(other.port, other.key, deadline_s=60)
        self._other = other
        self._process = psutil.Process(pid)
        self._tasks: list[asyncio.Task[None]] = []
        self._ejections = 0.0
        self._asked = time.monotonic()
        self.noticed = Noticed()
        self.live_s: list[float] = []
        """Of all stretches."""

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self._tasks = [asyncio.create_task(each) for each in (self._live(), self._ask(), self._memory())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()
        await self._client.__aexit__()

    async def stretch(self) -> Noticed:
        """What was noticed since the last call."""
        async with self._http.get(f"{self._url}/metrics") as answer:
            found = re.findall(r"^ragfleet_ejections_total\{[^}]*\} (\S+)", await answer.text(), re.MULTILINE)
        ejections = sum(map(float, found))
        before, self.noticed = self.noticed, Noticed()
        self.live_s += before.live_s
        before.ejections, self._ejections = ejections - self._ejections, ejections
        async with self._http.get(f"{self._url}/fleet") as answer:
            instances = (await answer.json())["instances"]
        before.out = [f"{each['name']}: {each['reason']}" for each in instances if each["state"] != "ready"]
        before.waited_s = time.monotonic() - self._asked
        return before

    async def _live(self) -> None:
        while True:
            started = time.monotonic()
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self._http.get(f"{self._url}/health/live") as answer:
                    await answer.read()
            self.noticed.live_s.append(time.monotonic() - started)
            await asyncio.sleep(LIVE_EVERY_S)

    async def _ask(self) -> None:
        while True:
            self._asked = time.monotonic()
            seen = await self._client.ask(self._other.model, "How far is it?", max_tokens=ANSWER_TOKENS)
            if seen.ok:
                self.noticed.ttft_s.append(seen.ttft_s)
                self.noticed.answer_s.append(seen.ended - seen.started)
                self.noticed.step_s += [late - early for early, late in pairwise(seen.at)]
            else:
                self.noticed.failed.append(f"{seen.status} {(seen.error or '')[:120]}")
            await self._embed()
            await asyncio.sleep(ASK_EVERY_S)

    async def _embed(self) -> None:
        started = time.monotonic()
        body = {"model": self._other.embedding_model, "input": "How far is it?"}
        headers = {"Authorization": f"Bearer {self._other.key}"}
        try:
            async with self._http.post(f"{self._url}/v1/embeddings", json=body, headers=headers) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.noticed.failed.append(f"embedding: {error!r}")
            return
        if answer.status == 200:
            self.noticed.embedding_s.append(time.monotonic() - started)
        else:
            self.noticed.failed.append(f"embedding: {answer.status} {text[:120]}")

    async def _memory(self) -> None:
        while True:
            self.noticed.rss_mb = max(self.noticed.rss_mb, self._process.memory_info().rss / 2**20)
            await asyncio.sleep(0.05)
