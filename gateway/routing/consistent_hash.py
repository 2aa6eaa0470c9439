"""Where gateways that do not speak with each other expect the same prompt: the home of its prefix.

Each gateway knows what it dispatched itself, not where the others sent the earlier turns of a conversation. But all of them
see prompts of the same kinds, and hash alike: the shortest prefix of a prompt that is rare enough for one instance is put
on a ring of the instances. For a rare system prompt or a set of passages that is the prefix itself; for a system
prompt that half of the traffic has, each conversation behind it has a home of its own.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from hashlib import blake2b

from gateway.routing.speed import Average

BAR = 8
"""Times that a prefix was seen lately from which on it is frequent. Higher: surer, and later."""
SHARE = 0.5
"""Part of an even share of the traffic that one home may take. Higher: prefixes stay whole longer, hot spots are hotter."""
DEEPER = 8
"""Blocks counted behind the first rare one, so that the next that becomes frequent is known sooner."""
POINTS = 32
"""Places of each instance on the ring: more are evener, and cost memory."""
KEY_MASK = (1 << 63) - 1


class ConsistentHash:
    """The ring of one pool, and how often each prefix was seen. Bounded: two windows of at most BAR·instances/SHARE prompts."""

    def __init__(self) -> None:
        self._ring: list[tuple[int, str]] = []
        self._instances = 0
        self._seen: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self._prompts = 0
        self._repeats = Average(0.0, gain=0.02)
        """Share of our prompts whose first rare block we had seen before."""

    def add(self, name: str) -> None:
        """An instance joins; it becomes the home of its share of the prefixes."""
        self._instances += 1
        for number in range(POINTS):
            insort(self._ring, (_point(name, number), name))

    def remove(self, name: str) -> None:
        """An instance leaves; its prefixes go to their next on the ring."""
        self._instances -= 1
        self._ring = [place for place in self._ring if place[1] != name]

    def home(self, keys: Sequence[int]) -> str | None:
        """The instance where every gateway expects this prompt; counts the prompt. None where each of its blocks is frequent."""
        rare = self._count(keys)
        if rare is None or not self._ring:
            return None
        place = bisect_right(self._ring, (rare & KEY_MASK, ""))
        return self._ring[place % len(self._ring)][1]

    def repeated(self, others: float) -> float:
        """Share of the prompts whose rare prefix some gateway has had before, 0-1: of those that share nothing, none are at home.

        `others`: their share of the traffic; what they repeat, we see as much less of.
        """
        return min(self._repeats.value / max(1.0 - others, 0.01), 1.0)

    def _count(self, keys: Sequence[int]) -> int | None:
        """Count the frequent blocks and a few behind them; the key of the first rare one."""
        self._prompts += 1
        if self._prompts > BAR * self._instances / SHARE:
            self._before, self._seen, self._prompts = self._seen, {}, 1
        seen, before, rare, left = self._seen, self._before, None, DEEPER
        for key in keys:
            times = seen.get(key, 0)
            seen[key] = times + 1
            if rare is None and times + before.get(key, 0) < BAR:
                rare = key
                self._repeats.learn(1.0 if times or key in before else 0.0)
            if rare is not None:
                left -= 1
                if not left:
                    break
        return rare


def _point(name: str, number: int) -> int:
    """A place on the ring that every process computes alike."""
    return int.from_bytes(blake2b(f"{name}#{number}".encode(), digest_size=8).digest(), "big") & KEY_MASK
