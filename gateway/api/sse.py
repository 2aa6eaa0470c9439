"""Server-sent events, built for the hot path: of the events of one answer, what is the same in each is serialised once."""

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any

import orjson

from gateway import errors

DONE = b"data: [DONE]\n\n"
_HOLE = token_hex(16)
"""Stands for a text that is to come; nobody sees it."""


def sse(body: Mapping[str, Any], *, name: str = "") -> bytes:
    """One event; `name` for those that have one."""
    head = f"event: {name}\ndata: ".encode() if name else b"data: "
    return b"".join((head, orjson.dumps(body), b"\n\n"))


def error_event(error: errors.RagfleetError) -> bytes:
    """The end of a stream that failed after its headers had gone out; the openai client raises it."""
    return sse(errors.body(error)) + DONE


class TextEvent:
    """An event that comes again and again with another text: each costs the JSON string of its text and one join.

    body: the event's for a text, which must be in it once.
    """

    __slots__ = ("after", "before")

    def __init__(self, body: Callable[[str], Mapping[str, Any]], *, name: str = "") -> None:
        self.before, self.after = sse(body(_HOLE), name=name).split(orjson.dumps(_HOLE))

    def __call__(self, text: str) -> bytes:
        """The event with this text."""
        return b"".join((self.before, orjson.dumps(text), self.after))
