"""The accounts of a paged KV cache: which blocks live requests hold, which are kept for their prefixes."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class KvLease:
    """What one request holds."""

    shared: list[int] = field(default_factory=list)
    """Keys of the blocks that others may use too, from the start of the sequence on."""
    private: int = 0
    """Blocks that are not full yet, or not computed yet."""


class BlockPool:
    """A fixed number of blocks.

    A full block is known by a key that stands for all tokens up to its end. A block is either private to one lease,
    shared by one or more, or idle: kept for its prefix, least recently used first out, the ends of a sequence before
    its beginnings.
    """

    def __init__(self, capacity: int, *, reuse: bool = True) -> None:
        self.capacity = capacity
        self.reused = 0
        self._reuse = reuse
        self._users: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._private = 0

    @property
    def used(self) -> int:
        """Blocks held by leases."""
        return len(self._users) + self._private

    @property
    def cached(self) -> int:
        """Idle blocks that are kept for their prefix."""
        return len(self._idle)

    def cached_prefix(self, keys: Sequence[int]) -> int:
        """How many of `keys`, from the first on, are in the cache."""
        hits = 0
        for key in keys:
            if key not in self._users and key not in self._idle:
                break
            hits += 1
        return hits

    def reserve(self, keys: Sequence[int], blocks: int) -> KvLease | None:
        """A lease of `blocks` in all, of which those in the cache under `keys` come from there; None without room."""
        hits = self.cached_prefix(keys)
        woken = sum(1 for key in keys[:hits] if key in self._idle)
        fresh = blocks - hits
        if fresh > self.capacity - self.used - woken:
            return None
        lease = KvLease(shared=list(keys[:hits]), private=fresh)
        for key in lease.shared:
            self._idle.pop(key, None)
            self._users[key] = self._users.get(key, 0) + 1
        self._private += fresh
        self.reused += hits
        while self.used + len(self._idle) > self.capacity:
            self._idle.popitem(last=False)
        return lease

    def publish(self, lease: KvLease, keys: Sequence[int]) -> None:
        """The blocks of `lease` under `keys` (all of its sequence's so far) are computed: others may use them from now on."""
        if not self._reuse:
            return
        for key in keys[len(lease.shared) :]:
            self._idle.pop(key, None)  # computed twice: one of the two is given back
            self._users[key] = self._users.get(key, 0) + 1
            lease.shared.append(key)
            lease.private -= 1
            self._private -= 1

    def release(self, lease: KvLease) -> None:
        """Give a lease back. Its shared blocks stay cached while there is room."""
        self._private -= lease.private
        for key in reversed(lease.shared):
            users = self._users[key] - 1
            if users:
                self._users[key] = users
            else:
                del self._users[key]
                self._idle[key] = None
        lease.shared, lease.private = [], 0
