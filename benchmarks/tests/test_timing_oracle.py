"""How the timing oracle is judged: what tells nothing passes, what tells does not, and the measure can be told wrong."""

import random

from benchmarks.timing_oracle.__main__ import BAR, PROBER, ROUNDS, VICTIM, bar, judged, oracle


class Service:
    """Answers in times of its own; with a cache a text that was asked before comes sooner."""

    def __init__(self, *, shared: bool) -> None:
        self.asked = 0
        self._shared = shared
        self._known: set[str] = set()
        self._rng = random.Random(7)

    async def ask(self, key: str, text: str) -> float:
        """Seconds."""
        self.asked += 1
        told = text if self._shared else f"{key} {text}"
        known = told in self._known
        self._known.add(told)
        return self._rng.uniform(1, 2) - 0.8 * known


async def test_what_tells_nothing_passes_and_what_tells_does_not() -> None:
    apart, shared = Service(shared=False), Service(shared=True)
    found, with_it, without = await judged(apart.ask, 200, random.Random(3))
    assert abs(found - 0.5) <= BAR
    assert len(with_it) == len(without)
    found, with_it, _ = await judged(shared.ask, 20, random.Random(3))
    assert found > 0.5 + bar(20)
    assert len(with_it) == ROUNDS * 20, "no round of it passes"


async def test_within_one_tenant_the_oracle_is_right() -> None:
    found, _, _ = await oracle(Service(shared=False).ask, PROBER, 20, random.Random(3))
    assert found > 0.9
    assert PROBER != VICTIM
