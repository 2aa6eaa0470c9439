"""The text side of an answer: ids in, text out, and why it ended."""

from collections.abc import Mapping, Sequence
from typing import Literal

from gateway.serving.reasoning import Reasoning
from gateway.serving.stop_strings import StopMatcher
from tokens.detokenizer import IncrementalDetokenizer
from tokens.vocabulary import TokenTable

FinishReason = Literal["stop", "length"]


class OutputProcessor:
    """Turns ids into text as they come, over the seams of a migration as if there were none."""

    def __init__(
        self,
        table: TokenTable,
        *,
        stops: Sequence[str],
        max_tokens: int,
        shown: Mapping[int, str] | None = None,
        reasoning: Reasoning | None = None,
    ) -> None:
        """shown: control tokens that are to be seen, with their text. reasoning: takes the thoughts, where there can be any."""
        self._shown = shown or {}
        self._detokenizer = IncrementalDetokenizer(table)
        self._stop = StopMatcher(stops) if stops else None
        self._max_tokens = max_tokens
        self._ends = table.end_ids
        self._reasoning = reasoning
        self._special = self._ends | self._shown.keys() | (frozenset() if reasoning is None else reasoning.markers)
        self._simple = self._stop is None and (reasoning is None or not reasoning.inside)
        """Whether all tokens but the special ones can only add text."""
        self._answered = reasoning is None
        """Whether the answer has begun, behind its thoughts and the white space that follows them."""
        self.tokens = 0
        """Tokens generated, those of a stop string included."""
        self.finish_reason: FinishReason | None = None

    def push_plain(self, ids: Sequence[int]) -> str | None:
        """`push` of ids that can only add text; None, and nothing done, where something in them could end the answer."""
        if not (self._simple and self._special.isdisjoint(ids)):
            return None
        push = self._detokenizer.push
        self.tokens += len(ids)
        return push(ids[0]) if len(ids) == 1 else "".join([push(i) for i in ids])

    def push(self, ids: Sequence[int]) -> str:
        """The text that these ids add; '' while a character or a possible stop string is incomplete."""
        if (plain := self.push_plain(ids)) is not None:
            return plain
        push = self._detokenizer.push
        out = ""
        for token in ids:
            if token in self._ends:  # an engine that knows one end token only lets the model's others through
                self.finish_reason = "stop"
                out += self._rest()
                break
            self.tokens += 1
            if self._reasoning is not None and self._reasoning.takes(token):
                continue
            piece = self._detokenizer.flush() + self._shown[token] if token in self._shown else push(token)
            out += piece if self._stop is None else self._stop.push(piece)
            if self._stop is not None and self._stop.matched is not None:
                self.finish_reason = "stop"
                break
        return out if self._reasoning is None else self._without_seam(out, self._reasoning)

    def ended(self) -> bool:
        """Whether the answer is complete."""
        return self.finish_reason is not None

    @property
    def cut(self) -> bool:
        """Whether a stop string ended it."""
        return self._stop is not None and self._stop.matched is not None

    def say_nothing(self) -> None:
        """No engine was asked."""
        self.finish_reason = "stop"

    def finish(self) -> str:
        """The engine has ended: what was held back, and the reason."""
        if self.finish_reason is not None:
            return ""
        self.finish_reason = "length" if self.tokens >= self._max_tokens else "stop"
        rest = self._rest()
        return rest if self._reasoning is None else self._without_seam(rest, self._reasoning)

    def _without_seam(self, text: str, reasoning: Reasoning) -> str:
        """The text without the white space between thoughts and answer."""
        if not self._answered:
            text = text.lstrip() if reasoning.tokens else text
            self._answered = bool(text)
        self._simple = self._stop is None and self._answered and not reasoning.inside
        return text

    def _rest(self) -> str:
        rest = self._detokenizer.flush()
        if self._stop is None:
            return rest
        out = self._stop.push(rest)
        if self._stop.matched is not None:
            self.finish_reason = "stop"
            return out
        return out + self._stop.flush()
