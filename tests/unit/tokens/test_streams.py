"""Many streams through one detokenizer."""

from __future__ import annotations

import json

from tests.unit.tokens.test_tokens import byte_level
from tokens import StreamDetokenizers, TokenTable

TABLE = TokenTable(json.loads(byte_level().to_str()))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_streams_do_not_mix() -> None:
    streams = StreamDetokenizers(TABLE)
    smile, wave = TABLE.encode("😀"), TABLE.encode("👋")
    texts: dict[str, str] = {"a": "", "b": ""}
    for one, other in zip(smile, wave, strict=True):
        texts["a"] += streams.push("a", [one])
        texts["b"] += streams.push("b", [other])
    assert texts == {"a": "😀", "b": "👋"}


def test_silent_streams_are_forgotten() -> None:
    clock = Clock()
    streams = StreamDetokenizers(TABLE, idle_s=60, clock=clock)
    first, *rest = TABLE.encode("😀")
    streams.push("a", [first])
    clock.now = 59
    assert streams.push("b", [first]) == ""
    assert len(streams) == 2
    clock.now = 60
    assert streams.push("b", rest) == "😀"
    assert len(streams) == 1


def test_the_longest_silent_makes_room() -> None:
    streams = StreamDetokenizers(TABLE, capacity=2)
    first, *rest = TABLE.encode("😀")
    for name in ("a", "b", "a", "c"):
        streams.push(name, TABLE.encode("x"))
    assert len(streams) == 2
    streams.push("a", [first])
    assert streams.push("a", rest) == "😀"
