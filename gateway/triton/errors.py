"""What an instance can do wrong, seen from the gateway, and what each kind means for the next attempt."""

from enum import StrEnum


class Cause(StrEnum):
    """Why an attempt on an instance ended. The value is what metrics and migration trails show."""

    CONNECT = "connect"  # nobody answers at its port
    RESET = "reset"  # the connection broke: the process died or was restarted
    STALL = "stall"  # no first or next token within the deadline
    ENGINE = "engine"  # the engine reported an error
    BUSY = "busy"  # its queue is full: healthy, but not now
    DRAIN = "drain"  # it is leaving the fleet and its patience is over
    QUEUED = "queued"  # it waits for a slot there, and another instance has a free one
    STALE = "stale"  # a kept connection had been closed meanwhile; says nothing about the instance


class InstanceError(Exception):
    """An attempt on one instance failed; another instance may succeed."""

    def __init__(self, cause: Cause, message: str) -> None:
        super().__init__(message)
        self.cause = cause

    @property
    def blames_instance(self) -> bool:
        """Whether the instance's health is in doubt (a full queue or a drain is not a fault)."""
        return self.cause not in (Cause.BUSY, Cause.DRAIN, Cause.QUEUED, Cause.STALE)


class Refusal(StrEnum):
    """Why a model refuses a request, whichever instance it is sent to."""

    BAD_REQUEST = "bad request"
    TOO_LONG = "too long"
    BAD_MESSAGES = "bad messages"
    BAD_EFFORT = "bad reasoning effort"
    RETRIEVAL_UNAVAILABLE = "retrieval unavailable"
    NOT_FOUND = "not found"
    BAD_QUERY = "bad query"


class RequestRefused(Exception):
    """The model refused the request itself: no instance will take it. `reason` is the text after the model's prefix."""

    def __init__(self, kind: Refusal, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


_REFUSALS = {
    "llm: bad request:": Refusal.BAD_REQUEST,
    "prompt: too long:": Refusal.TOO_LONG,
    "prompt: bad messages:": Refusal.BAD_MESSAGES,
    "prompt: bad reasoning effort:": Refusal.BAD_EFFORT,
    "prompt: bad tools:": Refusal.BAD_REQUEST,
    "retrieval: unavailable:": Refusal.RETRIEVAL_UNAVAILABLE,
    "retrieval: not found:": Refusal.NOT_FOUND,
    "retrieval: bad query:": Refusal.BAD_QUERY,
}


# The last is Triton's for what has waited in a model's queue for longer than that queue allows: the instance has too much to do.
_QUEUED = ("llm: queue full", "Exceeds maximum queue size", "Request timeout expired")


def from_model(text: str) -> InstanceError | RequestRefused:
    """Translate the error text of a model (docs/contracts.md) or of Triton itself."""
    for prefix, kind in _REFUSALS.items():
        if (at := text.find(prefix)) >= 0:
            return RequestRefused(kind, text[at + len(prefix) :].strip())
    if any(words in text for words in _QUEUED):
        return InstanceError(Cause.BUSY, text)
    return InstanceError(Cause.ENGINE, text)
