"""What an engine still knows of prompts that keeps one prompt a slot, as llama.cpp does, instead of a pool of blocks.

Its cache is full when every slot has a prompt, however short they are: counted in tokens it would seem half empty, and
conversations that were pushed out long ago would still be sent there.
"""

from collections.abc import Sequence
from itertools import takewhile

LEAST_SHARE = 0.1
"""A new prompt takes the slot of one that it shares so much of itself with (llama.cpp's `slot_prompt_similarity`)."""


class SlotPrompts:
    """The prompts of one instance's slots, as chained block keys, least recently used first."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._prompts: list[tuple[int, ...]] = []

    def take(self, keys: Sequence[int]) -> list[int]:
        """A prompt goes into a slot; returns the keys that no slot has any more, the end of the prompt first.

        It takes the slot whose prompt it continues best, else a free one, else the one unused for longest: O(slots · blocks).
        """
        if not keys:
            return []
        prompts = self._prompts
        left: tuple[int, ...] = ()
        best = max(prompts, key=lambda prompt: common(prompt, keys), default=())
        if common(best, keys) > LEAST_SHARE * len(keys):
            left = best
        elif len(prompts) >= self.slots:
            left = prompts[0]
        if left:
            prompts.remove(left)
        prompts.append(tuple(keys))
        kept = max((common(prompt, left) for prompt in prompts), default=0)
        return list(reversed(left[kept:]))


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading blocks are the same. The keys are chained: equal ones have equal beginnings."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
