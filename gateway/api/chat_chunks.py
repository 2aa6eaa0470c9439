"""The chunks of a streamed chat completion."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.api.client_tools import custom_input
from gateway.api.log_prob_serializers import chat_log_probs
from gateway.api.sse import TextEvent, sse
from gateway.serving.log_probs import AnswerLogProbs
from gateway.serving.tools import ToolCall

Json = dict[str, Any]


class ChunkWriter:
    """Builds the chunks of one choice. base: what is the same in all (id, object, created, model). usage: see chunk_usage."""

    def __init__(
        self,
        base: Mapping[str, Any],
        usage: Callable[[], Mapping[str, Any]],
        *,
        index: int = 0,
        usage_changes: bool = False,
        log_probs: AnswerLogProbs | None = None,
        keeps: bool = False,
    ) -> None:
        self._kept: list[Json] | None = [] if keeps and log_probs is not None else None
        self._base = base
        self._usage = usage
        self.index = index
        self._log_probs = log_probs
        self.text: Callable[[str], bytes] = (
            (lambda text: sse(self._piece(text))) if usage_changes or log_probs is not None else TextEvent(self._piece)
        )
        """A chunk with a piece of the answer."""

    def role(self, rag: Mapping[str, Any] | None) -> bytes:
        """The first chunk: who speaks, and the sources where there are any (extension field `rag`)."""
        extra = {} if rag is None else {"rag": rag}
        return sse(self._body({"delta": {"role": "assistant", "content": ""}, "finish_reason": None}, extra))

    def thought(self, text: str) -> bytes:
        """A chunk with a piece of what the model thinks before it answers (DeepSeek's field, and vLLM's)."""
        return sse(self._body({"delta": {"reasoning_content": text}, "finish_reason": None}, {}))

    def note(self, extra: Mapping[str, Any]) -> bytes:
        """A chunk that adds nothing to the answer, with an extension field."""
        return sse(self._body({"delta": {}, "finish_reason": None}, extra))

    def call(self, index: int, part: ToolCall | str) -> bytes:
        """A chunk in which a call begins, or with a piece of its arguments."""
        if isinstance(part, str):
            told: dict[str, Any] = {"index": index, "function": {"arguments": part}}
        else:
            told = {"index": index, **tool_call(ToolCall(part.id, part.name))}
        return sse(self._body({"delta": {"tool_calls": [told]}, "finish_reason": None}, {}))

    def custom_call(self, index: int, call: ToolCall) -> bytes:
        """A chunk with a whole call of a custom tool."""
        told = {"index": index, **tool_call(call, "custom")}
        return sse(self._body({"delta": {"tool_calls": [told]}, "finish_reason": None}, {}))

    def older_call(self, index: int, part: ToolCall | str) -> bytes:
        """The same for the one call that there was before there were several."""
        told = {"arguments": part} if isinstance(part, str) else {"name": part.name, "arguments": ""}
        return sse(self._body({"delta": {"function_call": told}, "finish_reason": None}, {}))

    def finish(self, reason: str, annotations: Sequence[Mapping[str, Any]], extra: Mapping[str, Any]) -> bytes:
        """The last chunk with a choice: why the answer ended, and its citations."""
        delta: dict[str, Any] = {"annotations": annotations} if annotations else {}
        return sse(self._body({"delta": delta, "finish_reason": reason}, extra))

    @property
    def kept_log_probs(self) -> Json | None:
        """Log probabilities of the whole answer so far, where they are kept."""
        return None if self._kept is None else {"content": self._kept, "refusal": None}

    def _piece(self, text: str) -> dict[str, Any]:
        return self._body({"delta": {"content": text}, "finish_reason": None}, {})

    def _body(self, choice: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
        told = chunk_log_probs(self._log_probs)
        if self._kept is not None and told is not None:
            self._kept += told["content"]
        return {
            **self._base,
            "choices": [{"index": self.index, **choice, "logprobs": told}],
            **extra,
            **self._usage(),
        }


def chunk_log_probs(log_probs: AnswerLogProbs | None) -> dict[str, Any] | None:
    """Of the tokens since the last call."""
    return None if log_probs is None else chat_log_probs(log_probs.take())


def tool_call(call: ToolCall, kind: str | None = None) -> dict[str, Any]:
    """A call as an answer has it. kind: of its tool, "custom" or a function."""
    if kind == "custom":
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": custom_input(call)}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
