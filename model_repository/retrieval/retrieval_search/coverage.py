"""Of passages in their order the best few, so that each thing that the question names has one among them. No I/O.

"Compare invoice A with B": both searches may have ten passages that are like A before the first of B.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

PASSAGES_OF_ONE = 2
"""That each of several things gets, where there is room. Higher: less room for what is found by its meaning."""


def covering(holders: Sequence[Set[str]], most: int) -> list[int]:
    """The places of at most `most` passages, in their order. holders: which of the question's things each passage has, best
    passage first. The first one stays, whatever it has; what leaves for another is the last one that is not needed.
    """
    things = list(
        dict.fromkeys(frozenset(at for at, has in enumerate(holders) if thing in has) for thing in _all(holders))
    )
    kept = list(range(min(most, len(holders))))
    if len(holders) <= most or not things:
        return kept
    each = max(1, min(PASSAGES_OF_ONE, most // len(things))) if len(things) > 1 else 1
    for wanted in range(1, each + 1):
        needed = {0}
        for places in things:
            needed.update(sorted(places)[:wanted])
        for place in sorted(needed.difference(kept)):
            spare = [at for at in kept if at not in needed]
            if not spare:
                break
            kept.remove(spare[-1])
            kept.append(place)
    return sorted(kept)


def _all(holders: Sequence[Set[str]]) -> list[str]:
    return list(dict.fromkeys(thing for has in holders for thing in sorted(has)))
