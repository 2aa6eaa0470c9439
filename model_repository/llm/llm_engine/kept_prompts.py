"""The prefix cache of an engine with a cache for each slot: what the free ones still hold of the sequences before."""

from collections.abc import Sequence
from typing import NamedTuple


class Kept(NamedTuple):
    """The tokens that a slot has keys and values of, and the salt of the request that computed them."""

    tokens: Sequence[int]
    salt: int


class KeptPrompts:
    """The free slots, the one that has been free for longest first. Not thread-safe.

    Requests of different salts share nothing, so that nobody can tell by the time of an answer what another has asked.
    """

    def __init__(self, slots: int, *, least_share: float = 0.0) -> None:
        """least_share: of a prompt, that a slot must hold more of to be taken for it. Higher: fewer others are pushed out for
        little."""
        self._least_share = least_share
        self._kept = {slot: Kept((), 0) for slot in range(slots)}

    def __bool__(self) -> bool:
        """Whether a slot is free."""
        return bool(self._kept)

    def take(self, tokens: Sequence[int], salt: int) -> tuple[int, int]:
        """A slot, which is no longer free, and how many tokens at the beginning of these it holds: the one that holds most of
        them, else the one that has been free for longest."""
        begins = {slot: common(kept.tokens, tokens) if kept.salt == salt else 0 for slot, kept in self._kept.items()}
        slot = max(begins, key=begins.__getitem__)  # of equals the first
        if begins[slot] <= self._least_share * len(tokens):
            slot = next(iter(begins))
        del self._kept[slot]
        return slot, begins[slot]

    def put(self, slot: int, tokens: Sequence[int], salt: int) -> None:
        """The slot is free, and holds these."""
        self._kept[slot] = Kept(tokens, salt)


def common(kept: Sequence[int], wanted: Sequence[int]) -> int:
    """How many tokens two sequences begin alike with."""
    if kept[: len(wanted)] == wanted:
        return len(wanted)
    return next((n for n, (a, b) in enumerate(zip(kept, wanted, strict=False)) if a != b), min(len(kept), len(wanted)))
