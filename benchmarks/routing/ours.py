"""The gateway's own placement in the simulation: the same `Placer` and policies that serve real requests."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from random import Random

from benchmarks.routing.router import Router, Sample
from benchmarks.routing.traces import BLOCK, Prompt, Request
from benchmarks.routing.world import World
from gateway.fleet.view import FleetMember, FleetView, Instance, LoadSample
from gateway.routing import NoInstance, PlacementRequest, Placer, Ticket, TicketOutcome, policies
from gateway.routing.prefix_index import PrefixIndex

MODEL = "llm"


class TraceIndex(PrefixIndex):
    """The gateway's index; a trace's prompts bring their keys along, so that no tokens need be made up and hashed."""

    def keys(self, token_ids: Sequence[int], *, salt: str = "") -> list[int]:
        """The keys that the prompt came with."""
        assert isinstance(token_ids, Prompt)
        return list(token_ids.keys)


class Ours:
    """One gateway with a policy of `gateway.routing`."""

    def __init__(self, policy: str, world: World, rng: Random) -> None:
        self._world = world
        self.placer = Placer(policies.build(policy, rng), lambda: world.now, rng, index=TraceIndex(block_tokens=BLOCK))
        self._names = [f"triton-{number}" for number in range(len(world.engines))]
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._members = {
            name: FleetMember(
                Instance(name, "", 0, 0, 0, MODEL, slots=engine.spec.slots, max_context=engine.spec.max_context)
            )
            for name, engine in zip(self._names, world.engines, strict=True)
        }
        self._tickets: list[dict[Request, Ticket]] = [{} for _ in world.engines]
        self.placer.update(FleetView(1, self._members))

    def scraped(self, now: float, instance: int, sample: Sample) -> None:
        """The metrics of docs/contracts.md; and the tokens that have been streamed by now."""
        for request, ticket in self._tickets[instance].items():
            if ticket.answered_at is not None:
                ticket.tokens(self._world.produced(request) - ticket.produced)
        load = LoadSample(
            at=now,
            waiting=sample.waiting,
            active=sample.running,
            scheduled=sample.running,
            kv_used_blocks=sample.kv_used,
            kv_max_blocks=sample.kv_max,
            kv_block_tokens=sample.block_tokens,
        )
        self._change(instance, load=load)

    def alive(self, now: float, instance: int, alive: bool) -> None:
        """Health as the store would report it."""
        self._change(instance, healthy=alive, load=None)

    def _change(self, instance: int, **changes: object) -> None:
        name = self._names[instance]
        self._members[name] = replace(self._members[name], **changes)  # type: ignore[arg-type]
        self.placer.update(FleetView(1, self._members), (name,))

    def pick(self, now: float, request: Request, exclude: Collection[int]) -> int | None:
        """Place it."""
        job = PlacementRequest(str(request.number), MODEL, request.prompt, request.max_tokens)
        try:
            ticket = self.placer.place(job, {self._names[i] for i in exclude} if exclude else frozenset())
        except NoInstance:
            return None
        instance = self._numbers[ticket.instance.name]
        self._tickets[instance][request] = ticket
        return instance

    def answered(self, now: float, request: Request, instance: int) -> None:
        """The first token."""
        ticket = self._tickets[instance][request]
        ticket.tokens(1)
        ticket.first_token(now)

    def ended(self, now: float, request: Request, instance: int, *, ok: bool) -> None:
        """The end; the index learns the answer's blocks too, as the gateway tells it the answer's ids."""
        ticket = self._tickets[instance].pop(request)
        if ok:
            ticket.tokens(request.answer - ticket.produced)
        ticket.release(TicketOutcome.OK if ok else TicketOutcome.FAILED)
        if ok:
            self.placer.index.record(ticket.instance.name, request.whole)


def router(policy: str) -> Callable[[World, int, Random], Router]:
    """Builds each gateway's router with this policy."""
    return lambda world, _gateway, rng: Ours(policy, world, rng)
