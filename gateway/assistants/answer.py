"""An answer that an assistant writes itself, out of steps that the fleet's model writes for it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from gateway.dispatch.attempts import Attempt
from gateway.serving.citations import AnswerCitations, MadeFile
from gateway.serving.generated_answer import GeneratedAnswer, TokenUsage
from gateway.serving.output_processor import FinishReason, OutputProcessor
from gateway.serving.tool_parsers import BareJsonParser
from gateway.serving.tools import ToolUse
from tokens.vocabulary import TokenTable


class StepAccount:
    """What the steps of one answer have used so far. Each has a row in the ledger of its own."""

    def __init__(self) -> None:
        self.usage = TokenUsage(0, 0)
        self.attempts: list[Attempt] = []
        self.steps = 0
        """That were begun."""

    def add(self, answer: GeneratedAnswer) -> None:
        """A step has ended."""
        used, so_far = answer.usage, self.usage
        self.usage = TokenUsage(
            so_far.prompt + used.prompt,
            so_far.completion + used.completion,
            so_far.reasoning + used.reasoning,
            so_far.cached + used.cached,
        )
        self.attempts += answer.attempts


class ScriptedAnswer(GeneratedAnswer):
    """Its pieces are an assistant's; a call of a function is JSON, as models write it under a grammar."""

    def __init__(
        self,
        pieces: AsyncGenerator[str, None],
        account: StepAccount,
        table: TokenTable,
        tools: ToolUse | None = None,
        made: Sequence[MadeFile] = (),
    ) -> None:
        """made: filled in while the pieces are made."""
        parser = None if tools is None else BareJsonParser(tools)
        super().__init__(None, OutputProcessor(table, stops=(), max_tokens=0), prompt_tokens=0, tool_parser=parser)
        self._script = pieces
        self._account = account
        self._made = made

    async def citations(self, text: str | None = None) -> AnswerCitations:
        """See GeneratedAnswer: the files that were made."""
        return AnswerCitations(made=tuple(self._made))

    async def next(self) -> str | None:
        """See GeneratedAnswer. Raises what a step raises."""
        if self.finish_reason is not None:
            return None
        piece = await anext(self._script, None)
        if piece is None:
            self._output.say_nothing()
        else:
            self._pieces.append(piece)
        return piece

    @property
    def usage(self) -> TokenUsage:
        """Of all steps."""
        return self._account.usage

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Of all steps."""
        return self._account.attempts


class ExtendedAnswer(GeneratedAnswer):
    """An answer of the model, with something behind it that is known when it has ended."""

    def __init__(self, answer: GeneratedAnswer, behind: Callable[[], Awaitable[str]]) -> None:
        self._answer = answer
        self._behind = behind
        self._extension: str | None = None
        self.grounding, self.log_probs, self.reasoning = answer.grounding, answer.log_probs, answer.reasoning
        self.on_end, self.tool_parser = None, answer.tool_parser

    async def next(self) -> str | None:
        """See GeneratedAnswer."""
        if self._extension is not None:
            return None
        piece = await self._answer.next()
        if piece is not None:
            return piece
        self._extension = await self._behind()
        return self._extension or None

    def relay(self, ready: Callable[[], bool], write: Callable[[str], None]) -> None:
        """See GeneratedAnswer."""
        self._answer.relay(ready, write)

    def end(self) -> None:
        """See GeneratedAnswer. Nothing comes behind it."""
        self._answer.end()
        self._extension = self._extension or ""

    def close(self) -> None:
        """See GeneratedAnswer."""
        self._answer.close()

    @property
    def text(self) -> str:
        """See GeneratedAnswer."""
        return self._answer.text + (self._extension or "")

    @property
    def finish_reason(self) -> FinishReason | None:
        """See GeneratedAnswer."""
        return None if self._extension is None else self._answer.finish_reason

    @property
    def usage(self) -> TokenUsage:
        """See GeneratedAnswer. What is behind it costs nothing."""
        return self._answer.usage

    @property
    def attempts(self) -> Sequence[Attempt]:
        """See GeneratedAnswer."""
        return self._answer.attempts

    @property
    def running(self) -> Attempt | None:
        """See GeneratedAnswer."""
        return self._answer.running

    async def citations(self, text: str | None = None) -> AnswerCitations:
        """See GeneratedAnswer. What stands behind it cites nothing."""
        seen = self.text if text is None else text
        return await self._answer.citations(seen.removesuffix(self._extension or ""))
