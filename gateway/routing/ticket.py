"""One dispatch, from the moment it is charged to the moment it is over."""

from collections.abc import Callable, Sequence

from gateway.fleet.view import Instance
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.types import Choice, PlacementRequest, TicketOutcome


class Ticket:
    """Charged when it is made. Tell it the first token, each token, and the end; the end may be told twice."""

    __slots__ = (
        "_account",
        "_on_change",
        "_on_end",
        "answered_at",
        "choice",
        "compute_tokens",
        "dispatched_at",
        "job",
        "keys",
        "kv_tokens",
        "over",
        "produced",
        "starved",
    )

    def __init__(
        self,
        job: PlacementRequest,
        choice: Choice,
        account: InstanceLoad,
        *,
        now: float,
        keys: Sequence[int],
        kv_tokens: float,
        on_change: Callable[[InstanceLoad], None],
        on_end: "Callable[[Ticket, InstanceLoad, TicketOutcome, Sequence[int]], None]",
    ) -> None:
        self.job = job
        self.choice = choice
        self.keys = keys
        self.compute_tokens = float(len(job.prompt_ids) - choice.cached_tokens)
        self.kv_tokens = kv_tokens
        self.dispatched_at = now
        self.answered_at: float | None = None
        self.produced = 0
        self.over = False
        self.starved = account.is_full(now)
        """All slots seemed taken: its wait says nothing about the speed of prefill."""
        self._account = account
        self._on_change = on_change
        self._on_end = on_end
        account.dispatched(now, self.compute_tokens, kv_tokens)

    @property
    def instance(self) -> Instance:
        """Where the job goes."""
        return self.choice.instance

    @property
    def reason(self) -> str:
        """Why there, in words."""
        return self.choice.reason

    @property
    def kv_block_tokens(self) -> int:
        """Of the instance; 0 where its metrics have not told."""
        load = self._account.load
        return 0 if load is None else load.kv_block_tokens or 0

    def first_token(self, now: float) -> None:
        """The first token came (monotonic seconds). Later calls do nothing."""
        if self.answered_at is not None or self.over:
            return
        self.answered_at = now
        account = self._account
        spent = account.first_token(now, self.compute_tokens)
        if not self.starved and spent > 0:
            account.learn_prefill(now, self.compute_tokens, spent)
        self._on_change(account)

    def tokens(self, count: int = 1) -> None:
        """So many more tokens came, the first among them. Two additions: call it per token if that is simplest."""
        self.produced += count
        self._account.produced += count

    def release(self, outcome: TicketOutcome, produced: Sequence[int] = ()) -> None:
        """The dispatch is over, whatever way; every path must come here, and coming twice is harmless.

        `produced`: the answer's token ids, if at hand; the instance has them cached for the conversation's next turn.
        """
        if self.over:
            return
        self.over = True
        self._on_end(self, self._account, outcome, produced)


class ContextTicket:
    """One context call: counted apart from generations, for it takes no slot of the engine."""

    __slots__ = ("_account", "choice", "job", "over")

    def __init__(self, job: PlacementRequest, choice: Choice, account: InstanceLoad) -> None:
        self.job = job
        self.choice = choice
        self.over = False
        self._account = account
        account.context_calls += 1

    @property
    def instance(self) -> Instance:
        """Where the call goes."""
        return self.choice.instance

    @property
    def reason(self) -> str:
        """Why there, in words."""
        return self.choice.reason

    def release(self, outcome: TicketOutcome = TicketOutcome.OK) -> None:
        """The call is over; coming twice is harmless."""
        if not self.over:
            self.over = True
            self._account.context_calls -= 1
