"""What every engine offers to the model, and what the model offers to every engine."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from llm_engine.guided_decoding import GuideCompiler
from llm_engine.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One look at an engine. Requests, KV blocks and tokens; the terms are those of TensorRT-LLM's metrics."""

    waiting: int
    """Accepted, but in no slot yet."""
    active: int
    """In a slot: reading its prompt or generating."""
    scheduled: int
    """In the step that runs now."""
    context: int
    """Of the active, those whose prompt is being read."""
    max: int
    """Slots."""
    kv_max: int
    kv_used: int
    """Blocks held by active requests. Cached blocks that nobody uses count as free: they go when room is needed."""
    kv_tokens_per: int
    kv_reused: int
    """Blocks taken from the prefix cache instead of being computed, since the start."""
    iterations: int = 0
    """Steps that ended, since the start. An engine that has requests and makes none stands."""

    @property
    def kv_free(self) -> int:
        """Blocks that a new request could have."""
        return self.kv_max - self.kv_used


class TokenLogProbs(NamedTuple):
    """What the model itself thought of a token: before bias, penalties and temperature."""

    chosen: float
    """Natural logarithm of the token's probability."""
    top: Sequence[tuple[int, float]] = ()
    """The likeliest tokens and theirs, the likeliest first, where they are asked for."""


class Sink(Protocol):
    """Where the tokens of one request go. An engine ends it exactly once: a `last` token, `end` or `fail`."""

    def began(self, reused_blocks: int) -> None:
        """Before the first token, by an engine that knows it: so many blocks of the prompt came from the prefix cache."""

    def token(self, token: int, *, last: bool, log_probs: TokenLogProbs | None = None) -> None:
        """The next token; log_probs where they are asked for."""

    def end(self) -> None:
        """No further token: the end token came, or the request was cancelled."""

    def fail(self, message: str) -> None:
        """It broke; `message` begins with `llm:`."""


class Engine(Protocol):
    """An in-flight batcher. All methods may be called from any thread and return at once (but `close`)."""

    vocab_size: int
    max_context: int
    gives_log_probs: bool
    loras: Collection[int]
    """Task ids of the adapters that it has."""

    @property
    def guides(self) -> GuideCompiler | None:
        """Makes the constraint of a guided request before it is submitted. None: the engine reads `guided` itself, or refuses."""

    def submit(self, key: int, request: Request, sink: Sink) -> None:
        """Take a request. Raises QueueFull or BadRequest; the sink is untouched then."""

    def cancel(self, key: int) -> None:
        """End a request; its sink's `end` follows soon. An unknown key is no error: it may just have ended."""

    def stats(self) -> Stats:
        """The state now."""

    def close(self) -> None:
        """End every request and every thread."""
