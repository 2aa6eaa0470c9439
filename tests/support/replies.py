"""What a client got: a whole response, or a stream of events as it is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import aiohttp


@dataclass
class Reply:
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @cached_property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.raw)

    @property
    def text(self) -> str:
        """The answer's text."""
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def error(self) -> dict[str, Any]:
        """The error object; it must have OpenAI's shape."""
        error = self.json["error"]
        assert error.keys() == {"message", "type", "param", "code"}, error
        assert isinstance(error["message"], str)
        assert error["message"]
        return dict(error)


@dataclass
class Events:
    """A streamed response as it came."""

    status: int
    headers: Mapping[str, str]
    chunks: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    ids: list[str] = field(default_factory=list)
    """Of a stream with a journal."""

    def add(self, event: bytes) -> None:
        """One event without its blank line."""
        assert not self.done, "something came after [DONE]"
        head, _, data = event.rpartition(b"data: ")
        assert head == b"" or (head.startswith(b"id: ") and head.endswith(b"\n")), event
        self.ids += [head[4:-1].decode()] if head else []
        if data == b"[DONE]":
            self.done = True
        else:
            self.chunks.append(json.loads(data))

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The choices of all chunks that have one."""
        return [chunk["choices"][0] for chunk in self.chunks if chunk.get("choices")]

    @property
    def text(self) -> str:
        """All content, joined."""
        return "".join(choice["delta"].get("content") or "" for choice in self.choices)

    @property
    def finish_reason(self) -> str | None:
        """Of the last chunk with a choice."""
        return self.choices[-1]["finish_reason"]

    @property
    def error(self) -> dict[str, Any] | None:
        """The error event, if one came."""
        return next((chunk["error"] for chunk in self.chunks if "error" in chunk), None)

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """The migration trail."""
        return next(chunk["ragfleet"]["attempts"] for chunk in self.chunks if "ragfleet" in chunk)


class Stream:
    """A response that is being read."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.events = Events(response.status, response.headers)
        self._response = response
        self._tail = b""

    async def text(self, least: int = 1) -> str:
        """Read until the answer has so many characters."""
        while len(self.events.text) < least:
            assert await self._more(), "the stream ended early"
        return self.events.text

    async def first(self) -> dict[str, Any]:
        """The first chunk."""
        while not self.events.chunks:
            assert await self._more(), "the stream ended early"
        return self.events.chunks[0]

    async def rest(self) -> Events:
        """Read to the end."""
        while await self._more():
            pass
        assert not self._tail, self._tail
        return self.events

    def leave(self) -> None:
        """Close the connection, as a client does that loses interest."""
        self._response.close()

    async def _more(self) -> bool:
        data = await self._response.content.readany()
        *events, self._tail = (self._tail + data).split(b"\n\n")
        for event in events:
            self.events.add(event)
        return bool(data)
