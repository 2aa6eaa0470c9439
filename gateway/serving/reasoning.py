"""What a model thinks before it answers: the text between two tokens of its vocabulary, which is no part of the answer."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from tokens.detokenizer import IncrementalDetokenizer
from tokens.vocabulary import TokenTable

LOOKED_AT = 16
"""Tokens at the end of a prompt: many templates begin the thinking themselves, others say there that there is to be none."""


class ThinkingTokens(NamedTuple):
    """Where thinking begins and ends, as token ids."""

    begin: int
    end: int

    @classmethod
    def of(cls, table: TokenTable, begin: str, end: str) -> Self | None:
        """By name. None where the vocabulary does not have both."""
        named = [table.controls.get(name) for name in (begin, end)]
        ids = [token.id for token in named if token is not None]
        return cls(*ids) if len(ids) == 2 else None

    def begun(self, prompt_ids: Sequence[int]) -> bool:
        """Whether the answer to this prompt begins in the middle of thinking."""
        last = (token == self.begin for token in reversed(prompt_ids[-LOOKED_AT:]) if token in self)
        return next(last, False)


class Thinking:
    """Follows one answer's tokens into its thinking and out of it."""

    __slots__ = ("_tokens", "inside")

    def __init__(self, tokens: ThinkingTokens, prompt_ids: Sequence[int]) -> None:
        self._tokens = tokens
        self.inside = tokens.begun(prompt_ids)

    def takes(self, token: int) -> bool:
        """Whether the next token is no part of the answer: a thought, or the beginning or end of thinking."""
        if token in self._tokens:
            self.inside = token == self._tokens.begin
            return True
        return self.inside


class Reasoning:
    """One answer's thoughts, as text without the white space around it."""

    def __init__(self, table: TokenTable, tokens: ThinkingTokens, prompt_ids: Sequence[int]) -> None:
        self._thinking = Thinking(tokens, prompt_ids)
        self._detokenizer = IncrementalDetokenizer(table)
        self._pieces: list[str] = []
        self._new = ""
        self._held = ""
        """White space that ends the thoughts, where nothing follows."""
        self.markers = frozenset(tokens)
        self.tokens = 0
        """Of the thoughts, with those that begin and end them."""

    @property
    def inside(self) -> bool:
        """Whether the next token is a thought, unless it ends them."""
        return self._thinking.inside

    def takes(self, token: int) -> bool:
        """Whether the next token is a thought, which is kept here, and no part of the answer."""
        if not self._thinking.takes(token):
            return False
        self.tokens += 1
        piece = self._detokenizer.flush() if token in self.markers else self._detokenizer.push(token)
        text = self._held + piece
        if not self._pieces:
            text = text.lstrip()
        seen = text.rstrip()
        self._held = text[len(seen) :]
        if seen:
            self._pieces.append(seen)
            self._new += seen
        return True

    @property
    def text(self) -> str:
        """All so far."""
        return "".join(self._pieces)

    def take(self) -> str:
        """What is new since the last call."""
        new, self._new = self._new, ""
        return new
