"""`tensorrt_llm.LLM` as an engine: Hugging Face weights on a GPU, with no engine to build.

Written against the documented LLM API of TensorRT-LLM 1.2 (https://nvidia.github.io/TensorRT-LLM/llm-api/reference.html):
LLM.generate_async, RequestOutput.abort, LLM.get_stats_async, SamplingParams, KvCacheConfig. The package is imported when an
engine is made: it opens the GPUs that CUDA_VISIBLE_DEVICES shows at that moment.
"""

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from llm_engine.engine import Sink, Stats
from llm_engine.errors import EngineFailed, EngineQueueFull, InvalidRequest
from llm_engine.hf_folder import ModelFacts
from llm_engine.llmapi_model import LlmApiOptions, load_model
from llm_engine.parameters import BadParameter
from llm_engine.request import GuidedDecoding, Request
from llm_engine.stop_words import StopWatch

NO_END = -1
SENDERS = 8
STATS_S = 0.1
JOIN_S = 10.0


@dataclass(slots=True, eq=False)
class _Flight:
    """A request on its way. Its sink is ended once, by whoever comes first."""

    key: int
    request: Request
    sink: Sink
    task: asyncio.Task[None] | None = None
    result: Any = None
    cancelled: bool = False
    ended: bool = False

    def token(self, token: int, *, last: bool) -> None:
        self.ended = last
        self.sink.token(token, last=last)

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.sink.end()

    def fail(self, why: str) -> None:
        if not self.ended:
            self.ended = True
            self.sink.fail(str(EngineFailed(why)))


class LlmApiEngine:
    """An Engine over one `tensorrt_llm.LLM`.

    One thread runs the event loop that LLM's results live in; what happens to a request happens there. A few others take
    tokens to the sinks: that is a round trip to Triton, and one stream's must not hold up another's.
    """

    guides = None  # TensorRT-LLM follows them itself
    gives_log_probs = False  # an engine that streams with them can crash when a client leaves (TensorRT-LLM #10810)
    loras = frozenset[int]()

    def __init__(self, options: LlmApiOptions, *, log: Callable[[str], None] = print) -> None:
        """Loads the weights: minutes. Raises BadParameter, TimeoutError, and whatever TensorRT-LLM raises."""
        self._options = options
        self._log = log
        self._facts = ModelFacts.read(Path(options.model_dir or "(model_dir is not set)"))
        if options.max_context > self._facts.max_positions:
            raise BadParameter(
                f"llm: max_context {options.max_context} is more than the model's {self._facts.max_positions} positions"
            )
        self.vocab_size = self._facts.vocab_size
        self.max_context = options.max_context
        self._llm, self._sampling_params, self._guided_decoding_params = load_model(options)
        self._lock = threading.Lock()
        self._flights: dict[int, _Flight] = {}
        self._iteration: Mapping[str, Any] = {}
        self._closed = False
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="llmapi-sender")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llmapi", daemon=True)
        self._thread.start()
        try:
            # One token before anybody is served: an engine that does not answer must not look ready, and the first
            # iteration's statistics tell how large the KV cache is.
            asyncio.run_coroutine_threadsafe(self._first_token(), self._loop).result(options.start_deadline_s)
        except BaseException:
            self.close()
            raise
        self._watching = asyncio.run_coroutine_threadsafe(self._watch(), self._loop)

    def submit(self, key: int, request: Request, sink: Sink) -> None:
        """See Engine."""
        request.check(vocab_size=self.vocab_size, max_context=self.max_context, gives_log_probs=self.gives_log_probs)
        if request.sampling.bias:
            raise InvalidRequest("embedding_bias", "not supported by this engine. Leave it out")
        if request.guided is not None:
            self._check_guided(request.guided)
        flight = _Flight(key, request, sink)
        with self._lock:
            if self._closed:
                raise EngineQueueFull("the engine is shutting down")
            if len(self._flights) >= self._options.slots + self._options.max_queue_size:
                raise EngineQueueFull(f"{self._options.max_queue_size} requests wait already")
            self._flights[key] = flight
            self._loop.call_soon_threadsafe(self._launch, flight)

    def cancel(self, key: int) -> None:
        """See Engine."""
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and not self._closed:
                self._loop.call_soon_threadsafe(self._cancel, flight)

    def stats(self) -> Stats:
        """See Engine. TensorRT-LLM reports iterations only, so an idle engine's last report is laid beside our own count."""
        with self._lock:
            flights = len(self._flights)
        iteration = self._iteration
        batch, cache = iteration.get("inflightBatchingStats") or {}, iteration.get("kvCacheStats") or {}
        scheduled = min(int(batch.get("numScheduledRequests", 0)), flights)
        return Stats(
            waiting=flights - scheduled,
            active=scheduled,
            scheduled=scheduled,
            context=min(int(batch.get("numContextRequests", 0)), scheduled),
            max=self._options.slots,
            kv_max=int(cache.get("maxNumBlocks", 0)),
            kv_used=int(cache.get("usedNumBlocks", 0)) if flights else 0,
            kv_tokens_per=int(cache.get("tokensPerBlock", 0)),
            kv_reused=int(cache.get("reusedBlocks", 0)),
            iterations=int(iteration.get("iter", 0)),
        )

    def close(self) -> None:
        """See Engine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        ending = asyncio.run_coroutine_threadsafe(self._end_tasks(), self._loop)
        with contextlib.suppress(TimeoutError):
            ending.result(JOIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_S)
        if not self._thread.is_alive():
            self._loop.close()
        self._senders.shutdown(wait=False, cancel_futures=True)
        self._llm.shutdown()

    async def _end_tasks(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _first_token(self) -> None:
        request = Request(input_ids=[self._facts.end_ids[0]], max_tokens=1, end_id=NO_END)
        async for _ in self._generate(request):
            pass
        async for iteration in self._llm.get_stats_async(timeout=1):
            self._iteration = iteration
            break

    async def _watch(self) -> None:
        """Keeps the newest iteration's statistics; they end when the engine is idle and go on with the next request."""
        while True:
            try:
                async for iteration in self._llm.get_stats_async(timeout=STATS_S):
                    self._iteration = iteration
            except Exception as error:  # noqa: BLE001 - a supervisor: answers go on without statistics
                self._log(f"llm: TensorRT-LLM gives no statistics, trying again: {error!r}")
            await asyncio.sleep(STATS_S)

    def _generate(self, request: Request) -> Any:
        return self._llm.generate_async(
            {"prompt_token_ids": request.input_ids},
            sampling_params=self._sampling(request),
            streaming=True,
            cache_salt=str(request.cache_salt) if request.cache_salt else None,
        )

    def _check_guided(self, guided: GuidedDecoding) -> None:
        if not self._options.guided_decoding_backend:
            raise InvalidRequest(
                "guided_decoding_guide", "this engine has no backend for it: set guided_decoding_backend to xgrammar"
            )
        if guided.prefix_length:
            raise InvalidRequest(
                "guided_decoding_prefix_length", "TensorRT-LLM follows a guide from its beginning only: ask anew"
            )

    def _guided_params(self, guided: GuidedDecoding) -> Any:
        """GuidedDecodingParams: exactly one of its fields."""
        if guided.kind == "json":
            return self._guided_decoding_params(json_object=True)
        field = {"json_schema": "json", "regex": "regex", "ebnf_grammar": "grammar"}[guided.kind]
        return self._guided_decoding_params(**{field: guided.guide})

    def _sampling(self, request: Request) -> Any:
        """SamplingParams: None leaves TensorRT-LLM's default. Stop words are watched here, for it takes strings only."""
        drawn, ends = request.sampling, self._ends(request)
        return self._sampling_params(
            end_id=ends[0] if ends else NO_END,
            ignore_eos=not ends,
            max_tokens=request.max_tokens,
            min_tokens=request.min_tokens or None,
            bad_token_ids=sorted(request.bad_tokens) or None,
            top_k=1 if drawn.greedy else drawn.top_k or None,
            top_p=None if drawn.greedy else drawn.top_p or None,
            temperature=None if drawn.greedy else drawn.temperature,
            repetition_penalty=drawn.repetition_penalty if drawn.repetition_penalty != 1 else None,
            presence_penalty=drawn.presence_penalty or None,
            frequency_penalty=drawn.frequency_penalty or None,
            # TensorRT-LLM's own default is the same draw each time.
            seed=secrets.randbits(63) if drawn.seed is None else drawn.seed,
            guided_decoding=None if request.guided is None else self._guided_params(request.guided),
            detokenize=False,
            add_special_tokens=False,
        )

    def _ends(self, request: Request) -> tuple[int, ...]:
        own = self._facts.end_ids
        if request.end_id is None:
            return own
        given = () if request.end_id == NO_END else (request.end_id,)
        # TensorRT-LLM's way to say that a guide has come to its end.
        return given if request.guided is None else tuple(dict.fromkeys((*own, *given)))

    def _launch(self, flight: _Flight) -> None:
        flight.task = self._loop.create_task(self._serve(flight))
        # A task that is cancelled before its first step never runs its own clean-up; this always runs.
        flight.task.add_done_callback(partial(self._done, flight))
        if flight.cancelled or self._closed:
            flight.task.cancel()

    def _cancel(self, flight: _Flight) -> None:
        flight.cancelled = True
        if flight.task is not None:
            flight.task.cancel()

    async def _serve(self, flight: _Flight) -> None:
        request = flight.request
        flight.result = self._generate(request)
        ends, watch, made = self._ends(request), StopWatch(request.stop_words), 0
        async for step in flight.result:
            output = step.outputs[0]
            # token_ids are all so far; several are new where steps were merged.
            for token in output.token_ids[made:]:
                # PyTorch's samplers leave the end token in. Of several end tokens TensorRT-LLM knows and keeps back one
                # until min_tokens are there; another one is passed on like any token before that.
                if token in ends and made >= request.min_tokens:
                    return
                made += 1
                stopped = watch.ends_with(token) and made >= request.min_tokens
                last = stopped or made >= request.max_tokens
                if last:
                    self._free(flight)
                await self._deliver(partial(flight.token, token, last=last))
                if last:
                    return
            if step.finished and output.finish_reason == "timeout":
                flight.fail("TensorRT-LLM gave the request up")

    def _free(self, flight: _Flight) -> None:
        """Its place can be taken: before its client can know that it is free, or that one's next request finds none."""
        with self._lock:
            self._flights.pop(flight.key, None)

    async def _deliver(self, call: Callable[[], None]) -> None:
        """Run it in a sender thread, and wait for it even when cancelled: nothing may follow a final response."""
        sending = self._loop.run_in_executor(self._senders, call)
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait([sending])
            raise

    def _done(self, flight: _Flight, task: asyncio.Task[None]) -> None:
        """The request's end, whatever it was: its place is free, TensorRT-LLM's batch is left, the sink is ended."""
        self._free(flight)
        try:
            if flight.result is not None and not flight.result.finished:
                flight.result.abort()
        except Exception as error:  # noqa: BLE001 - the engine is broken; the client hears of it below
            self._log(f"llm: a request could not be aborted: {error!r}")
        failure = None if task.cancelled() else task.exception()
        if failure is not None:
            flight.fail(f"{type(failure).__name__}: {failure}")
        flight.end()
