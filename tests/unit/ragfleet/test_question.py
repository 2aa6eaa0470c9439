"""A streamed answer is read piece by piece, its sources with it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import IncompleteRead
from typing import Any

import pytest

from ragfleet import question
from ragfleet.question import AskError, CitedAnswer

SOURCE = {"n": 1, "file_id": "f", "filename": "a.md", "index": 0, "text": "t", "score": 0.7, "page": 0}


def chunk(delta: dict[str, Any], **extra: Any) -> dict[str, Any]:
    return {"model": "rag:default", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **extra}


def read(
    monkeypatch: pytest.MonkeyPatch, *chunks: dict[str, Any], store: str | None = "default"
) -> tuple[str, CitedAnswer]:
    lines = [f"data: {json.dumps(body)}\n\n".encode() for body in chunks] + [b"data: [DONE]\n\n"]

    @contextmanager
    def fake(url: str, key: str, body: Any = None) -> Iterator[list[bytes]]:
        assert body["model"] == f"rag:{store}"
        yield lines

    monkeypatch.setattr(question, "_open", fake)
    answer = CitedAnswer()
    return "".join(question.stream("http://g", "k", "q?", store=store, max_tokens=5, answer=answer)), answer


def test_text_sources_and_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    text, answer = read(
        monkeypatch,
        chunk({"role": "assistant", "content": ""}, rag={"grounded": True, "store": "default", "sources": [SOURCE]}),
        chunk({"content": "30 "}),
        chunk({"content": "months"}),
        {
            "choices": [{"delta": {}, "finish_reason": "stop"}],
            "rag": {"citations": [{"n": 1}], "invalid_citations": []},
        },
        {"choices": [], "usage": {"total_tokens": 9}},
    )
    assert text == answer.text == "30 months"
    assert answer.grounded is True
    assert answer.sources == [SOURCE]
    assert answer.citations == [{"n": 1}]
    assert answer.finish_reason == "stop"
    assert answer.usage == {"total_tokens": 9}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (TimeoutError("timed out"), "said nothing for 120 s"),
        (ConnectionResetError(104, "Connection reset"), "broke off"),
        (IncompleteRead(b""), "broke off"),
    ],
)
def test_an_answer_that_breaks_off_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, said: str
) -> None:
    @contextmanager
    def fake(url: str, key: str, body: Any = None) -> Iterator[Iterator[bytes]]:
        def breaking() -> Iterator[bytes]:
            yield f"data: {json.dumps(chunk({'content': 'a'}))}\n\n".encode()
            raise fault

        yield breaking()

    monkeypatch.setattr(question, "_open", fake)
    with pytest.raises(AskError, match=said):
        list(question.stream("http://g", "k", "q?", store="default", max_tokens=5, answer=CitedAnswer()))


def test_an_error_in_the_stream_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AskError, match="every instance is gone"):
        read(monkeypatch, chunk({"content": "a"}), {"error": {"message": "every instance is gone"}})
