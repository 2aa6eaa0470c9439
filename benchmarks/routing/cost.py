"""What one placement costs: `python -m benchmarks.routing.cost`. Microseconds by the number of instances.

The whole way of a request through the placer is timed: hash the prompt, choose, charge, first token, release, on a fleet
under load (half of the slots taken, every instance scraped, a thousand conversations in the prefix index). `place` alone
is what a client waits for.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random

from benchmarks.report import print_table
from gateway.fleet.view import FleetView, Instance, Load, Member
from gateway.routing import Job, Outcome, Placer, policies

SIZES = (1, 10, 100, 1000, 10000)
PROMPT_TOKENS = 1024
REQUESTS = 2000
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds, the best of some rounds (the rest is the machine's noise)."""

    policy: str
    instances: int
    place_us: float
    """Hashing the prompt, choosing, charging."""
    round_trip_us: float
    """Also the first token and the release."""


def loaded(policy: str, size: int) -> tuple[Placer, list[Job]]:
    """A placer over a fleet under load, and the jobs to place."""
    rng = Random(1)
    clock = [100.0]
    placer = Placer(policies.build(policy, rng), lambda: clock[0], rng)
    members = {}
    for number in range(size):
        load = Load(
            100.0, waiting=0, active=rng.randrange(12), kv_used_blocks=300, kv_max_blocks=2048, kv_block_tokens=32
        )
        name = f"triton-{number}"
        members[name] = Member(Instance(name, "", 0, 0, 0, "llm", slots=16, max_context=8192), load)
    placer.update(FleetView(1, members))
    prompts = [[rng.randrange(50000) for _ in range(PROMPT_TOKENS)] for _ in range(1000)]
    jobs = [Job(str(n), "llm", prompts[n % len(prompts)], 256) for n in range(REQUESTS)]
    for job in jobs[: min(size * 8, REQUESTS)]:
        placer.place(job)
    return placer, jobs


def measure(sizes: Sequence[int] = SIZES, names: Sequence[str] = tuple(policies.BY_NAME)) -> list[dict[str, object]]:
    """The cost of each policy at each size."""
    found = []
    for name in names:
        for size in sizes:
            placer, jobs = loaded(name, size)
            place, trip = [], []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                tickets = [placer.place(job) for job in jobs]
                placed = time.perf_counter()
                for ticket in tickets:
                    ticket.first_token(100.1)
                    ticket.release(Outcome.OK)
                ended = time.perf_counter()
                place.append((placed - began) / len(jobs) * 1e6)
                trip.append((ended - began) / len(jobs) * 1e6)
            found.append(asdict(Cost(name, size, min(place), min(trip))))
    return found


def show(costs: Sequence[dict[str, object]]) -> None:
    """The table."""
    rows = [[c["policy"], c["instances"], c["place_us"], c["round_trip_us"]] for c in costs]
    print_table(
        f"Cost of a placement, {PROMPT_TOKENS} prompt tokens",
        ["policy", "instances", "place µs", "with release µs"],
        rows,
    )


if __name__ == "__main__":
    show(measure())
