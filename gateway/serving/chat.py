"""One answer in the making: its pieces, its usage, its citations."""

import time
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from gateway.dispatch.generation import Generation
from gateway.metrics import Metrics
from gateway.retrieval.context import Context
from gateway.serving.citation_finder import CitationFinder
from gateway.serving.citations import AnswerCitations
from gateway.serving.output_processor import FinishReason, OutputProcessor


class Chat:
    """One answer in the making."""

    def __init__(
        self,
        *,
        context: Context,
        answer: OutputProcessor,
        generation: Generation | None,
        not_found: str,
        started: float,
        metrics: Metrics,
        citations: CitationFinder | None = None,
    ) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self._context = context
        self._answer = answer
        self._generation = generation
        self._not_found: str | None = not_found if generation is None else None
        self._started = started
        self._first_token = False
        self._metrics = metrics
        self._text: list[str] = []
        self._citations = citations
        self.grounding = context.grounding
        """None for an answer without retrieval."""

    async def next(self) -> str | None:
        """The next piece of text (may be ''), or None when the answer is complete."""
        if self._answer.ended():
            return None
        if self._generation is None:
            self._answer.say_nothing()
            piece = self._not_found or ""
        else:
            ids = await self._generation.next()
            if not self._first_token:
                self._first_token = True
                self._metrics.ttft.labels("1" if self.grounding else "0").observe(time.monotonic() - self._started)
            if ids:
                piece = self._answer.push(ids)
                if self._answer.ended():
                    self._generation.close()  # a stop string: the engine need not go on
            else:
                piece = self._answer.finish()
        if self.grounding is not None:
            self._text.append(piece)
        return piece

    def relay(self, ready: Callable[[], bool], write: Callable[[str], None]) -> None:
        """From the next piece on, call `write` with the pieces as they arrive, while `ready()`; the others come by `next()`.

        No task wakes up for a piece that is written so (docs/transport.md). `next()` must be waited for all the while.
        """
        if self._generation is None:
            return
        answer, grounded = self._answer, self.grounding is not None

        def take(ids: list[int]) -> bool:
            if not answer.plain(ids) or not ready():
                return False
            piece = answer.push(ids)
            if grounded:
                self._text.append(piece)
            if piece:
                write(piece)
            return True

        self._generation.relay(take)

    def close(self) -> None:
        """Free the engine. Idempotent."""
        if self._generation is not None:
            self._generation.close()

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None while it has not."""
        return self._answer.finish_reason

    def usage(self) -> dict[str, Any]:
        """Real tokens: what the engine read and wrote, once, whatever instances it took."""
        prompt = len(self._context.input_ids) if self._generation is not None else 0
        done = self._answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}

    async def citations(self) -> AnswerCitations:
        """What the whole answer cites; after its end. Waits for what runs beside it, and never long."""
        if self._citations is None or self.grounding is None:
            return AnswerCitations()
        return await self._citations.find("".join(self._text))

    def extra(self) -> dict[str, Any]:
        """The extension field `ragfleet`: which instances worked on the answer, and why each part ended."""
        attempts = self._generation.attempts if self._generation is not None else []
        return {"ragfleet": {"attempts": [asdict(each) for each in attempts]}}
