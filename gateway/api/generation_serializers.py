"""What all paths tell of an answer alike: its tokens, and the extension field `ragfleet`."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.api.chat_schemas import StreamOptions
from gateway.dispatch.attempts import Attempt
from gateway.serving.choices import Choices
from gateway.serving.generated_answer import GeneratedAnswer, TokenUsage


def usage_shape(usage: TokenUsage, *, predicted: bool = False) -> dict[str, Any]:
    """OpenAI's `usage` of chats and completions. predicted: the client has sent a prediction, none of which is used."""
    shape: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    if usage.cached:
        shape["prompt_tokens_details"] = {"cached_tokens": usage.cached}
    if usage.reasoning:
        shape["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
    if predicted:
        unused = {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
        shape["completion_tokens_details"] = {**shape.get("completion_tokens_details", {}), **unused}
    return shape


def chunk_usage(options: StreamOptions | None, choices: Choices) -> Callable[[], dict[str, Any]]:
    """The field `usage` of a chunk that is not the last one: null where the last one will have it, the tokens so far where each
    is to, nothing otherwise."""
    if options is None or not (options.include_usage or options.continuous_usage_stats):
        return dict
    if options.continuous_usage_stats:
        return lambda: {"usage": usage_shape(choices.usage)}
    return lambda: {"usage": None}


def ragfleet_field(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Which instances worked on an answer, why there, and why each part ended."""
    return {"ragfleet": {"attempts": [attempt_shape(attempt) for attempt in attempts]}}


def attempt_shape(attempt: Attempt) -> dict[str, Any]:
    """One instance's part, with the milliseconds that its first token and all of it took."""
    first = attempt.first_token_at
    return {
        "instance": attempt.instance,
        "tokens": attempt.tokens,
        "cause": attempt.cause,
        "placement": attempt.placement,
        "first_token_ms": None if first is None else round((first - attempt.started_at) * 1000),
        "ms": round((attempt.ended_at - attempt.started_at) * 1000),
    }


class AttemptNotes:
    """Tells, while an answer is streamed, which instance works on it: when the first one begins, and when another one goes on."""

    def __init__(self, answer: GeneratedAnswer, event: Callable[[Mapping[str, Any]], bytes]) -> None:
        """event: a chunk with an extension field."""
        self._answer = answer
        self._event = event
        self._told = -1

    def take(self) -> bytes:
        """The event that is due, or nothing. The attempt that goes on is the last one, and its `cause` is empty."""
        ended, running = self._answer.attempts, self._answer.running
        if running is None or len(ended) == self._told:
            return b""
        self._told = len(ended)
        return self._event(ragfleet_field([*ended, running]))
