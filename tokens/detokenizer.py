"""Text out of a stream of token ids, each piece as soon as it is whole characters."""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Iterable

from tokens.vocabulary import TokenTable


class IncrementalDetokenizer:
    """One per stream. The pieces that push() and flush() return, joined, are `table.decode` of all ids pushed.

    A character that is spread over several tokens comes with its last one; a byte that can belong to no character
    becomes U+FFFD. The state is a function of the ids alone, so it can be rebuilt from a journal of them.
    """

    __slots__ = ("_bytes_of", "_first_text_of", "_pending", "_simple", "_text_of")

    def __init__(self, table: TokenTable) -> None:
        self._bytes_of = table.bytes_of
        self._text_of = table.text_of
        self._first_text_of = table.first_text_of  # None from the first text on
        self._pending = b""
        self._simple = self._first_text_of is None  # nothing pends: a lookup is all there is to do

    @classmethod
    def resumed(cls, table: TokenTable, ids: Iterable[int]) -> IncrementalDetokenizer:
        """One that stands where a stream that pushed `ids` stood."""
        detokenizer = cls(table)
        for number in ids:
            detokenizer.push(number)
        return detokenizer

    def push(self, token_id: int) -> str:
        """The text that this token completes; "" for a special token, padding or an unfinished character."""
        try:
            text = self._text_of[token_id]
        except IndexError:  # a model's vocabulary can be padded beyond its tokenizer's
            return ""
        if token_id < 0:
            return ""
        if self._simple and text is not None:
            return text
        return self._push(token_id, text)

    def flush(self) -> str:
        """What pends at the end: U+FFFD for an unfinished character, else ""."""
        text, _ = utf_8_decode(self._pending, "replace", True)
        self._pending = b""
        self._simple = self._first_text_of is None
        return text

    def _push(self, token_id: int, text: str | None) -> str:
        piece = self._bytes_of[token_id]
        if self._first_text_of is not None and piece:
            first = self._first_text_of[token_id]
            self._first_text_of = None
            self._simple = True
            if first is not None:
                return first
        data = self._pending + piece
        text, consumed = utf_8_decode(data, "replace", False)
        self._pending = data[consumed:]
        self._simple = not self._pending and self._first_text_of is None
        return text
