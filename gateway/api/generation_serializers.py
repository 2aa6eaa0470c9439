"""What all paths tell of an answer alike: its tokens, and the extension field `ragfleet`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gateway.dispatch.attempts import Attempt
from gateway.serving.generated_answer import TokenUsage


def usage_shape(usage: TokenUsage) -> dict[str, int]:
    """OpenAI's `usage` of chats and completions."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
    }


def ragfleet_field(attempts: Sequence[Attempt]) -> dict[str, Any]:
    """Which instances worked on an answer, why there, and why each part ended."""
    return {"ragfleet": {"attempts": [asdict(attempt) for attempt in attempts]}}
