"""Any Hugging Face model on a GPU (or, slowly, a CPU) with PyTorch and transformers alone: continuous batching over slots.

For machines that have PyTorch and no TensorRT-LLM, and to check everything around an engine on a real GPU. An iteration reads one
piece of one prompt and gives every running sequence a token. A slot keeps the keys and values of its last sequence: a prompt that
begins alike goes to the slot that has most of it.

A sampled answer that moves goes on as it would have here (`torch_sampling`). So does a greedy one, but for numerical noise: a
prompt is read in other pieces than it was written in. In float32 that decides next to no token.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_engine.engine import Sink, Stats, TokenLogProbs
from llm_engine.errors import EngineFailed, EngineQueueFull
from llm_engine.guided_decoding import GuideCompiler
from llm_engine.hf_folder import ModelFacts
from llm_engine.kept_prompts import KeptPrompts
from llm_engine.parameters import BadParameter
from llm_engine.request import Request
from llm_engine.senders import Senders
from llm_engine.stop_words import StopWatch
from tokens.vocabulary import TokenTable

if TYPE_CHECKING:
    from llm_engine.torch_model import Pass, SlotModel

JOIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchOptions:
    """The engine's settings. Lengths in tokens."""

    model_dir: str = ""
    """A Hugging Face folder: config.json, weights, generation_config.json."""
    device: str = "auto"
    """`cuda`, `cpu`, or `auto`: a GPU where CUDA shows one."""
    dtype: str = "auto"
    """`float32`, `float16`, `bfloat16`, or `auto`: bfloat16 on a GPU, float32 elsewhere."""
    slots: int = 16
    max_context: int = 4096
    max_queue_size: int = 256
    max_num_tokens: int = 256
    """Prompt tokens computed at once: what a running stream waits for at most when a prompt comes in beside it."""
    n_threads: int = 0
    """On a CPU; 0: half of the cores."""
    cuda_graphs: bool = True
    """Record each shape of a step once and replay it: a step then costs what the GPU needs."""
    senders: int = 8
    """Threads that send tokens to clients, one for each stream."""


@dataclass(slots=True, eq=False)
class _TorchJob:
    key: int
    request: Request
    sink: Sink
    end_ids: frozenset[int]
    watch: StopWatch
    tokens: list[int]
    """The prompt and what came after it."""
    computed: int = 0
    """Tokens whose keys and values are in the slot; all but the last one, once the prompt is read."""
    produced: int = 0
    cancelled: bool = False

    @property
    def reading(self) -> bool:
        return self.produced == 0

    @property
    def last(self) -> bool:
        """Whether its next token is the last one in any case."""
        return self.produced + 1 >= self.request.max_tokens

    @property
    def banned(self) -> Collection[int]:
        bad = self.request.bad_tokens
        return bad | self.end_ids if self.produced < self.request.min_tokens else bad

    @property
    def plain(self) -> bool:
        """Whether the likeliest token is the next one, whatever came before."""
        drawn = self.request.sampling
        penalised = drawn.repetition_penalty != 1 or drawn.presence_penalty or drawn.frequency_penalty
        changed = penalised or drawn.bias or self.banned or self.request.constraint is not None
        return drawn.greedy and not changed and not self.request.log_probs


class TorchEngine:
    """See Engine. One driver thread runs the model; `Senders` take the tokens away."""

    gives_log_probs = True
    loras = frozenset[int]()

    def __init__(
        self, options: TorchOptions, *, log: Callable[[str], None] = print, die: Callable[[], None] | None = None
    ) -> None:
        """Loads the weights. Raises BadParameter, and what transformers and CUDA raise."""
        self._options = options
        self._log = log
        self._die = die or partial(os._exit, 1)
        self._facts = ModelFacts.read(Path(options.model_dir or "(model_dir is not set)"))
        if options.max_context > self._facts.max_positions:
            raise BadParameter(
                f"llm: max_context {options.max_context} is more than the model's {self._facts.max_positions} positions"
            )
        self.vocab_size = self._facts.vocab_size
        tokens = partial(TokenTable.load, Path(options.model_dir))
        self.guides = GuideCompiler(lambda: tokens().bytes_of, vocab_size=self.vocab_size)
        self.max_context = options.max_context
        self._model, self._draw = _load(options, log)
        self._wake = threading.Condition()
        self._closed = False
        self._waiting: deque[_TorchJob] = deque()
        self._active: dict[int, _TorchJob] = {}
        """By slot."""
        self._kept = KeptPrompts(options.slots)
        self._reused = 0
        self._iterations = 0
        self._begun: tuple[Pass, dict[int, _TorchJob]] | None = None
        """The step that the GPU is at work on, and whom it is for, by slot."""
        self._senders = Senders(options.senders, log)
        self._thread = threading.Thread(target=self._drive, name="torch-driver", daemon=True)
        self._thread.start()

    @property
    def model(self) -> "SlotModel":
        """What it runs."""
        return self._model

    def submit(self, key: int, request: Request, sink: Sink) -> None:
        """See Engine."""
        end_ids = request.ends(self._facts.end_ids)
        job = _TorchJob(key, request, sink, end_ids, StopWatch(request.stop_words), list(request.input_ids))
        with self._wake:
            if self._closed:
                raise EngineFailed("it is shutting down")
            idle = self._options.slots - len(self._active)
            if len(self._waiting) >= self._options.max_queue_size + idle:
                raise EngineQueueFull(f"{len(self._waiting)} requests wait already")
            self._waiting.append(job)
            self._wake.notify()

    def cancel(self, key: int) -> None:
        """See Engine. A running request ends before its next step."""
        with self._wake:
            for job in (*self._active.values(), *self._waiting):
                if job.key == key:
                    job.cancelled = True
            self._wake.notify()

    def stats(self) -> Stats:
        """See Engine. A block is one cell of the cache, which holds one token."""
        with self._wake:
            active = list(self._active.values())
            return Stats(
                waiting=len(self._waiting),
                active=len(active),
                scheduled=len(active),
                context=sum(job.reading for job in active),
                max=self._options.slots,
                kv_max=self._options.slots * self._options.max_context,
                kv_used=sum(len(job.tokens) for job in active),
                kv_tokens_per=1,
                kv_reused=self._reused,
                iterations=self._iterations,
            )

    def close(self) -> None:
        """See Engine. Streams that still run fail."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(JOIN_S)
        with self._wake:
            left = [*self._active.values(), *self._waiting]
            self._active, self._waiting = {}, deque()
        for job in left:
            self._senders.put(job.key, partial(job.sink.fail, str(EngineFailed("it is shutting down"))))
        self._senders.close()

    def _drive(self) -> None:
        while not self._closed:
            try:
                self._iterate()
            except Exception as error:  # noqa: BLE001 - the driver is all that moves the streams: it goes on
                self._log(f"llm: a step broke: {error!r}")
                self._break(f"{type(error).__name__}: {error}")

    def _iterate(self) -> None:
        """One piece of one prompt, and a token for every sequence that runs; or a wait for something to do."""
        with self._wake:
            self._drop_cancelled()
            self._admit()
            if not self._active:
                self._begun = None
                if not self._closed:
                    self._wake.wait()
                return
            jobs = dict(self._active)
        if reading := next(((slot, job) for slot, job in jobs.items() if job.reading), None):
            self._read(*reading)
        running = {slot: job for slot, job in jobs.items() if not job.reading and slot in self._active}
        if running:
            self._step(running)

    def _drop_cancelled(self) -> None:
        for slot, job in list(self._active.items()):
            if job.cancelled:
                self._free(slot)
                self._senders.put(job.key, job.sink.end)
        for job in [job for job in self._waiting if job.cancelled]:
            self._waiting.remove(job)
            self._senders.put(job.key, job.sink.end)

    def _admit(self) -> None:
        while self._waiting and self._kept:
            job = self._waiting.popleft()
            # At least one token must be computed: its logits are the first answer token's.
            slot, job.computed = self._kept.take(job.tokens[:-1], job.request.cache_salt)
            self._reused += job.computed
            self._senders.put(job.key, partial(job.sink.began, job.computed))  # a block is a token, see `stats`
            self._active[slot] = job

    def _free(self, slot: int) -> None:
        """Its sequence is over; what it computed stays for a prompt that begins alike."""
        job = self._active.pop(slot)
        self._kept.put(slot, job.tokens[: job.computed], job.request.cache_salt)

    def _read(self, slot: int, job: _TorchJob) -> None:
        piece = job.tokens[job.computed : job.computed + self._model.chunk]
        best, logits = self._model.read(slot, piece, job.computed)
        job.computed += len(piece)
        if job.computed == len(job.tokens):
            self._give(slot, job, best, logits)

    def _step(self, running: dict[int, _TorchJob]) -> None:
        """Take in one step, and have the next one begun by then where it asks for nothing that is not known on the GPU.

        So the GPU is at work while tokens are sent. A sequence that turns out to end has then a row in vain, and no harm in it.
        """
        done, jobs = self._begun or (self._begin(running, ()), running)
        self._begun = None
        if all(job.plain for job in running.values()):
            more = {slot: job for slot, job in running.items() if not (jobs.get(slot) is job and job.last)}
            if more:
                self._begun = self._begin(more, jobs.values()), more
        best = done.best()
        self._iterations += 1
        for slot, job in jobs.items():
            if self._active.get(slot) is job:  # it has not ended or left meanwhile
                job.computed += 1
                self._give(slot, job, best[slot], None if job.plain else done.logits[slot])

    def _begin(self, jobs: dict[int, _TorchJob], ahead: Collection[_TorchJob]) -> "Pass":
        """A step of these; of those in `ahead` the last token is still being computed."""
        return self._model.next(
            {
                slot: (None, job.computed + 1) if job in ahead else (job.tokens[-1], job.computed)
                for slot, job in jobs.items()
            }
        )

    def _give(self, slot: int, job: _TorchJob, best: int, logits: Any) -> None:
        """The next token of a job, or its end."""
        token, log_probs, constraint = best, None, job.request.constraint
        allowed = None if constraint is None else constraint.allowed(ends=job.end_ids, banned=job.banned)
        stuck = allowed is not None and not allowed.size
        if not job.plain and not stuck:
            token, log_probs = self._draw(
                logits,
                job.request.sampling,
                tokens=job.tokens,
                produced=job.produced,
                banned=job.banned,
                top=job.request.top_log_probs,
                allowed=allowed,
            )
        call: Callable[[], None]
        if constraint is not None and stuck:
            last, call = True, partial(job.sink.fail, constraint.failure)
        elif token in job.end_ids:
            last, call = True, job.sink.end
        else:
            job.tokens.append(token)
            job.produced += 1
            last = job.watch.ends_with(token) or job.produced >= job.request.max_tokens
            if constraint is not None:
                constraint.take(token)
                last = last or constraint.ended
            call = partial(job.sink.token, token, last=last, log_probs=log_probs)
        if last:
            with self._wake:
                self._free(slot)
        self._senders.put(job.key, call)

    def _break(self, why: str) -> None:
        """Everything that ran fails. A CUDA error stays with the process, which then ends, and its Triton with it (`guard`)."""
        with self._wake:
            left, self._active = self._active, {}
            self._begun = None
            for slot in left:
                self._kept.put(slot, (), 0)
        for job in left.values():
            self._senders.put(job.key, partial(job.sink.fail, str(EngineFailed(why))))
        try:
            self._model.synchronize()
        except RuntimeError as error:
            self._log(f"llm: the GPU cannot be used any more, this process ends: {error}")
            self._senders.close()
            self._die()


def _load(
    options: TorchOptions, log: Callable[[str], None]
) -> tuple["SlotModel", Callable[..., tuple[int, TokenLogProbs]]]:
    """The model, and what draws a token."""
    # Here and not above: the other flavours have no need of torch, which takes seconds and much memory.
    try:
        import torch

        from llm_engine.torch_model import SlotModel
        from llm_engine.torch_sampling import draw
    except ImportError as error:
        raise BadParameter(f"llm: the flavour torch needs the packages torch and transformers ({error})") from error
    if options.n_threads or not torch.cuda.is_available():
        torch.set_num_threads(options.n_threads or max(1, len(os.sched_getaffinity(0)) // 2))
    model = SlotModel(
        Path(options.model_dir),
        slots=options.slots,
        max_context=options.max_context,
        chunk=min(options.max_num_tokens, options.max_context),
        device=options.device,
        dtype=options.dtype,
        cuda_graphs=options.cuda_graphs,
        log=log,
    )
    return model, draw
