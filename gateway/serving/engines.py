"""The engines as serving sees them: placement, trust and the fleet's view behind one door."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gateway.errors import (
    BadRequest,
    ContextLengthExceeded,
    GenerationFailed,
    NotFound,
    Overloaded,
    RagfleetError,
    Unavailable,
)
from gateway.fleet.outlier_detection import DispatchOutcome, DispatchPass, OutlierDetector
from gateway.fleet.store import FleetStore
from gateway.fleet.view import FleetMember, FleetView, Instance
from gateway.routing import ContextTicket, NoInstance, PlacementRequest, Placer, Ticket, TicketOutcome, Why
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError
from gateway.triton.llm import TokenStream


class Placed:
    """An instance that has been charged with a job, and the pass to use it. `end` gives both back, on every path."""

    __slots__ = ("_pass", "_praised", "instance", "ticket")

    def __init__(self, ticket: Ticket | ContextTicket, trust_pass: DispatchPass) -> None:
        self.ticket = ticket
        self.instance: Instance = ticket.instance
        self._pass = trust_pass
        self._praised = False

    def tokens(self, count: int, now: float) -> None:
        """So many more tokens came. The first ones are what the instance is trusted for."""
        ticket = self.ticket
        if not self._praised and isinstance(ticket, Ticket):
            self._praised = True
            ticket.first_token(now)
            self._pass.record(DispatchOutcome.SUCCESS)
        ticket.tokens(count)  # type: ignore[union-attr]  # only generations have tokens

    def more_tokens(self, count: int) -> None:
        """So many more tokens came, after the first ones."""
        self.ticket.tokens(count)  # type: ignore[union-attr]  # only generations have tokens

    def done(self, produced: Sequence[int] = ()) -> None:
        """It did the whole job; `produced` are the answer's ids."""
        if not self._praised:
            self._praised = True
            self._pass.record(DispatchOutcome.SUCCESS)
        if isinstance(self.ticket, Ticket):
            self.ticket.release(TicketOutcome.OK, produced)
        else:
            self.ticket.release(TicketOutcome.OK)

    def failed(self, error: InstanceError) -> None:
        """It failed us, unless the error says nothing about its health."""
        if error.cause is Cause.STALL:
            self._pass.record(DispatchOutcome.TIMEOUT)
        else:
            self._pass.record(DispatchOutcome.FAILURE if error.blames_instance else DispatchOutcome.IGNORED)
        self.ticket.release(TicketOutcome.FAILED if error.blames_instance else TicketOutcome.REJECTED)

    def cancelled(self) -> None:
        """Nobody wants the result any more. Harmless after any other end."""
        if not self._praised:
            self._pass.record(DispatchOutcome.IGNORED)
        self.ticket.release(TicketOutcome.CANCELLED)


class Engines:
    """Places jobs on instances that are trusted, and keeps the score."""

    RESCUE_EVERY_S = 0.2
    QUIET_S = 1.0
    """Seconds without a token, or before the first one without metrics, after which a stream on an untrusted instance counts
    as lost."""

    def __init__(
        self, *, store: FleetStore, placer: Placer, trust: OutlierDetector, pool: Pool, drain_patience_s: float = 20.0
    ) -> None:
        self._store = store
        self._placer = placer
        self._trust = trust
        self._pool = pool
        self._models: dict[str, int] = {}
        self._streams: dict[str, set[TokenStream]] = {}
        self._drain_patience_s = drain_patience_s
        self._draining_since: dict[str, float] = {}
        store.subscribe(trust.follow)
        store.subscribe(self._apply)

    # What there is

    def models(self) -> list[str]:
        """Model ids that some serving instance has, sorted."""
        return sorted(self._models)

    def max_context(self, model: str) -> int:
        """The longest context of any instance that serves the model, in tokens; 0 where none does."""
        return self._models.get(model, 0)

    def capacity(self) -> int:
        """Slots of all serving instances together."""
        return sum(m.instance.slots for m in self._store.view.serving)

    # Placement

    def place(self, job: PlacementRequest, exclude: frozenset[str] = frozenset()) -> Placed:
        """An instance for a job, charged at once. Raises Unavailable, NotFound or ContextLengthExceeded."""
        return self._trusted(lambda shut: self._placer.place(job, shut), exclude)

    def place_context(self, exclude: frozenset[str] = frozenset(), *, embedding_model: str = "") -> Placed:
        """An instance for a short idempotent call, of those with that embedding model. Where all were tried, any will do."""
        others = frozenset(
            name
            for name, member in self._store.view.members.items()
            if embedding_model and member.instance.embedding_model != embedding_model
        )
        try:
            return self._trusted(self._placer.place_context, exclude | others)
        except Unavailable:
            if not exclude:
                raise
            return self._trusted(self._placer.place_context, others)

    def _trusted(self, place: Callable[[frozenset[str]], Ticket | ContextTicket], exclude: frozenset[str]) -> Placed:
        shut = exclude | self._trust.ejected().keys()
        while True:
            try:
                ticket = place(shut)
            except NoInstance as error:
                raise _translate(error) from error
            trust_pass = self._trust.try_acquire(ticket.instance.name)
            if trust_pass is not None:
                return Placed(ticket, trust_pass)
            # Half-open, and its probes are taken: not for us.
            ticket.release(TicketOutcome.REJECTED)
            shut |= {ticket.instance.name}

    def heard(self, name: str, answered: bool) -> None:
        """One instance's metrics were read, or not: its load is new, and silence costs trust."""
        self._placer.update(self._store.view, (name,))
        self._trust.heard(name, answered)

    # Streams on instances that leave

    def watch(self, name: str, stream: TokenStream) -> None:
        """Remember which instance a stream runs on, until it ends."""
        self._streams.setdefault(name, set()).add(stream)

    def unwatch(self, name: str, stream: TokenStream) -> None:
        """The stream has ended."""
        self._streams.get(name, set()).discard(stream)

    def move_away(self, name: str) -> int:
        """End the streams on an instance so that they go on elsewhere; how many there were."""
        streams = list(self._streams.get(name, ()))
        for stream in streams:
            stream.fail(InstanceError(Cause.DRAIN, f"{name} is leaving the fleet"))
        return len(streams)

    async def run(self) -> None:
        """Rescue streams until cancelled, sooner than their own deadlines would."""
        while True:
            await asyncio.sleep(self.RESCUE_EVERY_S)
            self.rescue(time.monotonic())

    def rescue(self, now: float) -> None:
        """Move the streams of instances that drain past our patience, and the silent ones of instances that are not trusted."""
        if not self._streams:
            return
        ejected = self._trust.ejected()
        for name, streams in self._streams.items():
            if not streams:
                continue
            member = self._store.view.members.get(name)
            since = self._draining_since.get(name)
            if since is not None and now - since > self._drain_patience_s:
                self.move_away(name)
            elif name in ejected or member is None or not member.healthy:
                # A healthy stream on an instance that others complain of goes on; a silent one will not speak again.
                dark = self._dark(name)
                for stream in [s for s in streams if s.quiet_s(now) > self.QUIET_S or (dark and not s.spoken)]:
                    stream.fail(InstanceError(Cause.STALL, f"{name} is silent: {ejected.get(name, 'not healthy')}"))

    def _dark(self, name: str) -> bool:
        """Whether the instance has not told its load for a while: then its queue does not move either."""
        age = self._store.load_age(name)
        return age is None or age > self.QUIET_S

    def running(self) -> Mapping[str, int]:
        """Streams of this gateway by instance."""
        return {name: len(streams) for name, streams in self._streams.items() if streams}

    def describe(self) -> list[dict[str, Any]]:
        """Every member with its state, load and reason, for /fleet."""
        ejected = self._trust.ejected()
        running = self.running()
        return [
            {
                "name": name,
                "state": _state(member, name in ejected),
                "reason": ejected.get(name, member.reason),
                "model": member.instance.model,
                "flavour": member.instance.flavour,
                "version": member.instance.version,
                "device": member.instance.device,
                "address": member.instance.address,
                "http_port": member.instance.http_port,
                "grpc_port": member.instance.grpc_port,
                "metrics_port": member.instance.metrics_port,
                "slots": member.instance.slots,
                "max_context": member.instance.max_context,
                "streams": running.get(name, 0),
                **self._charged(name),
                "load": None if member.load is None else asdict(member.load),
            }
            for name, member in self._store.view.members.items()
        ]

    def _charged(self, name: str) -> dict[str, int]:
        """What placement holds against an instance now, and the answer tokens that it gave us since it joined."""
        account = self._placer.account(name)
        if account is None:
            return {"in_flight": 0, "tokens": 0}
        return {"in_flight": account.ours + account.context_calls, "tokens": account.produced}

    def _apply(self, view: FleetView) -> None:
        self._placer.update(view)
        models: dict[str, int] = {}
        for member in view.serving:
            i = member.instance
            models[i.model] = max(models.get(i.model, 0), i.max_context)
        self._models = models
        for name in self._draining_since.keys() - {n for n, m in view.members.items() if m.draining}:
            del self._draining_since[name]
        for member in view.members.values():
            if member.draining:
                self._draining_since.setdefault(member.instance.name, time.monotonic())
            if member.draining or not member.healthy:
                # An open idle connection would hold up a leaving Triton until its exit timeout.
                self._pool.close((member.instance.address, member.instance.http_port))
        for name in self._streams.keys() - view.members.keys():
            if not self._streams[name]:
                del self._streams[name]


def _state(member: FleetMember, ejected: bool) -> str:
    if member.draining:
        return "draining"
    if not member.healthy:
        return "unhealthy"
    return "ejected" if ejected else "ready"


def exhausted(last: InstanceError, story: str) -> RagfleetError:
    """The error for a request whose every attempt failed, by how the last one did; `story` tells of all."""
    if last.cause is Cause.BUSY:
        return Overloaded(f"Every instance's queue is full. {story}", retry_after_s=1, status=503)
    if last.cause is Cause.CONNECT:
        return Unavailable(f"No instance can be reached. {story}", retry_after_s=1)
    return GenerationFailed(f"Every attempt failed, the last with: {last}. {story}")


def _translate(error: NoInstance) -> RagfleetError:
    message = str(error)
    if error.why is Why.UNKNOWN_MODEL:
        return NotFound(message, param="model", code="model_not_found")
    if error.why is Why.CONTEXT_TOO_LONG:
        return ContextLengthExceeded(message, param="messages")
    if error.why in (Why.NO_LORA, Why.TENANT_CLASS):
        return BadRequest(message)
    return Unavailable(message, retry_after_s=1)
