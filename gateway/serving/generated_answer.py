"""One answer in the making: its pieces, its usage, its citations."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.dispatch.attempts import Attempt
from gateway.dispatch.migrating_generation import Generation
from gateway.retrieval.context import Grounding
from gateway.serving.citation_finder import CitationFinder
from gateway.serving.citations import AnswerCitations
from gateway.serving.log_probs import AnswerLogProbs
from gateway.serving.output_processor import FinishReason, OutputProcessor
from gateway.serving.reasoning import Reasoning
from gateway.serving.tool_parsers import ToolCallParser


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Real tokens: what the engine read and wrote, once, whatever instances it took."""

    prompt: int
    completion: int
    reasoning: int = 0
    """Of the completion, those of thoughts."""
    cached: int = 0
    """Of the prompt, those that an instance did not have to compute."""

    @property
    def total(self) -> int:
        """Both."""
        return self.prompt + self.completion


class GeneratedAnswer:
    """Gives its text by `next()`, or as a whole by `whole()`. It must be closed on every path."""

    def __init__(
        self,
        generation: Generation | None,
        output: OutputProcessor,
        *,
        prompt_tokens: int,
        grounding: Grounding | None = None,
        citations: CitationFinder | None = None,
        log_probs: AnswerLogProbs | None = None,
        reasoning: Reasoning | None = None,
        not_found: str = "",
        on_first_token: Callable[[], None] = lambda: None,
        tool_parser: ToolCallParser | None = None,
    ) -> None:
        """generation: None where no engine is asked, and the answer is `not_found`."""
        self._generation = generation
        self._output = output
        self._prompt_tokens = prompt_tokens
        self._citations = citations
        self._not_found = not_found
        self._on_first_token: Callable[[], None] | None = on_first_token
        self._pieces: list[str] = []
        self.grounding = grounding
        """What was looked for and found; None for an answer without retrieval."""
        self.log_probs = log_probs
        """Of the pieces given, where they are asked for."""
        self.reasoning = reasoning
        """The thoughts in front of the text, which are no part of it; None where the model cannot think."""
        self.on_end: Callable[[], Awaitable[None]] | None = None
        """Waited for when it has ended, before `next` says so."""
        self.tool_parser = tool_parser
        """Finds calls of functions in the text; None where there are none to call."""

    async def next(self) -> str | None:
        """The next piece of text (may be ''), or None when the answer is complete."""
        if self._output.ended():
            if self.on_end is not None:
                await self.on_end()
            return None
        if self._generation is None:
            self._output.say_nothing()
            piece = self._not_found
        else:
            ids = await self._generation.next()
            if self._on_first_token is not None:
                self._on_first_token()
                self._on_first_token = None
            if self.log_probs is not None:
                self.log_probs.push(self._generation.log_probs[-len(ids) :] if ids else ())
            if ids:
                piece = self._output.push(ids)
                if self._output.ended():
                    self._generation.close()  # a stop string: the engine need not go on
            else:
                piece = self._output.finish()
        self._pieces.append(piece)
        if self.log_probs is not None:
            self.log_probs.show(len(piece), whole=self._output.ended() and not self._output.cut)
        return piece

    def relay(self, ready: Callable[[], bool], write: Callable[[str], None]) -> None:
        """From the next piece on, call `write` with the pieces as they arrive, while `ready()`; the others come by `next()`.

        No task wakes up for a piece that is written so (docs/transport.md). `next()` must be waited for all the while.
        """
        if self._generation is None:
            return
        push_plain, keep = self._output.push_plain, self._pieces.append

        def take(ids: list[int]) -> bool:
            if not ready():
                return False
            piece = push_plain(ids)
            if piece is None:
                return False
            if piece:
                keep(piece)
                write(piece)
            return True

        self._generation.relay(take)

    async def whole(self) -> str:
        """All of the text, for which no task wakes up before its end."""
        self.relay(lambda: True, lambda _: None)
        while await self.next() is not None:
            pass
        return self.text

    def end(self) -> None:
        """What is there is all that is wanted: the engine need not go on."""
        if not self._output.ended():
            self._output.say_nothing()
            self.close()

    def close(self) -> None:
        """Free the engine. Idempotent."""
        if self._generation is not None:
            self._generation.close()

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._pieces)

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None while it has not."""
        return self._output.finish_reason

    @property
    def usage(self) -> TokenUsage:
        """The tokens so far."""
        thoughts = 0 if self.reasoning is None else self.reasoning.tokens
        if self._generation is None:
            return TokenUsage(0, self._output.tokens, thoughts)
        return TokenUsage(self._prompt_tokens, self._output.tokens, thoughts, self._generation.cached_tokens)

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Which instances worked on it, and why each part ended."""
        return () if self._generation is None else self._generation.attempts

    @property
    def running(self) -> Attempt | None:
        """The attempt that has not ended."""
        return None if self._generation is None else self._generation.running

    async def citations(self, text: str | None = None) -> AnswerCitations:
        """What the whole answer cites; after its end. Waits for what runs beside it, and never long.

        text: what the client sees of it, where that is not all.
        """
        if self._citations is None or self.grounding is None:
            return AnswerCitations()
        return await self._citations.find(self.text if text is None else text)
