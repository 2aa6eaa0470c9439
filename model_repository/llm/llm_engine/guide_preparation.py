"""Compiling guides beside the running streams, each within a deadline."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from llm_engine.errors import EngineFailed, EngineQueueFull, InvalidRequest, LlmError
from llm_engine.guided_decoding import GUIDE, GuideCompiler
from llm_engine.request import Request

THREADS = 2
WAITING = 256
STACK_BYTES = 256 << 20
"""Of each thread; only what is used of it takes memory. llguidance follows rules and references by recursion, and a stack that is
used up ends the process: chains as long as MAX_GUIDE_BYTES has room for took 128 MiB, and 64 were not enough."""
DEADLINE_S = 5.0
"""For one guide. What it began goes on, within llguidance's own limits, and is kept for whoever asks for it again."""


@dataclass(slots=True)
class _PreparationJob:
    request: Request
    ready: Callable[[Request], None]
    fail: Callable[[str], None]
    due: float = float("inf")
    """Until it has begun it only waits."""


class GuidePreparation:
    """Gives each guided request its constraint, in threads of its own. What is given up is not called back."""

    def __init__(
        self, guides: GuideCompiler, log: Callable[[str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._guides = guides
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()
        self._jobs: dict[int, _PreparationJob] = {}
        self._threads = _with_large_stacks()

    def prepare(
        self, key: int, request: Request, ready: Callable[[Request], None], fail: Callable[[str], None]
    ) -> None:
        """Returns at once; `ready` gets the request with its constraint, or `fail` why there is none. Raises QueueFull."""
        with self._lock:
            if len(self._jobs) >= WAITING:
                raise EngineQueueFull(f"{WAITING} guides wait to be compiled")
            self._jobs[key] = job = _PreparationJob(request, ready, fail)
        self._threads.submit(self._run, key, job)

    def expire(self) -> None:
        """Give up what takes too long; to be called now and then."""
        now = self._clock()
        with self._lock:
            late = [key for key, job in self._jobs.items() if job.due < now]
            jobs = [self._jobs.pop(key) for key in late]
        for job in jobs:
            job.fail(str(InvalidRequest(GUIDE, f"it is not compiled within {DEADLINE_S:g} s: make it smaller")))

    def close(self) -> None:
        """Begin nothing more; what has been asked for fails."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            left, self._jobs = self._jobs, {}
        for job in left.values():
            job.fail(str(EngineFailed("it is shutting down")))

    def _run(self, key: int, job: _PreparationJob) -> None:
        call: Callable[[], None]
        try:
            assert job.request.guided is not None
            self._guides.load()  # no fault of the guide that happens to be the first one of this instance
            job.due = self._clock() + DEADLINE_S
            constraint = self._guides.compile(job.request.guided, job.request.input_ids)
            call = partial(job.ready, replace(job.request, constraint=constraint))
        except LlmError as error:
            call = partial(job.fail, str(error))
        except Exception as error:  # noqa: BLE001 - the outermost of its thread: a request must be answered
            self._log(f"llm: a guide could not be compiled: {error!r}")
            call = partial(job.fail, str(EngineFailed(repr(error))))
        with self._lock:
            wanted = self._jobs.pop(key, None) is not None
        if wanted:
            call()


def _with_large_stacks() -> ThreadPoolExecutor:
    """All its threads are there already: each has the stack that is set when it starts."""
    threads = ThreadPoolExecutor(THREADS, thread_name_prefix="llm-guides")
    all_there = threading.Barrier(THREADS)
    before = threading.stack_size(STACK_BYTES)
    try:
        for _ in range(THREADS):
            threads.submit(all_there.wait)
    finally:
        threading.stack_size(before)
    return threads
