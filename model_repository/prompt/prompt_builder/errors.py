"""What can be wrong with a prompt. The texts are part of the contract: callers tell the kinds apart by their start."""

from __future__ import annotations


class PromptError(ValueError):
    """A prompt that cannot be made from its inputs."""


class BadMessages(PromptError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"prompt: bad messages: {reason}")


class BadPassages(PromptError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"prompt: bad passages: {reason}")


class BadTools(PromptError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"prompt: bad tools: {reason}")


class BadEffort(PromptError):
    def __init__(self, reason: str) -> None:
        super().__init__(f"prompt: bad reasoning effort: {reason}")


class TooLong(PromptError):
    """Even without any passage the conversation has more tokens than the budget."""

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(f"prompt: too long: {tokens} tokens, limit {limit}")
        self.tokens = tokens
        self.limit = limit
