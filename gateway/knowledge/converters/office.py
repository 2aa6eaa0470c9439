"""What word processors and presentation programs write, e-books, notebooks and feeds: by mammoth, markitdown and our own HTML.

Libraries pass over what they do not know: text boxes, diagrams, page headers. So the words of the file are compared with what
came out, and the paragraphs that are missing follow at the end.
"""

import posixpath
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote

from gateway.knowledge.converters.archives import checked, fault, xml
from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.markup import of_html, tidy
from gateway.knowledge.converters.text import document_of, title_of
from gateway.knowledge.documents import Document, DocumentError, Skipped
from gateway.knowledge.normalization import clean

_SLIDE = re.compile(r"^<!-- Slide number: \d+ -->\n?", re.MULTILINE)
_PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_WORD_PARTS = re.compile(r"word/(document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml")
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BETWEEN = {f"{_W}tab": " ", f"{_W}br": " ", f"{_W}noBreakHyphen": "-"}
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def docx(name: str, content: bytes) -> Document:
    """Word, with headings, tables, equations, notes and comments."""
    import mammoth
    from markitdown.converter_utils.docx.pre_process import pre_process_docx

    checked(name, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = pre_process_docx(BytesIO(content))  # equations as LaTeX
            source = mammoth.convert_to_html(prepared, style_map="comment-reference => sup").value
        made = of_html(source, name)
        left_out = list(_left_out(_word_paragraphs(content), made.text))
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # whatever the parsers raise on damaged files
        raise fault(name, error) from error
    return replace(made, text=_with(made.text, left_out))


def pptx(name: str, content: bytes) -> Document:
    """PowerPoint; a slide is a page."""
    from markitdown import StreamInfo
    from markitdown.converters import PptxConverter
    from pptx import Presentation

    checked(name, content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            deck = Presentation(BytesIO(content))
            if _fill_merged(deck):
                content = _saved(deck)
            whole = PptxConverter().convert(BytesIO(content), StreamInfo(extension=".pptx", filename=name)).markdown
            slides = [tidy(_PICTURE.sub(r"\1", slide)).strip() for slide in _SLIDE.split(whole)[1:]]
            for number, slide in enumerate(deck.slides):
                slides[number] = _with(slides[number], _left_out(_slide_paragraphs(slide), slides[number])).strip()
    except MemoryError:
        raise
    except Exception as error:  # whatever the parsers raise on damaged files
        raise fault(name, error) from error
    return Document.of_pages(slides, title_of(next(filter(None, slides), ""), name), "markdown")


def epub(name: str, content: bytes) -> Document:
    """E-books, chapter by chapter."""
    checked(name, content)
    parts: list[str] = []
    skipped: list[Skipped] = []
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            container = xml(archive.read("META-INF/container.xml"))
            package = next(container.iter("{*}rootfile")).get("full-path")
            book = xml(archive.read(package))
            title = next((node.text or "" for node in book.iter("{*}title")), "")
            about = [node.text for kind in ("title", "creator", "description") for node in book.iter("{*}" + kind)]
            parts.append("\n\n".join(filter(None, about)))
            places = {item.get("id"): item.get("href") for item in book.iter("{*}item")}
            for reference in book.iter("{*}itemref"):
                place = posixpath.normpath(
                    posixpath.join(posixpath.dirname(package), unquote(places.get(reference.get("idref")) or ""))
                )
                try:
                    parts.append(of_html(decode(place, archive.read(place)).text, place).text)
                except (KeyError, ValueError, zipfile.BadZipFile, DocumentError) as error:
                    skipped.append(Skipped(f"chapter {place}", f"it cannot be read: {error}"))
    except MemoryError:
        raise
    except Exception as error:  # whatever the parsers raise on damaged files
        raise fault(name, error) from error
    text = tidy("\n\n".join(parts))
    return Document(
        text if text.strip() else "", clean(title) or title_of(text, name), "markdown", skipped=tuple(skipped)
    )


def ipynb(name: str, content: bytes) -> Document:
    """Notebooks: text and code, not what came out."""
    from markitdown.converters import IpynbConverter

    made = _by_markitdown(name, content, IpynbConverter)
    outputs = len(re.findall(rb'"output_type"', content))
    skipped = (Skipped(f"{outputs} outputs of cells", "of notebooks text and code are read"),) if outputs else ()
    return replace(made, skipped=skipped)


def feed(name: str, content: bytes) -> Document:
    """RSS and Atom."""
    from markitdown.converters import RssConverter

    return _by_markitdown(name, content, RssConverter)


def _by_markitdown(name: str, content: bytes, converter: Any) -> Document:
    from markitdown import StreamInfo

    decoded = decode(name, content)
    source = re.sub(r"^\s*<\?xml[^>]*>", "", decoded.text).encode()  # XML parsers know few encodings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            info = StreamInfo(extension=PurePath(name).suffix.lower(), filename=name, charset="utf-8")
            result = converter().convert(BytesIO(source), info)
    except MemoryError:
        raise
    except Exception as error:  # whatever the parsers raise on damaged files
        raise fault(name, error) from error
    text = tidy(_PICTURE.sub(r"\1", result.markdown))
    title = clean(result.title or "").strip() or title_of(text, name)
    return document_of(decoded, text if text.strip() else "", title, "markdown")


def _left_out(paragraphs: Iterable[str], text: str) -> Iterator[str]:
    """The paragraphs that have words which the text has not, or not so often."""
    there = Counter(re.findall(r"\w+", text))
    told = set[str]()
    for paragraph in paragraphs:
        words = Counter(re.findall(r"\w+", clean(paragraph)))
        if words <= there:
            there -= words
        elif paragraph not in told:
            told.add(paragraph)
            yield " ".join(paragraph.split())


def _with(text: str, more: Iterable[str]) -> str:
    return tidy("\n\n".join([text, *more]))


def _word_paragraphs(content: bytes) -> Iterator[str]:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for part in sorted(filter(_WORD_PARTS.fullmatch, archive.namelist())):
            for paragraph in xml(archive.read(part)).iter(f"{_W}p"):
                if next(paragraph.iterancestors("{*}Fallback"), None) is None:  # of a box that is there in a newer form
                    yield "".join(
                        (node.text or "") if node.tag == f"{_W}t" else _BETWEEN[node.tag]
                        for node in paragraph.iter(f"{_W}t", *_BETWEEN)
                        if next(node.iterancestors(f"{_W}p")) is paragraph
                    )


def _slide_paragraphs(slide: Any) -> Iterator[str]:
    roots = [slide._element]
    for relation in slide.part.rels.values():
        if relation.reltype.endswith(("/diagramData", "/comments")) and not relation.is_external:
            roots.append(xml(relation.target_part.blob))
    for root in roots:
        for paragraph in root.iter(f"{_A}p"):
            yield "".join(node.text or "" for node in paragraph.iter(f"{_A}t"))
        for note in root.iter("{*}text"):
            yield note.text or ""


def _fill_merged(deck: Any) -> bool:
    """Let what is merged over several rows stand in each of them."""
    found = False
    for slide in deck.slides:
        for shape in slide.shapes:
            for cell in shape.table.iter_cells() if shape.has_table else ():
                if not cell.is_merge_origin:
                    continue
                row, column = cell._tc.row_idx, cell._tc.col_idx
                for below in range(row + 1, row + cell.span_height):
                    shape.table.cell(below, column).text = cell.text
                    found = True
    return found


def _saved(deck: Any) -> bytes:
    out = BytesIO()
    deck.save(out)
    return out.getvalue()
