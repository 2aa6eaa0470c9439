"""The ledger of placement: accounts of all instances, pools by model, and the tickets between them.

One placer per gateway process, used from one thread (the event loop). Nothing here waits.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random

from gateway.fleet.view import FleetMember, FleetView
from gateway.routing.candidates import Candidates, InstancePool
from gateway.routing.filters import eligible_among, explain
from gateway.routing.fleet_averages import FleetAverages
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.policies.policy import Policy
from gateway.routing.prefix_index import PrefixIndex
from gateway.routing.ticket import ContextTicket, Ticket
from gateway.routing.types import Answering, Choice, NoInstance, PlacementRequest, TicketOutcome, Why

ANSWERED_S = 10.0
"""What an instance did longer ago is not told of."""


class Placer:
    """Places jobs by a policy and keeps the account of what is in flight."""

    def __init__(
        self, policy: Policy, clock: Callable[[], float], rng: Random, *, index: PrefixIndex | None = None
    ) -> None:
        self.policy = policy
        self.averages = FleetAverages()
        self.index = index if index is not None else PrefixIndex()
        self._clock = clock
        self._rng = rng
        self._accounts: dict[str, InstanceLoad] = {}
        self._pools: dict[str, InstancePool] = {}
        self._everywhere = InstancePool(policy.grain, policy.standing)
        self._members: dict[str, FleetMember] = {}

    # what is known of the fleet

    def update(self, view: FleetView, changed: Iterable[str] | None = None) -> None:
        """Take in a new view. With `changed` (names) only those members are looked at: O(changed)."""
        names = changed if changed is not None else {**self._members, **view.members}
        for name in names:
            member = view.members.get(name)
            if member is not self._members.get(name):
                self._take(name, member)

    def _take(self, name: str, member: FleetMember | None) -> None:
        """One member is new, gone, or changed."""
        account = self._accounts.get(name)
        if member is None:
            del self._members[name]
        else:
            self._members[name] = member
        if account is not None and (member is None or member.instance != account.instance):
            self._withdraw(account)  # tickets of that life keep their account until they end
            del self._accounts[name]
            self.index.forget(name)
            account = None
        if member is None:
            return
        if account is None:
            account = self._accounts[name] = InstanceLoad(member.instance, self.averages)
        if not member.healthy:
            self.index.forget(name)  # whoever comes back under this name most likely comes back with an empty cache
        if not member.healthy or member.draining:
            self._withdraw(account)
            return
        if not account.serving:
            account.serving = True
            self._pool(account.instance.model).add(account)
            self._everywhere.add(account)
        if member.load is not None:
            account.observe(member.load, self._clock())
            if account.kv_capacity_tokens:
                self.index.resize(name, account.kv_capacity_tokens, prompts=account.instance.cached_prompts)
        else:
            account.forget_sample()
        self._changed(account)

    def _pool(self, model: str) -> InstancePool:
        pool = self._pools.get(model)
        if pool is None:
            pool = self._pools[model] = InstancePool(self.policy.grain, self.policy.standing)
        return pool

    def _withdraw(self, account: InstanceLoad) -> None:
        """No new work for the instance."""
        account.forget_sample()
        if account.serving:
            account.serving = False
            self._pool(account.instance.model).remove(account)  # first: its seat is in the order of this one
            self._everywhere.remove(account)

    def _changed(self, account: InstanceLoad) -> None:
        """The account's load changed: the pool's order is to be true when it is asked for."""
        if account.serving:
            self._pools[account.instance.model].changed(account)

    # what is asked of it

    def place(self, job: PlacementRequest, exclude: Collection[str] = frozenset()) -> Ticket:
        """Choose an instance and charge it at once. `exclude`: the names that failed this request already.

        Raises NoInstance, whose `why` and message say what stands against it.
        """
        pool = self._pools.get(job.model)
        if pool is None:
            known = ", ".join(sorted(self._pools)) or "none yet"
            raise NoInstance(Why.UNKNOWN_MODEL, f"no instance has ever served the model {job.model!r}; known: {known}")
        keys = self.index.keys(job.prompt_ids, salt=job.prefix_salt)
        choice = None
        if not job.may_queue:
            candidates = self._candidates(pool, job, exclude, keys, free_only=True)
            choice = self.policy.choose(candidates, job)
        if choice is None:
            candidates = self._candidates(pool, job, exclude, keys)
            choice = self.policy.choose(candidates, job)
        if choice is None:
            raise explain(pool.accounts, job, exclude)
        account = self._accounts[choice.instance.name]
        account.last_placement = choice.reason
        if keys:
            self.index.record(account.name, keys)
        ticket = Ticket(
            job,
            choice,
            account,
            now=candidates.now,
            keys=keys,
            kv_tokens=len(job.prompt_ids) + candidates.answer_tokens,
            on_change=self._changed,
            on_end=self._settle,
        )
        self._changed(account)
        return ticket

    def place_context(
        self, exclude: Collection[str] = frozenset(), *, job: PlacementRequest | None = None
    ) -> ContextTicket:
        """An instance for a context call: of a few at random, the one with the fewest such calls, then requests."""
        job = job or PlacementRequest(request_id="", model="", kind="context")
        candidates = self._candidates(self._everywhere, job, exclude, ())
        few = candidates.few(self._rng)
        if not few:
            raise explain(self._everywhere.accounts, job, exclude)
        now = candidates.now
        account = min(few, key=lambda a: (a.context_calls, a.requests(now), self._rng.random()))
        reason = f"fewest context calls: {account.context_calls}"
        return ContextTicket(job, Choice(account.instance, reason), account)

    def _candidates(
        self,
        pool: InstancePool,
        job: PlacementRequest,
        exclude: Collection[str],
        keys: Sequence[int],
        *,
        free_only: bool = False,
    ) -> Candidates:
        return Candidates(
            pool,
            job,
            exclude=exclude,
            now=self._clock(),
            averages=self.averages,
            index=self.index,
            keys=keys,
            free_only=free_only,
        )

    def account(self, name: str) -> InstanceLoad | None:
        """The page of one instance, to show it; do not write to it."""
        return self._accounts.get(name)

    def spare(self, name: str) -> int:
        """Requests that an instance could still take without any of them waiting."""
        account = self._accounts.get(name)
        return 0 if account is None else int(account.slots - account.requests(self._clock()))

    def waiting(self, name: str) -> int:
        """Requests that wait for a slot of an instance, whoever sent them."""
        account = self._accounts.get(name)
        return 0 if account is None else account.waiting(self._clock())

    def answering(self) -> dict[str, Answering]:
        """Hosts, by address, where an answer of ours is under way or was begun of late. Linear in the instances."""
        now = self._clock()
        found: dict[str, Answering] = {}
        for account in self._accounts.values():
            if not account.ours and not account.busy_since:
                continue
            ago = 0.0 if account.ours else now - account.busy_since
            if ago < ANSWERED_S:
                waits, least = found.get(account.instance.address, Answering(False, ago))
                found[account.instance.address] = Answering(waits or account.queued > 0, min(least, ago))
        return found

    def free_slots(self, job: PlacementRequest, exclude: Collection[str]) -> int:
        """Slots that a job could have at once, of all instances but those excluded. Linear in their number."""
        pool, now = self._pools.get(job.model), self._clock()
        accounts = () if pool is None else eligible_among(pool.accounts, job, exclude)
        return sum(int(a.slots - a.requests(now)) for a in accounts if not a.is_full(now))

    def _settle(self, ticket: Ticket, account: InstanceLoad, outcome: TicketOutcome, produced: Sequence[int]) -> None:
        """A ticket ended."""
        now = self._clock()
        queued = ticket.answered_at is None
        account.released(
            now,
            ticket.dispatched_at,
            compute_tokens=ticket.compute_tokens,
            kv_tokens=ticket.kv_tokens,
            produced=ticket.produced,
            queued=queued,
        )
        if outcome is TicketOutcome.OK:
            self.averages.learn_answer(ticket.job.max_tokens, ticket.produced)
            self.averages.stay_s.learn(now - ticket.dispatched_at)
            self.averages.prompt_tokens.learn(ticket.compute_tokens)
            if produced and account.serving:
                whole = [*ticket.job.prompt_ids, *produced]
                self.index.record(account.name, self.index.keys(whole, salt=ticket.job.prefix_salt))
        self._changed(account)
