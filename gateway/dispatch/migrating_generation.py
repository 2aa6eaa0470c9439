"""One answer's token ids, from as many instances as it takes.

A stream whose instance dies, stalls or leaves goes on elsewhere: the prompt's ids and the journal of the ids already given
are sent to another instance as its prompt, and it continues behind them. The client sees one stream, every token once
(continuation.py says what stays the same).
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from gateway.admission import Admission, Permit
from gateway.config import Settings
from gateway.dispatch.attempt_span import AttemptSpan
from gateway.dispatch.attempts import Attempt, Attempts, attempt_of
from gateway.dispatch.continuation import continued, rest_of
from gateway.dispatch.dispatcher import Dispatch, Dispatcher
from gateway.dispatch.mirroring import Mirroring
from gateway.dispatch.refusals import bad_request
from gateway.dispatch.streams import StreamRegistry
from gateway.errors import GenerationFailed, Unavailable
from gateway.metrics import Metrics
from gateway.rollouts.control import Side
from gateway.routing.types import PlacementRequest
from gateway.telemetry import OFF, Tracing
from gateway.triton.errors import Cause, InstanceError, RequestRefused
from gateway.triton.llm import GenerateRequest, TokenStream, TokenStreams
from gateway.triton.log_probs import LogProbReader, TokenLogProb

log = logging.getLogger(__name__)

TOLD_ON_DEMAND = "tensorrt_llm"
"""The engine that tells what it had cached where it is asked to; ours do so by themselves."""


class Generator:
    """Begins generations: what they all have in common. One for the life of the application."""

    def __init__(
        self,
        *,
        dispatcher: Dispatcher,
        streams: TokenStreams,
        registry: StreamRegistry,
        prefills: Admission,
        slots: Admission,
        shared: Callable[[], bool] = lambda: False,
        settings: Settings,
        metrics: Metrics,
        tracing: Tracing = OFF,
        mirroring: Mirroring | None = None,
    ) -> None:
        """prefills: of one tenant it lets so many prompts be read at a time.

        slots: where several tenants share the engines it has a place for each slot, so that what waits for one waits there, in
        turns, and not in an engine's queue, which is first in, first out. shared: whether they do.
        mirroring: sees what is placed.
        """
        self.dispatcher = dispatcher
        self.streams = streams
        self.registry = registry
        self.prefills = prefills
        self.slots = slots
        self.shared = shared
        self.settings = settings
        self.metrics = metrics
        self.tracing = tracing
        self.mirroring = mirroring
        for cause in Cause:  # a counter that begins with its first event hides that one from every rate
            metrics.migrations.labels(cause)

    def begin(self, job: PlacementRequest, sampling: Mapping[str, Any]) -> "Generation":
        """A generation of at most `job.max_tokens` tokens after `job.prompt_ids`. `sampling`: TensorRT-LLM's inputs by name.

        Nothing is sent before its first `next()`.
        """
        return Generation(self, job, sampling)

    async def close(self) -> None:
        """End what runs beside the generations."""
        if self.mirroring is not None:
            await self.mirroring.close()


class Generation:
    """Gives ids with `next()`; `close()` frees the engine on every path and may be called at any time."""

    RESCUE_S = 15.0
    """How long a begun answer waits for some instance to be there again before it fails."""
    MOST_WAITS = 2
    """Times that an answer is moved because it waits for a slot and another instance has a free one."""

    def __init__(self, generator: Generator, job: PlacementRequest, sampling: Mapping[str, Any]) -> None:
        self._job = replace(job, may_queue=False) if generator.shared() else job
        self._sampling = sampling
        self._max_tokens = job.max_tokens
        self._dispatcher = generator.dispatcher
        self._streams = generator.streams
        self._registry = generator.registry
        self._prefills = generator.prefills
        self._slots = generator.slots
        self._deadline_s = generator.settings.request_deadline_s
        self._metrics = generator.metrics
        self._mirroring = generator.mirroring
        self._side: Side | None = None
        """Of a roll-out; asked for with the first attempt."""
        self._placed = False
        self._span = AttemptSpan(generator.tracing)
        self._poison_limit = generator.settings.poison_limit
        self._attempts = Attempts(generator.settings.attempts)
        self._dispatch: Dispatch | None = None
        self._slot: Permit | None = None
        """Until the end, whichever instances it is on."""
        self._prefill: Permit | None = None
        """While the prompt is read, for the first time."""
        self._stream: TokenStream | None = None
        self._request: GenerateRequest | None = None
        self._reader: LogProbReader | None = None
        self._deaths = 0
        self._journal_at_dispatch = 0
        self._lost_at: float | None = None
        self._relay: Callable[[list[int]], bool] | None = None
        self.journal: list[int] = []
        """The ids given so far."""
        self.log_probs: list[TokenLogProb] = []
        """Of those, where `return_log_probs` asks for them."""
        self.ended = False
        """Whether the engine has ended the answer."""
        self._cached_tokens = 0

    def relay(self, take: Callable[[list[int]], bool]) -> None:
        """Give ids to `take` as they arrive, without a task waking up; what it refuses (False) comes by `next()`.

        So do the first ids of each instance, the last of the answer, and whatever an error has to be handled for.
        `next()` must be waited for all the while.
        """
        self._relay = take

    async def next(self) -> list[int]:
        """At least one new id, or [] when the engine has ended the answer. Raises RagfleetError when no instance can go on."""
        while True:
            if self.ended or len(self.journal) >= self._max_tokens:
                self.close()
                return []
            try:
                if self._stream is None:
                    await self._begin()
                assert self._stream is not None
                ids = await self._stream.next()
            except InstanceError as error:
                lost = await self._resend() if error.cause is Cause.STALE else error
                if lost is not None:
                    await self._lost(lost)
                continue
            except RequestRefused as refused:
                continued = self._journal_at_dispatch > 0 and self._progress == 0
                self.close()
                if continued:  # no fault of the client: the first instance took it
                    raise GenerationFailed(
                        f"The answer cannot go on at another instance: {refused.reason}. {self._attempts.story()}"
                    ) from refused
                raise bad_request(refused) from refused
            if not ids:
                self.ended = True
                continue
            assert self._dispatch is not None
            self._end_prefill()
            now = time.monotonic()
            if self._lost_at is not None:
                self._metrics.migration_gap.observe(now - self._lost_at)
                self._lost_at = None
            self.journal += ids
            if self._reader is not None:
                self.log_probs += self._reader.take(len(ids))
            self._dispatch.tokens(len(ids), now)
            if self._relay is not None and self._reader is None:
                self._stream.sink = self._arrived
            return ids

    def _arrived(self, ids: list[int]) -> bool:
        """The stream's sink: see `relay`. The first ids of the instance have come by `next()`, which has reported them."""
        count = len(ids)
        if self._relay is None or self._dispatch is None or len(self.journal) + count >= self._max_tokens:
            return False
        if not self._relay(ids):
            return False
        self.journal += ids
        self._dispatch.more_tokens(count)
        return True

    def close(self) -> None:
        """Cancel the running step, give back the place. Idempotent."""
        self._end_prefill()
        if self._slot is not None:
            self._slot.release()
            self._slot = None
        whole = self.ended or len(self.journal) >= self._max_tokens
        self._close_stream(whole=whole)
        if self._dispatch is not None:
            if whole:
                self._dispatch.succeeded(self.journal[self._journal_at_dispatch :])
            else:
                self._dispatch.cancelled()
            self._attempts.end(self._dispatch, tokens=self._progress)
            self._dispatch = None
            self._span.end(self._progress)

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The attempts that have ended."""
        return self._attempts.trail

    @property
    def running(self) -> Attempt | None:
        """The attempt that has not ended."""
        return None if self._dispatch is None else attempt_of(self._dispatch, "", self._progress)

    @property
    def _progress(self) -> int:
        """Tokens of the present attempt."""
        return len(self.journal) - self._journal_at_dispatch

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were not computed, as the instance that read it first has told; 0 where it has not."""
        stream, dispatch = self._stream, self._dispatch
        if stream is not None and dispatch is not None and not self._journal_at_dispatch:
            found = (stream.reused_blocks or 0) * dispatch.kv_block_tokens
            self._cached_tokens = min(found, len(self._job.prompt_ids))
        return self._cached_tokens

    async def _begin(self) -> None:
        """Send the rest of the answer to an instance."""
        if self._slot is None:
            self._slot = await self._slots.acquire(self._job.tenant, deadline_s=self._deadline_s)
        if self._prefill is None and not self.journal and not self._attempts.trail:
            self._prefill = await self._prefills.acquire(self._job.tenant, deadline_s=self._deadline_s)
        new, self._placed = not self._placed, True
        if new:
            self._side = self._dispatcher.side(self._job)
        dispatch = await self._place()
        self._dispatch = dispatch
        if new and self._mirroring is not None:
            self._mirroring.offer(self._job, self._sampling, self._side)
        done = self._journal_at_dispatch = len(self.journal)
        self._request = GenerateRequest(
            # A fresh id for each attempt. The client's own may be in use already, and an engine ends by id.
            id=f"{self._job.request_id}/{random.getrandbits(48):012x}",
            input_ids=[*self._job.prompt_ids, *self.journal] if done else self._job.prompt_ids,
            request_output_len=self._max_tokens - done,
            sampling=self._inputs(dispatch, done),
            traceparent=self._span.begin(dispatch, len(self._attempts.trail) + 1),
        )
        self._metrics.placements.labels(dispatch.instance.name).inc()
        await self._open(dispatch)

    def _inputs(self, dispatch: Dispatch, done: int) -> dict[str, Any]:
        """The sampling of an attempt behind so many tokens."""
        sampling = continued(self._sampling, done) if done else dict(self._sampling)
        if self._job.cache_salt:
            sampling["cache_salt_id"] = self._job.cache_salt
        if dispatch.instance.engine == TOLD_ON_DEMAND and not done:
            sampling["return_perf_metrics"] = True
        return sampling

    async def _open(self, dispatch: Dispatch, *, fresh: bool = False) -> None:
        assert self._request is not None
        instance = dispatch.instance
        decode: Callable[[bytes], Any] = orjson.loads
        if self._sampling.get("return_log_probs"):
            decode = self._reader = LogProbReader(self._sampling.get("num_top_log_probs", 0))
        self._stream = await self._streams.open(
            instance.address, instance.http_port, self._request, fresh=fresh, decode=decode
        )
        movable = self._attempts.waits < self.MOST_WAITS
        self._registry.add(instance.name, self._stream, self._rest() if movable else None)

    async def _resend(self) -> InstanceError | None:
        """The kept connection broke before a word came back: ask the same instance again, on a new one.

        When nobody is there any more it was no old connection but a death, under this very request perhaps: RESET.
        """
        assert self._dispatch is not None
        self._close_stream()
        try:
            await self._open(self._dispatch, fresh=True)
        except InstanceError as error:
            return InstanceError(Cause.RESET, str(error))
        return None

    async def _place(self) -> Dispatch:
        """An instance for the next attempt. A begun answer waits for one; a new one is refused at once."""
        waited_until = time.monotonic() + self.RESCUE_S
        while True:
            try:
                return self._dispatcher.place(self._rest(), self._attempts.failed, self._side)
            except Unavailable as error:
                if not self._attempts.trail:
                    raise
                if time.monotonic() > waited_until:
                    raise GenerationFailed(f"{error.message} {self._attempts.story()}") from error
                self._attempts.forgive()
                await asyncio.sleep(0.1)

    def _rest(self) -> PlacementRequest:
        return rest_of(self._job, self.journal) if self.journal else self._job

    async def _lost(self, error: InstanceError) -> None:
        """The present attempt failed: count it, and raise where there shall be no other."""
        dispatch, progress = self._dispatch, self._progress
        assert dispatch is not None
        self._close_stream()
        self._dispatch = None
        self._span.end(self._progress, error)
        self._attempts.fail(dispatch, error, tokens=progress)
        if error.cause is Cause.QUEUED:
            self._job = replace(self._job, may_queue=False)
        if self.journal:
            self._metrics.migrations.labels(error.cause).inc()
            self._lost_at = self._lost_at or time.monotonic()
        else:
            self._metrics.retries.labels("llm", error.cause).inc()
        # A poison request kills an engine wherever it goes. The first death says little (any stream on a dying instance sees it);
        # a further one before a single new token points at the request.
        if error.cause is Cause.RESET and (self._deaths == 0 or progress == 0):
            self._deaths += 1
        if self._deaths >= self._poison_limit:
            story = self._attempts.story()
            log.error("request %s is poison: %d instances died under it. %s", self._job.request_id, self._deaths, story)
            raise GenerationFailed(
                f"The request was stopped because {self._deaths} instances died under it. {story}",
                code="poison_request",
            )
        if self._attempts.exhausted and progress == 0:
            raise self._attempts.error()
        await self._attempts.pause()

    def _end_prefill(self) -> None:
        if self._prefill is not None:
            self._prefill.release()
            self._prefill = None

    def _close_stream(self, *, whole: bool = False) -> None:
        if self._stream is not None:
            self._cached_tokens = self.cached_tokens
            if whole:
                self._stream.finish()
            else:
                self._stream.close()
            if self._dispatch is not None:
                self._registry.remove(self._dispatch.instance.name, self._stream)
            self._stream = None
