"""What all paths tell of an answer alike: its tokens, and the extension field `ragfleet`."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from gateway.api.schemas import StreamOptions
from gateway.dispatch.attempts import Attempt
from gateway.serving.choices import Choices
from gateway.serving.generated_answer import TokenUsage


def usage_shape(usage: TokenUsage) -> dict[str, Any]:
    """OpenAI's `usage` of chats and completions."""
    shape: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }
    if usage.reasoning:
        shape["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning}
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
    return {"ragfleet": {"attempts": [asdict(attempt) for attempt in attempts]}}
