"""The simulated in-flight batcher: pure bookkeeping with the time passed in, for the real-time engine and for simulators.

Its rules:
- An iteration (`begin` … `complete`) gives each running sequence one token. It takes
  `decode_step_ms + decode_step_ms_per_sequence · sequences`, and `1 / prefill_tokens_per_s` for each prompt token that
  the prefix cache does not hold, of the sequences admitted in it; those get their first token at its end, too.
- Sequences are admitted in the order they came, at the start of an iteration, while there is a slot, KV blocks for the
  whole prompt and the longest answer (TensorRT-LLM's `guaranteed_no_evict`: what runs never has to give way), and
  while the iteration's uncached prompt tokens stay within `max_num_tokens`; the first is admitted even beyond that.
  Prompts are not chunked: a long one delays the others' next token, as in TensorRT-LLM with
  `enable_chunked_context` off.
- Full blocks of prompt and answer stay cached for their prefix; at least one prompt token is always computed.
- The next token is a hash of all tokens before it (`token_chain`), so a sequence is continued identically anywhere.
"""

import enum
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llm_engine import token_chain
from llm_engine.engine import Stats
from llm_engine.errors import EngineQueueFull, InvalidRequest
from llm_engine.guided_decoding import Constraint
from llm_engine.kv_cache import BlockPool, KvLease
from llm_engine.stop_words import StopWatch, Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How large and how fast a simulated instance is."""

    slots: int = 16
    max_context: int = 8192
    max_queue_size: int = 256
    kv_blocks: int = 2048
    tokens_per_block: int = 32
    enable_kv_cache_reuse: bool = True
    max_num_tokens: int = 8192
    prefill_tokens_per_s: float = 8000.0
    decode_step_ms: float = 10.0
    decode_step_ms_per_sequence: float = 0.2
    vocab_size: int = 49152
    first_token_id: int = 100
    """Ids below are special tokens, which are never generated."""

    def seconds(self, sequences: int, prompt_tokens: int) -> float:
        """How long an iteration takes that gives `sequences` a token and computes `prompt_tokens`."""
        decode = self.decode_step_ms + self.decode_step_ms_per_sequence * sequences
        return decode / 1000 + prompt_tokens / self.prefill_tokens_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedRequest:
    """What is asked of the batcher."""

    prompt: Sequence[int]
    max_tokens: int
    min_tokens: int = 0
    end_ids: frozenset[int] = frozenset()
    stop_words: Words = ()
    bad_tokens: frozenset[int] = frozenset()
    only_tokens: Sequence[int] = ()
    """Where there are any, no other is generated."""
    constraint: Constraint | None = None
    cache_salt: int = 0
    """Sequences of different salts share no block."""
    closing: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    """Of each id, whether a constrained answer is drawn to it, so that it comes to an end."""


class Finish(enum.Enum):
    """Why a sequence ended."""

    LENGTH = "length"
    END = "end token"
    STOP = "stop word"
    GUIDE = "guide"
    """Its constraint has ended, or allows no token."""


class Emission(NamedTuple):
    """What one iteration gave one sequence."""

    key: Hashable
    token: int | None
    """None: the end token came, which is not part of the output, or nothing may come."""
    produced: int
    """Tokens of the output so far."""
    finish: Finish | None
    failure: str = ""
    """Why no token may come."""
    reused: int | None = None
    """Of the first one: blocks of the prompt that were cached."""


@dataclass(slots=True, eq=False)
class _Sequence:
    key: Hashable
    work: BatchedRequest
    state: int
    """Of the token chain, over prompt and answer so far."""
    block_keys: list[int]
    """Of the full blocks so far."""
    length: int
    watch: StopWatch
    lease: KvLease = field(default_factory=KvLease)
    produced: int = 0
    reused: int = 0
    """Blocks of the prompt that were cached."""


class BatchScheduler:
    """One instance. `begin` an iteration, let its time pass, `complete` it; `submit` and `cancel` at any time.

    Not thread-safe. A simulator calls `begin` when the instance is idle and something is submitted, and after each `complete`.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.pool = BlockPool(spec.kv_blocks, reuse=spec.enable_kv_cache_reuse)
        self._waiting: deque[_Sequence] = deque()
        self._running: dict[Hashable, _Sequence] = {}
        self._reading: set[Hashable] = set()
        """Those whose prompt is computed in the current iteration."""
        self._step: list[_Sequence] = []
        self._iterations = 0

    def submit(self, key: Hashable, work: BatchedRequest) -> None:
        """Put a request at the end of the queue. Raises QueueFull, or BadRequest where it could never be admitted."""
        spec = self.spec
        if self._blocks(work) > spec.kv_blocks:
            raise InvalidRequest(
                "request_output_len", f"prompt and answer need more than all {spec.kv_blocks} blocks of the KV cache"
            )
        # Those who will leave the queue for a free slot when the next iteration begins do not count.
        if len(self._waiting) >= spec.max_queue_size + spec.slots - len(self._running):
            raise EngineQueueFull(f"{len(self._waiting)} requests wait already")
        state, keys, size = token_chain.START, [], spec.tokens_per_block
        for count, token in enumerate(work.prompt, 1):
            state = token_chain.extend(state, token)
            if count % size == 0:
                keys.append(state ^ work.cache_salt)
        watch = StopWatch(work.stop_words)
        self._waiting.append(_Sequence(key, work, state, keys, len(work.prompt), watch))

    def cancel(self, key: Hashable) -> bool:
        """Forget a request at once, also in the middle of an iteration; whether there was one."""
        sequence = self._running.pop(key, None)
        if sequence is not None:
            self._reading.discard(key)
            self.pool.release(sequence.lease)
            return True
        for sequence in self._waiting:
            if sequence.key == key:
                self._waiting.remove(sequence)
                return True
        return False

    def begin(self, now: float) -> float | None:
        """Start an iteration at `now` (seconds): when it will be complete, or None when there is nothing to do."""
        prompt_tokens = self._admit()
        if not self._running:
            return None
        self._step = list(self._running.values())
        return now + self.spec.seconds(len(self._step), prompt_tokens)

    def complete(self) -> list[Emission]:
        """End the iteration: what it gave, in the order of admission."""
        step, self._step = self._step, []
        self._iterations += 1
        emissions = [self._advance(sequence) for sequence in step if sequence.key in self._running]
        self._reading.clear()
        return emissions

    def keys(self) -> list[Hashable]:
        """Every request that has not ended, in the order they came."""
        return [*self._running, *(sequence.key for sequence in self._waiting)]

    def stats(self) -> Stats:
        """The state now."""
        return Stats(
            waiting=len(self._waiting),
            active=len(self._running),
            scheduled=sum(1 for sequence in self._step if sequence.key in self._running),
            context=len(self._reading),
            max=self.spec.slots,
            kv_max=self.spec.kv_blocks,
            kv_used=self.pool.used,
            kv_tokens_per=self.spec.tokens_per_block,
            kv_reused=self.pool.reused,
            iterations=self._iterations,
        )

    def _blocks(self, work: BatchedRequest) -> int:
        """KV blocks for the prompt and the longest answer."""
        return -(-(len(work.prompt) + work.max_tokens) // self.spec.tokens_per_block)

    def _admit(self) -> int:
        """Let in who may; the prompt tokens that must be computed for them."""
        spec, prompt_tokens = self.spec, 0
        while self._waiting and len(self._running) < spec.slots:
            sequence = self._waiting[0]
            reusable = sequence.block_keys[: (sequence.length - 1) // spec.tokens_per_block]
            sequence.reused = self.pool.cached_prefix(reusable)
            uncached = sequence.length - sequence.reused * spec.tokens_per_block
            if prompt_tokens and prompt_tokens + uncached > spec.max_num_tokens:
                break
            lease = self.pool.reserve(reusable, self._blocks(sequence.work))
            if lease is None:
                break
            sequence.lease = lease
            prompt_tokens += uncached
            self._running[sequence.key] = sequence
            self._reading.add(sequence.key)
            self._waiting.popleft()
        return prompt_tokens

    def _advance(self, sequence: _Sequence) -> Emission:
        work, spec = sequence.work, self.spec
        token = self._choose(sequence)
        if sequence.key in self._reading:
            self.pool.publish(sequence.lease, sequence.block_keys)
        if token is None:
            assert work.constraint is not None
            self._leave(sequence)
            return Emission(sequence.key, None, sequence.produced, Finish.GUIDE, work.constraint.failure)
        if token in work.end_ids:
            self._leave(sequence)
            return Emission(sequence.key, None, sequence.produced, Finish.END)
        sequence.state = token_chain.extend(sequence.state, token)
        sequence.length += 1
        sequence.produced += 1
        if sequence.length % spec.tokens_per_block == 0:
            sequence.block_keys.append(sequence.state ^ work.cache_salt)
        finish = None
        if work.constraint is not None:
            work.constraint.take(token)
        if sequence.watch.ends_with(token):
            finish = Finish.STOP
        elif work.constraint is not None and work.constraint.ended:
            finish = Finish.GUIDE
        elif sequence.produced >= work.max_tokens:
            finish = Finish.LENGTH
        if finish:
            self._leave(sequence)
        reused = sequence.reused if sequence.produced == 1 else None
        return Emission(sequence.key, token, sequence.produced, finish, reused=reused)

    def _choose(self, sequence: _Sequence) -> int | None:
        """The next token; None where a constraint leaves none."""
        work, spec, early = sequence.work, self.spec, sequence.produced < sequence.work.min_tokens
        if work.constraint is None:
            if work.only_tokens:
                return work.only_tokens[sequence.state % len(work.only_tokens)]
            banned = work.bad_tokens | work.end_ids if early else work.bad_tokens
            return token_chain.choose(sequence.state, spec.first_token_id, spec.vocab_size, banned)
        allowed = work.constraint.allowed(ends=() if early else work.end_ids, banned=work.bad_tokens)
        if not allowed.size:
            return None
        if work.only_tokens and (wanted := np.intersect1d(allowed, work.only_tokens)).size:
            allowed = wanted
        return token_chain.choose_among(sequence.state, allowed, work.closing)

    def _leave(self, sequence: _Sequence) -> None:
        del self._running[sequence.key]
        self.pool.publish(sequence.lease, sequence.block_keys)
        self.pool.release(sequence.lease)
