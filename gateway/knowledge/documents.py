"""Documents: the converted text of a file, with the page of each character where there are pages; and why there is none.

The converted text is what offsets of chunks and citations point into. The same bytes always give the same text.
"""

import json
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

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
class Document:
    """Converted text. `page_starts[i]` is the offset at which page (or slide) i+1 begins; formats without pages have none."""

    text: str
    title: str
    markup: Markup
    page_starts: tuple[int, ...] = ()

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
        return cls(**{**fields, "page_starts": tuple(fields["page_starts"])})

    @classmethod
    def of_pages(cls, pages: list[str], title: str, markup: Markup) -> "Document":
        """Pages with a blank line between them."""
        starts, offset = [], 0
        for page in pages:
            starts.append(offset)
            offset += len(page) + 2
        return cls("\n\n".join(pages) if any(pages) else "", title, markup, tuple(starts))


def clean(text: str) -> str:
    """All line and page ends become LF; what no database takes (NUL and other controls, lone surrogates) is dropped."""
    text = re.sub(r"\r\n|[\r\f\v\x85]", "\n", text)
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))
