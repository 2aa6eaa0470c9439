"""Hermes and Qwen: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, after text or without."""

from typing import ClassVar

from gateway.serving.tool_parsers.json_call import JsonCall
from gateway.serving.tool_parsers.parser import ToolCallParser
from gateway.serving.tools import ParsedPiece, TextPiece, ToolUse


class HermesParser(ToolCallParser):
    """See the module."""

    BEGIN, END = "<tool_call>", "</tool_call>"
    MARKERS: ClassVar[tuple[str, ...]] = (BEGIN, END)

    def __init__(self, tools: ToolUse) -> None:
        super().__init__(tools)
        self._inside = False
        """Between the markers, behind the call."""

    def push(self, text: str) -> list[ParsedPiece]:
        """See ToolCallParser."""
        found: list[ParsedPiece] = []
        rest: str | None = text
        while rest and not self.complete:
            if self._call is not None:
                rest = self._read_call(rest, found)  # of what is no call, all that was read
                self._inside = self._call is None
            elif self._inside:
                _, rest = self._until(self.END, rest)
                self._inside = rest is None
            else:
                before, rest = self._until(self.BEGIN, rest)
                if before and (before.strip() or not self._calls):
                    found.append(TextPiece(before))
                if rest is not None:
                    self._call = JsonCall()
        return found

    def finish(self) -> list[ParsedPiece]:
        """See ToolCallParser."""
        return [] if self._inside else super().finish()
