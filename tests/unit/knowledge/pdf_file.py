"""Small PDFs, whose pages are drawn as a test wants."""

from io import BytesIO
from typing import Any

import pypdf
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

FONT = DictionaryObject(
    {
        NameObject("/Type"): NameObject("/Font"),
        NameObject("/Subtype"): NameObject("/Type1"),
        NameObject("/BaseFont"): NameObject("/Helvetica"),
    }
)


def drawn(*pages: bytes, font: DictionaryObject = FONT, **entries: Any) -> bytes:
    """A page for each stream of drawing operators; the font is /F1. entries: of every content stream."""
    writer = pypdf.PdfWriter()
    for content in pages:
        page = writer.add_blank_page(612, 792)
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        stream = DecodedStreamObject()
        stream.set_data(content)
        page[NameObject("/Contents")] = writer._add_object(stream)
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def at(x: float, y: float, text: str) -> bytes:
    """The operators that draw a piece of text at a place."""
    escaped = text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    return f"BT /F1 10 Tf {x} {y} Td ({escaped}) Tj ET\n".encode("latin-1")


def lines(*texts: str, x: float = 72, top: float = 720, leading: float = 12) -> bytes:
    """Lines of text, one below the other."""
    return b"".join(at(x, top - leading * number, text) for number, text in enumerate(texts))
