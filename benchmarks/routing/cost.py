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
from gateway.fleet.view import FleetMember, FleetView, Instance, LoadSample
from gateway.routing import Choice, PlacementRequest, Placer, TicketOutcome, policies
from gateway.routing.candidates import Candidates
from gateway.routing.policies import Policy

SIZES = (1, 10, 100, 1000, 10000)
PROMPT_TOKENS = 1024
REQUESTS = 2000
ROUNDS = 3


class Recording:
    """A policy that remembers what it was asked, to be asked the same again with a clock beside it."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.grain = policy.grain
        self.standing = policy.standing
        self.asked: list[tuple[Candidates, PlacementRequest]] = []

    def choose(self, candidates: Candidates, job: PlacementRequest) -> Choice | None:
        """The policy's own choice."""
        self.asked.append((candidates, job))
        return self._policy.choose(candidates, job)

    def again(self) -> float:
        """Processor seconds to choose for all that was asked since last time."""
        asked, self.asked = self.asked, []
        choose = self._policy.choose
        began = time.process_time()
        for candidates, job in asked:
            choose(candidates, job)
        return time.process_time() - began


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time, the best of some rounds (the rest is the machine's noise)."""

    policy: str
    instances: int
    choose_us: float
    """The policy's `choose` alone."""
    place_us: float
    """Hashing the prompt, choosing, charging."""
    round_trip_us: float
    """Also the first token and the release."""


def loaded(name: str, size: int) -> tuple[Recording, Placer, list[PlacementRequest]]:
    """A policy, a placer with it over a fleet under load, and the jobs to place."""
    rng = Random(1)
    clock = [100.0]
    policy = Recording(policies.build(name, rng))
    placer = Placer(policy, lambda: clock[0], rng)
    members = {}
    for number in range(size):
        load = LoadSample(
            100.0, waiting=0, active=rng.randrange(12), kv_used_blocks=300, kv_max_blocks=2048, kv_block_tokens=32
        )
        instance = f"triton-{number}"
        members[instance] = FleetMember(Instance(instance, "", 0, 0, 0, "llm", slots=16, max_context=8192), load)
    placer.update(FleetView(1, members))
    prompts = [rng.choices(range(50000), k=PROMPT_TOKENS) for _ in range(1000)]
    jobs = [PlacementRequest(str(n), "llm", prompts[n % len(prompts)], 256) for n in range(REQUESTS)]
    for job in jobs[: min(size * 8, REQUESTS)]:
        placer.place(job)
    return policy, placer, jobs


def measure(sizes: Sequence[int] = SIZES, names: Sequence[str] = tuple(policies.BY_NAME)) -> list[dict[str, object]]:
    """The cost of each policy at each size."""
    found = []
    for name in names:
        for size in sizes:
            policy, placer, jobs = loaded(name, size)
            choose, place, trip = [], [], []
            for _ in range(ROUNDS):
                policy.asked.clear()
                began = time.process_time()
                tickets = [placer.place(job) for job in jobs]
                placed = time.process_time()
                choosing = policy.again()
                chosen = time.process_time()
                for ticket in tickets:
                    ticket.first_token(100.1)
                    ticket.release(TicketOutcome.OK)
                ended = time.process_time()
                choose.append(choosing / len(jobs) * 1e6)
                place.append((placed - began) / len(jobs) * 1e6)
                trip.append((ended - chosen + placed - began) / len(jobs) * 1e6)
            found.append(asdict(Cost(name, size, min(choose), min(place), min(trip))))
    return found


def show(costs: Sequence[dict[str, object]]) -> None:
    """The table."""
    rows = [[c["policy"], c["instances"], c["choose_us"], c["place_us"], c["round_trip_us"]] for c in costs]
    print_table(
        f"Cost of a placement, {PROMPT_TOKENS} prompt tokens",
        ["policy", "instances", "choose µs", "place µs", "with release µs"],
        rows,
    )


if __name__ == "__main__":
    show(measure())
