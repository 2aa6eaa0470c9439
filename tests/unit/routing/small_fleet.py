"""A small fleet for the tests of placement: a clock that the test moves, seeded randomness, instances by number."""

import re
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from gateway.fleet.view import FleetMember, FleetView, Instance, LoadSample
from gateway.routing import PlacementRequest, Placer, Ticket, TicketOutcome, policies

MODEL = "llm"


def instance(number: int, **changes: Any) -> Instance:
    """`triton-<number>` with 8 slots and a context of 4,096 tokens."""
    return replace(Instance(f"triton-{number}", "", 0, 0, 0, MODEL, slots=8, max_context=4096), **changes)


def load(at: float = 0.0, **changes: Any) -> LoadSample:
    """An idle instance's sample: a KV cache of 512 blocks of 32 tokens."""
    idle = LoadSample(at, waiting=0, active=0, scheduled=0, kv_used_blocks=0, kv_max_blocks=512, kv_block_tokens=32)
    return replace(idle, **changes)


def predicted_s(ticket: Ticket) -> float:
    """The seconds to the first token that the choice was made for, as its reason tells."""
    found = re.match(r"first token in ([0-9.]+) s", ticket.reason)
    assert found
    return float(found[1])


class Fleet:
    """A placer over some instances, all idle and freshly scraped unless told otherwise."""

    def __init__(self, policy: str, count: int = 3, *, seed: int = 1, instances: Mapping[int, Instance] | None = None):
        self.now = 0.0
        rng = Random(seed)
        self.placer = Placer(policies.build(policy, rng), lambda: self.now, rng)
        self._members = {
            f"triton-{n}": FleetMember((instances or {}).get(n) or instance(n), load()) for n in range(count)
        }
        self._show()
        self._requests = 0

    def _show(self) -> None:
        self.placer.update(FleetView(1, dict(self._members)))

    def change(self, number: int, **changes: Any) -> None:
        """Another health, drain state or load of an instance."""
        name = f"triton-{number}"
        self._members[name] = replace(self._members[name], **changes)
        self._show()

    def job(self, prompt: list[int] | int = 256, **changes: Any) -> PlacementRequest:
        """A job; a number stands for so many tokens that no other prompt has."""
        self._requests += 1
        ids = prompt if isinstance(prompt, list) else [self._requests * 5000 + n for n in range(prompt)]
        return replace(PlacementRequest(f"r{self._requests}", MODEL, ids, max_tokens=64), **changes)

    def place(self, prompt: list[int] | int = 256, **changes: Any) -> Ticket:
        """Place a job and leave it in flight."""
        return self.placer.place(self.job(prompt, **changes))

    def serve(self, ticket: Ticket, seconds: float, tokens: int = 64) -> None:
        """The ticket's answer: its first token after `seconds`, the rest at once."""
        self.now += seconds
        ticket.first_token(self.now)
        ticket.tokens(tokens)
        ticket.release(TicketOutcome.OK)
