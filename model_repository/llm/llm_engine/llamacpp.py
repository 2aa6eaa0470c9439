"""The default flavour: llama.cpp in this process, through xllamacpp, with continuous batching and its prompt cache.

Greedy where TensorRT-LLM is: temperature 0, top_k 1, or neither top_k nor top_p given. The same seed, prompt and settings
give the same text; with several threads, from 512 tokens of context on, up to noise: one sequence's attention is then split
over the threads, and not beside others.

Each slot has its own KV cache of `max_context` cells (`kv_unified` off). One pool for all would let one sequence be
longer, but then each token attends over the cells of all sequences: with 8 long prompts several times the work.
SmolLM2 was trained on 8192 tokens; 4096 a slot leave room for a RAG prompt with its answer at 23 kB a token, 755 MB for
8 slots.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llm_engine import completions, lora
from llm_engine.completions import CallPhase
from llm_engine.engine import Sink, Stats, TokenLogProbs
from llm_engine.errors import EngineFailed, EngineQueueFull
from llm_engine.guided_decoding import Constraint, GuideCompiler
from llm_engine.kept_prompts import KeptPrompts
from llm_engine.llama_model import LlamaOptions, load_model
from llm_engine.request import Request
from llm_engine.stop_words import StopWatch

JOIN_S = 5.0
LEAST_SHARE = 0.1
"""Of a prompt, that a slot must hold more of to be taken for it; llama.cpp's own `slot_prompt_similarity`."""
MANY_RANGES = 500
"""Of token ids. llama.cpp reads a grammar of more of them for milliseconds."""


@dataclass(slots=True, eq=False)
class _LlamaJob:
    key: int
    request: Request
    sink: Sink
    end_ids: frozenset[int]
    watch: StopWatch
    tokens: list[int]
    """The prompt and what came after it."""
    slot: int = -1
    reuse: bool = True
    """Whether the next phase may go on from what its slot holds."""
    begun: bool = False
    """llama.cpp has taken its slot for it."""
    produced: int = 0
    cached: int | None = None
    """Prompt tokens found in the cache; None until llama.cpp says it."""
    reading: bool = True
    cancelled: bool = False
    finished: bool = False
    """Its sink has heard of the end."""
    allowed: npt.NDArray[np.intp] | None = None
    """What its guide allows to come next, rising."""
    error: str = ""

    @property
    def over(self) -> bool:
        return self.finished or self.cancelled or bool(self.error)


class LlamaEngine:
    """A thread for each slot works off one queue, first in, first out; llama.cpp batches what they ask for."""

    gives_log_probs = True

    def __init__(self, options: LlamaOptions, model: Path, *, log: Callable[[str], None] = print) -> None:
        self._options = options
        self._log = log
        adapters = lora.parse(options.loras)
        self.loras = list(adapters)
        """In llama.cpp's order."""
        self._server, self._vocabulary = load_model(options, model, list(adapters.values()))
        self.vocab_size = self._vocabulary.size
        self.guides = GuideCompiler(self._vocabulary.token_bytes, vocab_size=self.vocab_size)
        self.max_context = options.max_context
        self._wake = threading.Condition()
        self._closed = False
        self._waiting: deque[_LlamaJob] = deque()
        self._active: dict[int, _LlamaJob] = {}
        self._kept = KeptPrompts(options.slots, least_share=LEAST_SHARE)
        self._reused = 0
        self._iterations = 0
        self._threads = [
            threading.Thread(target=self._serve, name=f"llama-slot-{slot}", daemon=True)
            for slot in range(options.slots)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: int, request: Request, sink: Sink) -> None:
        """See Engine."""
        end_ids = request.ends(self._vocabulary.end_ids)
        job = _LlamaJob(key, request, sink, end_ids, StopWatch(request.stop_words), list(request.input_ids))
        with self._wake:
            if self._closed:
                raise EngineFailed("it is shutting down")
            idle = self._options.slots - len(self._active)
            if len(self._waiting) >= self._options.max_queue_size + idle:
                raise EngineQueueFull(f"{len(self._waiting)} requests wait already")
            self._waiting.append(job)
            self._wake.notify()

    def cancel(self, key: int) -> None:
        """See Engine. A running request ends at its next token, or at the next batch of its prompt."""
        with self._wake:
            if job := self._active.get(key):
                job.cancelled = True
                return
            job = next((job for job in self._waiting if job.key == key), None)
            if job is None:
                return
            self._waiting.remove(job)
        job.sink.end()

    def stats(self) -> Stats:
        """See Engine. A block is one cell of llama.cpp's cache, which holds one token."""
        with self._wake:
            active = list(self._active.values())
            reading = sum(1 for job in active if job.reading)
            return Stats(
                waiting=len(self._waiting),
                active=len(active),
                scheduled=len(active),
                context=reading,
                max=self._options.slots,
                kv_max=self._options.slots * self._options.max_context,
                kv_used=sum(len(job.tokens) for job in active),
                kv_tokens_per=1,
                kv_reused=self._reused,
                iterations=self._iterations,
            )

    def close(self) -> None:
        """See Engine."""
        with self._wake:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            for job in self._active.values():
                job.cancelled = True
            self._wake.notify_all()
        for job in left:
            job.sink.fail(str(EngineFailed("it is shutting down")))
        for thread in self._threads:
            thread.join(JOIN_S)
        self._server = None  # its destructor ends llama.cpp's threads

    def _serve(self) -> None:
        while job := self._next():
            try:
                self._run(job)
            except Exception as error:  # noqa: BLE001 - a slot must outlive a request that breaks
                self._log(f"llm: a request broke: {error!r}")
                job.error = repr(error)
            finally:
                with self._wake:
                    self._active.pop(job.key, None)
                    # What llama.cpp never began has left the slot to what was in it, which is nobody's from now on.
                    self._kept.put(job.slot, job.tokens if job.begun else (), job.request.cache_salt)
            try:
                self._finish(job)
            except Exception as error:  # noqa: BLE001 - as above
                self._log(f"llm: a response could not be sent: {error!r}")

    def _next(self) -> _LlamaJob | None:
        with self._wake:
            while not self._waiting:
                if self._closed:
                    return None
                self._wake.wait()
            job = self._waiting.popleft()
            # Of another salt nothing is gone on from; the first phase leaves the slot to this one.
            job.slot, begun = self._kept.take(job.tokens, job.request.cache_salt)
            job.reuse = begun > 0
            self._active[job.key] = job
            return job

    def _run(self, job: _LlamaJob) -> None:
        phases = self._phases(job) if job.request.constraint is None else self._guided(job, job.request.constraint)
        adapter = None if job.request.lora is None else self.loras.index(job.request.lora)
        for phase in phases:
            placed = replace(phase, slot=job.slot, reuse=job.reuse)
            raw = completions.body(placed, job.request, drawn=job.produced, max_context=self.max_context, lora=adapter)
            job.reuse = True
            self._server.handle_completions(raw, lambda chunk: self._take(job, chunk))

    def _phases(self, job: _LlamaJob) -> Iterator[CallPhase]:
        """A request is one call of llama.cpp but for two cases: `min_tokens`, where the end tokens are forbidden in a first
        call, and llama.cpp's own end token where it is an ordinary one for this request: it is gone on after it."""
        request = job.request
        while not job.over:
            before = job.produced
            early = job.produced < request.min_tokens
            yield CallPhase(
                tokens=job.tokens,
                max_tokens=(request.min_tokens if early else request.max_tokens) - job.produced,
                banned=request.bad_tokens | (job.end_ids if early else frozenset()),
            )
            if job.produced == before and not job.over:
                job.error = "llama.cpp gave no token"

    def _guided(self, job: _LlamaJob, constraint: Constraint) -> Iterator[CallPhase]:
        """A call for each token, which costs llama.cpp no more than the next one of a stream.

        Where the guide leaves few tokens, one of these is asked for. Where it leaves many, any; and if that is not allowed, it is
        drawn anew among these. Either way a token comes as often as the model wants it among those that are allowed.
        """
        request = job.request
        while not job.over:
            before, early = job.produced, job.produced < request.min_tokens
            job.allowed = constraint.allowed(ends=() if early else job.end_ids, banned=request.bad_tokens)
            if not job.allowed.size:
                job.finished = True
                job.sink.fail(constraint.failure)
                return
            banned = request.bad_tokens | (job.end_ids if early else frozenset())
            firsts, lasts = completions.ranges(job.allowed)
            if firsts.size > MANY_RANGES:
                yield CallPhase(tokens=job.tokens, max_tokens=1, banned=banned)
            if job.produced == before and not job.over:
                among = ",".join(map("{}-{}".format, firsts.tolist(), lasts.tolist()))
                yield CallPhase(tokens=job.tokens, max_tokens=1, banned=(), among=among)
            if job.produced == before and not job.over:
                job.error = "llama.cpp gave no token"

    def _take(self, job: _LlamaJob, raw: bytes) -> bool:
        """One event of the stream; True ends it."""
        try:
            chunk = completions.parse(raw)
            job.begun = job.begun or not chunk.error
            with self._wake:  # a batch of a prompt or a token: llama.cpp does not tell of its steps
                self._iterations += 1
            if chunk.error:
                job.error = chunk.error
            elif chunk.cached is not None:
                self._read(job, chunk.cached)
            elif chunk.token is not None:
                self._generated(job, chunk.token, chunk.log_probs)
        except Exception as error:  # noqa: BLE001 - raised into C++ it would be lost
            self._log(f"llm: a token broke its request: {error!r}")
            job.error = job.error or repr(error)
        return job.cancelled or job.finished or bool(job.error)

    def _read(self, job: _LlamaJob, cached: int) -> None:
        """llama.cpp tells, before and after each batch of the prompt, how much of it came from its cache."""
        if job.cached is None:
            job.cached = cached
            job.sink.began(cached)  # a block is a token, see `stats`
            with self._wake:
                self._reused += cached

    def _generated(self, job: _LlamaJob, token: int, log_probs: TokenLogProbs | None) -> None:
        job.reading = False
        constraint = job.request.constraint
        if job.allowed is not None and not _contains(job.allowed, token):
            return
        if token in job.end_ids:
            job.finished = True
            job.sink.end()
            return
        job.tokens.append(token)
        job.produced += 1
        job.finished = job.watch.ends_with(token) or job.produced >= job.request.max_tokens
        if constraint is not None:
            constraint.take(token)
            job.finished = job.finished or constraint.ended
        job.sink.token(token, last=job.finished, log_probs=log_probs)

    def _finish(self, job: _LlamaJob) -> None:
        """Close the stream of a job that did not end by itself."""
        if job.error:
            job.sink.fail(str(EngineFailed(job.error)))
        elif self._closed:
            job.sink.fail(str(EngineFailed("it is shutting down")))
        elif not job.finished:
            job.sink.end()


def _contains(rising: npt.NDArray[np.intp], token: int) -> bool:
    at = int(rising.searchsorted(token))
    return at < rising.size and int(rising[at]) == token
