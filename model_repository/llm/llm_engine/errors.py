"""What an engine answers instead of tokens. Each text starts with words that the gateway knows (docs/contracts.md)."""


class LlmError(Exception):
    """Ends one request; the text goes to the client as it is."""


class InvalidRequest(LlmError):
    """The request can never be served as it is; names the field at fault."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"llm: bad request: {field}: {why}")


class EngineQueueFull(LlmError):
    """No room to wait; another instance, or the same one later, can serve it."""

    def __init__(self, why: str) -> None:
        super().__init__(f"llm: queue full: {why}")


class EngineFailed(LlmError):
    """The engine broke while it worked on the request."""

    def __init__(self, why: str) -> None:
        super().__init__(f"llm: engine failed: {why}")
