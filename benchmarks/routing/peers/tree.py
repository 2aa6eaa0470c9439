"""Who was sent which prefix: the peers' own approximate trees, with their bounds."""

from collections import OrderedDict
from collections.abc import Collection, Sequence


class PrefixTree:
    """Block keys per worker; with `bound`, each worker keeps its most recently used so many."""

    def __init__(self, workers: int, bound: int | None = None) -> None:
        self._held: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(workers)]
        self._who: dict[int, dict[int, None]] = {}
        self._bound = bound
        self.size = [0] * workers

    def add(self, worker: int, keys: Sequence[int]) -> None:
        """The worker was sent this prompt."""
        held, who = self._held[worker], self._who
        for key in reversed(keys):
            if key in held:
                held.move_to_end(key)
            else:
                held[key] = None
                who.setdefault(key, {})[worker] = None
        if self._bound is not None:
            while len(held) > self._bound:
                self._drop(worker, held.popitem(last=False)[0])
        self.size[worker] = len(held)

    def _drop(self, worker: int, key: int) -> None:
        who = self._who[key]
        del who[worker]
        if not who:
            del self._who[key]

    def remove(self, worker: int) -> None:
        """The worker is gone."""
        for key in self._held[worker]:
            self._drop(worker, key)
        self._held[worker].clear()
        self.size[worker] = 0

    def deepest(self, keys: Sequence[int], among: Collection[int]) -> tuple[int, list[int]]:
        """The longest match in blocks, and which of `among` have it."""
        for depth in range(len(keys), 0, -1):
            holders = [w for w in self._who.get(keys[depth - 1], ()) if w in among]
            if holders:
                return depth, holders
        return 0, []

    def depths(self, keys: Sequence[int], limit: int) -> dict[int, int]:
        """For each worker with a match, its length in blocks, at most `limit`."""
        found: dict[int, int] = {}
        for depth in range(min(len(keys), limit), 0, -1):
            for worker in self._who.get(keys[depth - 1], ()):
                found.setdefault(worker, depth)
        return found
