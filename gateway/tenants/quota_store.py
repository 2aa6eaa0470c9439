"""Where all gateways count together what is used of each budget: the interface, and one in memory."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from gateway.tenants.budgets import Budget, BudgetCounter, Needs, Period
from gateway.tenants.leases import HeldBudget, Taken, allot

SEATS_LIVE_S = 6.0
"""What a gateway holds for the moment is the others' again when it has not been heard of for so long."""
LEASES_LIVE_S = 20.0
"""After which without an answer of the store a gateway uses none of its leases any more: they may be others'."""
REAP_AFTER_S = 30.0
"""After which the leases of a gateway that has not been heard of are given back. Between the two: how far clocks may differ."""


class QuotaStore(Protocol):
    """One truth for any number of gateways. All raise CatalogUnavailable where it does not answer."""

    async def take(
        self, gateway: str, needs: Sequence[Needs], held: Mapping[Budget, HeldBudget], now: float
    ) -> Mapping[Budget, Taken]:
        """Take what `allot` says, of every budget in `needs`, in one step. now: Unix seconds."""

    async def give_back(self, gateway: str, returned: Mapping[BudgetCounter, HeldBudget]) -> None:
        """`in_hand` of each is not needed; of a period that is over it is nobody's. `given` is all that a gateway still holds for
        the moment, whatever was known before."""

    async def beat(self, gateway: str, now: float) -> None:
        """This gateway lives."""

    async def reap(self, dead_before: float) -> int:
        """Give back what gateways leased that were not heard of since, less what their ledger says was used; how many leases."""


class MemoryQuotaStore:
    """Of one process."""

    def __init__(self) -> None:
        self._used: dict[BudgetCounter, tuple[int, int]] = {}
        """Begin of the period, units."""
        self._seats: defaultdict[BudgetCounter, dict[str, int]] = defaultdict(dict)
        self._seen: dict[str, float] = {}

    async def take(
        self, gateway: str, needs: Sequence[Needs], held: Mapping[Budget, HeldBudget], now: float
    ) -> Mapping[Budget, Taken]:
        """See QuotaStore."""
        self._seen[gateway] = now
        begins, in_hand, used = {}, {}, {}
        for each in held:
            begins[each], in_hand[each], used[each] = self._state(gateway, each.counter, held[each], now)
        taken = allot(needs, in_hand, used)
        for each, amount in taken.items():
            if each.counter.period is Period.NOW:
                self._seats[each.counter][gateway] = held[each].in_hand + held[each].given + amount
            else:
                self._used[each.counter] = (begins[each], used[each] + amount)
        return {each: Taken(begins[each], amount, used[each] + amount) for each, amount in taken.items()}

    def _state(self, gateway: str, counter: BudgetCounter, mine: HeldBudget, now: float) -> tuple[int, int, int]:
        if counter.period is Period.NOW:
            others = sum(
                seats
                for name, seats in self._seats[counter].items()
                if name != gateway and self._seen[name] > now - SEATS_LIVE_S
            )
            return 0, mine.in_hand, others + mine.in_hand + mine.given
        return current(mine, self._used.get(counter))

    async def give_back(self, gateway: str, returned: Mapping[BudgetCounter, HeldBudget]) -> None:
        """See QuotaStore."""
        for counter, held in returned.items():
            if counter.period is Period.NOW:
                self._seats[counter][gateway] = held.given
            elif (known := self._used.get(counter)) is not None and known[0] == held.begin:
                self._used[counter] = (held.begin, known[1] - held.in_hand)

    async def beat(self, gateway: str, now: float) -> None:
        """See QuotaStore."""
        self._seen[gateway] = now

    async def reap(self, dead_before: float) -> int:
        """Nothing: this store dies with its only gateway, and has no ledger to ask."""
        return 0


def current(mine: HeldBudget, known: tuple[int, int] | None) -> tuple[int, int, int]:
    """A gateway's view and the store's (begin, used) as one: the later period, what is in hand of it, what is used of it."""
    if known is None or known[0] < mine.begin:
        return mine.begin, 0, 0
    begin, used = known
    return begin, mine.in_hand if begin == mine.begin else 0, used
