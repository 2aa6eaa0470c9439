"""The part of `tensorrt_llm.llmapi` that `llm_engine.llmapi` uses."""

from __future__ import annotations

import asyncio
import json
import queue
import random
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any

BLOCK_TOKENS = 32
STEP_S = 0.01
LAST_WORD = 256
END = 2


@dataclass(slots=True, kw_only=True)
class GuidedDecodingParams:
    """One of these; the real one finds it out when the request is taken."""

    json: str | dict[str, Any] | None = None
    regex: str | None = None
    grammar: str | None = None
    json_object: bool = False
    structural_tag: str | None = None

    @property
    def given(self) -> int:
        return sum(
            bool(field) for field in (self.json, self.regex, self.grammar, self.json_object, self.structural_tag)
        )


@dataclass(slots=True, kw_only=True)
class SamplingParams:
    """Documented fields that our engine may set; another name is a TypeError, as in the real dataclass."""

    end_id: int | None = None
    pad_id: int | None = None
    max_tokens: int = 32
    bad_token_ids: list[int] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    n: int = 1
    best_of: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    temperature: float | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    ignore_eos: bool = False
    detokenize: bool = True
    add_special_tokens: bool = True
    exclude_input_from_output: bool = True
    guided_decoding: GuidedDecodingParams | None = None

    def __post_init__(self) -> None:
        if self.pad_id is None:
            self.pad_id = self.end_id
        self.best_of = self.best_of or self.n


@dataclass(kw_only=True)
class KvCacheConfig:
    enable_block_reuse: bool = True
    max_tokens: int | None = None
    free_gpu_memory_fraction: float | None = 0.9
    host_cache_size: int | None = None


@dataclass
class CompletionOutput:
    index: int = 0
    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    _last_token_ids_len: int = 0

    @property
    def token_ids_diff(self) -> list[int]:
        return self.token_ids[self._last_token_ids_len :]


@dataclass
class _Response:
    tokens: list[int]
    reason: str | None = None
    error: str | None = None


class RequestOutput:
    """An iterator over itself, as the real one: each step has all tokens so far."""

    def __init__(self, request_id: int, prompt: list[int], params: SamplingParams, executor: _Executor) -> None:
        self.request_id = request_id
        self.prompt_token_ids = prompt
        self.cache_salt: str | None = None
        self.outputs = [CompletionOutput()]
        self.finished = False
        self._params = params
        self._executor = executor
        self._sync: queue.Queue[_Response] = queue.Queue()
        self._async: asyncio.Queue[_Response] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self._loop = asyncio.get_running_loop()
            self._async = asyncio.Queue()
        except RuntimeError:
            pass
        self.cancelled = False

    def put(self, response: _Response) -> None:
        if self._loop is not None and self._async is not None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._async.put_nowait, response)
        else:
            self._sync.put(response)

    def abort(self) -> None:
        self._executor.abort(self)

    def aborted(self) -> bool:
        return self.cancelled

    def __aiter__(self) -> RequestOutput:
        return self

    async def __anext__(self) -> RequestOutput:
        if self.finished:
            raise StopAsyncIteration
        assert self._async is not None, "The asyncio event loop was not present during initialization"
        self._take(await self._async.get())
        return self

    def __iter__(self) -> RequestOutput:
        return self

    def __next__(self) -> RequestOutput:
        if self.finished:
            raise StopIteration
        self._take(self._sync.get(timeout=30))
        return self

    def _take(self, response: _Response) -> None:
        if response.error is not None:
            self.finished = True
            raise RuntimeError(response.error)
        output = self.outputs[0]
        output._last_token_ids_len = len(output.token_ids)
        output.token_ids.extend(response.tokens)
        if response.reason is not None:
            self.finished = True
            output.finish_reason = "stop" if response.reason == "stop_word" else response.reason
            if response.reason == "stop_word":
                output.stop_reason = output.token_ids[-1]
                if not self._params.include_stop_str_in_output:
                    output.token_ids = output.token_ids[:-1]


@dataclass
class _Running:
    result: RequestOutput
    params: SamplingParams
    made: int = 0
    last: int = 0
    aborted: bool = False

    def next_token(self) -> int:
        """Counts; a draw with a seed leaps now and then. After each LAST_WORD the model would end."""
        if self.last and self.last % LAST_WORD == 0:
            return END
        params = self.params
        greedy = params.top_k == 1 or (params.top_k is None and not params.top_p) or params.temperature == 0
        leap = 0 if greedy else random.Random(f"{params.seed} {self.made}").randrange(3)
        return self.last + 1 + leap

    @property
    def blocks(self) -> int:
        return -(-(len(self.result.prompt_token_ids) + self.made) // BLOCK_TOKENS)


class _Executor:
    """In-flight batching in one thread: a token for each scheduled request a step."""

    def __init__(self, slots: int, blocks: int, end_in_output: bool) -> None:
        self.slots, self.blocks, self.end_in_output = slots, blocks, end_in_output
        self.queued: deque[_Running] = deque()
        self.active: list[_Running] = []
        self.stats: deque[str] = deque(maxlen=1000)
        self.iteration = 0
        self.reused = 0
        self.prefixes: set[int] = set()
        self.failure: str | None = None
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._loop, name="executor", daemon=True)
        self.thread.start()

    def submit(self, result: RequestOutput, params: SamplingParams) -> None:
        with self.changed:
            if self.closed:
                raise RuntimeError("the executor was shut down")
            self.queued.append(_Running(result, params, last=result.prompt_token_ids[-1]))
            self.changed.notify()

    def abort(self, result: RequestOutput) -> None:
        with self.changed:
            result.cancelled = True
            for running in (*self.queued, *self.active):
                if running.result is result:
                    running.aborted = True
            self.changed.notify()

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify()
        self.thread.join(timeout=10)

    def _loop(self) -> None:
        while True:
            with self.changed:
                while not (self.queued or self.active or self.closed):
                    self.changed.wait()
                if self.closed:
                    return
                self._step()
                self.changed.wait(STEP_S)

    def _step(self) -> None:
        starting = 0
        for running in [r for r in self.queued if r.aborted]:
            self.queued.remove(running)
            running.result.put(_Response([], "cancelled"))
        while self.queued and len(self.active) < self.slots:
            self.active.append(self.queued.popleft())
            self._remember(self.active[-1].result)
            starting += 1
        self.iteration += 1
        self._record(starting)
        for running in list(self.active):
            response = self._advance(running)
            if response.reason is not None or response.error is not None:
                self.active.remove(running)
            running.result.put(response)

    def _remember(self, result: RequestOutput) -> None:
        """Whole blocks are known by all tokens up to their end, and by the salt."""
        prompt = result.prompt_token_ids
        for end in range(BLOCK_TOKENS, len(prompt) + 1, BLOCK_TOKENS):
            prefix = hash((result.cache_salt, *prompt[:end]))
            self.reused += prefix in self.prefixes
            self.prefixes.add(prefix)

    def _advance(self, running: _Running) -> _Response:
        if self.failure is not None:
            return _Response([], error=self.failure)
        if running.aborted:
            return _Response([], "cancelled")
        params = running.params
        token = running.next_token()
        ends = token == params.end_id and not params.ignore_eos
        if ends and running.made >= (params.min_tokens or 0):
            return _Response([token] if self.end_in_output else [], "stop")
        while token in (params.bad_token_ids or []) or (ends and token == params.end_id):
            token += 1
        running.last = token
        running.made += 1
        if token in (params.stop_token_ids or []):
            return _Response([token], "stop_word")
        return _Response([token], "length" if running.made >= params.max_tokens else None)

    def _record(self, starting: int) -> None:
        used = sum(running.blocks for running in self.active)
        self.stats.append(
            json.dumps(
                {
                    "iter": self.iteration,
                    "timestamp": "08-01-2026 12:00:00.000000",
                    "cpuMemUsage": 1_000_000,
                    "gpuMemUsage": 64_000_000_000,
                    "pinnedMemUsage": 2_000_000,
                    "numActiveRequests": len(self.active),
                    "numQueuedRequests": len(self.queued),
                    "maxNumActiveRequests": self.slots,
                    "kvCacheStats": {
                        "maxNumBlocks": self.blocks,
                        "freeNumBlocks": self.blocks - used,
                        "usedNumBlocks": used,
                        "tokensPerBlock": BLOCK_TOKENS,
                        "reusedBlocks": self.reused,
                    },
                    "inflightBatchingStats": {
                        "numScheduledRequests": len(self.active),
                        "numContextRequests": starting,
                        "numGenRequests": len(self.active) - starting,
                        "numPausedRequests": 0,
                        "numCtxTokens": 0,
                        "microBatchId": 0,
                    },
                }
            )
        )


class _IterationResult:
    def __init__(self, executor: _Executor, timeout: float, enabled: bool) -> None:
        self._executor, self._timeout, self._enabled = executor, timeout, enabled

    def __aiter__(self) -> _IterationResult:
        return self

    async def __anext__(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._timeout
        while loop.time() < until:
            if self._enabled and self._executor.stats:
                found: dict[str, Any] = json.loads(self._executor.stats.popleft())
                return found
            await asyncio.sleep(STEP_S)
        raise StopAsyncIteration


_ARGUMENTS = frozenset(
    {
        "tensor_parallel_size", "pipeline_parallel_size", "moe_expert_parallel_size", "dtype", "revision", "trust_remote_code",
        "kv_cache_config", "max_batch_size", "max_num_tokens", "max_seq_len", "max_input_len", "max_beam_width",
        "enable_chunked_prefill", "enable_iter_perf_stats", "iter_stats_max_iterations", "scheduler_config", "sampler_type",
        "cuda_graph_config", "disable_overlap_scheduler", "guided_decoding_backend", "backend", "tokenizer_mode",
    }
)  # fmt: skip


class LLM:
    """`made` keeps every instance, `end_in_output` is what its executor does with the end token, for tests."""

    made: list[LLM] = []  # noqa: RUF012
    end_in_output = True

    def __init__(self, model: str, tokenizer: Any = None, skip_tokenizer_init: bool = False, **arguments: Any) -> None:
        unknown = set(arguments) - _ARGUMENTS
        if unknown:
            raise ValueError(f"extra fields not permitted: {', '.join(sorted(unknown))}")
        backend = arguments.get("guided_decoding_backend")
        if tokenizer is not None or not (skip_tokenizer_init or backend):
            raise ValueError(f"cannot load a tokenizer from {model}: the stand-in has none")
        if backend and skip_tokenizer_init:
            raise ValueError(f"{backend} needs the tokenizer")
        self.model = model
        self.arguments = arguments
        self.max_seq_len = arguments.get("max_seq_len") or 4096
        self.sampling: list[SamplingParams] = []
        self._executor = _Executor(arguments.get("max_batch_size") or 64, 512, self.end_in_output)
        self._ids = 0
        type(self).made.append(self)

    def generate_async(
        self,
        inputs: dict[str, Any] | list[int],
        sampling_params: SamplingParams | None = None,
        streaming: bool = False,
        cache_salt: str | None = None,
    ) -> RequestOutput:
        prompt = inputs["prompt_token_ids"] if isinstance(inputs, dict) else inputs
        if not isinstance(sampling_params, SamplingParams):
            raise TypeError(f"sampling_params must be SamplingParams, not {type(sampling_params)}")
        if sampling_params.end_id is None:
            raise ValueError("tokenizer is required to reset end_id if it is None")
        if not all(type(token) is int for token in prompt):
            raise TypeError("prompt_token_ids must be a list of int")
        if not prompt or len(prompt) >= self.max_seq_len:
            raise ValueError(f"The prompt length ({len(prompt)}) should not exceed max_seq_len ({self.max_seq_len})")
        if not streaming:
            raise ValueError("the stand-in streams only")
        if sampling_params.guided_decoding is not None and sampling_params.guided_decoding.given != 1:
            raise ValueError("Only one guide can be specified")
        self.sampling.append(sampling_params)
        self._ids += 1
        result = RequestOutput(self._ids, list(prompt), sampling_params, self._executor)
        result.cache_salt = cache_salt
        self._executor.submit(result, sampling_params)
        return result

    def get_stats_async(self, timeout: float | None = 2) -> _IterationResult:
        """An asynchronous iterator over iterations: it ends when none came for `timeout` seconds."""
        return _IterationResult(self._executor, timeout or 0, bool(self.arguments.get("enable_iter_perf_stats")))

    def break_down(self, why: str) -> None:
        """For tests: every request from now on fails with `why`."""
        self._executor.failure = why

    def shutdown(self) -> None:
        self._executor.close()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
