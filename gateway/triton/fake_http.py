"""The little of HTTP/1.1 that the fake Triton speaks: read a request, write a response, write a stream of events."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

EVENTS = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; the names of headers in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


async def read_request(reader: asyncio.StreamReader) -> HttpRequest:
    """The next one. Raises EOFError where the client left."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    method, path, _ = request.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return HttpRequest(method, path, headers, body)


async def reply(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str = "application/json") -> None:
    """A whole response."""
    head = f"HTTP/1.1 {status} {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    await _write(writer, head.encode() + body)


def event(message: Mapping[str, Any]) -> bytes:
    """A server-sent event as Triton 2.51 writes it."""
    return b"data: " + orjson.dumps(message) + b"\n\n"


class FakeEventWriter:
    """A stream of events. As with Triton, no header leaves before the first of them.

    before: bytes sent ahead of the first event. split: whatever leaves, leaves in two pieces.
    """

    HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: {EVENTS}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    def __init__(self, writer: asyncio.StreamWriter, *, before: bytes | None, split: bool) -> None:
        self._writer = writer
        self._split = split
        self._begun = False
        self._waiting = [] if before is None else [before]

    def put(self, message: Mapping[str, Any]) -> None:
        """An event for the next flush."""
        self._waiting.append(event(message))

    async def flush(self, *, end: bool = False) -> None:
        """Send what waits, and the end of the stream after it if `end`."""
        data = b"".join(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in self._waiting)
        data += b"0\r\n\r\n" if end else b""
        self._waiting = []
        if data and not self._begun:
            self._begun = True
            data = self.HEAD + data
        await _write(self._writer, data, split=self._split)


async def _write(writer: asyncio.StreamWriter, data: bytes, *, split: bool = False) -> None:
    """Each piece leaves by itself: the loop looks at the sockets between two of them."""
    middle = len(data) // 2
    for piece in (data[:middle], data[middle:]) if split else (data,):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
