"""A client that keeps what it saw: every piece of text with its time, and how the answer ended."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson


@dataclass(slots=True)
class Seen:
    """One answer as the client saw it."""

    text: str = ""
    texts: dict[int, str] = field(default_factory=dict)
    """Of each choice."""
    finish: str | None = None
    error: str | None = None
    status: int = 0
    attempts: list[dict[str, Any]] = field(default_factory=list)
    completion_tokens: int = 0
    retry_after_s: int | None = None
    """What a refusal says."""
    started: float = 0.0
    at: list[float] = field(default_factory=list)
    """Monotonic seconds of each content chunk."""
    ended: float = 0.0

    @property
    def ok(self) -> bool:
        """A whole answer, without an error."""
        return self.error is None and self.finish is not None

    @property
    def refused(self) -> bool:
        """Not accepted: told to come back later, before anything was done for it."""
        return self.status in (429, 503)

    @property
    def moved(self) -> bool:
        """More than one instance gave tokens."""
        return sum(1 for a in self.attempts if a["tokens"]) > 1

    @property
    def causes(self) -> list[str]:
        """Why it moved, each time."""
        return [a["cause"] for a in self.attempts if a["cause"] != "end"]

    @property
    def gap_s(self) -> float:
        """The longest silence between two chunks."""
        return max((b - a for a, b in zip(self.at, self.at[1:], strict=False)), default=0.0)

    @property
    def ttft_s(self) -> float:
        """Until the first content; -1 where none came."""
        return self.at[0] - self.started if self.at else -1.0


class Client:
    """Sends chat completions to one gateway."""

    def __init__(self, port: int, key: str, *, deadline_s: float = 120.0) -> None:
        self._api = f"http://127.0.0.1:{port}/v1"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._timeout = aiohttp.ClientTimeout(total=deadline_s)
        self._session: aiohttp.ClientSession | None = None
        self.received = 0
        """Tokens of all answers, as these said at their end."""

    async def __aenter__(self) -> "Client":
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=self._timeout, connector=aiohttp.TCPConnector(limit=0)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def ask(
        self, model: str, content: str | list[dict[str, str]], *, seen: Seen | None = None, **parameters: Any
    ) -> Seen:
        """One streamed answer, also in `seen` as it comes. Never raises: what went wrong is in `error`."""
        assert self._session is not None
        messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
        body = {"model": model, "messages": messages, "stream": True, "temperature": 0,
                "stream_options": {"include_usage": True}, **parameters}  # fmt: skip
        seen = seen or Seen()
        seen.started = time.monotonic()
        try:
            async with self._session.post(f"{self._api}/chat/completions", json=body) as response:
                seen.status = response.status
                if response.status != 200:
                    seen.retry_after_s = int(response.headers.get("Retry-After", 0)) or None
                    seen.error = (await response.text())[:300]
                    return seen
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        take(seen, orjson.loads(line[6:]))
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            seen.error = repr(error)
        finally:
            seen.ended = time.monotonic()
            self.received += seen.completion_tokens
        return seen

    async def charged(self) -> int:
        """Tokens of answers in the ledger, of the tenant's last day. Raises aiohttp.ClientError."""
        assert self._session is not None
        async with self._session.get(f"{self._api}/usage?bucket_width=1h") as response:
            response.raise_for_status()
            page = await response.json()
        return sum(int(result["output_tokens"]) for bucket in page["data"] for result in bucket["results"])


def take(seen: Seen, event: dict[str, Any]) -> None:
    """One event of a chat's stream."""
    if "error" in event:
        seen.error = event["error"]["message"]
        return
    if event.get("usage"):
        seen.completion_tokens = event["usage"]["completion_tokens"]
    for choice in event["choices"]:
        if piece := choice["delta"].get("content"):
            seen.text += piece
            seen.texts[choice["index"]] = seen.texts.get(choice["index"], "") + piece
            seen.at.append(time.monotonic())
        seen.finish = choice["finish_reason"] or seen.finish
    if "ragfleet" in event:
        seen.attempts = event["ragfleet"]["attempts"]
