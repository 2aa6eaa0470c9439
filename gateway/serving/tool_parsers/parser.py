"""What every parser of tool calls does, whatever the model's way to write them."""

from abc import ABC, abstractmethod
from typing import ClassVar

from gateway.serving.tool_parsers.json_call import CallState, JsonCall
from gateway.serving.tools import ParsedPiece, TextPiece, ToolUse


class ToolCallParser(ABC):
    """Reads one answer as it comes. A call that is not whole, or that cannot be read, never becomes text."""

    MARKERS: ClassVar[tuple[str, ...]] = ()
    """Control tokens that begin or part calls: they have to be seen as text."""

    def __init__(self, tools: ToolUse) -> None:
        self._tools = tools
        self._waiting = ""
        """Text that could be the beginning of a call."""
        self._call: JsonCall | None = None
        self._calls = 0

    @abstractmethod
    def push(self, text: str) -> list[ParsedPiece]:
        """What this piece of the answer adds."""

    def finish(self) -> list[ParsedPiece]:
        """What was held back, when no more comes."""
        rest, self._waiting = self._waiting, ""
        return [TextPiece(rest)] if rest and self._call is None else []

    @property
    def complete(self) -> bool:
        """Whether the answer has the one call that it may have, so that the model need not go on."""
        return self._tools.parallel is False and self._calls > 0

    def _until(self, marker: str, text: str) -> tuple[str, str | None]:
        """The text before a marker, and what follows it; None where it has not come."""
        text = self._waiting + text
        before, found, after = text.partition(marker)
        if found:
            self._waiting = ""
            return before, after
        held = next((n for n in range(min(len(marker) - 1, len(text)), 0, -1) if text.endswith(marker[:n])), 0)
        self._waiting = text[len(text) - held :]
        return text[: len(text) - held], None

    def _read_call(self, text: str, found: list[ParsedPiece]) -> str:
        """Go on with the call that has begun; what stands behind it. `_call` is None then."""
        assert self._call is not None
        call = self._call
        pieces, rest = call.push(text)
        found += pieces
        if call.state is CallState.OPEN:
            return rest
        self._call = None
        if call.announced:
            self._calls += 1
        return "" if call.announced and call.state is CallState.NO_CALL else rest  # a call that broke off is no text
