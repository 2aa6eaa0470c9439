"""Word and PowerPoint of 1997 to 2003 (.doc, .ppt), by olefile: their words, in their order, without their looks.

MS-DOC keeps a document as pieces of text that a table puts in order; MS-PPT keeps slides as records within records, of which a
directory says which are the latest. Word cannot be asked here which words were deleted with changes tracked: they are read.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import PurePath

from gateway.knowledge.converters.archives import fault
from gateway.knowledge.converters.markup import tidy
from gateway.knowledge.documents import Document, DocumentError, EncryptedDocument, Skipped, UnsupportedDocument
from gateway.knowledge.normalization import clean

_WORD_97 = 0xC1
_ENCRYPTED, _FIRST_TABLE = 0x0100, 0x0200
_LENGTHS_AT, _PIECES_AT = 76, 0x1A2
_PARTS = ("", "Notes", "Page headers and footers", "", "Comments", "Endnotes", "Text boxes", "Text boxes of headers")
"""What stands behind the text, as a document counts it."""
_FIELD = re.compile(r"\x13[^\x13\x14\x15]*\x14([^\x13\x14\x15]*)\x15|\x13[^\x13\x14\x15]*\x15")
_MAX_FIELDS = 8
"""Within each other."""
_MARKS = str.maketrans(
    {"\r": "\n\n", "\x0b": "\n", "\x0c": "\n\n", "\x0e": "\n", "\x1e": "-", "\x1f": None}
    | dict.fromkeys("\x01\x02\x03\x04\x05\x08\x13\x14\x15", None)
)
_PICTURES = Skipped(
    "pictures and embedded files", "of this old format words are read; save it as docx or pptx to have more"
)

_SLIDE, _NOTES, _LIST, _ENTRY = 0x03EE, 0x03F0, 0x0FF0, 0x03F3
_NOTES_OF, _EDIT, _DIRECTORY = 0x03F1, 0x0FF5, 0x1772
_WIDE, _NARROW, _BOX = 0x0FA0, 0x0FA8, 0xF00D
_MAX_RECORDS = 1_000_000
_MAX_EDITS = 10_000


def doc(name: str, content: bytes) -> Document:
    """Word: a paragraph is one, a row of a table a line with `|` between its cells."""
    main, streams = _streams(name, content, "WordDocument", ("0Table", "1Table"))
    try:
        text = "\n\n".join(_word(name, main, streams))
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise fault(name, error) from error
    return Document(tidy(clean(text)), PurePath(name).stem, "plain", skipped=(_PICTURES,))


def ppt(name: str, content: bytes) -> Document:
    """PowerPoint: a slide is a page, with the speaker's notes."""
    main, streams = _streams(name, content, "PowerPoint Document", ("Current User",))
    try:
        pages = list(_Slides(name, main, streams["Current User"]).pages())
    except (struct.error, ValueError, IndexError, KeyError) as error:
        raise fault(name, error) from error
    return Document.of_pages([tidy(clean(page)).strip() for page in pages], PurePath(name).stem, "plain", [_PICTURES])


def _streams(name: str, content: bytes, main: str, others: tuple[str, ...]) -> tuple[bytes, Mapping[str, bytes]]:
    import olefile

    try:
        with olefile.OleFileIO(BytesIO(content)) as file:
            found = {each: bytes(file.openstream(each).read()) for each in others if file.exists(each)}
            if file.exists("EncryptedPackage"):
                raise EncryptedDocument(f"{name} needs a password; save it without one")
            return bytes(file.openstream(main).read()), found
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # whatever olefile raises on damaged files
        raise fault(name, error) from error


def _word(name: str, main: bytes, streams: Mapping[str, bytes]) -> Iterator[str]:
    """The text, then notes, headers, comments, boxes."""
    version, flags = struct.unpack_from("<2xH6xH", main)
    if version < _WORD_97:
        raise UnsupportedDocument(f"{name} is of Word 95 or older; save it as docx")
    if flags & _ENCRYPTED:
        raise EncryptedDocument(f"{name} needs a password; save it without one")
    where, size = struct.unpack_from("<II", main, _PIECES_AT)
    table = streams["1Table" if flags & _FIRST_TABLE else "0Table"][where : where + size]
    text = b"".join(_pieces(main, table))
    at = 0
    for heading, length in zip(_PARTS, struct.unpack_from("<8i", main, _LENGTHS_AT), strict=True):
        part = _shown(text[at : at + 2 * max(0, length)].decode("utf-16-le", "replace"))
        at += 2 * max(0, length)
        if part.strip():
            yield f"{heading}:\n\n{part}" if heading else part


def _pieces(main: bytes, table: bytes) -> Iterator[bytes]:
    """In UTF-16, whose units are what a document counts."""
    at = 0
    while table[at] == 1:  # changes of form
        at += 3 + struct.unpack_from("<H", table, at + 1)[0]
    (size,) = struct.unpack_from("<I", table, at + 1)
    count = (size - 4) // 12
    ends = struct.unpack_from(f"<{count + 1}I", table, at + 5)
    for number in range(count):
        (place,) = struct.unpack_from("<I", table, at + 5 + 4 * (count + 1) + 8 * number + 2)
        length = ends[number + 1] - ends[number]
        start = place & 0x3FFFFFFF
        if place & 0x40000000:
            yield main[start // 2 : start // 2 + length].decode("cp1252", "replace").encode("utf-16-le")
        else:
            yield main[start : start + 2 * length]


def _shown(text: str) -> str:
    """Of fields what they come to; cells of tables with `|`."""
    for _ in range(_MAX_FIELDS):
        text, changed = _FIELD.subn(r"\1", text)
        if not changed:
            break
    return text.replace("\x07\x07", "\n").replace("\x07", " | ").translate(_MARKS)


class _Slides:
    """The records of a deck."""

    def __init__(self, name: str, stream: bytes, user: bytes) -> None:
        self._name = name
        self._stream = stream
        self._left = _MAX_RECORDS
        self._places = self._directory(user)

    def pages(self) -> Iterator[str]:
        """The words of each slide, then of its notes."""
        slides: list[tuple[int, int, list[str]]] = []
        notes: dict[int, str] = {}
        for kind, instance, start, end in self._records(*self._body(self._document)):
            if kind != _LIST or instance not in (0, 2):
                continue
            for inner, _, first, last in self._records(start, end):
                if inner == _ENTRY and instance == 0:
                    place, number = struct.unpack_from("<I8xI", self._stream, first)
                    slides.append((place, number, []))
                elif inner == _ENTRY:
                    self._note(struct.unpack_from("<I", self._stream, first)[0], notes)
                elif slides and instance == 0 and inner in (_WIDE, _NARROW):
                    slides[-1][2].append(self._text(inner, first, last))
        for place, number, words in slides:
            own = self._boxes(*self._body(self._places[place])) if place in self._places else []
            parts = [*words, *(each for each in own if each not in words)]
            if note := notes.get(number):
                parts += ["Notes:", note]
            yield "\n\n".join(part.replace("\r", "\n").replace("\x0b", "\n") for part in parts)

    def _note(self, place: int, notes: dict[int, str]) -> None:
        if place not in self._places:
            return
        start, end = self._body(self._places[place])
        of = next((first for kind, _, first, _ in self._records(start, end) if kind == _NOTES_OF), None)
        if of is not None:
            notes[struct.unpack_from("<I", self._stream, of)[0]] = "\n\n".join(self._boxes(start, end))

    def _boxes(self, start: int, end: int, depth: int = 0) -> list[str]:
        """What stands in boxes, wherever they are."""
        found = []
        for kind, _, first, last in self._records(start, end):
            if kind in (_WIDE, _NARROW):
                found.append(self._text(kind, first, last))
            elif self._stream[first - 8] & 0xF == 0xF and depth < 50:
                found += self._boxes(first, last, depth + 1)
        return [each for each in found if each.strip()]

    def _directory(self, user: bytes) -> dict[int, int]:
        """Where the latest of each thing lies. Edits are told from the last one back."""
        marker, edit = struct.unpack_from("<4xI", user, 8)[0], struct.unpack_from("<I", user, 16)[0]
        if marker == 0xF3D1C4DF:
            raise EncryptedDocument(f"{self._name} needs a password; save it without one")
        places: dict[int, int] = {}
        document = None
        for _ in range(_MAX_EDITS):
            before, directory, of_document = struct.unpack_from("<8xIII", self._stream, edit + 8)
            document = of_document if document is None else document
            start, end = self._body(directory)
            while start + 4 <= end:
                (first,) = struct.unpack_from("<I", self._stream, start)
                number, count = first & 0xFFFFF, first >> 20
                for at, place in enumerate(struct.unpack_from(f"<{count}I", self._stream, start + 4)):
                    places.setdefault(number + at, place)
                start += 4 + 4 * count
            if not before or before >= edit:
                break
            edit = before
        self._document = places[document or 0]
        return places

    def _body(self, place: int) -> tuple[int, int]:
        (size,) = struct.unpack_from("<4xI", self._stream, place)
        return place + 8, min(place + 8 + size, len(self._stream))

    def _records(self, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Kind, instance, and the place of the body of each record."""
        while start + 8 <= end and self._left > 0:
            self._left -= 1
            head, kind, size = struct.unpack_from("<HHI", self._stream, start)
            yield kind, head >> 4, start + 8, min(start + 8 + size, end)
            start += 8 + size

    def _text(self, kind: int, start: int, end: int) -> str:
        return self._stream[start:end].decode("utf-16-le" if kind == _WIDE else "latin-1", "replace")
