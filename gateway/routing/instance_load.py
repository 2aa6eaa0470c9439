"""What one instance carries now: our own dispatches, counted as they happen, and everybody else's, from its last sample.

A sample alone is stale; our own count alone is blind to the other gateways. The account joins them without counting
anything twice: from the sample only what was *not ours at that moment* is taken, and ours is always the live count.
So what we dispatched since the sample is in, and what finished since is out, whatever the age of the sample.
"""

from collections import deque
from math import ceil, exp

from gateway.fleet.view import Instance, LoadSample
from gateway.routing.fleet_averages import FleetAverages
from gateway.routing.load_snapshot import FRESH_S, LoadSnapshot
from gateway.routing.speed import Speed

DOUBT_S = 5.0
"""In so many seconds without a new one a measured speed fades to a third towards the usual of its kind. Lower: an instance that
was slow once is tried again sooner; higher: one that is slow for good gets fewer requests that show it."""
RECENT = 4096
"""Events remembered between two samples; a dark instance must not make them grow."""


class InstanceLoad:
    """The page of one instance in the ledger. Policies read it; the placer and its tickets write it."""

    __slots__ = (  # thousands of them are looked at in turn
        "_area_at",
        "_area_at_sample",
        "_counted",
        "_decoding_area",
        "_dispatched",
        "_kv_at_sample",
        "_measured_at",
        "_others_at_sample",
        "_others_waiting_at_sample",
        "_produced_at_sample",
        "_produced_by_ended",
        "_released",
        "averages",
        "bucket",
        "busy_since",
        "context_calls",
        "instance",
        "knows_all",
        "knows_kv",
        "knows_queue",
        "kv_capacity_tokens",
        "kv_tokens",
        "last_placement",
        "latest",
        "limit",
        "load",
        "name",
        "ours",
        "produced",
        "queued",
        "queued_tokens",
        "seat",
        "serving",
        "slots",
        "speed",
        "tenant_classes",
    )

    def __init__(self, instance: Instance, averages: FleetAverages) -> None:
        self.averages = averages
        self.instance = instance
        self.name = instance.name
        self.slots = max(instance.slots, 1)
        self.tenant_classes = instance.tenant_classes
        self.speed = Speed(averages.speed(instance))
        self.load: LoadSample | None = None
        self.knows_queue = False
        """Whether the last sample says how many requests are in the instance."""
        self.knows_kv = False
        """Whether the last sample says how full the KV cache is, and how large it is."""
        self.knows_all = False
        """Both."""
        self.kv_capacity_tokens = 0.0
        """Tokens that the KV cache holds; 0 while it is not known."""
        self.ours = 0
        """Our dispatches in the instance."""
        self.queued = 0
        """Ours that have no first token yet."""
        self.queued_tokens = 0.0
        """Prompt tokens that those still need computed (the prefix cache taken off)."""
        self.kv_tokens = 0.0
        """KV tokens that ours are expected to fill."""
        self.context_calls = 0
        self.produced = 0
        """Answer tokens that ours have given, ever; tickets add to it directly, per token."""
        self._produced_by_ended = 0
        self.limit = float(instance.max_context)
        """Tokens that a request may need at most: the context, and the whole KV cache once it is known."""
        self.serving = False
        """Whether it is in its model's pool."""
        self.last_placement = ""
        """Why the last job was placed there, in words."""
        self.bucket = -1
        self.seat = -1
        """Where the pool's order keeps this account."""
        self.busy_since = 0.0
        """When the instance last began a prefill of ours, as far as we can tell."""
        self._measured_at = 0.0
        self._decoding_area = self._area_at = 0.0
        self._produced_at_sample = 0
        self._area_at_sample = 0.0
        self._dispatched: deque[float] = deque(maxlen=RECENT)
        self._released: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self._others_at_sample = 0.0
        self._others_waiting_at_sample = 0.0
        self._kv_at_sample = 0.0
        self._counted = (0, 0)
        self.latest: LoadSnapshot | None = None
        """The last `snapshot`; None where something has changed since."""

    # what policies read

    def snapshot(self, now: float) -> LoadSnapshot:
        """All that a prediction needs, at most FRESH_S old."""
        snapshot = self.latest
        if snapshot is None or now - snapshot.at > FRESH_S:
            overhead_s, token_s = self.prefill(now)
            requests, remaining = self.ours + self.others(now), self._remaining_tokens()
            snapshot = self.latest = LoadSnapshot(
                now,
                overhead_s,
                token_s,
                self.speed.step_s,
                remaining,
                requests,
                self.queued_tokens + self.others_waiting(now) * self.averages.prompt_tokens.value,
                max(requests + 1 - self.slots, 0.0) * remaining,
                min(requests / self.slots, 1.0),
                self.kv_capacity_tokens * (1.0 - self.kv_fraction(now)),
            )
        return snapshot

    def _remaining_tokens(self) -> float:
        """Answers that have gone on for long go on for as long again: those that have ended tell of the short ones only."""
        decoding = self.ours - self.queued
        so_far = (self.produced - self._produced_by_ended) / decoding if decoding > 0 else 0.0
        return max(self.averages.answer_tokens.value, so_far)

    def others(self, now: float) -> float:
        """Requests of other gateways in the instance, as far as the last sample and our own behaviour tell.

        What the sample showed fades towards the fleet's mean as requests come and go (over the time that one
        usually stays); and since gateways that see the same samples make the same choices, each dispatch of
        ours since then is echoed by as many of theirs as their share of the traffic is larger than ours.
        """
        load = self.load
        if load is None:
            return 0.0
        averages = self.averages
        echo = averages.echo
        if echo == 0.0 and self._others_at_sample == 0.0:
            return 0.0
        mean = averages.others_mean
        fade = exp(min(load.at - now, 0.0) / averages.stay)
        return mean + (self._others_at_sample - mean) * fade + echo * len(self._dispatched)

    def others_waiting(self, now: float) -> float:
        """Requests of other gateways that wait for their first token in the instance."""
        load = self.load
        if load is None:
            return 0.0
        waiting = self._others_waiting_at_sample
        if waiting:
            waiting *= exp(min(load.at - now, 0.0) / self.averages.stay)
        echo = self.averages.echo
        return waiting + echo * min(len(self._dispatched), self.queued) if echo else waiting

    def requests(self, now: float) -> float:
        """Requests in the instance, waiting or running, whoever sent them."""
        return self.ours + self.others(now)

    def is_full(self, now: float) -> bool:
        """Whether a request more would wait for a slot, as far as is known."""
        return self.requests(now) >= self.slots

    def waiting(self, now: float) -> int:
        """Requests that wait for a slot, as far as is known."""
        told = 0 if self.load is None else min(self.load.waiting or 0, self.queued)
        return max(told, ceil(self.requests(now) - self.slots))

    def kv_fraction(self, now: float) -> float:
        """Share of the KV cache in use, 0–1: ours live, and the rest of the sample fading as its requests end."""
        load = self.load
        if load is None or load.kv_used_blocks is None or not load.kv_max_blocks:
            return 0.0
        block = load.kv_block_tokens or 1
        rest = (load.kv_used_blocks - self._kv_at_sample / block) * exp(min(load.at - now, 0.0) / self.averages.stay)
        return min(max((rest + self.kv_tokens / block) / load.kv_max_blocks, 0.0), 1.0)

    def prefill(self, now: float) -> tuple[float, float]:
        """Seconds to a first token: of a wholly cached prompt, and for each token to compute.

        A slow measurement fades while nothing of ours is there. Else one slow answer, of an instance that has just started
        perhaps, would keep it without work, hence unmeasured, hence without work, for good.
        """
        speed = self.speed
        overhead, token = speed.overhead_s, speed.prefill_s_per_token
        if self.ours or speed.usual is None or not speed.prefill.samples:
            return overhead, token
        usual = speed.usual
        fade = exp(min(self._measured_at - now, 0.0) / DOUBT_S)
        overhead += max(overhead - usual.overhead_s, 0.0) * (fade - 1.0)
        token += max(token - usual.prefill_s_per_token, 0.0) * (fade - 1.0)
        return overhead, token

    # what the placer and its tickets write

    def dispatched(self, now: float, compute_tokens: float, kv_tokens: float) -> None:
        """One of ours goes to the instance, with so many prompt tokens to compute."""
        self.latest = None
        if not self.queued:
            self.busy_since = now
        self.ours += 1
        self.queued += 1
        self.queued_tokens += compute_tokens
        self.kv_tokens += kv_tokens
        self._dispatched.append(now)

    def first_token(self, now: float, compute_tokens: float) -> float:
        """One of ours answered; returns the seconds that the instance seems to have spent on its prompt.

        Prefills are served one after the other, so a prompt's own time begins when it came or when the prompt
        before it was done, whichever is later.
        """
        self.latest = None
        spent = now - self.busy_since
        self.queued -= 1
        self.queued_tokens -= compute_tokens
        self.busy_since = now
        self._advance(now, self.ours - self.queued - 1)
        return spent

    def learn_prefill(self, now: float, compute_tokens: float, spent: float) -> None:
        """So many prompt tokens took so many seconds; what was measured before counts the less the longer ago it was."""
        self.latest = None
        prefill = self.speed.prefill
        prefill.fade(exp(min(self._measured_at - now, 0.0) / DOUBT_S))
        prefill.learn(compute_tokens, spent, slower=self.averages.undisturbed)
        self._measured_at = now

    def released(
        self,
        now: float,
        dispatched_at: float,
        *,
        compute_tokens: float,
        kv_tokens: float,
        produced: int,
        queued: bool,
    ) -> None:
        """One of ours left the instance, after `produced` tokens; `queued`: it never had a first token."""
        self.latest = None
        self._produced_by_ended += produced
        if queued:
            self.queued -= 1
            self.queued_tokens -= compute_tokens
            self.busy_since = now
        else:
            self._advance(now, self.ours - self.queued)
        self.ours -= 1
        self.kv_tokens -= kv_tokens
        self._released.append((now, dispatched_at))
        if not self.ours:  # floating-point dust must not pile up over millions of requests
            self.queued_tokens = self.kv_tokens = 0.0

    def _advance(self, now: float, decoding: int) -> None:
        """Add to the integral of decoding sequences over time, which `decoding` of ours have been since last time."""
        self._decoding_area += decoding * (now - self._area_at)
        self._area_at = now

    def observe(self, load: LoadSample, now: float) -> None:
        """Take in a new sample; from the tokens since the last one, learn how fast a sequence decodes."""
        if load is self.load:
            return
        self._advance(now, self.ours - self.queued)
        area = self._decoding_area - self._area_at_sample
        tokens = self.produced - self._produced_at_sample
        if area > 0.2 and tokens >= 8:
            self.speed.learn_step(area / tokens)
            self._area_at_sample, self._produced_at_sample = self._decoding_area, self.produced
        dispatched, released = self._dispatched, self._released
        while dispatched and dispatched[0] <= load.at:
            dispatched.popleft()
        while released and released[0][0] <= load.at:
            released.popleft()
        gone_since = sum(1 for _, dispatched_at in released if dispatched_at <= load.at)
        new = len(dispatched)
        ours_then = max(self.ours - new, 0) + gone_since
        total = _requests_in(load)
        self._others_at_sample = float(max(total - ours_then, 0)) if total is not None else 0.0
        self._others_waiting_at_sample = float(max((load.waiting or 0) - max(self.queued - new, 0), 0))
        self._kv_at_sample = self.kv_tokens
        if self.load is None:
            self.averages.sampled_instances += 1
        self._read(load)
        if self.kv_capacity_tokens:
            self.limit = min(float(self.instance.max_context), self.kv_capacity_tokens)
        averages = self.averages
        old_total, old_ours = self._counted
        counted = (max(total, ours_then), ours_then) if total is not None else (0, 0)
        averages.count_sample(counted[0] - old_total, counted[1] - old_ours)
        self._counted = counted

    def forget_sample(self) -> None:
        """The instance left, or its metrics did: what it last said no longer counts."""
        averages = self.averages
        if self.load is not None:
            averages.sampled_instances -= 1
        averages.sampled_total -= self._counted[0]
        averages.sampled_ours -= self._counted[1]
        self._counted = (0, 0)
        self._others_at_sample = self._others_waiting_at_sample = 0.0
        self._dispatched.clear()
        self._released.clear()
        self._read(None)

    def _read(self, load: LoadSample | None) -> None:
        """Keep a sample, and what policies ask of it for every candidate of every request."""
        self.load = load
        self.latest = None
        blocks, size = (load.kv_max_blocks or 0, load.kv_block_tokens or 0) if load is not None else (0, 0)
        self.kv_capacity_tokens = float(blocks * size)
        self.knows_queue = load is not None and load.active is not None
        self.knows_kv = load is not None and load.kv_used_blocks is not None and self.kv_capacity_tokens > 0
        self.knows_all = self.knows_queue and self.knows_kv


def _requests_in(load: LoadSample) -> int | None:
    """Requests in an instance by its sample: engines differ in whether `active` counts the waiting ones too."""
    if load.active is None:
        return None
    return max(load.active, (load.waiting or 0) + (load.scheduled or 0))
