"""What a policy chooses from: the pool of one model, seen for one job at one moment."""

from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random

from gateway.routing.bucket_queue import BucketQueue
from gateway.routing.consistent_hash import ConsistentHash
from gateway.routing.filters import eligible, eligible_among
from gateway.routing.fleet_averages import FleetAverages
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.prefix_index import PrefixIndex
from gateway.routing.types import PlacementRequest

LEAST = 10
"""Of the least loaded, so many are examined in a large pool. More: closer to the true minimum, and slower."""
HOLDERS = 8
"""Of those that hold most of the prompt's prefix."""
SAMPLED = 4
"""Drawn at random: they find an instance whose order is out of date."""
SMALL = LEAST + HOLDERS + SAMPLED
"""Pools up to this size are examined whole."""
EXPECTED = 0.97
"""Share of a prompt that is taken to be in its home's cache because of the other gateways, if all traffic were theirs. 0: what
we dispatched ourselves is all that is counted on; higher: conversations that we do not know go home through longer queues."""
ALONE = 0.2
"""Share of the others up to which we are taken to be the only gateway: samples are never exact."""


class InstancePool:
    """The serving instances of one model, ordered by standing work; or all of them, unordered, for context calls."""

    def __init__(self, grain: float, standing: Callable[[InstanceLoad, float], float]) -> None:
        """standing: an instance's standing work at a moment, in the unit of the grain."""
        self.accounts: list[InstanceLoad] = []
        self.by_name: dict[str, InstanceLoad] = {}
        self.ring = ConsistentHash()
        self._order = BucketQueue(grain)
        self._standing = standing
        self._changed: dict[InstanceLoad, None] = {}
        """Whose load has changed since the order was asked for: a small pool never asks for it."""

    def add(self, account: InstanceLoad) -> None:
        """An instance begins to serve."""
        self.accounts.append(account)
        self.by_name[account.name] = account
        self.ring.add(account.name)

    def remove(self, account: InstanceLoad) -> None:
        """An instance stops serving."""
        self.accounts.remove(account)
        del self.by_name[account.name]
        self.ring.remove(account.name)
        self._changed.pop(account, None)
        self._order.remove(account)

    def changed(self, account: InstanceLoad) -> None:
        """The load of one that serves has changed."""
        self._changed[account] = None

    def least(self, now: float, rng: Random) -> list[InstanceLoad]:
        """About the LEAST accounts with the least standing work."""
        for account in self._changed:
            self._order.put(account, self._standing(account, now))
        self._changed.clear()
        return self._order.least(LEAST, rng)


class Candidates:
    """The eligible accounts for one job. Cheap to make; a policy calls only what it needs."""

    __slots__ = (
        "_deepest",
        "_exclude",
        "_expected",
        "_free_only",
        "_home",
        "_index",
        "_pool",
        "answer_tokens",
        "averages",
        "job",
        "keys",
        "now",
    )

    def __init__(
        self,
        pool: InstancePool,
        job: PlacementRequest,
        *,
        exclude: Collection[str],
        now: float,
        averages: FleetAverages,
        index: PrefixIndex,
        keys: Sequence[int],
        free_only: bool = False,
    ) -> None:
        """free_only: instances whose slots are all taken are not eligible."""
        self._pool = pool
        self._exclude = exclude
        self._free_only = free_only
        self._index = index
        self.job = job
        self.now = now
        self.averages = averages
        self.keys = keys
        self._deepest: int | None = None
        self.answer_tokens = averages.expected_answer(job.max_tokens)
        """Tokens that the answer is expected to have."""
        others = averages.others_share.value
        self._home = pool.ring.home(keys) if keys and others > ALONE else None
        self._expected = EXPECTED * others * pool.ring.repeated(others) if self._home else 0.0

    def everyone(self) -> list[InstanceLoad]:
        """Every eligible account: linear in the pool."""
        return self._among(self._pool.accounts)

    def at(self, position: int) -> InstanceLoad | None:
        """The eligible account at a position of the pool (modulo its size), or the next one after it."""
        accounts = self._pool.accounts
        for step in range(len(accounts)):
            account = accounts[(position + step) % len(accounts)]
            if self._is_eligible(account):
                return account
        return None

    def one(self, rng: Random, *, but: InstanceLoad | None = None) -> InstanceLoad | None:
        """An eligible account at random, other than `but`."""
        accounts = self._pool.accounts
        if not accounts:
            return None
        for _ in range(4):
            account = accounts[int(rng.random() * len(accounts))]
            if account is not but and self._is_eligible(account):
                return account
        rest = [a for a in self.everyone() if a is not but]
        return rest[int(rng.random() * len(rest))] if rest else None

    def few(self, rng: Random) -> list[InstanceLoad]:
        """A short list worth examining: the whole of a small pool; of a large one the least loaded, those that
        hold the prompt's prefix, its home, and some at random. Where a rare filter leaves none of them, everyone is asked.
        """
        accounts = self._pool.accounts
        if len(accounts) <= SMALL:
            return self.everyone()
        found = dict.fromkeys(self._pool.least(self.now, rng))
        if self.keys:
            by_name = self._pool.by_name
            self._deepest = self._index.deepest(self.keys)
            for name in self._index.holders(self.keys, HOLDERS, self._deepest):
                if name in by_name:
                    found[by_name[name]] = None
        if self._home is not None:
            found[self._pool.by_name[self._home]] = None
        size = len(accounts)
        for _ in range(SAMPLED):
            found[accounts[int(rng.random() * size)]] = None
        return self._among(found) or self.everyone()

    def _is_eligible(self, account: InstanceLoad) -> bool:
        return eligible(account, self.job, self._exclude) and not (self._free_only and account.is_full(self.now))

    def _among(self, accounts: Iterable[InstanceLoad]) -> list[InstanceLoad]:
        found = eligible_among(accounts, self.job, self._exclude)
        return [account for account in found if not account.is_full(self.now)] if self._free_only else found

    def cached_tokens(self, accounts: Sequence[InstanceLoad]) -> list[int]:
        """Prompt tokens that each instance will probably find in its cache; the last one is always computed."""
        keys, most = self.keys, len(self.job.prompt_ids) - 1
        block = self._index.block_tokens
        deepest = self._index.deepest(keys) if self._deepest is None else self._deepest
        depths = self._index.depths([a.name for a in accounts], keys, deepest)
        cached = [depth and min(depth * block, most) for depth in depths]
        home = self._pool.by_name.get(self._home) if self._home is not None else None
        if home is not None and home in accounts:
            place = accounts.index(home)
            cached[place] += int(self._expected * (most - cached[place]))
        return cached
