"""The oracle: sees every instance as it is at this very moment, its cache, and how long every answer will be.

For each instance it computes when the first token would come, given all that is there, and picks the earliest, with the
burden for busy batches that our own policy counts. It does not see the future: requests yet to come can still prove it
wrong, so it is a strong bound in practice and no proven optimum; a policy may come out ahead of it by luck.
"""

from heapq import heapify, heapreplace

from benchmarks.routing.engine import Engine
from benchmarks.routing.peers.base import Peer
from benchmarks.routing.traces import Request
from gateway.routing.policies.predicted_ttft import BURDEN


class Oracle(Peer):
    """Perfect information for every gateway."""

    def choose(self, now: float, request: Request, candidates: list[int]) -> int:
        """The earliest true first token."""
        engines, up = self.world.engines, self.world.up
        there = [i for i in candidates if up[i]] or candidates
        return self.least(there, lambda i: _seconds(engines[i], now, request))


def _seconds(engine: Engine, now: float, request: Request) -> float:
    """Seconds to the first token on this instance, and the burden."""
    spec, prompt = engine.spec, request.prompt
    compute = prompt.tokens - engine.cached_tokens(prompt.tokens, prompt.keys)
    if not engine.busy:
        return spec.seconds(1, compute)
    engine.settle(now)
    compute += sum(run.prompt - engine.cached_tokens(run.prompt, run.keys) for run in engine.waiting)
    sequences = min(engine.active + len(engine.waiting) + 1, spec.slots)
    step = spec.seconds(sequences, 0)
    seconds = engine.at + engine.length - now + compute / spec.prefill_tokens_per_s + step
    seconds += BURDEN * request.answer * step * (engine.active + len(engine.waiting)) / spec.slots
    room = spec.kv_blocks - engine.pool.used - sum(engine.blocks(r.prompt, r.max_tokens) for r in engine.waiting)
    if engine.active + len(engine.waiting) >= spec.slots:
        seconds += _slot(engine) * step
    elif room < engine.blocks(prompt.tokens, request.max_tokens) and engine.running:
        seconds += max(engine.running[0][0] - engine.iteration, 0) * step
    return seconds


def _slot(engine: Engine) -> int:
    """Iterations until the next comer has a slot, when all who wait are served first."""
    now = engine.iteration
    ends = [end for end, _, _ in engine.running] + [now + run.answer for run in engine.admitted]
    ends += [now] * (engine.spec.slots - len(ends))
    heapify(ends)
    for run in engine.waiting:
        heapreplace(ends, max(ends[0], now) + run.answer)
    return max(ends[0] - now, 0)
