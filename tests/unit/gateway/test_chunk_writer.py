"""Chunks built by hand are the ones that a serialiser would write."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.api.chat_chunks import ChunkWriter
from gateway.api.sse import TextEvent, error_event
from gateway.errors import BadRequest

words = st.text(st.characters(exclude_categories=["Cs"]))


def writer(usage_null: bool, model: str = "tiny") -> ChunkWriter:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": model}
    return ChunkWriter(base, lambda: {"usage": None} if usage_null else {})


def chunk(choices: list[Any], usage_null: bool, model: str = "tiny", **extra: Any) -> dict[str, Any]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": model, "choices": choices}
    return base | extra | ({"usage": None} if usage_null else {})


def read(event: bytes) -> Any:
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    data = event[6:-2]
    assert b"\n" not in data
    return orjson.loads(data)


@given(words, words, st.booleans())
def test_text_equals_the_serialised_whole(piece: str, model: str, usage_null: bool) -> None:
    choice = {"index": 0, "delta": {"content": piece}, "logprobs": None, "finish_reason": None}
    assert read(writer(usage_null, model).text(piece)) == chunk([choice], usage_null, model)


@given(words, words)
def test_text_events_equal_the_serialised_whole(text: str, other: str) -> None:
    event = TextEvent(lambda piece: {"before": other, "text": piece, "after": [other]}, name="delta")
    whole = orjson.dumps({"before": other, "text": text, "after": [other]})
    assert event(text) == b"event: delta\ndata: " + whole + b"\n\n"


@pytest.mark.parametrize("usage_null", [False, True])
def test_first_and_last_chunks(usage_null: bool) -> None:
    w = writer(usage_null)
    hello = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None, "logprobs": None}
    assert read(w.role(None)) == chunk([hello], usage_null)
    assert read(w.role({"grounded": True})) == chunk([hello], usage_null, rag={"grounded": True})
    end = {"index": 0, "delta": {}, "finish_reason": "stop", "logprobs": None}
    assert read(w.finish("stop", [], {"ragfleet": {}})) == chunk([end], usage_null, ragfleet={})
    cited = {**end, "delta": {"annotations": [{"type": "url_citation"}]}}
    assert read(w.finish("stop", [{"type": "url_citation"}], {})) == chunk([cited], usage_null)


def test_error_event() -> None:
    error, done, rest = error_event(BadRequest("no")).split(b"\n\n")
    assert orjson.loads(error.removeprefix(b"data: "))["error"]["message"] == "no"
    assert (done, rest) == (b"data: [DONE]", b"")
