"""A job to an instance: the placement policy chooses among those that outlier detection admits."""

import time
from collections.abc import Callable, Mapping, Sequence

from gateway.errors import BadRequest, ContextLengthExceeded, NotFound, RagfleetError, Unavailable
from gateway.fleet.outlier_detection import DispatchOutcome, DispatchPass, OutlierDetector
from gateway.fleet.store import FleetStore
from gateway.fleet.view import Instance
from gateway.routing import ContextTicket, NoInstance, PlacementRequest, Placer, Ticket, TicketOutcome, Why
from gateway.triton.errors import Cause, InstanceError


class Dispatch:
    """An instance that has been charged with a job, and the pass to use it. One of the ends gives both back, on every path."""

    __slots__ = ("_pass", "_ticket", "_vouched", "first_token_at", "instance", "kv_block_tokens", "placed_at")

    def __init__(self, ticket: Ticket | ContextTicket, dispatch_pass: DispatchPass) -> None:
        self.instance: Instance = ticket.instance
        self.placed_at = time.monotonic()
        self.first_token_at: float | None = None
        """Monotonic seconds, both."""
        self.kv_block_tokens = ticket.kv_block_tokens if isinstance(ticket, Ticket) else 0
        """Of its prefix cache, by its last metrics: there may be none any more when they are asked for. 0: not known."""
        self._ticket = ticket
        self._pass = dispatch_pass
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

    def more_tokens(self, count: int) -> None:
        """So many more tokens came, after the first ones."""
        self._ticket.tokens(count)  # type: ignore[union-attr]  # only generations have tokens

    def succeeded(self, produced: Sequence[int] = ()) -> None:
        """It did the whole job; `produced` are the answer's ids."""
        if not self._vouched:
            self._vouched = True
            self._pass.record(DispatchOutcome.SUCCESS)
        if isinstance(self._ticket, Ticket):
            self._ticket.release(TicketOutcome.OK, produced)
        else:
            self._ticket.release(TicketOutcome.OK)

    def failed(self, error: InstanceError) -> None:
        """It failed us, unless the error says nothing about its health."""
        if error.cause is Cause.STALL:
            self._pass.record(DispatchOutcome.TIMEOUT)
        else:
            self._pass.record(DispatchOutcome.FAILURE if error.blames_instance else DispatchOutcome.IGNORED)
        self._ticket.release(TicketOutcome.FAILED if error.blames_instance else TicketOutcome.REJECTED)

    def cancelled(self) -> None:
        """Nobody wants the result any more. Harmless after any other end."""
        if not self._vouched:
            self._pass.record(DispatchOutcome.IGNORED)
        self._ticket.release(TicketOutcome.CANCELLED)


class Dispatcher:
    """Gives out instances. One for the life of the application."""

    def __init__(self, store: FleetStore, placer: Placer, detector: OutlierDetector) -> None:
        self._store = store
        self._placer = placer
        self._detector = detector

    def place(self, job: PlacementRequest, exclude: frozenset[str] = frozenset()) -> Dispatch:
        """An instance for a generation, charged at once. Raises Unavailable, NotFound, BadRequest or ContextLengthExceeded."""
        return self._admitted(lambda excluded: self._placer.place(job, excluded), exclude)

    def place_call(self, exclude: frozenset[str] = frozenset(), *, embedding_model: str = "") -> Dispatch:
        """An instance for a short idempotent call, of those with that embedding model. Where all were tried, any will do.

        Raises Unavailable.
        """
        others = frozenset(
            name
            for name, member in self._store.view.members.items()
            if embedding_model and member.instance.embedding_model != embedding_model
        )
        try:
            return self._admitted(self._placer.place_context, exclude | others)
        except Unavailable:
            if not exclude:
                raise
            return self._admitted(self._placer.place_context, others)

    def _admitted(self, place: Callable[[frozenset[str]], Ticket | ContextTicket], exclude: frozenset[str]) -> Dispatch:
        excluded = exclude | self._detector.ejected().keys()
        while True:
            try:
                ticket = place(excluded)
            except NoInstance as error:
                raise _translate(error) from error
            dispatch_pass = self._detector.try_acquire(ticket.instance.name)
            if dispatch_pass is not None:
                return Dispatch(ticket, dispatch_pass)
            # Half-open, and its probes are taken: not for us.
            ticket.release(TicketOutcome.REJECTED)
            excluded |= {ticket.instance.name}


def _translate(error: NoInstance) -> RagfleetError:
    message = str(error)
    if error.why is Why.UNKNOWN_MODEL:
        return NotFound(message, param="model", code="model_not_found")
    if error.why is Why.CONTEXT_TOO_LONG:
        return ContextLengthExceeded(message, param="messages")
    if error.why in (Why.NO_LORA, Why.TENANT_CLASS):
        return BadRequest(message)
    return Unavailable(message, retry_after_s=1)
