"""Calls that are the whole answer, as JSON: Llama 3's objects parted by `;`, and what a grammar makes of any model's answer:
one object, or a list of them."""

import string
from typing import ClassVar

from gateway.serving.tool_parsers.json_call import CallState, JsonCall
from gateway.serving.tool_parsers.parser import ToolCallParser
from gateway.serving.tools import ParsedPiece, TextPiece, ToolUse


class BareJsonParser(ToolCallParser):
    """An answer that begins with an object that names one of the functions is calls; any other is text."""

    MARKERS: ClassVar[tuple[str, ...]] = ("<|python_tag|>",)

    def __init__(self, tools: ToolUse) -> None:
        super().__init__(tools)
        self._is_text = False
        self._skipped = ""
        """What stood before the call that is being read."""

    def push(self, text: str) -> list[ParsedPiece]:
        """See ToolCallParser."""
        found: list[ParsedPiece] = []
        while text and not self.complete:
            if self._is_text:
                return [*found, TextPiece(text)]
            if self._call is None:
                text = self._begin(text)
                continue
            call = self._call
            text = self._read_call(text, found)
            if call.state is CallState.NO_CALL:
                if self._calls:
                    break  # behind a call nothing else is meant for the client
                self._is_text, text = True, self._skipped + text
        return found

    def _begin(self, text: str) -> str:
        """Find where a call could begin; what is left to read."""
        self._waiting += text
        behind = self._waiting.lstrip(string.whitespace + "[;,]" if self._calls else string.whitespace)
        for marker in self.MARKERS:
            behind = behind.removeprefix(marker)
        if not self._calls and behind[:1] == "[":
            behind = behind[1:].lstrip()
        if not behind or any(marker.startswith(behind) for marker in self.MARKERS):
            return ""
        if behind[0] == "{":
            self._skipped = self._waiting[: len(self._waiting) - len(behind)]
            self._waiting = ""
            self._call = JsonCall(self._tools.names)
            return behind
        whole, self._waiting = self._waiting, ""
        self._is_text = not self._calls
        return whole if self._is_text else ""

    def finish(self) -> list[ParsedPiece]:
        """See ToolCallParser."""
        return [] if self._calls else super().finish()
