"""The input of a batch: a file of JSON lines, each a request. It is read as it lies in the object store, never as a whole."""

import asyncio
import codecs
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]

MAX_LINES = 50_000
"""OpenAI's."""
MAX_BYTES = 200 * 1024 * 1024
"""OpenAI's."""
MAX_ERRORS = 50
"""That are told of one file."""
_PIECE = 256 * 1024
"""Bytes of lines that are parsed at a time, in a thread."""
_FIELDS = ("custom_id", "method", "url", "body")


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A line. `number` counts from 1."""

    number: int
    custom_id: str
    body: Json


@dataclass(slots=True)
class InputCheck:
    """What is known of a file after it was read."""

    total: int = 0
    errors: list[Json] = field(default_factory=list)
    """As OpenAI tells them: code, message, line, param."""

    def wrong(self, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        """One more error."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append({"code": code, "message": message, "line": line, "param": param})


async def check_input(blocks: AsyncIterable[bytes], endpoint: str, *, max_line_bytes: int) -> InputCheck:
    """Read all of a file for an endpoint, and see whether each line is a request for it."""
    check, seen = InputCheck(), set[bytes]()
    async for lines in _lines(blocks, max_line_bytes):
        await asyncio.to_thread(_check_lines, lines, endpoint, check, seen, max_line_bytes)
        if check.total > MAX_LINES or len(check.errors) >= MAX_ERRORS:
            break
    if check.total > MAX_LINES:
        check.errors.clear()
        check.wrong("too_many_tasks", f"The batch has more than {MAX_LINES} requests; make several of it.")
    elif not check.total and not check.errors:
        check.wrong("empty_file", "The input file has no requests.")
    return check


async def read_requests(blocks: AsyncIterable[bytes], *, max_line_bytes: int) -> AsyncIterator[RequestLine]:
    """The requests of a file that was checked."""
    async for lines in _lines(blocks, max_line_bytes):
        for request in await asyncio.to_thread(_requests, lines):
            yield request


async def _lines(blocks: AsyncIterable[bytes], max_line_bytes: int) -> AsyncIterator[Mapping[int, bytes]]:
    """Lines that are not empty, by their numbers, some at a time. One that is too long is cut behind the limit."""
    number, size, rest, found = 0, 0, b"", dict[int, bytes]()
    begun = False
    async for block in blocks:
        text = block if begun else block.removeprefix(codecs.BOM_UTF8)
        begun = True
        *whole, tail = text.split(b"\n")
        if whole:
            whole[0] = rest + whole[0]
            rest = tail
        elif len(rest) <= max_line_bytes:
            rest += tail
        for line in whole:
            number += 1
            if line.strip():
                found[number] = line[: max_line_bytes + 1]
                size += len(found[number])
        if size > _PIECE:
            yield found
            size, found = 0, {}
    if rest.strip():
        found[number + 1] = rest
    if found:
        yield found


def _check_lines(lines: Mapping[int, bytes], endpoint: str, check: InputCheck, seen: set[bytes], limit: int) -> None:
    for number, raw in lines.items():
        check.total += 1
        if len(raw) > limit:
            check.wrong("line_too_long", f"A line has more than {limit} bytes.", number)
            continue
        try:
            line = orjson.loads(raw)
        except orjson.JSONDecodeError:
            line = None
        if not isinstance(line, dict):
            check.wrong("invalid_json_line", "This line is not parseable as a JSON object.", number)
            continue
        if missing := [name for name in _FIELDS if line.get(name) is None]:
            check.wrong(
                "missing_required_parameter", f"Missing required parameter: '{missing[0]}'.", number, missing[0]
            )
            continue
        custom_id = line["custom_id"]
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= 512:
            check.wrong("invalid_custom_id", "custom_id is a string of 1 to 512 characters.", number, "custom_id")
        elif line["method"] != "POST":
            check.wrong("invalid_method", "method is POST.", number, "method")
        elif line["url"] != endpoint:
            check.wrong("mismatched_endpoint", f"url is the batch's endpoint, {endpoint}.", number, "url")
        elif not isinstance(line["body"], dict):
            check.wrong("invalid_body", "body is a JSON object.", number, "body")
        elif (digest := hashlib.sha256(custom_id.encode()).digest()) in seen:
            check.wrong("duplicate_custom_id", "The custom_id is given more than once.", number, "custom_id")
        else:
            seen.add(digest)


def _requests(lines: Mapping[int, bytes]) -> list[RequestLine]:
    read = ((number, orjson.loads(raw)) for number, raw in lines.items())
    return [RequestLine(number, line["custom_id"], line["body"]) for number, line in read]
