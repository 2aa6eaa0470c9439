"""Workbooks: a table for each sheet, of the cells that have something in them.

They are read cell by cell, for a workbook's own word on its size is worth nothing: it may name one cell of thousands, or a
billion of which two are filled.
"""

import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from io import BytesIO
from pathlib import PurePath
from typing import Any

from gateway.knowledge.converters.archives import checked, fault, xml
from gateway.knowledge.converters.completeness import unread_parts
from gateway.knowledge.converters.number_formats import number
from gateway.knowledge.converters.tables import Region, sparse_table
from gateway.knowledge.documents import Document, DocumentError, Skipped
from gateway.knowledge.normalization import clean

_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")  # how Excel writes a carriage return, and an underscore before such
_PLACE = re.compile(r"\$?[A-Z]{1,3}\$?\d{1,7}")
_AROUND = re.compile(r"\{[^}]*\}(?:odd|even|first)(?:Header|Footer)")
_CODES = re.compile(r'&(?:"[^"]*"|K[0-9A-Fa-f]{6}|\d{1,3}|[A-Za-z])')
"""Of a page header: fonts, colours, the number of the page."""
_DRAWN_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"
_DRAWN_PARAGRAPH = "{http://schemas.openxmlformats.org/drawingml/2006/main}p"


@dataclass(slots=True)
class Sheet:
    """Cells by row and column, merged regions, and what else is written on it."""

    title: str
    cells: dict[tuple[int, int], str] = field(default_factory=dict)
    merged: list[Region] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    uncalculated: int = 0
    missing: int = 0
    """Cells whose text should be in a list that does not have it."""

    def put(self, row: int, column: int, value: Any, number_format: str = "") -> None:
        """Set a cell, unless there is nothing to show."""
        if text := shown(value, number_format):
            self.cells[row, column] = text


def xlsx(name: str, content: bytes) -> Document:
    """Excel workbooks, with the values that were last calculated. What openpyxl finds fault with (styles, mostly) calamine reads,
    which knows no formulas and no formats."""
    content = checked(name, content)
    try:
        return document_of_sheets(name, _xlsx(content))
    except DocumentError as error:
        made = calamine(name, content)
        simpler = Skipped("formulas, formats and comments", f"only values could be read: {error}")
        return replace(made, skipped=(*made.skipped, simpler))


def calamine(name: str, content: bytes) -> Document:
    """Whatever calamine knows: binary workbooks (xlsb)."""
    return document_of_sheets(name, _calamine(content))


def xls(name: str, content: bytes) -> Document:
    """Workbooks of Excel before 2007."""
    return document_of_sheets(name, _xls(content))


def shown(value: Any, number_format: str = "") -> str:
    """A value as its cell shows it, near enough: dates as ISO writes them, percentages, currencies, leading zeros."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return number(value, number_format)
    if isinstance(value, date | time | timedelta):
        return _moment(value)
    return _ESCAPE.sub(lambda match: chr(int(match.group(1), 16)), str(value))


def _moment(value: date | time | timedelta) -> str:
    if isinstance(value, timedelta):
        minutes, seconds = divmod(round(abs(value.total_seconds())), 60)
        return f"{'-' * (value < timedelta())}{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds").removesuffix(" 00:00:00")
    return value.isoformat()


def document_of_sheets(name: str, sheets: Iterable[Sheet | Skipped]) -> Document:
    """What was read of a workbook. Raises CorruptDocument for whatever else the reading raises."""
    parts, skipped, total = [], [], 0
    try:
        for sheet in sheets:
            if isinstance(sheet, Skipped):
                skipped.append(sheet)
                continue
            table, rows = sparse_table(sheet.cells, sheet.merged)
            total += rows
            notes = "".join(f"- {' '.join(note.split())}\n" for note in sheet.notes)
            if table or notes:
                parts.append("\n".join(filter(None, [f"## {sheet.title}\n", table, notes])))
            if sheet.missing:
                skipped.append(Skipped(f"{sheet.missing} texts of sheet {sheet.title}", "the file does not hold them"))
            if sheet.uncalculated:
                what = "the file does not hold them; save it in a spreadsheet program. The formulas are there instead"
                skipped.append(Skipped(f"values of {sheet.uncalculated} formulas of sheet {sheet.title}", what))
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # the libraries raise KeyError, AssertionError and others on damaged files
        raise fault(name, error) from error
    return Document(clean("\n".join(parts)), PurePath(name).stem, "markdown", rows=total, skipped=tuple(skipped))


def _xlsx(content: bytes) -> Iterator[Sheet | Skipped]:
    from openpyxl import load_workbook

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # extensions that openpyxl passes over
        book = load_workbook(BytesIO(content), read_only=True, data_only=True)
        formats = _formats(book)
        for sheet in book.worksheets:
            made = Sheet(sheet.title)
            try:
                _read(sheet, made, formats)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001  # openpyxl raises what it likes; the other sheets are no worse for it
                yield from _simpler(content, made, error)
                continue
            yield made
        for chart in book.chartsheets:
            yield Skipped(f"sheet {chart.title}", "it is a chart")
        yield from _not_there(book)
        yield from unread_parts(book._archive, "xl")
        book.close()


def _simpler(content: bytes, begun: Sheet, cause: Exception) -> Iterator[Sheet | Skipped]:
    """One sheet as calamine reads it, which knows no formulas and no formats; or what was read of it before it broke off."""
    whole = [each for each in _calamine(content, begun.title) if isinstance(each, Sheet)]
    yield from whole or [begun]
    lost = "formulas, formats and comments" if whole else "the rest" if begun.cells else "all"
    yield Skipped(f"{lost} of sheet {begun.title}", f"it cannot be read: {str(cause)[:200]}")


def _not_there(book: Any) -> Iterator[Skipped]:
    """Sheets that the workbook names, and whose cells are not in the file: openpyxl passes over them."""
    parts = [name for name in book._archive.namelist() if name.endswith("/workbook.xml")]
    for each in xml(book._archive.read(parts[0])).iter("{*}sheet") if parts else ():
        if (title := each.get("name")) not in book.sheetnames:
            yield Skipped(f"sheet {title}", "its cells are not in the file")


def _read(sheet: Any, made: Sheet, formats: list[str]) -> None:
    """openpyxl's own reading of rows goes by the size that the sheet says it has, and fills in all that lies between."""
    from openpyxl.worksheet._reader import FORMULA_TAG, MERGE_TAG, ROW_TAG, VALUE_TAG, MergeCells, WorkSheetParser
    from openpyxl.xml.functions import iterparse

    book = sheet.parent

    class Parser(WorkSheetParser):  # type: ignore[misc]  # it has no types
        def parse_cell(self, element: Any) -> dict[str, Any]:
            if not _PLACE.fullmatch(element.get("r") or ""):
                element.attrib.pop("r", None)  # then it stands behind the one before
            if element.get("t") == "s" and not _is_held(element.findtext(VALUE_TAG), len(sheet._shared_strings)):
                made.missing += 1
                element.attrib["t"] = "str"
                element.clear()
            cell: dict[str, Any] = super().parse_cell(element)
            if cell["value"] == "#VALUE!" and element.get("t") != "e":  # a number that is no date
                cell["value"] = element.findtext(VALUE_TAG)
            if element.find(FORMULA_TAG) is not None:
                formula = self.parse_formula(element)  # a shared one is needed by the cells that follow
                empty = element.get("t") == "str" and element.find(VALUE_TAG) is not None  # calculated to be nothing
                if cell["value"] is None and not empty:
                    cell["value"] = getattr(formula, "text", None) or str(formula)
                    made.uncalculated += 1
            return cell

    with sheet._get_source() as source:
        parser = Parser(
            source,
            sheet._shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        )
        for _, element in iterparse(source):
            if element.tag == ROW_TAG:
                for cell in parser.parse_row(element)[1]:
                    if cell["value"] is not None:
                        made.put(cell["row"], cell["column"], cell["value"], formats[cell["style_id"]])
                element.clear()
            elif element.tag == MERGE_TAG:
                for each in MergeCells.from_tree(element).mergeCell:
                    made.merged.append((each.min_row, each.min_col, each.max_row, each.max_col))
            elif _AROUND.fullmatch(element.tag):
                made.notes += filter(None, [_CODES.sub(" ", element.text or "").strip()])
    made.notes += _notes(sheet)


def _is_held(index: str | None, held: int) -> bool:
    """Whether a workbook's list of texts has one at this place."""
    return index is None or (index.strip().isdigit() and int(index) < held)


def _notes(sheet: Any) -> Iterator[str]:
    """Comments, with their cells, and what stands in text boxes."""
    from openpyxl.comments.comment_sheet import CommentSheet
    from openpyxl.packaging.relationship import get_dependents, get_rels_path
    from openpyxl.xml.constants import COMMENTS_NS

    archive = sheet.parent._archive
    relations = get_rels_path(sheet._worksheet_path)
    if relations not in archive.namelist():
        return
    for relation in get_dependents(archive, relations):
        if relation.Type.endswith("/hyperlink"):
            yield f"link: {relation.Target}"
        if relation.target not in archive.namelist():
            continue
        if relation.Type == COMMENTS_NS:
            for place, comment in CommentSheet.from_tree(xml(archive.read(relation.target))).comments:
                yield f"{place}: {comment.text}"
        elif relation.Type.endswith("/drawing"):
            drawing = xml(archive.read(relation.target))
            for box in drawing.iter("{*}txBody"):
                yield " ".join(part.text or "" for part in box.iter(_DRAWN_TEXT))
            yield from filter(None, (each.get("descr") for each in drawing.iter("{*}cNvPr")))
            yield from _chart_titles(archive, relation.target)


def _chart_titles(archive: Any, drawing: str) -> Iterator[str]:
    """What is written on the charts of a sheet; their numbers are in its cells."""
    from openpyxl.packaging.relationship import get_dependents, get_rels_path

    relations = get_rels_path(drawing)
    for relation in get_dependents(archive, relations) if relations in archive.namelist() else ():
        if relation.Type.endswith("/chart") and relation.target in archive.namelist():
            for paragraph in xml(archive.read(relation.target)).iter(_DRAWN_PARAGRAPH):
                if words := "".join(part.text or "" for part in paragraph.iter(_DRAWN_TEXT)).strip():
                    yield f"chart: {words}"


def _formats(book: Any) -> list[str]:
    """The number format of each style."""
    from openpyxl.styles.numbers import BUILTIN_FORMATS, BUILTIN_FORMATS_MAX_SIZE

    own = book._number_formats
    made = []
    for style in book._cell_styles:
        at = style.numFmtId - BUILTIN_FORMATS_MAX_SIZE
        made.append(own[at] if 0 <= at < len(own) else BUILTIN_FORMATS.get(style.numFmtId, ""))
    return made or [""]


def _xls(content: bytes) -> Iterator[Sheet]:
    import xlrd

    try:
        book = xlrd.open_workbook(file_contents=content, logfile=BytesIO(), ragged_rows=True, formatting_info=True)
    except NotImplementedError:  # older still
        book = xlrd.open_workbook(file_contents=content, logfile=BytesIO(), ragged_rows=True)
    with book:
        for sheet in book.sheets():
            made = Sheet(sheet.name)
            for row, line in enumerate(sheet.get_rows()):
                for column, cell in enumerate(line):
                    made.put(row, column, *_xls_value(book, cell))
            made.merged = [(top, left, bottom - 1, right - 1) for top, bottom, left, right in sheet.merged_cells]
            made.notes = [f"{xlrd.cellname(*place)}: {note.text}" for place, note in sheet.cell_note_map.items()]
            yield made


def _xls_value(book: Any, cell: Any) -> tuple[Any, str]:
    import xlrd

    value = cell.value
    if cell.ctype == xlrd.XL_CELL_DATE:
        try:
            value = xlrd.xldate_as_datetime(value, book.datemode)
        except (xlrd.xldate.XLDateError, OverflowError, ValueError):
            return value, ""
        return (value.time() if cell.value < 1 else value), ""
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(value), ""
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return xlrd.error_text_from_code.get(value, "#ERROR!"), ""
    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return None, ""
    known = cell.xf_index is not None and cell.xf_index < len(book.xf_list)
    return value, book.format_map[book.xf_list[cell.xf_index].format_key].format_str if known else ""


def _calamine(content: bytes, only: str | None = None) -> Iterator[Sheet | Skipped]:
    from python_calamine import CalamineError, CalamineWorkbook, SheetTypeEnum

    with CalamineWorkbook.from_filelike(BytesIO(content)) as book:
        for meta in (each for each in book.sheets_metadata if only in (None, each.name)):
            if meta.typ is not SheetTypeEnum.WorkSheet:
                yield Skipped(f"sheet {meta.name}", "it has no cells")
                continue
            made = Sheet(meta.name)
            try:
                sheet = book.get_sheet_by_name(meta.name)
                top, left = sheet.start or (0, 0)
                for row, line in enumerate(sheet.iter_rows(), top):
                    for column, value in enumerate(line, left):
                        made.put(row, column, None if value == "" else value)
                for (first, start), (last, end) in sheet.merged_cell_ranges or ():
                    made.merged.append((first, start, last, end))
            except CalamineError as error:
                yield Skipped(f"sheet {meta.name}", f"it cannot be read: {str(error)[:200]}")
                continue
            yield made
