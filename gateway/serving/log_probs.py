"""The log probabilities of an answer's tokens, told when their text is."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from gateway.serving.reasoning import Thinking
from gateway.triton.log_probs import TokenLogProb
from tokens.detokenizer import IncrementalDetokenizer
from tokens.vocabulary import TokenTable


class SpelledToken(NamedTuple):
    """A token that was given or could have been."""

    text: str
    """With U+FFFD for what is no whole character. A special token's name, though that is no part of an answer."""
    data: bytes
    log_prob: float


class ToldToken(NamedTuple):
    """A token of the answer."""

    start: int
    """Where it begins in the answer's text, in characters."""
    token: SpelledToken
    top: Sequence[SpelledToken]
    """The likeliest ones in its place, the likeliest first, as many as were asked for."""


class AnswerLogProbs:
    """Those of one answer. A token is told as soon as a character behind its beginning is shown, and never where a stop string
    swallowed it."""

    def __init__(self, table: TokenTable, thinking: Thinking | None = None) -> None:
        """thinking: follows the same tokens, for nothing is told of thoughts."""
        self._table = table
        self._thinking = thinking
        self._detokenizer = IncrementalDetokenizer(table)
        self._held: deque[tuple[int, TokenLogProb]] = deque()
        self._ready: list[ToldToken] = []
        self._length = 0
        self._shown = 0
        self._sum = 0.0
        self._count = 0

    @property
    def mean(self) -> float:
        """Of all that were told: the higher, the more the model thinks of its answer."""
        return self._sum / self._count if self._count else 0.0

    def push(self, told: Sequence[TokenLogProb]) -> None:
        """These tokens came."""
        for each in told:
            if each.token in self._table.end_ids:
                return
            if self._thinking is not None and self._thinking.takes(each.token):
                continue
            self._held.append((self._length, each))
            self._length += len(self._detokenizer.push(each.token))

    def show(self, characters: int, *, whole: bool) -> None:
        """So many more characters of the answer are shown; whole: it ended, and nothing of it was cut off."""
        self._shown += characters
        while self._held and (whole or self._held[0][0] < self._shown):
            start, told = self._held.popleft()
            top = [self._spelled(token, log_prob) for token, log_prob in told.top]
            self._ready.append(ToldToken(start, self._spelled(told.token, told.log_prob), top))
            self._sum += told.log_prob
            self._count += 1

    def take(self) -> list[ToldToken]:
        """What is to be told since the last call."""
        taken, self._ready = self._ready, []
        return taken

    def _spelled(self, token: int, log_prob: float) -> SpelledToken:
        if token in self._table.special_names:
            data = self._table.special_names[token].encode()
        else:  # a model's vocabulary can be padded beyond its tokenizer's
            data = self._table.bytes_of[token] if token < self._table.vocab_size else b""
        return SpelledToken(data.decode("utf-8", "replace"), data, log_prob)
