"""What an engine tells beside a stream's token ids: how likely each token was, and which others."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson


class TokenLogProb(NamedTuple):
    """One token of an answer, as the model itself saw it: before bias, penalties and temperature."""

    token: int
    log_prob: float
    """Natural logarithm of its probability."""
    top: Sequence[tuple[int, float]]
    """The likeliest tokens and theirs, the likeliest first; as many as were asked for."""


class LogProbReader:
    """Reads the events of one stream in place of `orjson.loads`, and keeps what they tell. top: alternatives that were asked for.

    An event without it becomes the refusal of an engine that cannot tell: one that does not know an input of ours takes no notice
    of it.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._read: list[TokenLogProb] = []

    def __call__(self, raw: bytes) -> Any:
        """The event. Raises ValueError where it cannot be read."""
        event = orjson.loads(raw)
        ids = _many(event.get("output_ids", []))
        if not ids:
            return event
        log_probs = _many(event.get("output_log_probs", []))[-len(ids) :]  # the new ones, where all so far are told
        if len(log_probs) < len(ids):
            return _refusal("return_log_probs")
        top: list[Sequence[tuple[int, float]]] = [()] * len(ids)
        if self._top:
            pairs = list(zip(_many(event.get("top_token_ids", [])), _many(event.get("top_log_probs", [])), strict=True))
            if not pairs or len(pairs) % len(ids):
                return _refusal("num_top_log_probs")
            each = len(pairs) // len(ids)
            top = [pairs[begin : begin + each] for begin in range(0, len(pairs), each)]
        self._read += map(TokenLogProb, ids, log_probs, top)
        return event

    def take(self, count: int) -> list[TokenLogProb]:
        """Of the next so many ids."""
        taken, self._read = self._read[:count], self._read[count:]
        return taken


def _many(value: Any) -> list[Any]:
    """A tensor in an event: a number where it has one."""
    return value if isinstance(value, list) else [value]


def _refusal(name: str) -> dict[str, str]:
    return {"error": f"llm: bad request: {name}: this engine does not tell"}
