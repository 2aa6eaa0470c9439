"""Which instance probably holds which prompt prefix in its KV cache.

A prompt is known by the chained hashes of its whole token blocks, so that equal keys mean equal tokens from the
start. Per instance the keys live in an LRU of the engine's own capacity. A prompt's blocks are touched from its end
to its start: eviction takes leaves first, as the engines do, so whoever holds block k holds every block before it.
That is what lets `depth` be a binary search and `holders` look at the deepest block alone.
"""

from array import array
from collections import OrderedDict
from collections.abc import Container, Sequence
from zlib import crc32

from gateway.routing.slot_prompts import SlotPrompts

DEFAULT_CAPACITY = 1024
"""Blocks taken for an instance's capacity until its metrics tell."""


class PrefixIndex:
    """Bounded: at most `capacity(instance)` keys an instance and `max_blocks` in all (about 250 bytes a key)."""

    def __init__(self, *, block_tokens: int = 32, max_blocks: int = 2_000_000) -> None:
        self.block_tokens = block_tokens
        self._max_blocks = max_blocks
        self._held: dict[str, OrderedDict[int, None]] = {}
        self._capacity: dict[str, int] = {}
        self._holders: dict[int, dict[str, None]] = {}
        self._slots: dict[str, SlotPrompts] = {}

    def __len__(self) -> int:
        """Keys held, over all instances."""
        return sum(len(held) for held in self._held.values())

    def keys(self, token_ids: Sequence[int], *, salt: str = "") -> list[int]:
        """One chained key for each whole block of the prompt; `salt` tells apart what never shares KV (LoRAs, tenants).

        Numbers alone are hashed, for Python's hashes of text differ from process to process and all gateways must agree.
        """
        size = self.block_tokens * 4
        raw = array("i", token_ids).tobytes()
        number = int.from_bytes
        keys: list[int] = []
        key = crc32(salt.encode())
        for end in range(size, len(raw) + 1, size):
            key = hash((key, number(raw[end - size : end], "little")))
            keys.append(key)
        return keys

    def resize(self, name: str, kv_tokens: float, *, prompts: int = 0) -> None:
        """The instance's KV cache holds so many tokens; with `prompts`, of at most so many prompts."""
        self._capacity[name] = max(int(kv_tokens) // self.block_tokens, 1)
        if prompts and name not in self._slots:
            self._slots[name] = SlotPrompts(prompts)

    def capacity(self, name: str) -> int:
        """Blocks remembered for an instance: the engine's own capacity, within a fair share of the bound."""
        share = max(self._max_blocks // max(len(self._held), 1), 1)
        return min(self._capacity.get(name, DEFAULT_CAPACITY), share)

    def record(self, name: str, keys: Sequence[int]) -> None:
        """The instance computes (or reuses) this prompt now."""
        held = self._held.get(name)
        if held is None:
            held = self._held[name] = OrderedDict()
        holders = self._holders
        for key in reversed(keys):
            if key in held:
                held.move_to_end(key)
            else:
                held[key] = None
                who = holders.get(key)
                if who is None:
                    holders[key] = {name: None}
                else:
                    who[name] = None
        if name in self._slots:
            for key in self._slots[name].take(keys):
                if key in held:
                    del held[key]
                    self._drop(name, key)
        excess = len(held) - self.capacity(name)
        for _ in range(excess):
            self._drop(name, held.popitem(last=False)[0])

    def _drop(self, name: str, key: int) -> None:
        who = self._holders[key]
        del who[name]
        if not who:
            del self._holders[key]

    def forget(self, name: str) -> None:
        """The instance is gone or restarted: its cache is empty."""
        for key in self._held.pop(name, ()):
            self._drop(name, key)
        self._capacity.pop(name, None)
        self._slots.pop(name, None)

    def depth(self, name: str, keys: Sequence[int]) -> int:
        """How many leading blocks of the prompt the instance holds."""
        held = self._held.get(name)
        return _leading(keys, held) if held else 0

    def depths(self, names: Sequence[str], keys: Sequence[int], deepest: int) -> list[int]:
        """`depth` of each: most instances hold nothing of a prompt, and of the others most hold all that anyone does."""
        if not deepest:
            return [0] * len(names)
        some, most, depth = self._holders[keys[0]], self._holders[keys[deepest - 1]], self.depth
        return [0 if name not in some else deepest if name in most else depth(name, keys) for name in names]

    def holders(self, keys: Sequence[int], limit: int, deepest: int) -> list[str]:
        """Up to `limit` instances that hold something of the prompt, those that hold most of it first."""
        if not deepest:
            return []
        known = self._holders
        depth, stride = deepest, 1
        found: dict[str, None] = {}
        limit = min(limit, len(known[keys[0]]))  # nobody holds a later block without the first
        while depth > 0 and len(found) < limit:
            for name in known[keys[depth - 1]]:
                found[name] = None
                if len(found) >= limit:
                    break
            depth -= stride  # ever larger steps back: a long prompt costs its logarithm
            stride *= 2
        return list(found)

    def deepest(self, keys: Sequence[int]) -> int:
        """How many leading blocks of the prompt anyone holds."""
        return _leading(keys, self._holders)


def _leading(keys: Sequence[int], known: Container[int]) -> int:
    """How many of the first keys are known; no later one is without those before it."""
    if not keys or keys[0] not in known:
        return 0
    if keys[-1] in known:
        return len(keys)
    low, high = 1, len(keys)
    while low < high:
        middle = (low + high + 1) // 2
        if keys[middle - 1] in known:
            low = middle
        else:
            high = middle - 1
    return low
