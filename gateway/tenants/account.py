"""One tenant's leases at one gateway, those of its keys among them, and the requests that wait for more."""

import asyncio
from collections.abc import Callable, Mapping

from gateway.errors import RagfleetError
from gateway.tenants import quota_errors
from gateway.tenants.budgets import Budget, BudgetCounter, Needs, Period
from gateway.tenants.leases import HeldBudget, most_in_hand
from gateway.tenants.quota_client import STEP_S, QuotaClient

IDLE_S = 2.0
"""Without a request, after which all that is in the hand is given back."""

Drawn = Mapping[BudgetCounter, tuple[int, int]]
"""What a request has: of which term of the lease, and how much."""
OnRefusal = Callable[[str, str], None]
"""Told of the tenant and the limit that a request was over."""


class BudgetLease:
    """What this gateway has of one budget."""

    __slots__ = ("begin", "cap", "given", "in_hand", "life", "term", "used")

    def __init__(self) -> None:
        self.begin = self.cap = self.used = 0
        """The period; the cap and the use by all, as they were seen last."""
        self.in_hand = self.given = 0
        """See HeldBudget. In hand can be less than 0, where more was used than reserved."""
        self.life = self.term = 0
        """Of the gateway, as the store sees it; and a number that no two leases of this budget have in common."""

    def turn(self, begin: int) -> None:
        """To the present period, never back."""
        if begin > self.begin:
            self.begin, self.in_hand, self.used = begin, 0, 0
            self.term += 1

    def live(self, life: int) -> None:
        """Others may have what was leased in a life before."""
        if life != self.life:
            self.life, self.in_hand = life, min(0, self.in_hand)
            self.term += 1


class _Waiter:
    """A request that the hand holds too little for."""

    __slots__ = ("drawn", "needs")

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.drawn: asyncio.Future[Drawn] = asyncio.get_running_loop().create_future()


class Account:
    """Draws from the hand, and fills it; the store is asked one thing at a time."""

    def __init__(self, tenant: str, client: QuotaClient, on_refusal: OnRefusal, *, open_without_store: bool) -> None:
        """open_without_store: whether requests are let in, uncounted, while the store does not answer."""
        self._tenant = tenant
        self._client = client
        self._on_refusal = on_refusal
        self._open = open_without_store
        self._leases: dict[BudgetCounter, BudgetLease] = {}
        self._waiting: list[_Waiter] = []
        self._working: asyncio.Task[None] | None = None
        self._asked_at = client.now()
        self._unsure: set[BudgetCounter] = set()
        """Seats of which the store may know more than are held: the answer to a step was lost."""

    async def draw(self, needs: Needs) -> Drawn:
        """Take from the hand, which is filled up first where it holds too little. Raises RateLimited, InsufficientQuota,
        CatalogUnavailable; nothing is taken then."""
        self._asked_at = self._client.now()
        for each, n in needs.items():
            if n > each.cap:
                raise self._refusal(each, quota_errors.too_large(each, n))
        if not self._waiting and (drawn := self._take(needs)) is not None:
            return drawn
        waiter = _Waiter(needs)
        self._waiting.append(waiter)
        self._work()
        try:
            return await waiter.drawn
        except asyncio.CancelledError:
            if waiter.drawn.done() and not waiter.drawn.cancelled() and waiter.drawn.exception() is None:
                self.put_back(waiter.drawn.result())  # it came in the same moment
            raise

    def put_back(self, drawn: Drawn) -> None:
        """What a request did not use, and what it had for the moment. Of a term that is over it is lost."""
        for counter, (term, n) in drawn.items():
            lease = self._leases[counter]
            if lease.term == term:
                lease.in_hand += n
            if counter.period is Period.NOW:
                lease.given -= n
        self.tidy()

    def lease(self, budget: Budget) -> BudgetLease:
        """Of the present period."""
        lease = self._leases.setdefault(budget.counter, BudgetLease())
        lease.turn(budget.counter.period.begin(self._client.now()))
        if budget.counter.period is not Period.NOW:
            lease.live(self._client.life)
        lease.cap = budget.cap
        return lease

    def left(self, budget: Budget) -> int:
        """Of a budget, as far as this gateway knows: what others took since it asked is not in it."""
        lease = self.lease(budget)
        return max(0, lease.cap - lease.used + lease.in_hand)

    @property
    def seats(self) -> int:
        """Held for the moment."""
        return sum(lease.given + lease.in_hand for each, lease in self._leases.items() if each.period is Period.NOW)

    def tidy(self) -> None:
        """See to it that what is too much in the hand is given back."""
        if self._surplus():
            self._work()

    async def close(self) -> None:
        """Give back all that is in the hand."""
        self._asked_at = float("-inf")
        self.tidy()
        if self._working is not None:
            await asyncio.wait((self._working,), timeout=STEP_S)

    def _take(self, needs: Needs) -> Drawn | None:
        if any(self._in_hand(each) < n for each, n in needs.items()):
            return None
        drawn = {}
        for each, n in needs.items():
            lease = self._leases[each.counter]
            lease.in_hand -= n
            if each.counter.period is Period.NOW:
                lease.given += n
            drawn[each.counter] = lease.term, n
        return drawn

    def _in_hand(self, budget: Budget) -> int:
        lease = self.lease(budget)
        return 0 if budget.counter.period is Period.NOW and self._client.is_late else lease.in_hand

    def _work(self) -> None:
        if self._working is None:
            self._working = asyncio.create_task(self._steps(), name=f"quotas of {self._tenant}")

    async def _steps(self) -> None:
        try:
            while True:
                if self._waiting:
                    await self._fill()
                elif (surplus := self._surplus()) and not self._client.is_away:
                    await self._return(surplus)
                else:
                    return
        finally:
            self._working = None
            for waiter in self._waiting:  # whatever went wrong, none waits for ever
                _fail(waiter, quota_errors.away())
            self._waiting.clear()

    async def _fill(self) -> None:
        """Ask for what all need who wait now, and answer them."""
        waiting = [each for each in self._waiting if not each.drawn.done()]
        self._waiting = waiting.copy()
        if not waiting:
            return
        leases = {budget: self.lease(budget) for each in waiting for budget in each.needs}
        held = {budget: HeldBudget(lease.begin, lease.in_hand, lease.given) for budget, lease in leases.items()}
        taken = await self._client.take([each.needs for each in waiting], held)
        if taken is None:
            self._unsure |= {each.counter for each in held if each.counter.period is Period.NOW}
        else:
            for budget, got in taken.items():
                lease = leases[budget]
                lease.turn(got.begin)
                if lease.begin == got.begin:
                    lease.in_hand, lease.used = lease.in_hand + got.amount, got.used
        del self._waiting[: len(waiting)]
        for waiter in waiting:
            if not waiter.drawn.done():
                self._answer(waiter, is_known=taken is not None)

    def _answer(self, waiter: _Waiter, *, is_known: bool) -> None:
        if (drawn := self._take(waiter.needs)) is not None:
            waiter.drawn.set_result(drawn)
        elif is_known:
            short = self._short(waiter.needs)
            begin, now = self.lease(short).begin, self._client.now()
            _fail(waiter, self._refusal(short, quota_errors.used_up(short, begin, now)))
        elif self._open:
            waiter.drawn.set_result({})
        else:
            _fail(waiter, quota_errors.away())

    def _short(self, needs: Needs) -> Budget:
        """The limit that a request is over; of several the one that lasts longest. Of the others nothing was taken for it, so
        that what is in hand tells nothing."""
        over = [each for each, n in needs.items() if self.left(each) < n]
        over = over or [each for each, n in needs.items() if self._in_hand(each) < n]
        return max(over, key=lambda each: each.counter.period.end(self.lease(each).begin))

    def _surplus(self) -> dict[BudgetCounter, HeldBudget]:
        """What is to be given back now."""
        idle = abs(self._client.now() - self._asked_at) > IDLE_S  # the clock may be put back
        found = {}
        for counter, lease in self._leases.items():
            most = 0 if idle else most_in_hand(lease.cap, lease.used)
            extra = lease.in_hand - most // 2 if lease.in_hand > most else min(0, lease.in_hand)
            if extra or counter in self._unsure:
                found[counter] = HeldBudget(lease.begin, extra, lease.given + lease.in_hand - extra)
        return found

    async def _return(self, surplus: Mapping[BudgetCounter, HeldBudget]) -> None:
        for counter, held in surplus.items():  # at once: while the store is being told it is nobody's
            self._leases[counter].in_hand -= held.in_hand
            self._leases[counter].used -= held.in_hand
        told = await self._client.give_back(surplus)
        seats = {each for each in surplus if each.period is Period.NOW}
        self._unsure = self._unsure - seats if told else self._unsure | seats

    def _refusal(self, budget: Budget, error: RagfleetError) -> RagfleetError:
        self._on_refusal(self._tenant, quota_errors.name_of(budget.counter))
        return error


def _fail(waiter: _Waiter, error: RagfleetError) -> None:
    if not waiter.drawn.done():
        waiter.drawn.set_exception(error)
