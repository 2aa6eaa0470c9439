"""Predicted time to first token, in seconds: the instance that is expected to answer first.

    prefill ahead   (queued prompt tokens of ours + the others' waiting × the usual prompt) × measured s/token
  + own prefill     overhead + (prompt − what the prefix index says is cached there) × measured s/token
  + slot wait       requests beyond the slots × measured step × what the answers inside have still to go / slots
  + KV wait         where blocks are lacking: max(their share of the cache, 1/requests) × measured step × the same
  + burden          what a busy batch costs the answer itself: BURDEN × requests/slots × measured step × answer

What is compared is this and WORK times the prefill of what another candidate has cached, as far as the batch is full: all
who decode there stand still for it, all who queue behind it wait, and its blocks push out others that somebody would have
found. A policy that counts its own seconds alone scatters each shared prefix over the fleet as soon as queues grow, every
instance then caches everything and hits nothing, and the queues grow further. On an idle instance it harms nobody: a new
one, or one that came back with an empty cache, is filled at once. Affinity ends by itself where a hot spot's queue costs
more than the hit. Ties within `grain` are drawn at random.

Cost: O(1) in large pools: 22 candidates, about 1.5 µs each. Rivals: smg's least_load (tokens over one assumed
throughput, no prefix credit), Dynamo's KV cost (blocks, no speed: a slow instance looks like a fast one), EPP's
weighted scores (no unit, so weights to tune).
"""

from random import Random

from gateway.routing.candidates import Candidates
from gateway.routing.instance_load import InstanceLoad
from gateway.routing.load_snapshot import FRESH_S
from gateway.routing.types import Choice, PlacementRequest

BURDEN = 0.1
"""How much of the answer's own slowing counts beside the wait for its start. 0: none, only TTFT matters."""
WORK = 3.0
"""How much a second of prefill that is done elsewhere already costs those whose batch it enters, if that is full, beside the
second of one's own. 0: each for himself; higher keeps prefixes together longer, at the price of fuller queues where they are;
2 and 3 measured alike, 4 worse (docs/routing.md)."""


class PredictedTtft:
    """The default policy."""

    grain = 0.005

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def standing(self, account: InstanceLoad, now: float) -> float:
        """Seconds that a wholly cached, usual request would wait."""
        snapshot, answer = account.snapshot(now), account.averages.answer_tokens.value
        ahead, requests = snapshot.ahead, snapshot.requests
        if not account.knows_queue:
            ahead, requests = account.queued_tokens, account.ours
        overflow = max(requests + 1 - account.slots, 0.0) * snapshot.remaining_tokens
        steps = (BURDEN * requests * answer + overflow) / account.slots
        return snapshot.overhead_s + ahead * snapshot.token_s + steps * snapshot.step_s

    def choose(self, candidates: Candidates, job: PlacementRequest) -> Choice | None:
        """The eligible instance with the least predicted seconds, the others' part counted too."""
        accounts = candidates.few(self._rng)
        if not accounts:
            return None
        lit = kv = True
        for a in accounts:
            if not a.knows_all:
                lit, kv = all(a.knows_queue for a in accounts), all(a.knows_kv for a in accounts)
                break
        now, answer, prompt = candidates.now, candidates.answer_tokens, len(job.prompt_ids)
        cached = candidates.cached_tokens(accounts)
        best = max(cached)
        work = WORK * (
            1.0 + candidates.averages.others_share.value
        )  # others' queues are guesses: a prefix moves for more than that
        seconds: list[float] = []
        costs: list[float] = []
        for a, hit in zip(accounts, cached, strict=True):
            snapshot, slots = a.latest, a.slots
            if snapshot is None or now - snapshot.at > FRESH_S:
                snapshot = a.snapshot(now)
            if lit:
                ahead, requests, overflow, crowd = (
                    snapshot.ahead,
                    snapshot.requests,
                    snapshot.overflow_tokens,
                    snapshot.crowd,
                )
            else:
                ahead, requests = a.queued_tokens, a.ours
                overflow, crowd = max(requests + 1 - slots, 0.0) * snapshot.remaining_tokens, min(requests / slots, 1.0)
            compute, token, step = prompt - hit, snapshot.token_s, snapshot.step_s
            # The slots that are lost: the burden of those beside its answer, and where none is free, the wait for one.
            wait = (
                snapshot.overhead_s + (ahead + compute) * token + (BURDEN * requests * answer + overflow) / slots * step
            )
            if (
                kv and (lacking := compute + answer - snapshot.kv_free) > 0
            ):  # at least until the next of those inside ends
                share = max(lacking / a.kv_capacity_tokens, 1 / max(requests, 1.0))
                wait += share * step * snapshot.remaining_tokens
            seconds.append(wait)
            costs.append(wait + work * crowd * (best - hit) * token if best else wait)
        bound = min(costs) + self.grain
        ties = [i for i, cost in enumerate(costs) if cost <= bound]
        chosen = ties[int(self._rng.random() * len(ties))] if len(ties) > 1 else ties[0]
        account, hit, wait = accounts[chosen], cached[chosen], seconds[chosen]
        reason = f"first token in {wait:.3f} s, {account.queued} queued, {hit} of {prompt} prompt tokens cached"
        if not lit:
            reason += ", own counts only"
        return Choice(account.instance, reason, cached_tokens=hit)
