"""The words of placement: what is asked, what is chosen, why nothing could be."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from gateway.fleet.view import Instance


@dataclass(frozen=True, slots=True)
class PlacementRequest:
    """One dispatch that needs an instance. A retry with a journal is a new job with the longer prompt."""

    request_id: str
    model: str
    """The public model id that an instance must serve; "" for a context call: any instance will do."""
    prompt_ids: Sequence[int] = ()
    """Token ids of the whole prompt; their blocks are what prefix affinity knows an instance by."""
    max_tokens: int = 256
    """The most tokens the answer may have."""
    kind: Literal["generate", "context"] = "generate"
    """`context`: the short, idempotent calls of the retrieval ensemble and the embedder."""
    lora: str = ""
    cache_salt: int = 0
    """Prompts of different salts share nothing of a prefix cache."""
    tenant_class: str = ""
    tenant: str = ""
    """Whose it is: of one tenant few prompts are read at a time."""
    conversation: int = 0
    """A hash of 64 bits, the same for each turn of a conversation: during a roll-out all go to the same side."""
    begins: bool = True
    """Whether it is the first turn."""
    may_queue: bool = True
    """Whether it may go where all slots are taken though another instance has a free one: a cached prefix can be worth the wait,
    if the answers before it are as short as usual. Another tenant's may be as long as that one likes."""

    @property
    def prefix_salt(self) -> str:
        """What tells apart prompts that share no prefix cache though their tokens are the same."""
        return f"{self.lora}/{self.cache_salt}" if self.cache_salt else self.lora

    @property
    def context_tokens(self) -> int:
        """Room that prompt and answer need together."""
        return len(self.prompt_ids) + self.max_tokens


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy decided, and why in words that a log reader understands."""

    instance: Instance
    reason: str
    cached_tokens: int = 0
    """Prompt tokens that the instance is expected to find in its prefix cache."""


class Answering(NamedTuple):
    """What a host has to do for whoever asks this gateway."""

    waits: bool
    """Whether somebody waits there for a first token."""
    ago_s: float
    """Seconds since an answer was begun there; 0 while one is under way."""


class TicketOutcome(Enum):
    """How a dispatch ended. Only `OK` teaches how long answers are."""

    OK = "ok"
    CANCELLED = "cancelled"
    FAILED = "failed"
    """The instance was lost, stalled or answered with an error of its own."""
    REJECTED = "rejected"
    """The request itself was refused; says nothing about the instance."""


class Why(Enum):
    """Why no instance could be given."""

    UNKNOWN_MODEL = "unknown model"
    NONE_SERVING = "none serving"
    ALL_FAILED = "all failed"
    CONTEXT_TOO_LONG = "context too long"
    NO_KV_ROOM = "no KV room"
    NO_LORA = "no LoRA"
    TENANT_CLASS = "tenant class"


class NoInstance(Exception):
    """Nobody can take the job; `why` is for code, the message for people."""

    def __init__(self, why: Why, message: str) -> None:
        super().__init__(message)
        self.why = why
