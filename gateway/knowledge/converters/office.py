"""What office programs, notebooks and e-books write: mostly markitdown's converters.

Spreadsheets are read here cell by cell: markitdown goes through pandas, which needs the whole workbook at once and writes NaN
for what is empty. Every format but xls and ipynb is a ZIP archive, whose unpacked size is looked at first.
"""

import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time
from io import BytesIO
from pathlib import PurePath
from typing import Any

from gateway.knowledge.converters.markup import tidy
from gateway.knowledge.converters.text import markdown_table, title_of
from gateway.knowledge.documents import CorruptDocument, Document, EncryptedDocument, OversizedDocument, clean

MAX_UNPACKED = 512 * 1024 * 1024
"""Bytes of all members of an archive together."""

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SLIDE = re.compile(r"^<!-- Slide number: \d+ -->\n?", re.MULTILINE)
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")


def docx(name: str, content: bytes) -> Document:
    """Word, with headings, tables and equations."""
    from markitdown.converters import DocxConverter

    return _markdown(name, _archive(name, content), DocxConverter)


def epub(name: str, content: bytes) -> Document:
    """E-books, chapter by chapter."""
    from markitdown.converters import EpubConverter

    return _markdown(name, _archive(name, content), EpubConverter)


def ipynb(name: str, content: bytes) -> Document:
    """Notebooks: text and code, not what came out."""
    from markitdown.converters import IpynbConverter

    return _markdown(name, content, IpynbConverter)


def feed(name: str, content: bytes) -> Document:
    """RSS and Atom."""
    from markitdown.converters import RssConverter

    return _markdown(name, content, RssConverter)


def pptx(name: str, content: bytes) -> Document:
    """PowerPoint; a slide is a page."""
    from markitdown.converters import PptxConverter

    whole = _convert(name, _archive(name, content), PptxConverter)[0]
    slides = [tidy(slide).strip() for slide in _SLIDE.split(whole)[1:]]
    return Document.of_pages(slides, title_of(next(filter(None, slides), ""), name), "markdown")


def xlsx(name: str, content: bytes) -> Document:
    """Excel workbooks: a table for each sheet, with the values that were last calculated."""
    from openpyxl import load_workbook

    _archive(name, content)

    def read() -> Iterator[tuple[str, Iterable[Iterable[Any]]]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # extensions that openpyxl passes over
            book = load_workbook(BytesIO(content), read_only=True, data_only=True)
            for sheet in book.worksheets:
                yield sheet.title, sheet.iter_rows(values_only=True)
            book.close()

    return _sheets(name, read)


def xls(name: str, content: bytes) -> Document:
    """Workbooks of Excel before 2007."""
    import xlrd

    def read() -> Iterator[tuple[str, Iterable[Iterable[Any]]]]:
        with xlrd.open_workbook(file_contents=content, logfile=BytesIO(), on_demand=True) as book:
            for sheet in book.sheets():
                yield sheet.name, (_xls_row(row, book.datemode) for row in sheet.get_rows())

    return _sheets(name, read)


def _xls_row(row: Iterable[Any], datemode: int) -> list[Any]:
    import xlrd

    return [
        xlrd.xldate_as_datetime(cell.value, datemode) if cell.ctype == xlrd.XL_CELL_DATE else cell.value for cell in row
    ]


def _sheets(name: str, read: Callable[[], Iterator[tuple[str, Iterable[Iterable[Any]]]]]) -> Document:
    parts = []
    try:
        for title, rows in read():
            if table := markdown_table([[_cell(value) for value in row] for row in rows]):
                parts.append(f"## {title}\n\n{table}")
    except MemoryError:
        raise
    except Exception as error:  # the libraries raise KeyError, AssertionError and others on damaged files
        raise _fault(name, error) from error
    return Document(clean("\n".join(parts)), PurePath(name).stem, "markdown")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _markdown(name: str, content: bytes, converter: Callable[[], Any]) -> Document:
    text, title = _convert(name, content, converter)
    text = tidy(text)
    return Document(text if text.strip() else "", title or title_of(text, name), "markdown")


def _convert(name: str, content: bytes, converter: Callable[[], Any]) -> tuple[str, str]:
    from markitdown import StreamInfo

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            info = StreamInfo(extension=PurePath(name).suffix.lower(), filename=name)
            result = converter().convert(BytesIO(content), info)
    except MemoryError:
        raise
    except Exception as error:  # whatever the parsers raise on damaged files
        raise _fault(name, error) from error
    return _PICTURE.sub(r"\1", result.markdown), clean(result.title or "").strip()


def _archive(name: str, content: bytes) -> bytes:
    """The content, once its archive is known to unpack to a bearable size."""
    if content.startswith(_OLE):
        raise EncryptedDocument(f"{name} needs a password, or is of an older format than its name says; save it anew")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
            locked = any(member.flag_bits & 1 for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise CorruptDocument(f"{name} is damaged: {error}") from error
    if locked:
        raise EncryptedDocument(f"{name} needs a password; save it without one")
    if unpacked > MAX_UNPACKED:
        raise OversizedDocument(
            f"{name} unpacks to {unpacked >> 20} MiB, the limit is {MAX_UNPACKED >> 20} MiB; split it"
        )
    return content


def _fault(name: str, error: Exception) -> CorruptDocument:
    return CorruptDocument(f"{name} is damaged, or not what its name says: {type(error).__name__}: {str(error)[:200]}")
