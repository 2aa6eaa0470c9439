"""Text recognition (OCR) in the pictures of a file: what it gives, how long it may take, and what an engine of it must do."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from gateway.knowledge.documents import Recognized

_MAX_PIXELS = 80_000_000
"""A4 at 800 dots an inch. What says that it is larger is not even unpacked."""
_PAGE_S, _FILE_S = 20.0, 75.0
"""Less than a file may take in all (RAGFLEET_CONVERT_DEADLINE_S), so that a long scan goes in with the pages that were read."""


class NotRecognized(Exception):
    """No text came of a picture; the text says why, as the rest of a receipt's line."""


@dataclass(frozen=True, slots=True)
class PictureText:
    """The text of a picture, where in it that stands, and how sure that is: see Recognized."""

    text: str
    region: tuple[float, float, float, float]
    confidence: int

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Of a page with several pictures: it has the region of the only one, or all of the page."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            "\n\n".join(each.text for each in parts), (0.0, 0.0, 1.0, 1.0), min(each.confidence for each in parts)
        )

    def on_page(self, page: int) -> Recognized:
        """As a document tells it."""
        return Recognized(page, self.region, self.confidence)


class OcrEngine(Protocol):
    """Tesseract, or a fake of tests."""

    def recognize(self, picture: Any, seconds: float) -> PictureText:
        """Of a picture of Pillow's, within so many seconds. Raises NotRecognized."""


@dataclass(slots=True)
class TextRecognition:
    """Of one file: `recognize` shares out the time that all its pictures may take."""

    engine: OcrEngine
    clock: Callable[[], float] = time.monotonic
    _left_s: float = field(default=_FILE_S, init=False)

    def recognize(self, picture: Any) -> PictureText:
        """Of a picture of Pillow's. Raises NotRecognized."""
        if self._left_s < 1:
            raise NotRecognized(f"text recognition had its {_FILE_S:.0f} s for this file; split it")
        begun = self.clock()
        try:
            return self.engine.recognize(picture, min(_PAGE_S, self._left_s))
        finally:
            self._left_s -= self.clock() - begun


def check_pixels(count: int) -> None:
    """Raises NotRecognized for a picture that is too large to be unpacked."""
    if count > _MAX_PIXELS:
        raise NotRecognized(f"it is a picture of {count / 1e6:.0f} million pixels: make it smaller")
