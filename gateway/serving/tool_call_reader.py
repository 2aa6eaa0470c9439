"""An answer that may call functions: its text and its calls, as they come."""

import hashlib
from collections.abc import AsyncIterator, Iterator

from gateway.serving.generated_answer import GeneratedAnswer
from gateway.serving.tools import ArgumentsPiece, CallBegun, ParsedPiece, TextPiece, ThoughtPiece, ToolCall


class ToolCallReader:
    """Reads one answer. A call's id is made from the answer's, so that it is the same wherever the answer goes on."""

    def __init__(self, answer: GeneratedAnswer, answer_id: str) -> None:
        """answer_id: what the client knows the answer by."""
        self._answer = answer
        self._parser = answer.tool_parser
        self._answer_id = answer_id
        self._text: list[str] = []
        self.calls: list[ToolCall] = []

    async def pieces(self) -> AsyncIterator[ParsedPiece | ThoughtPiece]:
        """To the answer's end. A CallBegun is the last of `calls` by then."""
        while (text := await self._answer.next()) is not None:
            if self._answer.reasoning is not None and (thought := self._answer.reasoning.take()):
                yield ThoughtPiece(thought)
            if self._parser is None:
                if text:
                    yield self._keep(TextPiece(text))
                continue
            if text:
                for piece in self._parser.push(text):
                    yield self._keep(piece)
            if self._parser.complete:
                self._answer.end()
        for piece in self._rest():
            yield self._keep(piece)

    async def whole(self) -> str:
        """All of the text that is no call."""
        if self._parser is None:
            return await self._answer.whole()
        async for _ in self.pieces():
            pass
        return self.text

    @property
    def text(self) -> str:
        """That is no call, so far."""
        return "".join(self._text)

    def _rest(self) -> Iterator[ParsedPiece]:
        yield from () if self._parser is None else self._parser.finish()

    def _keep(self, piece: ParsedPiece) -> ParsedPiece:
        if isinstance(piece, TextPiece):
            self._text.append(piece.text)
        elif isinstance(piece, CallBegun):
            self.calls.append(ToolCall(self._id(), piece.name))
        elif isinstance(piece, ArgumentsPiece):
            self.calls[-1].arguments += piece.text
        return piece

    def _id(self) -> str:
        name = f"{self._answer_id}/{len(self.calls)}".encode()
        return f"call_{hashlib.blake2b(name, digest_size=12).hexdigest()}"
