"""A client that keeps what it saw: every piece of text with its time, and how the answer ended."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson


@dataclass(slots=True)
class Call:
    """A call of a function, as its pieces came."""

    ids: set[str] = field(default_factory=set)
    """More than one where its id did not stay the same."""
    name: str = ""
    arguments: str = ""

    def take(self, piece: dict[str, Any]) -> None:
        """One piece of it."""
        if piece.get("id"):
            self.ids.add(piece["id"])
        function = piece.get("function") or {}
        self.name += function.get("name") or ""
        self.arguments += function.get("arguments") or ""


@dataclass(slots=True)
class Seen:
    """One answer as the client saw it."""

    text: str = ""
    texts: dict[int, str] = field(default_factory=dict)
    """Of each choice."""
    calls: dict[tuple[int, int], Call] = field(default_factory=dict)
    """By choice and place."""
    finishes: dict[int, str] = field(default_factory=dict)
    """Why each choice ended."""
    finish: str | None = None
    error: str | None = None
    cut: bool = False
    """The connection was lost."""
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

    def __init__(self, port: int, key: str, *, host: str = "127.0.0.1", deadline_s: float = 120.0) -> None:
        self._api = f"http://{host}:{port}/v1"
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
        self,
        model: str,
        content: str | list[dict[str, str]],
        *,
        seen: Seen | None = None,
        request_id: str = "",
        **parameters: Any,
    ) -> Seen:
        """One streamed answer, also in `seen` as it comes. Never raises: what went wrong is in `error`."""
        assert self._session is not None
        messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
        body = {"model": model, "messages": messages, "stream": True, "temperature": 0,
                "stream_options": {"include_usage": True}, **parameters}  # fmt: skip
        seen = seen or Seen()
        seen.started = time.monotonic()
        try:
            headers = {"X-Request-Id": request_id} if request_id else {}
            async with self._session.post(f"{self._api}/chat/completions", json=body, headers=headers) as response:
                seen.status = response.status
                if response.status != 200:
                    seen.retry_after_s = int(response.headers.get("Retry-After", 0)) or None
                    seen.error = (await response.text())[:300]
                    return seen
                async for line in response.content:
                    if line.startswith(b"data: {"):
                        take(seen, orjson.loads(line[6:]))
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
            seen.error, seen.cut = repr(error), True
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
        index, delta = choice["index"], choice["delta"]
        if piece := delta.get("content"):
            seen.text += piece
            seen.texts[index] = seen.texts.get(index, "") + piece
            seen.at.append(time.monotonic())
        for call in delta.get("tool_calls") or ():
            seen.calls.setdefault((index, call["index"]), Call()).take(call)
            seen.at.append(time.monotonic())
        if choice["finish_reason"]:
            seen.finish = seen.finishes[index] = choice["finish_reason"]
    if "ragfleet" in event:
        seen.attempts = event["ragfleet"]["attempts"]
