"""Stop words as token ids: when an answer ends with one of them, it ends there."""

from collections.abc import Sequence

Words = tuple[tuple[int, ...], ...]


class StopWatch:
    """Watches one answer. The ids of a stop word are part of the output, as in TensorRT-LLM."""

    __slots__ = ("_longest", "_tail", "_words")

    def __init__(self, words: Words) -> None:
        self._words = words
        self._longest = max(map(len, words), default=0)
        self._tail: list[int] = []

    def ends_with(self, token: int) -> bool:
        """Whether the answer, with this token added, ends with a stop word."""
        if not self._words:
            return False
        tail = self._tail
        tail.append(token)
        del tail[: -self._longest]
        return any(tail[-len(word) :] == list(word) for word in self._words)


def parse(flat: Sequence[int], ends: Sequence[int]) -> Words:
    """TensorRT-LLM's word list: all words' ids in a row, and where each word ends in it, filled up with -1.

    Raises ValueError with a reason.
    """
    words: list[tuple[int, ...]] = []
    begin = 0
    for end in ends:
        if end < 0:
            break
        if not begin < end <= len(flat):
            raise ValueError(f"the second row must hold rising ends of words within the first, not {list(ends)}")
        words.append(tuple(int(token) for token in flat[begin:end]))
        begin = int(end)
    if any(token < 0 for word in words for token in word):
        raise ValueError("the words in the first row must be token ids")
    return tuple(words)
