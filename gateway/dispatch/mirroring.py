"""Requests asked again of both sides of a roll-out, to compare what they answer.

The prompt of a request goes to the candidate once and to the other instances twice, one after the other in an order drawn by
chance, greedily and for a few tokens, each with a cache salt of its own: nobody finds a prefix in a cache, no cache is filled
for clients. It is done only where places are free, beside the request and not before it. No tenant pays for it, nobody sees it.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.streams import StreamRegistry
from gateway.metrics import Metrics
from gateway.rollouts.control import Side
from gateway.rollouts.evidence import MirroredAnswer
from gateway.routing.types import PlacementRequest
from gateway.triton.errors import InstanceError, RequestRefused
from gateway.triton.llm import GenerateRequest, TokenStreams

log = logging.getLogger("ragfleet.rollouts")

MOST_TOKENS = 64
"""Of a mirrored answer. More: a difference that begins late is seen; less: a smaller load."""
AT_ONCE = 2
"""Mirrored requests of one gateway."""
CREDIT = 4
"""Requests that may still be mirrored: one for each that the candidate gets, so many at the most."""
TIMED_TOKENS = 8
"""An answer of fewer tokens says nothing about the time between them."""
_KEPT = ("end_id", "lora_task_id")
"""Of a request's inputs; all others have to do with chance, with formats, or with what is told beside tokens."""


class Mirroring:
    """One for the life of the application."""

    def __init__(
        self, dispatcher: Dispatcher, streams: TokenStreams, registry: StreamRegistry, metrics: Metrics, rng: Random
    ) -> None:
        self._dispatcher = dispatcher
        self._rollouts = dispatcher.rollouts
        self._streams = streams
        self._registry = registry
        self._metrics = metrics
        self._rng = rng
        self._credit = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, job: PlacementRequest, sampling: Mapping[str, Any], side: Side | None) -> None:
        """A request has been placed on this side: it may be mirrored now."""
        if side is None:
            return
        if side is Side.CANDIDATE:
            self._credit = min(CREDIT, self._credit + 1)
        if self._credit < 1 or len(self._tasks) >= AT_ONCE:
            return
        if not self._rollouts.mirrors or not self._rollouts.takes_part(job.tenant):
            return
        self._credit -= 1
        kept = {name: sampling[name] for name in _KEPT if name in sampling} | {"runtime_top_k": 1}
        short = replace(job, max_tokens=min(job.max_tokens, MOST_TOKENS))
        task = asyncio.create_task(self._mirror(short, kept), name="mirrored request")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def running(self) -> int:
        """Mirrored requests that are not over."""
        return len(self._tasks)

    async def close(self) -> None:
        """End those that run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _mirror(self, job: PlacementRequest, sampling: Mapping[str, Any]) -> None:
        order = [Side.CANDIDATE, Side.BASELINE, Side.BASELINE]
        self._rng.shuffle(order)
        answers: dict[Side, list[MirroredAnswer]] = {side: [] for side in Side}
        refused: list[Side] = []
        result = "compared"
        for side in order:
            try:
                answers[side].append(await self._ask(job, sampling, side))
            except RequestRefused:
                refused.append(side)
            except InstanceError:
                result = "failed"
                break
            except _NoPlaceError:
                result = "no place"
                break
        if refused:
            result = "refused"
        self._metrics.rollout_mirrored.labels(result).inc()
        if result == "compared":
            self._rollouts.mirror(answers[Side.CANDIDATE][0], *answers[Side.BASELINE])
        elif refused == [Side.CANDIDATE] and answers[Side.BASELINE]:
            # It does not take what the others take.
            self._rollouts.record(candidate=True, failed=True)

    async def _ask(self, job: PlacementRequest, sampling: Mapping[str, Any], side: Side) -> MirroredAnswer:
        """Raises InstanceError, RequestRefused, or _NoPlaceError."""
        job = replace(job, cache_salt=self._rng.getrandbits(62) + 1)
        dispatch = self._dispatcher.place_aside(job, side)
        if dispatch is None:
            raise _NoPlaceError
        stream, whole = None, False
        try:
            request = GenerateRequest(
                id=f"mirrored/{self._rng.getrandbits(64):016x}",
                input_ids=job.prompt_ids,
                request_output_len=job.max_tokens,
                sampling={**sampling, "cache_salt_id": job.cache_salt},
            )
            ids: list[int] = []
            times: list[float] = []
            counts: list[int] = []
            # A connection of its own each time, so that none is quicker for being open already.
            instance, began = dispatch.instance, time.monotonic()
            stream = await self._streams.open(instance.address, instance.http_port, request, fresh=True)
            self._registry.add(instance.name, stream)
            while len(ids) < job.max_tokens and (more := await stream.next()):
                times.append(time.monotonic())
                dispatch.tokens(len(more), times[-1])
                ids += more
                counts.append(len(more))
            stream.finish()
            whole = True
        except InstanceError as error:
            dispatch.failed(error)
            raise
        finally:
            if stream is not None:
                self._registry.remove(dispatch.instance.name, stream)
                if not whole:
                    stream.close()
            dispatch.cancelled()  # it teaches nobody how long answers are
        first = times[0] if times else time.monotonic()
        after = sum(counts[1:])
        token_s = (times[-1] - first) / after if after and len(ids) >= TIMED_TOKENS else None
        return MirroredAnswer(ids, first - began, token_s)


class _NoPlaceError(Exception):
    """Nobody of this side has a place to spare."""
