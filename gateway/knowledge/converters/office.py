"""Slides, e-books and notebooks: by markitdown and our own HTML.

markitdown passes over what it does not know: diagrams, comments. So the words of a slide are compared with what came out, and
the paragraphs that are missing follow at its end.
"""

import json
import posixpath
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from typing import Any
from urllib.parse import unquote

from gateway.knowledge.converters.archives import checked, fault, xml
from gateway.knowledge.converters.charts import chart_table
from gateway.knowledge.converters.completeness import left_out, unread_parts, with_more
from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.formulas import line
from gateway.knowledge.converters.markup import of_html, tidy
from gateway.knowledge.converters.text import document_of, title_of
from gateway.knowledge.documents import Document, DocumentError, EncryptedDocument, Skipped
from gateway.knowledge.normalization import clean

_SLIDE_PART = re.compile(r"ppt/slides/slide(\d{1,6})\.xml")
_ENCRYPTION = "META-INF/encryption.xml"
# Fonts are often made unreadable; chapters are where somebody wants to be paid.
_LOCKED = re.compile(rb"URI=[\"'][^\"']+\.x?html?[\"']", re.IGNORECASE)
_SLIDE = re.compile(r"^<!-- Slide number: \d+ -->\n?", re.MULTILINE)
_GLUED = re.compile(r"(?<=\|)(#{1,3} )")
"""A heading right behind a chart's numbers."""
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def pptx(name: str, content: bytes) -> Document:
    """PowerPoint; a slide is a page."""
    from markitdown import StreamInfo
    from markitdown.converters import PptxConverter
    from pptx import Presentation

    content = checked(name, content)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            skipped = list(unread_parts(archive, "ppt"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            deck = Presentation(BytesIO(content))
            if _made_plain(deck):
                content = _saved(deck)
            whole = PptxConverter().convert(BytesIO(content), StreamInfo(extension=".pptx", filename=name)).markdown
            whole = _GLUED.sub(r"\n\n\1", whole)
            slides = [tidy(_PICTURE.sub(r"\1", slide)).strip() for slide in _SLIDE.split(whole)[1:]]
            for number, slide in enumerate(deck.slides):
                missing = [*left_out(_slide_paragraphs(slide), slides[number]), *_charts(slide, slides[number])]
                slides[number] = with_more(slides[number], missing).strip()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever the parsers raise on damaged files
        slides, skipped = _words_of_slides(content, fault(name, error))
    return Document.of_pages(slides, title_of(next(filter(None, slides), ""), name), "markdown", skipped)


def epub(name: str, content: bytes) -> Document:
    """E-books, chapter by chapter."""
    content = checked(name, content)
    parts: list[str] = []
    skipped: list[Skipped] = []
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            if _LOCKED.search(archive.read(_ENCRYPTION) if _ENCRYPTION in archive.namelist() else b""):
                raise EncryptedDocument(f"{name} is protected against copying; it can be read by its reader alone")
            package = _package(archive)
            book = xml(archive.read(package), recover=True)
            title = next((node.text or "" for node in book.iter("{*}title")), "")
            about = [node.text for kind in ("title", "creator", "description") for node in book.iter("{*}" + kind)]
            parts.append("\n\n".join(filter(None, about)))
            written = {part.lower(): part for part in archive.namelist()}  # made where capitals do not matter
            places = {item.get("id"): item.get("href") for item in book.iter("{*}item")}
            # Notes that are only linked to are chapters, too; a list of contents is not.
            linked = [
                item.get("id")
                for item in book.iter("{*}item")
                if "html" in (item.get("media-type") or "") and "nav" not in (item.get("properties") or "").split()
            ]
            for chapter in dict.fromkeys([*(each.get("idref") for each in book.iter("{*}itemref")), *linked]):
                place = posixpath.normpath(
                    posixpath.join(posixpath.dirname(package), unquote(places.get(chapter) or ""))
                )
                try:
                    page = decode(place, archive.read(written.get(place.lower(), place))).text
                    parts.append(of_html(page, place, keep_menus=False).text)
                except (KeyError, ValueError, zipfile.BadZipFile, DocumentError) as error:
                    skipped.append(Skipped(f"chapter {place}", f"it cannot be read: {error}"))
    except (EncryptedDocument, MemoryError):
        raise
    except Exception as error:  # whatever the parsers raise on damaged files
        raise fault(name, error) from error
    text = tidy("\n\n".join(parts))
    return Document(
        text if text.strip() else "", clean(title) or title_of(text, name), "markdown", skipped=tuple(skipped)
    )


def _package(archive: zipfile.ZipFile) -> str:
    """The member that lists the book's chapters, also where nothing points to it."""
    with suppress(KeyError, SyntaxError):
        for file in xml(archive.read("META-INF/container.xml")).iter("{*}rootfile"):
            if file.get("full-path") in archive.namelist():
                return str(file.get("full-path"))
    return next(part for part in archive.namelist() if part.lower().endswith(".opf"))


def ipynb(name: str, content: bytes) -> Document:
    """Notebooks of any version: text and code, and what came out as text."""
    decoded = decode(name, content)
    parts: list[str] = []
    pictures = 0
    try:
        book = json.loads(decoded.text)
        language = book.get("metadata", {}).get("kernelspec", {}).get("language") or "python"
        for cell in [
            *book.get("cells", ()),
            *(cell for sheet in book.get("worksheets", ()) for cell in sheet["cells"]),
        ]:
            written = cell.get("source", cell.get("input", ""))
            text = written if isinstance(written, str) else "".join(written)
            if cell["cell_type"] == "heading":
                text = f"{'#' * int(cell.get('level') or 1)} {text}"
            parts.append(f"```{language}\n{text}\n```" if cell["cell_type"] == "code" and text.strip() else text)
            for output in cell.get("outputs") or ():
                came_out = _came_out(output).strip("\n")
                pictures += not came_out
                parts.append(f"```\n{came_out}\n```" if came_out else "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise fault(name, error) from error
    skipped = (Skipped(f"{pictures} outputs of cells", "they have no text"),) if pictures else ()
    text = tidy("\n\n".join(parts))
    made = document_of(decoded, text if text.strip() else "", title_of(text, name), "markdown")
    return replace(made, skipped=skipped)


def _came_out(output: dict[str, Any]) -> str:
    """The text of what a cell put out, or nothing: tables of pandas are there as text, too."""
    data = output.get("data") or output  # of version 3 without a name for it
    for key in ("text/markdown", "text/latex", "text/plain", "text", "text/html", "application/json"):
        if found := data.get(key):
            written = found if isinstance(found, str) else "".join(map(str, found))
            return of_html(written, "").text if key == "text/html" else written
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename')}: {output.get('evalue')}"
    return ""


def _words_of_slides(content: bytes, cause: DocumentError) -> tuple[list[str], list[Skipped]]:
    """The paragraphs of each slide that can be read, of a deck that is damaged elsewhere. Raises `cause` if there is none."""
    slides: list[str] = []
    skipped = [Skipped("tables, charts and notes as such", f"only words could be read: {cause}")]
    with zipfile.ZipFile(BytesIO(content)) as archive:
        numbers = sorted(int(match[1]) for match in map(_SLIDE_PART.fullmatch, archive.namelist()) if match)
        for number in numbers:
            try:
                root = xml(archive.read(f"ppt/slides/slide{number}.xml"))
            except (ValueError, SyntaxError, zipfile.BadZipFile, zlib.error) as error:
                slides.append("")
                skipped.append(Skipped(f"slide {number}", f"it cannot be read: {str(error)[:200]}"))
                continue
            words = ("".join(node.text or "" for node in each.iter("{*}t")) for each in root.iter("{*}p"))
            slides.append(tidy("\n".join(filter(None, words))).strip())
    if not any(slides):
        raise cause
    return slides, skipped


def _slide_paragraphs(slide: Any) -> Iterator[str]:
    roots = [slide._element]
    for relation in slide.part.rels.values():
        if relation.is_external and relation.reltype.endswith("/hyperlink"):
            yield relation.target_ref
        if relation.reltype.endswith(("/diagramData", "/comments")) and not relation.is_external:
            roots.append(xml(relation.target_part.blob))
    for root in roots:
        for paragraph in root.iter(f"{_A}p"):
            yield "".join(node.text or " " for node in paragraph.iter(f"{_A}t", f"{_A}br"))
        for note in root.iter("{*}text"):
            yield note.text or ""


def _charts(slide: Any, text: str) -> Iterator[str]:
    """Of charts whose numbers markitdown has not: clouds of points."""
    known = Counter(re.findall(r"[\d.]+", text))
    for relation in slide.part.rels.values():
        if relation.is_external or not relation.reltype.endswith("/chart"):
            continue
        table = chart_table(xml(relation.target_part.blob))
        if any(known[number] == 0 for number in re.findall(r"\d+(?:\.\d+)?", table) if f"{number}.0" not in known):
            yield table


def _made_plain(deck: Any) -> bool:
    """Let a formula be a line of text, raised digits be no digits of the number before them, what is merged over several rows
    stand in each of them, and no bar in a cell be the end of it."""
    found = False
    for slide in deck.slides:
        for formula in list(slide._element.iter("{*}oMath")):
            found |= _as_run(formula)
        for run in slide._element.iter(f"{_A}r"):
            found |= _raised(run)
        for shape in slide.shapes:
            for cell in shape.table.iter_cells() if shape.has_table else ():
                for words in cell._tc.iter(f"{_A}t"):
                    if "|" in (words.text or ""):
                        words.text = words.text.replace("|", "\\|")
                        found = True
                if not cell.is_merge_origin:
                    continue
                row, column = cell._tc.row_idx, cell._tc.col_idx
                for below in range(row + 1, row + cell.span_height):
                    shape.table.cell(below, column).text = cell.text
                    found = True
    return found


def _as_run(formula: Any) -> bool:
    """Put the line that a formula is in its place in the paragraph."""
    from lxml import etree

    place = formula
    while (holder := place.getparent()) is not None and holder.tag != f"{_A}p":
        place = holder
    if holder is None:
        return False
    run = etree.Element(f"{_A}r")
    etree.SubElement(run, f"{_A}t").text = f" {line(formula)} "
    place.addprevious(run)
    formula.getparent().remove(formula)
    return True


def _raised(run: Any) -> bool:
    """Write `^` before raised digits behind a digit."""
    properties, before = run.find(f"{_A}rPr"), run.getprevious()
    if properties is None or before is None or not (properties.get("baseline") or "").strip("0%").isdigit():
        return False
    words = run.find(f"{_A}t")
    ends = (before.findtext(f"{_A}t") or "")[-1:]
    if words is None or not ends.isdigit() or not re.match(r"\s*[+\u2212\u2013-]?\d", words.text or ""):
        return False
    words.text = f"^{words.text}"
    return True


def _saved(deck: Any) -> bytes:
    out = BytesIO()
    deck.save(out)
    return out.getvalue()
