"""Workbooks in one XML file (SpreadsheetML of Excel 2003), which many programs write and call .xls."""

from collections.abc import Iterator
from typing import Any

from gateway.knowledge.converters.archives import xml
from gateway.knowledge.converters.spreadsheets import Sheet, document_of_sheets, shown
from gateway.knowledge.documents import Document

_S = "{urn:schemas-microsoft-com:office:spreadsheet}"


def workbook(name: str, content: bytes) -> Document:
    """A table for each sheet."""
    return document_of_sheets(name, _sheets(content))


def _sheets(content: bytes) -> Iterator[Sheet]:
    for number, sheet in enumerate(xml(content).iter(f"{_S}Worksheet"), 1):
        made = Sheet(sheet.get(f"{_S}Name") or f"Sheet {number}")
        at = 0
        for row in sheet.iter(f"{_S}Row"):
            at = _number(row, "Index", at + 1)
            _read(made, row, at)
            at += _number(row, "Span", 0)
        yield made


def _read(sheet: Sheet, row: Any, at: int) -> None:
    column = 0
    for cell in row.iterchildren(f"{_S}Cell"):
        column = _number(cell, "Index", column + 1)
        data = next(cell.iterchildren("{*}Data"), None)
        if data is not None:
            sheet.put(at, column, _value(data))
        elif formula := cell.get(f"{_S}Formula"):
            sheet.put(at, column, formula)
            sheet.uncalculated += 1
        sheet.notes += ("".join(comment.itertext()) for comment in cell.iterchildren(f"{_S}Comment"))
        right, down = _number(cell, "MergeAcross", 0), _number(cell, "MergeDown", 0)
        if right or down:
            sheet.merged.append((at, column, at + down, column + right))
        column += right


def _number(element: Any, name: str, otherwise: int) -> int:
    said = element.get(f"{_S}{name}") or ""
    return int(said) if said.isascii() and said.isdigit() and len(said) < 8 else otherwise


def _value(data: Any) -> str:
    text = "".join(data.itertext())
    kind = data.get(f"{_S}Type")
    if kind == "DateTime":
        return text.removesuffix(".000").removesuffix("T00:00:00").replace("T", " ")
    if kind == "Boolean":
        return {"1": "TRUE", "0": "FALSE"}.get(text.strip(), text)
    try:
        return shown(float(text)) if kind == "Number" else text
    except (ValueError, OverflowError):
        return text
