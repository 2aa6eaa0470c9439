"""A job to an instance: the placement policy chooses among those that outlier detection admits."""

import time
from collections.abc import Callable, Mapping, Sequence

from gateway.errors import BadRequest, ContextLengthExceeded, NotFound, RagfleetError, Unavailable
from gateway.fleet.fleet_state import FleetState
from gateway.fleet.outlier_detection import DispatchOutcome, DispatchPass, OutlierDetector
from gateway.fleet.view import FleetView, Instance
from gateway.rollouts.control import RolloutControl, Side
from gateway.routing import ContextTicket, NoInstance, PlacementRequest, Placer, Ticket, TicketOutcome, Why
from gateway.triton.errors import Cause, InstanceError


class Dispatch:
    """An instance that has been charged with a job, and the pass to use it. One of the ends gives both back, on every path."""

    __slots__ = (
        "_on_end",
        "_pass",
        "_ticket",
        "_vouched",
        "first_token_at",
        "instance",
        "kv_block_tokens",
        "more_tokens",
        "placed_at",
    )

    def __init__(
        self,
        ticket: Ticket | ContextTicket,
        dispatch_pass: DispatchPass,
        on_end: Callable[[Instance, Cause | None], None] | None = None,
    ) -> None:
        """on_end: told once how the instance failed, None where it did not, and nothing where that cannot be said."""
        self.instance: Instance = ticket.instance
        self.placed_at = time.monotonic()
        self.first_token_at: float | None = None
        """Monotonic seconds, both."""
        self.kv_block_tokens = ticket.kv_block_tokens if isinstance(ticket, Ticket) else 0
        """Of its prefix cache, by its last metrics: there may be none any more when they are asked for. 0: not known."""
        self.more_tokens: Callable[[int], None] = ticket.tokens if isinstance(ticket, Ticket) else _no_tokens
        """So many more tokens came, after the first ones; called with each token of a stream."""
        self._ticket = ticket
        self._pass = dispatch_pass
        self._on_end = on_end
        self._vouched = False
        """Whether a success was reported: an instance is trusted for its first tokens."""

    @property
    def reason(self) -> str:
        """Why it was placed there, in words."""
        return self._ticket.reason

    @property
    def attributes(self) -> Mapping[str, str | int]:
        """Of a span of what is asked there."""
        return {
            "server.address": self.instance.address,
            "server.port": self.instance.http_port,
            "ragfleet.instance": self.instance.name,
            "ragfleet.placement": self.reason,
        }

    def tokens(self, count: int, now: float) -> None:
        """So many more tokens came (monotonic now), perhaps the first ones."""
        if not self._vouched and isinstance(self._ticket, Ticket):
            self._vouched = True
            self.first_token_at = now
            self._ticket.first_token(now)
            self._pass.record(DispatchOutcome.SUCCESS)
        self.more_tokens(count)

    def succeeded(self, produced: Sequence[int] = ()) -> None:
        """It did the whole job; `produced` are the answer's ids."""
        self._told(None)
        if not self._vouched:
            self._vouched = True
            self._pass.record(DispatchOutcome.SUCCESS)
        if isinstance(self._ticket, Ticket):
            self._ticket.release(TicketOutcome.OK, produced)
        else:
            self._ticket.release(TicketOutcome.OK)

    def failed(self, error: InstanceError) -> None:
        """It failed us, unless the error says nothing about its health."""
        if error.blames_instance:
            self._told(error.cause)
        if error.cause is Cause.STALL:
            self._pass.record(DispatchOutcome.TIMEOUT)
        else:
            self._pass.record(DispatchOutcome.FAILURE if error.blames_instance else DispatchOutcome.IGNORED)
        self._ticket.release(TicketOutcome.FAILED if error.blames_instance else TicketOutcome.REJECTED)

    def cancelled(self) -> None:
        """Nobody wants the result any more. Harmless after any other end."""
        if not self._vouched:
            self._pass.record(DispatchOutcome.IGNORED)
        else:
            self._told(None)
        self._ticket.release(TicketOutcome.CANCELLED)

    def _told(self, failure: Cause | None) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(self.instance, failure)


class Dispatcher:
    """Gives out instances. One for the life of the application."""

    def __init__(
        self,
        store: FleetState,
        placer: Placer,
        detector: OutlierDetector,
        rollouts: RolloutControl | None = None,
    ) -> None:
        self._store = store
        self._placer = placer
        self._detector = detector
        self.rollouts = rollouts or RolloutControl()
        self._sides: tuple[object, dict[Side, frozenset[str]]] = (None, {})

    @property
    def candidate_is_there(self) -> bool:
        """Whether an instance of the newest roll-out's candidate is in the fleet, healthy or not."""
        return bool(self._across(Side.BASELINE))

    def side(self, job: PlacementRequest) -> Side | None:
        """Where a roll-out wants this job, which counts as one of its requests; None: anywhere."""
        if self.rollouts.idle:
            return None
        serve = any(
            self.rollouts.selects(member.instance.version, member.instance.engine)
            for member in self._store.view.serving
            if member.instance.model == job.model
        )
        if not serve:
            return Side.BASELINE
        return self.rollouts.side(job.tenant, job.conversation, begins=job.begins)

    def place(self, job: PlacementRequest, exclude: frozenset[str] = frozenset(), side: Side | None = None) -> Dispatch:
        """An instance for a generation, charged at once; where nobody of the side can take it, of the other one.

        Raises Unavailable, NotFound, BadRequest or ContextLengthExceeded.
        """
        side = self.rollouts.still(side)
        if side is not None:
            try:
                return self._place(job, exclude | self._across(side))
            except RagfleetError:  # an answer is worth more than a comparison
                if side is Side.CANDIDATE and not exclude and self._candidate_is_ejected():
                    self.rollouts.record(candidate=True, failed=True)
        return self._place(job, exclude)

    def place_aside(self, job: PlacementRequest, side: Side) -> Dispatch | None:
        """An instance of this side for what may be left undone: one that has a free place, and another one beside it."""
        across = self._across(side)
        members = self._store.view.serving
        full = {m.instance.name for m in members if self._placer.spare(m.instance.name) < min(2, m.instance.slots)}
        try:
            return self._place(job, across | full)
        except RagfleetError:
            return None

    def waiting(self, name: str) -> int:
        """Requests that wait for a slot of an instance, as far as is known."""
        return self._placer.waiting(name)

    def free_slots(self, job: PlacementRequest, but: str) -> int:
        """Slots of other instances that a job could have at once."""
        return self._placer.free_slots(job, {but, *self._detector.ejected()})

    def place_call(self, exclude: frozenset[str] = frozenset(), *, embedding_model: str = "") -> Dispatch:
        """An instance for a short idempotent call, of those with that embedding model. Where all were tried, any will do.

        What a roll-out tries answers, and not these calls: its candidate gets them where nobody else is left. Raises Unavailable.
        """
        others = frozenset(
            name
            for name, member in self._store.view.members.items()
            if embedding_model and member.instance.embedding_model != embedding_model
        )
        candidate = frozenset() if self.rollouts.idle else self._across(Side.BASELINE)
        choices = dict.fromkeys((exclude | others | candidate, exclude | others, others))
        *first, last = choices
        for excluded in first:
            try:
                return self._admitted(self._placer.place_context, excluded)
            except Unavailable:
                continue
        return self._admitted(self._placer.place_context, last)

    def _place(self, job: PlacementRequest, exclude: frozenset[str]) -> Dispatch:
        on_end = self._record if self.rollouts.takes_part(job.tenant) else None
        return self._admitted(lambda excluded: self._placer.place(job, excluded), exclude, on_end)

    def _across(self, side: Side) -> frozenset[str]:
        """The instances of the other side."""
        view, rollout = self._store.view, self.rollouts.rollout
        key = (view.version, rollout and rollout.id)
        if self._sides[0] != key:
            self._sides = key, self._split(view)
        return self._sides[1][side]

    def _candidate_is_ejected(self) -> bool:
        """Whether nobody is left of it because of what it did to us."""
        candidate = {m.instance.name for m in self._store.view.serving} & self._across(Side.BASELINE)
        return bool(candidate) and candidate <= self._detector.ejected().keys()

    def _split(self, view: FleetView) -> dict[Side, frozenset[str]]:
        selected = frozenset(
            name
            for name, member in view.members.items()
            if self.rollouts.selects(member.instance.version, member.instance.engine)
        )
        return {Side.BASELINE: selected, Side.CANDIDATE: frozenset(view.members) - selected}

    def _record(self, instance: Instance, failure: Cause | None) -> None:
        candidate = self.rollouts.selects(instance.version, instance.engine)
        # A process that dies breaks all its answers at once.
        death = instance.name if failure in (Cause.RESET, Cause.CONNECT) else ""
        self.rollouts.record(candidate=candidate, failed=failure is not None, death_of=death)

    def _admitted(
        self,
        place: Callable[[frozenset[str]], Ticket | ContextTicket],
        exclude: frozenset[str],
        on_end: Callable[[Instance, Cause | None], None] | None = None,
    ) -> Dispatch:
        excluded = exclude | self._detector.ejected().keys()
        while True:
            try:
                ticket = place(excluded)
            except NoInstance as error:
                raise _translate(error) from error
            dispatch_pass = self._detector.try_acquire(ticket.instance.name)
            if dispatch_pass is not None:
                return Dispatch(ticket, dispatch_pass, on_end)
            # Half-open, and its probes are taken: not for us.
            ticket.release(TicketOutcome.REJECTED)
            excluded |= {ticket.instance.name}


def _no_tokens(count: int) -> None:
    raise AssertionError("only generations have tokens")


def _translate(error: NoInstance) -> RagfleetError:
    message = str(error)
    if error.why is Why.UNKNOWN_MODEL:
        return NotFound(message, param="model", code="model_not_found")
    if error.why is Why.CONTEXT_TOO_LONG:
        return ContextLengthExceeded(message, param="messages")
    if error.why in (Why.NO_LORA, Why.TENANT_CLASS):
        return BadRequest(message)
    return Unavailable(message, retry_after_s=1)
