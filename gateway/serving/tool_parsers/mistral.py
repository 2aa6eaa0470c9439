"""Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and of newer models `[TOOL_CALLS]name[ARGS]{…}`."""

import string
from typing import ClassVar

from gateway.serving.tool_parsers.json_call import JsonCall
from gateway.serving.tool_parsers.parser import ToolCallParser
from gateway.serving.tools import ParsedPiece, TextPiece, ToolUse


class MistralParser(ToolCallParser):
    """Whatever follows the first marker is calls."""

    BEGIN, ARGUMENTS, ID = "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"
    MARKERS: ClassVar[tuple[str, ...]] = (BEGIN, ARGUMENTS, ID)

    def __init__(self, tools: ToolUse) -> None:
        super().__init__(tools)
        self._marked = False
        self._head = ""
        """What stands before a call's arguments."""

    def push(self, text: str) -> list[ParsedPiece]:
        """See ToolCallParser."""
        found: list[ParsedPiece] = []
        if not self._marked:
            before, after = self._until(self.BEGIN, text)
            if before:
                found.append(TextPiece(before))
            if after is None:
                return found
            self._marked, text = True, after
        while text and not self.complete:
            if self._call is not None:
                text = self._read_call(text, found)
                continue
            head, brace, rest = (self._head + text).partition("{")
            if not brace:
                self._head = head
                break
            self._head = ""
            name = head.rpartition(self.BEGIN)[2].partition(self.ARGUMENTS)[0].partition(self.ID)[0]
            self._call = JsonCall(name=name.strip(string.whitespace + "[],"))
            text = brace + rest
        return found
