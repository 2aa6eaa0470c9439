"""One instance: the simulated engine's batcher, advanced from event to event instead of from iteration to iteration.

The rules, the `Spec` and the KV cache's accounts are those of model_repository/llm (`llm_engine.scheduler`); tests/unit/routing
holds the two side by side. Between two admissions or endings all iterations are alike, so they are skipped over in one go:
exact, and some hundred times cheaper than stepping. Prompts come as the keys of their blocks instead of as tokens.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from heapq import heappop, heappush
from math import ceil, inf

from llm_engine.kv_cache import BlockPool, KvLease
from llm_engine.scheduler import Spec


def slowed(spec: Spec, factor: float) -> Spec:
    """The same instance, `factor` times slower at everything."""
    return replace(
        spec,
        decode_step_ms=spec.decode_step_ms * factor,
        decode_step_ms_per_sequence=spec.decode_step_ms_per_sequence * factor,
        prefill_tokens_per_s=spec.prefill_tokens_per_s / factor,
    )


class Run:
    """One request inside one instance. `keys`: of the prompt's full blocks; `whole`: of prompt and answer."""

    __slots__ = ("answer", "cached", "end", "keys", "lease", "max_tokens", "owner", "prompt", "start", "whole")

    def __init__(
        self, owner: object, prompt: int, answer: int, max_tokens: int, keys: Sequence[int], whole: Sequence[int]
    ) -> None:
        self.owner = owner
        self.prompt = prompt
        self.answer = answer
        self.max_tokens = max_tokens
        self.keys = keys
        self.whole = whole
        self.cached = 0
        """Prompt tokens that the cache held; known from its admission on."""
        self.lease = KvLease()
        self.start = -1
        """Iteration that gave the first token; -1 before."""
        self.end = -1
        """Iteration that gives the last token."""

    def produced(self, iteration: int) -> int:
        """Tokens given so far."""
        return min(iteration - self.start + 1, self.answer) if self.start >= 0 else 0


class Engine:
    """The state of one instance. Call `submit`, then `fire` at each time that `next_event` names."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.pool = BlockPool(spec.kv_blocks)
        self.waiting: deque[Run] = deque()
        self.running: list[tuple[int, int, Run]] = []
        """Heap of (last iteration, number, run)."""
        self.admitted: list[Run] = []
        """Those whose prompt is in the current iteration."""
        self.iteration = 0
        self.at = 0.0
        """When the current iteration began; meaningless while idle."""
        self.length = 0.0
        """Seconds that the current iteration takes."""
        self.busy = False
        self._blocked = False
        """Whether the first in the queue found no slot or no KV blocks when the current iteration began."""
        self._number = 0

    @property
    def active(self) -> int:
        """Sequences that hold a slot."""
        return len(self.running) + len(self.admitted)

    def reusable(self, prompt: int, keys: Sequence[int]) -> Sequence[int]:
        """The keys that a prompt can take from a cache: at least one token is always computed."""
        return keys[: (prompt - 1) // self.spec.tokens_per_block]

    def cached_tokens(self, prompt: int, keys: Sequence[int]) -> int:
        """Tokens of a prompt that the cache holds now."""
        return self.pool.cached_prefix(self.reusable(prompt, keys)) * self.spec.tokens_per_block

    def blocks(self, prompt: int, max_tokens: int) -> int:
        """KV blocks that a request needs free to be admitted (cached ones count as free)."""
        return -(-(prompt + max_tokens) // self.spec.tokens_per_block)

    def submit(self, now: float, run: Run) -> None:
        """A request arrives; it is admitted at the start of the next iteration."""
        if self.blocks(run.prompt, run.max_tokens) > self.spec.kv_blocks:
            raise ValueError(f"a prompt of {run.prompt} tokens can never enter a cache of {self.spec.kv_blocks} blocks")
        self.waiting.append(run)
        if self.busy:
            self.settle(now)
        else:
            self.at = now
            self._begin()

    def next_event(self) -> float:
        """When the state next changes by itself: an iteration with admissions ends, the first sequence ends, or the
        iteration ends at whose border a waiting one may enter. Infinite while idle.
        """
        if not self.busy:
            return inf
        if self.admitted or (self.waiting and not self._blocked):
            return self.at + self.length
        return self.at + (self.running[0][0] - self.iteration) * self.length

    def fire(self, now: float) -> tuple[list[Run], list[Run]]:
        """The event is due: those that got their first token, and those that ended."""
        self.settle(now)
        self.iteration += 1
        self.at = now
        started, self.admitted = self.admitted, []
        for run in started:
            self.pool.publish(run.lease, run.keys)
            run.start = self.iteration
            run.end = self.iteration + run.answer - 1
            self._number += 1
            heappush(self.running, (run.end, self._number, run))
        ended: list[Run] = []
        while self.running and self.running[0][0] <= self.iteration:
            run = heappop(self.running)[2]
            self.pool.publish(run.lease, run.whole)
            self.pool.release(run.lease)
            ended.append(run)
        self._begin()
        return started, ended

    def everyone(self) -> list[Run]:
        """Whoever is in it, waiting or running."""
        return [*self.waiting, *self.admitted, *(run for _, _, run in self.running)]

    def settle(self, now: float) -> None:
        """Count the whole, uniform iterations that ended before the current one."""
        if self.busy and not self.admitted:
            done = max(ceil((now - self.at) / self.length - 1e-6) - 1, 0)
            done = min(done, self.running[0][0] - self.iteration - 1)
            if done > 0:
                self.iteration += done
                self.at += done * self.length

    def _begin(self) -> None:
        """An iteration starts: admit who fits, and set its length."""
        spec, waiting, compute = self.spec, self.waiting, 0
        self._blocked = False
        while waiting:
            run = waiting[0]
            if self.active >= spec.slots:
                self._blocked = True
                break
            reusable = self.reusable(run.prompt, run.keys)
            cached = self.pool.cached_prefix(reusable) * spec.tokens_per_block
            if compute and compute + run.prompt - cached > spec.max_num_tokens:
                break
            lease = self.pool.reserve(reusable, self.blocks(run.prompt, run.max_tokens))
            if lease is None:
                self._blocked = True
                break
            run.lease, run.cached = lease, cached
            compute += run.prompt - cached
            self.admitted.append(run)
            waiting.popleft()
        self.busy = bool(self.running or self.admitted)
        self.length = spec.seconds(self.active, compute)
