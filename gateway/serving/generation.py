"""One answer's token ids, from as many instances as it takes.

A stream whose instance dies, stalls or leaves goes on elsewhere: the prompt's ids and the journal of the ids already given
are sent to another instance as its prompt, and it continues behind them. The client sees one stream, every token once.

What continues exactly: greedy answers (the next token depends on the ids before it only), stop strings and partial UTF-8
(they live behind this class, over the ids), min_tokens and the token limit (both lowered by the journal), and penalties
(every engine counts the prompt's tokens, too, and the journal has become prompt). What an engine cannot keep: the state of
its random generator, so a sampled answer goes on with a seed derived from the old one and the length of the journal: the same
for the same seam, but not the uninterrupted run. docs/migration.md has it by flavour.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.config import Settings
from gateway.errors import BadRequest, GenerationFailed, Unavailable
from gateway.metrics import Metrics
from gateway.routing.types import PlacementRequest
from gateway.serving.engines import Engines, Placed, exhausted
from gateway.triton.errors import Cause, InstanceError, RequestRefused
from gateway.triton.llm import GenerateRequest, TokenStream, TokenStreams

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One instance's part in an answer."""

    instance: str
    tokens: int
    cause: str
    """Why it ended: a `Cause`, or `end`."""


class Generation:
    """Gives ids with `next()`; `close()` frees the engine on every path and may be called at any time."""

    RESCUE_S = 15.0
    """How long a begun answer waits for some instance to be there again before it fails."""

    def __init__(
        self,
        job: PlacementRequest,
        *,
        input_ids: Sequence[int],
        max_tokens: int,
        sampling: Mapping[str, Any],
        engines: Engines,
        streams: TokenStreams,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._job = job
        self._input_ids = input_ids
        self._max_tokens = max_tokens
        self._sampling = sampling
        self._engines = engines
        self._streams = streams
        self._settings = settings
        self._metrics = metrics
        self._placed: Placed | None = None
        self._stream: TokenStream | None = None
        self._request: GenerateRequest | None = None
        self._failed: set[str] = set()
        self._deaths = 0
        self._journal_at_dispatch = 0
        self._lost_at: float | None = None
        self.journal: list[int] = []
        self.trail: list[Attempt] = []
        self.ended = False
        self._relay: Callable[[list[int]], bool] | None = None

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
                    await self._dispatch()
                assert self._stream is not None
                ids = await self._stream.next()
            except InstanceError as error:
                lost = await self._resend() if error.cause is Cause.STALE else error
                if lost is not None:
                    await self._lost(lost)
                continue
            except RequestRefused as refused:
                self.close()
                raise _translate(refused) from refused
            if not ids:
                self.ended = True
                continue
            assert self._placed is not None
            now = time.monotonic()
            if self._lost_at is not None:
                self._metrics.migration_gap.observe(now - self._lost_at)
                self._lost_at = None
            self.journal += ids
            self._placed.tokens(len(ids), now)
            if self._relay is not None:
                self._stream.sink = self._arrived
            return ids

    def _arrived(self, ids: list[int]) -> bool:
        """The stream's sink: see `relay`. The instance has been praised and the gap measured with its first ids."""
        count = len(ids)
        if self._relay is None or self._placed is None or len(self.journal) + count >= self._max_tokens:
            return False
        if not self._relay(ids):
            return False
        self.journal += ids
        self._placed.more_tokens(count)
        return True

    def close(self) -> None:
        """Cancel the running step, give back the place. Idempotent."""
        whole = self.ended or len(self.journal) >= self._max_tokens
        self._close_stream(whole=whole)
        if self._placed is not None:
            if whole:
                self._placed.done(self.journal[self._journal_at_dispatch :])
            else:
                self._placed.cancelled()
            self._end_attempt("end")

    @property
    def instance(self) -> str | None:
        """The name of the instance that works on it now."""
        return self._placed.instance.name if self._placed else None

    async def _dispatch(self) -> None:
        placed = await self._place()
        self._placed = placed
        self._journal_at_dispatch = len(self.journal)
        done = len(self.journal)
        sampling = dict(self._sampling)
        if done:
            sampling["min_tokens"] = max(0, sampling.get("min_tokens", 0) - done)
            if "seed" in sampling:
                sampling["seed"] = (sampling["seed"] + done) % 2**64
        self._request = GenerateRequest(
            # A fresh id for each attempt. The client's own may be in use already, and an engine ends by id.
            id=f"{self._job.request_id}/{random.getrandbits(48):012x}",
            input_ids=[*self._input_ids, *self.journal] if done else self._input_ids,
            request_output_len=self._max_tokens - done,
            sampling=sampling,
        )
        self._metrics.placements.labels(placed.instance.name).inc()
        await self._open(placed)

    async def _open(self, placed: Placed, *, fresh: bool = False) -> None:
        assert self._request is not None
        instance = placed.instance
        self._stream = await self._streams.open(instance.address, instance.http_port, self._request, fresh=fresh)
        self._engines.watch(instance.name, self._stream)

    async def _resend(self) -> InstanceError | None:
        """The kept connection broke before a word came back: ask the same instance again, on a new one.

        When nobody is there any more it was no old connection but a death, under this very request perhaps: RESET.
        """
        assert self._placed is not None
        self._close_stream()
        try:
            await self._open(self._placed, fresh=True)
        except InstanceError as error:
            return InstanceError(Cause.RESET, str(error))
        return None

    async def _place(self) -> Placed:
        """An instance for the next attempt. A begun answer waits for one; a new one is refused at once."""
        waited_until = time.monotonic() + self.RESCUE_S
        while True:
            try:
                return self._engines.place(self._next_job(), frozenset(self._failed))
            except Unavailable as error:
                if not self.trail:
                    raise
                if time.monotonic() > waited_until:
                    raise GenerationFailed(f"{error.message} {self._story()}") from error
                # All were tried: one that failed before may have come back meanwhile.
                self._failed.clear()
                await asyncio.sleep(0.1)

    def _next_job(self) -> PlacementRequest:
        """The rest of the answer as a job of its own: the journal has become prompt."""
        if not self.journal:
            return self._job
        done = len(self.journal)
        return replace(self._job, prompt_ids=[*self._input_ids, *self.journal], max_tokens=self._max_tokens - done)

    async def _lost(self, error: InstanceError) -> None:
        assert self._placed is not None
        name = self._placed.instance.name
        progress = len(self.journal) - self._journal_at_dispatch
        self._close_stream()
        self._placed.failed(error)
        self._end_attempt(error.cause)
        self._failed.add(name)
        if self.journal:
            self._metrics.migrations.labels(error.cause).inc()
            self._lost_at = self._lost_at or time.monotonic()
        else:
            self._metrics.retries.labels("llm", error.cause).inc()
        # A poison request kills an engine wherever it goes. The first death says little (any stream on a dying instance sees it);
        # a further one before a single new token points at the request.
        if error.cause is Cause.RESET and (self._deaths == 0 or progress == 0):
            self._deaths += 1
        if self._deaths >= self._settings.poison_limit:
            log.error(
                "request %s is poison: %d instances died under it. %s",
                self._job.request_id,
                self._deaths,
                self._story(),
            )
            raise GenerationFailed(
                f"The request was stopped because {self._deaths} instances died under it. {self._story()}",
                code="poison_request",
            )
        failures = sum(1 for a in self.trail if a.cause != Cause.DRAIN)
        if failures >= self._settings.attempts and progress == 0:
            raise exhausted(error, self._story())
        if len(self.trail) > 1:
            await asyncio.sleep(random.uniform(0.5, 1) * min(0.05 * 2 ** len(self.trail), 1.0))  # noqa: S311 - jitter

    def _close_stream(self, *, whole: bool = False) -> None:
        if self._stream is not None:
            if whole:
                self._stream.finish()
            else:
                self._stream.close()
            if self._placed is not None:
                self._engines.unwatch(self._placed.instance.name, self._stream)
            self._stream = None

    def _end_attempt(self, cause: str) -> None:
        assert self._placed is not None
        done = len(self.journal) - self._journal_at_dispatch
        self.trail.append(Attempt(self._placed.instance.name, done, str(cause)))
        self._placed = None

    def _story(self) -> str:
        return "Attempts: " + ", ".join(f"{a.instance} ({a.tokens} tokens, {a.cause})" for a in self.trail) + "."


# The engine's names for what clients know by others.
_PARAMS = {
    "input_ids": "messages",
    "request_output_len": "max_tokens",
    "runtime_top_k": "top_k",
    "runtime_top_p": "top_p",
}


def _translate(refused: RequestRefused) -> BadRequest:
    """A refusal begins with the field at fault (docs/contracts.md)."""
    field, colon, _ = refused.reason.partition(":")
    param = _PARAMS.get(field, field) if colon and field.isidentifier() else None
    return BadRequest(f"The model refused the request: {refused.reason}", param=param, code="invalid_value")
