"""Server-sent events of a streamed chat completion, built for the hot path.

What is the same in every chunk of one answer is serialised once; a token costs the JSON string of its text and one join.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

DONE = b"data: [DONE]\n\n"


class ChunkWriter:
    """Builds the chunks of one answer (`chat.completion.chunk`)."""

    def __init__(self, *, completion_id: str, created: int, model: str, usage_null: bool) -> None:
        self._base = {"id": completion_id, "object": "chat.completion.chunk", "created": created, "model": model}
        self._usage_null = usage_null
        head = orjson.dumps({**self._base, "choices": None}).removesuffix(b"null}")
        self._before = b"data: " + head + b'[{"index":0,"delta":{"content":'
        self._after = b'},"logprobs":null,"finish_reason":null}]' + (b',"usage":null' if usage_null else b"") + b"}\n\n"

    def text(self, piece: str) -> bytes:
        """A chunk with a piece of the answer."""
        return b"".join((self._before, orjson.dumps(piece), self._after))

    def role(self, rag: Mapping[str, Any] | None) -> bytes:
        """The first chunk: who speaks, and the sources where there are any (extension field `rag`)."""
        extra = {} if rag is None else {"rag": rag}
        return self._event({"delta": {"role": "assistant", "content": ""}, "finish_reason": None}, extra)

    def finish(self, reason: str, annotations: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> bytes:
        """The last chunk with a choice: why the answer ended, and its citations."""
        delta: dict[str, Any] = {"annotations": annotations} if annotations else {}
        return self._event({"delta": delta, "finish_reason": reason}, extra)

    def usage(self, usage: Mapping[str, Any]) -> bytes:
        """The chunk after the last one, for `stream_options.include_usage`: no choices."""
        return b"data: " + orjson.dumps({**self._base, "choices": [], "usage": usage}) + b"\n\n"

    def _event(self, choice: Mapping[str, Any], extra: Mapping[str, Any]) -> bytes:
        body: dict[str, Any] = {**self._base, "choices": [{"index": 0, **choice, "logprobs": None}], **extra}
        if self._usage_null:
            body["usage"] = None
        return b"data: " + orjson.dumps(body) + b"\n\n"


def error_event(body: Mapping[str, Any]) -> bytes:
    """An error after the headers have gone out; the openai client raises it."""
    return b"data: " + orjson.dumps(body) + b"\n\n"
