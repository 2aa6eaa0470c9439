"""Stop strings over a stream of text pieces: nothing of a stop string, nor anything after it, gets out."""

from collections.abc import Sequence


class StopMatcher:
    """Holds back text that could be the beginning of a stop string until it is known not to be one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest = max((len(s) for s in self._stops), default=0)
        self._held = ""
        self.matched: str | None = None

    def push(self, piece: str) -> str:
        """The text that is safe to show now. After a match (`matched` is set) nothing more comes."""
        if self.matched is not None:
            return ""
        text = self._held + piece
        # The one that is complete first, so that it does not matter how the text was cut into pieces.
        found = min(((at + len(s), at, s) for s in self._stops if (at := text.find(s)) >= 0), default=None)
        if found is not None:
            self._held = ""
            _, at, self.matched = found
            return text[:at]
        keep = self._prefix_at_end(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, once no more text can come."""
        text, self._held = self._held, ""
        return text

    def _prefix_at_end(self, text: str) -> int:
        """Length of the longest end of `text` that begins some stop string."""
        for size in range(min(len(text), self._longest - 1), 0, -1):
            end = text[-size:]
            if any(s.startswith(end) for s in self._stops):
                return size
        return 0
