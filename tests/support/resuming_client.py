"""A client that goes on with a chat's stream at another gateway when it loses the one that it had."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from tests.support.chat_client import Seen, take

RETRY_S = 0.05


@dataclass(slots=True)
class ResumedChat:
    """One stream, over all of its connections."""

    seen: Seen = field(default_factory=Seen)
    ids: list[str] = field(default_factory=list)
    """Of its events, as they came."""
    answer_id: str = ""
    done: bool = False
    broke_at: float = 0.0
    """Monotonic seconds; 0 where it never did."""
    resumed_at: float = 0.0
    """When the first event behind the break came."""

    @property
    def is_whole(self) -> bool:
        """Each event once, in order, to the end, and no error."""
        numbers = [int(each.rpartition(":")[2]) for each in self.ids]
        return self.done and self.seen.error is None and numbers == list(range(len(numbers)))


async def ask_resuming(
    http: aiohttp.ClientSession,
    urls: Sequence[str],
    body: dict[str, Any],
    chat: ResumedChat | None = None,
    *,
    deadline_s: float = 120.0,
) -> ResumedChat:
    """A streamed chat with a journal, asked at the first of these gateways, and gone on with at the next ones in turn.

    chat: what came of it, to be looked at meanwhile. Never raises for what a server does: what went wrong is in `seen.error`.
    """
    chat = chat or ResumedChat()
    chat.seen.started = time.monotonic()
    end, attempt = time.monotonic() + deadline_s, 0
    while not chat.done and chat.seen.error is None:
        headers = {"Last-Event-ID": chat.ids[-1]} if chat.ids else {"X-Ragfleet-Journal": "true"}
        try:
            url = f"{urls[attempt % len(urls)]}/v1/chat/completions"
            async with http.post(url, json={**body, "stream": True}, headers=headers) as response:
                await _read(response, chat)
        except (aiohttp.ClientError, OSError) as error:
            if not chat.ids or time.monotonic() > end:  # asked again, it would be another one
                chat.seen.error = repr(error)
        if not chat.done and chat.seen.error is None:
            if time.monotonic() > end:
                chat.seen.error = "not gone on with in time"
            chat.broke_at = chat.broke_at or time.monotonic()
            attempt += 1
            await asyncio.sleep(RETRY_S)
    chat.seen.ended = time.monotonic()
    return chat


async def _read(response: aiohttp.ClientResponse, chat: ResumedChat) -> None:
    chat.seen.status = response.status
    if response.status == 503 and chat.ids:
        return  # it starts, or stops: the next one is asked
    if response.status != 200:
        chat.seen.error = (await response.text())[:300]
        return
    event_id = ""
    async for line in response.content:
        if line.startswith(b"id: "):
            event_id = line[4:-1].decode()
        elif line.startswith(b"data: "):
            chat.ids.append(event_id)
            if chat.broke_at and not chat.resumed_at:
                chat.resumed_at = time.monotonic()
            if line.startswith(b"data: {"):
                event = orjson.loads(line[6:])
                chat.answer_id = chat.answer_id or event.get("id", "")
                take(chat.seen, event)
            else:
                chat.done = True
