"""A file becomes text: Markdown, plain text, HTML and PDF, with the page of each character where there are pages.

The converted text is what offsets of chunks and citations point into. The same bytes always give the same text.
"""

import re
import unicodedata
import warnings
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import ClassVar, Literal

MAX_BYTES = 64 * 1024 * 1024
"""Files above this are refused; a text of this size is some 50,000 pages."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BOILERPLATE = ["script", "style", "noscript", "template", "nav", "svg", "iframe"]


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
    """The file is larger than MAX_BYTES."""


@dataclass(frozen=True, slots=True)
class Document:
    """Converted text. `page_starts[i]` is the offset at which page i+1 begins; it is empty for formats without pages."""

    text: str
    title: str
    markup: Literal["markdown", "plain"]
    page_starts: tuple[int, ...] = ()

    def page_at(self, offset: int) -> int:
        """The number of the page (from 1) that holds the character at `offset`; 0 where there are no pages."""
        return bisect_right(self.page_starts, offset)


def convert(path: Path) -> Document:
    """Convert the file at `path`. Raises a DocumentError, or OSError when the file cannot be read."""
    return convert_bytes(path.name, read(path))


def read(path: Path) -> bytes:
    """The content of a file that can be converted. Raises Unsupported- or OversizedDocument without reading it, or OSError."""
    _converter(path.name)
    _check_size(path.name, path.stat().st_size)
    return path.read_bytes()


def convert_bytes(name: str, content: bytes) -> Document:
    """Convert `content`; the ending of `name` says what it is. Raises a DocumentError."""
    converter = _converter(name)
    _check_size(name, len(content))
    if not content.strip():
        raise EmptyDocument(f"{name} is empty")
    document = converter(name, content)
    if not document.text.strip():
        raise EmptyDocument(f"{name} has no text; if it is a scan, run text recognition (OCR) on it first")
    return document


_Converter = Callable[[str, bytes], Document]


def _converter(name: str) -> _Converter:
    converter = _CONVERTERS.get(Path(name).suffix.lower())
    if converter is None:
        known = ", ".join(sorted(_CONVERTERS))
        raise UnsupportedDocument(f"{name}: this kind of file cannot be read; supported are {known}")
    return converter


def _check_size(name: str, size: int) -> None:
    if size > MAX_BYTES:
        raise OversizedDocument(f"{name} is larger than {MAX_BYTES // 1024 // 1024} MiB; split it")


def _clean(text: str) -> str:
    """All line and page ends become LF; what no database takes (NUL and other controls, lone surrogates) is dropped."""
    text = re.sub(r"\r\n|[\r\f\v\x85]", "\n", text)
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cs"))


def _decode(name: str, content: bytes) -> str:
    """UTF-8, or UTF-16 with a byte order mark, or the Windows code page of western Europe."""
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        # Stray controls happen in UTF-8 (logs have colours), but almost any bytes are cp1252 of some sort.
        controls = set(_CONTROLS.findall(text)) - set("\n\r\t\f")
        if "\0" not in controls and not (controls and encoding == "cp1252"):
            return text
    raise CorruptDocument(f"{name} is not text; save it as UTF-8")


def _title(text: str, name: str) -> str:
    first = re.search(r"^ {0,3}#[ \t]+(.+?)[ \t#]*$", text, re.MULTILINE)
    return first.group(1) if first else Path(name).stem


def _markdown(name: str, content: bytes) -> Document:
    text = _clean(_decode(name, content))
    return Document(text, _title(text, name), "markdown")


def _plain(name: str, content: bytes) -> Document:
    return Document(_clean(_decode(name, content)), Path(name).stem, "plain")


def _html(name: str, content: bytes) -> Document:
    from bs4 import BeautifulSoup
    from bs4.exceptions import ParserRejectedMarkup
    from markdownify import MarkdownConverter

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # XHTML read as HTML, names that look like files: both are fine here
            soup = BeautifulSoup(content, "html.parser")
            for tag in soup(_BOILERPLATE):
                tag.decompose()
            root = soup.find("main") or soup.find("article")
            if root is None:  # a page without structure: its own header and footer are not content
                for tag in soup(["header", "footer"]):
                    if tag.find("h1") is None:
                        tag.decompose()
                root = soup.body or soup
            converter = MarkdownConverter(
                heading_style="ATX",
                bullets="-",
                escape_asterisks=False,
                escape_underscores=False,
                table_infer_header=True,
                strip=["img"],
            )
            text: str = converter.convert_soup(root)
            title = soup.title.get_text(" ", strip=True) if soup.title else ""
    except (ParserRejectedMarkup, RecursionError) as error:
        raise CorruptDocument(f"{name} is not readable HTML: {type(error).__name__}") from error
    text = re.sub(r"[ \t]+\n", "\n", _clean(text))
    text = re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
    return Document(text, _clean(title) or _title(text, name), "markdown")


def _pdf(name: str, content: bytes) -> Document:
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    try:
        reader = PdfReader(BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):  # an empty password only restricts printing and the like
            raise EncryptedDocument(f"{name} needs a password; save it without one")
        pages = [_clean(page.extract_text()).strip() for page in reader.pages]
        title = _clean(str((reader.metadata and reader.metadata.title) or "")).strip()
    except DocumentError:
        raise
    except DependencyError as error:
        raise EncryptedDocument(f"{name} is encrypted; save it without a password") from error
    except Exception as error:  # pypdf raises KeyError, TypeError and others on damaged files
        raise CorruptDocument(f"{name} is not a readable PDF: {error}") from error
    if not any(pages):  # only the breaks between pages would be left
        return Document("", title, "plain")
    starts: list[int] = []
    offset = 0
    for page in pages:
        starts.append(offset)
        offset += len(page) + 2
    return Document("\n\n".join(pages), title or Path(name).stem, "plain", tuple(starts))


_CONVERTERS: dict[str, _Converter] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _plain,
    ".text": _plain,
    ".htm": _html,
    ".html": _html,
    ".xhtml": _html,
    ".pdf": _pdf,
}
