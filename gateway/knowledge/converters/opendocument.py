"""Sheets of OpenDocument. calamine reads them, too, but neither what is merged nor percentages, and unfolds what is far apart."""

import re
from collections.abc import Iterator
from typing import Any

from gateway.knowledge.converters.opendocument_text import root
from gateway.knowledge.converters.spreadsheets import Sheet, document_of_sheets, shown
from gateway.knowledge.documents import Document

_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"[+-]?\d{1,300}(?:\.\d{0,300})?(?:[eE][+-]?\d{1,2})?")
_MAX_REPEATED = 1000
"""How often a cell or row with something in it may say that it is repeated."""
_MAX_CELLS = 100_000
"""That come of repeating, in all sheets together."""


def ods(name: str, content: bytes) -> Document:
    """A table for each sheet."""
    return document_of_sheets(name, _sheets(name, content))


def _sheets(name: str, content: bytes) -> Iterator[Sheet]:
    left = _MAX_CELLS
    for table in root(name, content).iter(f"{_TABLE}table"):
        sheet = Sheet(table.get(f"{_TABLE}name") or "Sheet")
        at = 0
        for row in table.iter(f"{_TABLE}table-row"):
            repeated = _count(row, "number-rows-repeated")
            left -= _read(sheet, row, range(at, at + min(repeated, _MAX_REPEATED)), left)
            at += repeated
        boxes = (box for shapes in table.iterchildren(f"{_TABLE}shapes") for box in shapes.iter(f"{_TEXT}p"))
        sheet.notes += filter(None, ("".join(_words(box)) for box in boxes))
        yield sheet


def _count(element: Any, name: str) -> int:
    """An attribute that is a number above 0; 1 where it is none."""
    said = element.get(f"{_TABLE}{name}") or ""
    return max(1, int(said)) if said.isascii() and said.isdigit() and len(said) < 10 else 1


def _read(sheet: Sheet, row: Any, places: range, left: int) -> int:
    """Put a row where it belongs, with up to `left` cells that come of repeating; how many these were."""
    column = extra = 0
    for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
        repeated = _count(cell, "number-columns-repeated")
        for note in cell.iterchildren(f"{_OFFICE}annotation"):
            sheet.notes.append(" ".join(note.itertext()))
            cell.remove(note)
        sheet.notes += (f"link: {link.get(_HREF)}" for link in cell.iter(f"{_TEXT}a") if link.get(_HREF))
        if value := _value(sheet, cell):
            wide = min(repeated, _MAX_REPEATED, 1 + max(0, left - extra))
            high = min(len(places), 1 + max(0, left - extra) // wide)
            extra += wide * high - 1
            for place in places[:high]:
                for each in range(column, column + wide):
                    sheet.put(place, each, value)
            high, wide = _count(cell, "number-rows-spanned"), _count(cell, "number-columns-spanned")
            if high > 1 or wide > 1:
                sheet.merged.append((places.start, column, places.start + high - 1, column + wide - 1))
        column += repeated
    return extra


def _value(sheet: Sheet, cell: Any) -> str:
    kind, value = cell.get(f"{_OFFICE}value-type"), cell.get(f"{_OFFICE}value")
    text = "\n".join("".join(_words(paragraph)) for paragraph in cell.iter(f"{_TEXT}p"))
    text = text or cell.get(f"{_OFFICE}string-value") or ""
    if kind == "date":
        return str(cell.get(f"{_OFFICE}date-value") or text).removesuffix("T00:00:00").replace("T", " ")
    if value is not None and not _NUMBER.fullmatch(value):
        value = None  # what is shown is all that is known
    if value is not None and kind == "percentage":
        return shown(float(value), "0%")
    if value is not None and kind == "currency":
        return f"{shown(float(value))} {cell.get(f'{_OFFICE}currency') or ''}"
    if value is not None and kind == "float":
        return shown(float(value))
    formula = cell.get(f"{_TABLE}formula")
    if kind is None and formula and not text:
        sheet.uncalculated += 1
        return str(formula).removeprefix("of:")
    return text


def _words(paragraph: Any) -> Iterator[str]:
    for node in paragraph.iter():
        if node.tag in (f"{_TEXT}s", f"{_TEXT}tab", f"{_TEXT}line-break"):
            yield " "
        else:
            yield node.text or ""
        if node is not paragraph:
            yield node.tail or ""
