"""Documents: the converted text of a file, with the page of each character where there are pages; and why there is none.

The converted text is what offsets of chunks and citations point into. The same bytes always give the same text.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from gateway.knowledge.normalization import clean

Markup = Literal["markdown", "plain", "code"]


class DocumentError(Exception):
    """A file that cannot become text. `code` is one of OpenAI's: unsupported_file, invalid_file."""

    code: ClassVar[str] = "invalid_file"


class UnsupportedDocument(DocumentError):
    """No converter for this kind of file."""

    code = "unsupported_file"


class EmptyDocument(DocumentError):
    """The file has no text."""


class EncryptedDocument(DocumentError):
    """The file needs a password."""


class CorruptDocument(DocumentError):
    """The file is not what its name says, or is damaged."""


class OversizedDocument(DocumentError):
    """The file, or what comes out of it, is larger than what is taken."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of a file that was not read, as its reader would name it ("page 3"), and why."""

    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recognized:
    """A page whose text was recognised in a picture. region: left, top, right, bottom of the text, as shares of the picture's
    width and height from its upper left. confidence: 0…100, the mean over words.
    """

    page: int
    region: tuple[float, float, float, float]
    confidence: int


MAX_SKIPPED = 50
"""Parts that are named; how many more there are is said."""

MAX_RECOGNIZED = 200
"""Pages that are told of; more are read than this takes only where they are nearly empty."""


@dataclass(frozen=True, slots=True)
class Document:
    """Converted text. `page_starts[i]` is the offset at which page (or slide) i+1 begins; formats without pages have none.

    Of its making: the rows of its tables where it is made of tables, the encoding of a text file, places in its bytes that
    could not be read (`replaced`), parts that were not, and pages that text recognition has read.
    """

    text: str
    title: str
    markup: Markup
    page_starts: tuple[int, ...] = ()
    rows: int | None = None
    encoding: str | None = None
    replaced: int = 0
    skipped: tuple[Skipped, ...] = ()
    recognized: tuple[Recognized, ...] = ()
    lined: bool = False
    """Whether its lines are those of the file."""

    def receipt(self) -> dict[str, Any]:
        """What was read, as the API tells it. Keys that say nothing are left out, but for `characters` and `skipped`."""
        made: dict[str, Any] = {"characters": len(self.text)}
        if self.page_starts:
            made["pages"] = len(self.page_starts)
        if self.rows is not None:
            made["rows"] = self.rows
        if self.encoding is not None:
            made["encoding"] = self.encoding
        if self.replaced:
            made["replaced"] = self.replaced
        if self.recognized:
            made["recognized"] = [asdict(each) for each in self.recognized[:MAX_RECOGNIZED]]
        named = [
            {"part": clean(each.part)[:200], "reason": clean(each.reason)[:300]} for each in self.skipped[:MAX_SKIPPED]
        ]
        if more := len(self.skipped) - len(named):
            named.append({"part": f"{more} more parts", "reason": "for reasons like these"})
        return {**made, "skipped": named}

    def page_at(self, offset: int) -> int:
        """The number of the page (from 1) that holds the character at `offset`; 0 where there are no pages."""
        return bisect_right(self.page_starts, offset)

    def to_json(self) -> bytes:
        """As it is kept in the object store."""
        return json.dumps(asdict(self), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "Document":
        """What `to_json` made."""
        fields: Mapping[str, Any] = json.loads(raw)
        skipped = tuple(Skipped(**each) for each in fields.get("skipped", ()))
        recognized = tuple(
            Recognized(each["page"], tuple(each["region"]), each["confidence"]) for each in fields.get("recognized", ())
        )
        made = {"page_starts": tuple(fields["page_starts"]), "skipped": skipped, "recognized": recognized}
        return cls(**{**fields, **made})

    @classmethod
    def of_pages(cls, pages: list[str], title: str, markup: Markup, skipped: Sequence[Skipped] = ()) -> "Document":
        """Pages with a blank line between them."""
        starts, offset = [], 0
        for page in pages:
            starts.append(offset)
            offset += len(page) + 2
        text = "\n\n".join(pages) if any(pages) else ""
        return cls(text, title, markup, tuple(starts), skipped=tuple(skipped))
