"""The answers to one request: several to one prompt, each a generation of its own."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from gateway.admission import Permit
from gateway.dispatch.attempts import Attempt
from gateway.serving.generated_answer import GeneratedAnswer, TokenUsage

SPREAD = 0x9E3779B97F4A7C15
"""SplitMix64's step (https://prng.di.unimi.it/splitmix64.c)."""


def choice_seed(seed: int, index: int) -> int:
    """A choice's own. The first one's is the request's, so that it is the answer that would have come alone; the others are far
    from it, for engines count up from a seed."""
    return seed if index == 0 else (seed + index * SPREAD) % 2**64


class Choices:
    """Works on all answers of a request.

    The request has one place, and every further answer asks for one: a place that is given works off the answers that nobody
    has begun. So n answers run at once where there is room for n, and one after the other in a fleet with room for one.
    Nobody waits for a second place before giving back a first: there is no deadlock.
    """

    def __init__(self, answers: Sequence[GeneratedAnswer], admit: Callable[[], Awaitable[Permit | None]]) -> None:
        """admit: waits for a further place; None: there will be none."""
        self.answers = answers
        self._admit = admit
        self._waiting = deque(enumerate(answers))
        self._asking: set[asyncio.Task[None]] = set()

    async def each(self, work: Callable[[int, GeneratedAnswer], Awaitable[None]]) -> None:
        """Have `work` done with each answer and its index. The first error ends all of it, and is raised."""
        if len(self.answers) == 1:
            await work(0, self.answers[0])
            return
        tasks = [asyncio.create_task(self._run(work), name="choices")]
        tasks += [asyncio.create_task(self._further(work), name="choices") for _ in self.answers[1:]]
        self._asking.update(tasks[1:])
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                if not task.cancelled():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Free the engines. Idempotent."""
        for answer in self.answers:
            answer.close()

    @property
    def usage(self) -> TokenUsage:
        """The prompt once, as the first answer's instance read it, and the tokens of all answers so far."""
        if len(self.answers) == 1:
            return self.answers[0].usage
        each = [answer.usage for answer in self.answers]
        completion, reasoning = sum(used.completion for used in each), sum(used.reasoning for used in each)
        return TokenUsage(each[0].prompt, completion, reasoning, each[0].cached)

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Of all answers, in their order."""
        if len(self.answers) == 1:
            return self.answers[0].attempts
        return [attempt for answer in self.answers for attempt in answer.attempts]

    @property
    def running(self) -> Sequence[Attempt]:
        """Those of all answers that have not ended."""
        return [attempt for answer in self.answers if (attempt := answer.running) is not None]

    async def _further(self, work: Callable[[int, GeneratedAnswer], Awaitable[None]]) -> None:
        permit = await self._admit()
        if permit is not None:
            with permit:
                me = asyncio.current_task()
                assert me is not None
                self._asking.discard(me)
                await self._run(work)

    async def _run(self, work: Callable[[int, GeneratedAnswer], Awaitable[None]]) -> None:
        """In one place."""
        while self._waiting:
            index, answer = self._waiting.popleft()
            if not self._waiting:  # who still asks for a place would find nothing to do there
                for task in self._asking:
                    task.cancel()
            await work(index, answer)
