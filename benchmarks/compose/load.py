"""Clients that go on asking while a service is killed, and what became of each of their requests."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp

from benchmarks.compose.knowledge import QUESTION
from benchmarks.compose.stack import MODEL
from tests.support.chat_client import Client, Seen
from tests.support.resuming_client import ask_resuming

KINDS = ("chats", "journaled", "searches")
OUTCOMES = ("ok", "refused", "unreached", "cut", "failed")
"""refused: told 429 or 503 before anything was done. unreached: no gateway answered, so nothing was accepted. cut: accepted, and
the connection was lost. failed: accepted, and it ended with an error, or not at all."""
TOKENS = 32
DEADLINE_S = 120.0
PAUSE_S = 0.3
"""After an answer; a refused client comes back after a second."""
HTTP_REFUSED = (429, 503)


def outcome(seen: Seen) -> str:
    """One of OUTCOMES."""
    if seen.ok:
        return "ok"
    if seen.refused and not seen.at:
        return "refused"
    if seen.status == 0:
        return "unreached"
    return "cut" if seen.cut else "failed"


class Load:
    """Runs while it is entered; its counts are those since `forget`."""

    def __init__(self, port: int, key: str, store: str) -> None:
        self._port = port
        self._url = f"http://127.0.0.1:{port}"
        self._key = key
        self._store = store
        self._stop = asyncio.Event()
        self.counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        self.resumed = 0
        """Chats with a journal that lost their connection and went on to their end."""
        self.words: list[str] = []
        """What was said by requests that were not answered; the first of each kind."""

    def unforeseen(self, allowed: Mapping[str, frozenset[str]]) -> list[str]:
        """Outcomes that a fault must not have, in words. `allowed`: beside "ok", for each kind."""
        return [
            f"{number} {kind} {each}"
            for kind, counted in self.counts.items()
            for each, number in counted.items()
            if each != "ok" and each not in allowed.get(kind, frozenset())
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Two clients with plain chats, two with journals, one that searches."""
        authorized = {"Authorization": f"Bearer {self._key}"}
        silence = aiohttp.ClientTimeout(total=None, sock_connect=4.0, sock_read=60.0)
        async with (
            Client(self._port, self._key, deadline_s=DEADLINE_S) as client,
            aiohttp.ClientSession(headers=authorized, timeout=silence) as http,
        ):
            rounds = [
                self._chats(client, 0),
                self._chats(client, 1),
                self._journaled(http, 2),
                self._journaled(http, 3),
            ]
            tasks = [asyncio.create_task(each) for each in (*rounds, self._searches(http))]
            try:
                yield
                self._stop.set()  # what they have asked comes to its end
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def begun(self) -> list[str]:
        """The kinds of which no request was answered yet."""
        return [kind for kind, counted in self.counts.items() if not counted["ok"]]

    async def _chats(self, client: Client, number: int) -> None:
        while not self._stop.is_set():
            seen = await client.ask(MODEL, _question(number), max_tokens=TOKENS)
            await self._note("chats", outcome(seen), seen.error)

    async def _journaled(self, http: aiohttp.ClientSession, number: int) -> None:
        messages = [{"role": "user", "content": _question(number)}]
        body = {"model": MODEL, "messages": messages, "max_tokens": TOKENS, "temperature": 0}
        while not self._stop.is_set():
            chat = await ask_resuming(http, [self._url], body, deadline_s=DEADLINE_S)
            how = outcome(chat.seen)
            if how == "ok" and not chat.is_whole:
                how = "failed"
            self.resumed += how == "ok" and chat.broke_at > 0
            if how == "cut":  # asked again it would be another one: nothing was accepted
                how = "failed" if chat.ids else "unreached"
            await self._note("journaled", how, chat.seen.error)

    async def _searches(self, http: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            error = None
            try:
                url = f"{self._url}/v1/vector_stores/{self._store}/search"
                async with http.post(url, json={"query": QUESTION}) as reply:
                    said = await reply.text()
                how = "ok" if reply.status == 200 else "refused" if reply.status in HTTP_REFUSED else "failed"
                error = None if how == "ok" else f"{reply.status} {said[:200]}"
            except aiohttp.ClientConnectorError as unreached:
                how, error = "unreached", repr(unreached)
            except (aiohttp.ClientError, TimeoutError) as lost:
                how, error = "cut", repr(lost)
            await self._note("searches", how, error)

    async def _note(self, kind: str, how: str, error: str | None) -> None:
        counted = self.counts[kind]
        if how != "ok" and not counted[how]:
            self.words.append(f"{kind} {how}: {(error or '')[:200]}")
        counted[how] += 1
        await asyncio.sleep(PAUSE_S if how == "ok" else 1.0)


def _question(number: int) -> str:
    """Another one each second: caches hold little of it."""
    return f"Tell the story of harbour number {number}, ship {time.monotonic_ns() % 1000}."
