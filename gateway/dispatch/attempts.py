"""Another instance, please: whom a job has been to, whom it asks next, how long it waits before, and when it gives up."""

import asyncio
import random
import time
from dataclasses import dataclass

from gateway.dispatch.dispatcher import Dispatch
from gateway.errors import GenerationFailed, Overloaded, RagfleetError, Unavailable
from gateway.triton.errors import Cause, InstanceError


@dataclass(frozen=True, slots=True)
class Attempt:
    """One instance's part in a job."""

    instance: str
    tokens: int
    cause: str
    """Why it ended: a `Cause`, or `end`."""
    placement: str
    """Why it was placed there, in words."""
    started_at: float
    first_token_at: float | None
    ended_at: float
    """Monotonic seconds."""


class Attempts:
    """The attempts of one job. The instances that failed it are left out of its next placement.

    limit: failures that are borne.
    """

    LONGEST_PAUSE_S = 1.0

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._last: InstanceError | None = None
        self.trail: list[Attempt] = []
        self.failed: frozenset[str] = frozenset()
        """Instances to leave out."""

    def end(self, dispatch: Dispatch, *, tokens: int = 0) -> None:
        """An attempt ended as it should; the dispatch has been given back."""
        self._record(dispatch, "end", tokens)

    def fail(self, dispatch: Dispatch, error: InstanceError, *, tokens: int = 0) -> None:
        """An attempt failed: gives the dispatch back."""
        dispatch.failed(error)
        self._last = error
        self.failed |= {dispatch.instance.name}
        self._record(dispatch, error.cause, tokens)

    def forgive(self) -> None:
        """All were tried: one that failed before may have come back meanwhile."""
        self.failed = frozenset()

    @property
    def failures(self) -> int:
        """Failed attempts; an instance that drains or has no free slot has not failed us."""
        return sum(1 for attempt in self.trail if attempt.cause not in ("end", Cause.DRAIN, Cause.QUEUED))

    @property
    def waits(self) -> int:
        """Attempts that were ended because they waited for a slot."""
        return sum(1 for attempt in self.trail if attempt.cause == Cause.QUEUED)

    @property
    def exhausted(self) -> bool:
        """Whether no further failure is borne."""
        return self.failures >= self._limit

    async def pause(self) -> None:
        """Wait before the next one: not at all after the first failure, then longer each time, up to LONGEST_PAUSE_S."""
        if len(self.trail) > 1:
            longest = min(0.05 * 2 ** len(self.trail), self.LONGEST_PAUSE_S)
            await asyncio.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - jitter

    def error(self) -> RagfleetError:
        """What the client gets when all failed, by how the last one did."""
        last = self._last
        assert last is not None, "no attempt has failed"
        if last.cause is Cause.BUSY:
            return Overloaded(f"Every instance's queue is full. {self.story()}", retry_after_s=1, status=503)
        if last.cause is Cause.CONNECT:
            return Unavailable(f"No instance can be reached. {self.story()}", retry_after_s=1)
        return GenerationFailed(f"Every attempt failed, the last with: {last}. {self.story()}")

    def story(self) -> str:
        """All attempts in words."""
        parts = ", ".join(f"{a.instance} ({a.tokens} tokens, {a.cause})" for a in self.trail)
        return f"Attempts: {parts}."

    def _record(self, dispatch: Dispatch, cause: str, tokens: int) -> None:
        self.trail.append(attempt_of(dispatch, str(cause), tokens))


def attempt_of(dispatch: Dispatch, cause: str, tokens: int) -> Attempt:
    """What a dispatch has come to by now; `cause` is empty while it runs."""
    return Attempt(
        dispatch.instance.name,
        tokens,
        cause,
        dispatch.reason,
        dispatch.placed_at,
        dispatch.first_token_at,
        time.monotonic(),
    )
