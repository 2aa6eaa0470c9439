"""Word, by mammoth and our own HTML.

mammoth passes over what it does not know: text boxes, diagrams, page headers. So the words of the file are compared with what
came out, and the paragraphs that are missing follow at the end.
"""

import posixpath
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

from gateway.knowledge.converters.archives import checked, fault, xml
from gateway.knowledge.converters.charts import chart_table
from gateway.knowledge.converters.completeness import left_out, unread_parts, with_more
from gateway.knowledge.converters.formulas import line
from gateway.knowledge.converters.markup import of_html
from gateway.knowledge.converters.word_numbering import with_numbers
from gateway.knowledge.converters.word_symbols import with_symbols
from gateway.knowledge.documents import Document, DocumentError, OversizedDocument, Skipped

Convert = Callable[[str, bytes], Document]

_PARTS = re.compile(r"word/(document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml")
_DRAWN = re.compile(r"word/(?:charts/chart|diagrams/data)\d*\.xml")
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BETWEEN = {**dict.fromkeys((f"{_W}tab", f"{_W}ptab", f"{_W}br", f"{_W}cr"), " "), f"{_W}noBreakHyphen": "-"}
_V = "{urn:schemas-microsoft-com:vml}"
_DESCRIBED = {
    "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr": ("descr", "title"),
    f"{_V}shape": ("alt",),
    f"{_V}textpath": ("string",),
}
"""What says in words what a drawing shows: of pictures mammoth gives it, of shapes and letters as pictures (WordArt) not."""
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MATH = f"{_M}t"
_CR = re.compile(rb"<w:(?:cr|ptab)\b[^>]*/>")
"""Ends of lines and tabs of a kind that mammoth does not know; what they part would be one word."""
_BEFORE = re.compile(rb'<w:gridBefore w:val="(\d{1,2})"/>(?:(?!</w:trPr>).){0,2000}</w:trPr>', re.DOTALL)
"""Columns that a row leaves free at its beginning."""
_MOVED = ((re.compile(rb"(</?w:)moveTo(?=[\s>/])"), rb"\1ins"), (re.compile(rb"(</?w:)moveFrom(?=[\s>/])"), rb"\1del"))
_PARAGRAPH = re.compile(rb"<(?:\w+:)?p[\s/>]")
_MAX_PARAGRAPHS = 100_000
_MAX_DEPTH = 3
"""Documents within documents that are read."""


def docx(name: str, content: bytes, convert: Convert, depth: int = 0) -> Document:
    """With headings, tables, equations, notes, comments, charts, diagrams, and other files that are shown as part of the text
    (altChunk), which are read with `convert`. Of tracked changes the newer state is read."""
    import mammoth
    from markitdown.converter_utils.docx.pre_process import pre_process_docx

    content = checked(name, content)
    try:
        _check_paragraphs(name, content)
        content, skipped = with_symbols(with_numbers(_as_mammoth_knows(content)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            prepared = _with_lines(pre_process_docx(BytesIO(content)))  # equations as LaTeX
            try:
                source = mammoth.convert_to_html(prepared, style_map="comment-reference => sup").value
            except (
                KeyError,
                ValueError,
                AttributeError,
                TypeError,
                IndexError,
            ) as error:  # a picture or note is not there
                source = ""
                lost = f"only words could be read: {type(error).__name__}: {str(error)[:200]}"
                skipped.append(Skipped("headings, lists and tables as such", lost))
        made = of_html(source, name)
        skipped += made.skipped
        with zipfile.ZipFile(BytesIO(content)) as archive:
            with zipfile.ZipFile(prepared) as converted:  # equations that could not be converted are in it as they were
                more = list(left_out(_paragraphs(converted), made.text))
            more += _drawn(archive)
            more += _chunks(archive, convert, depth, skipped)
            skipped += unread_parts(archive, "word")
    except (DocumentError, MemoryError):
        raise
    except Exception as error:  # whatever the parsers raise on damaged files
        raise fault(name, error) from error
    if skipped and not made.text.strip() and not any(each.strip() for each in more):
        raise fault(name, ValueError(skipped[0].reason))
    return replace(made, text=with_more(made.text, more), skipped=tuple(skipped))


def _check_paragraphs(name: str, content: bytes) -> None:
    """Raises OversizedDocument for more paragraphs than can be read in a converter's time: one takes 0.15 ms, however short."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        parts = [part for part in archive.namelist() if _PARTS.fullmatch(part)]
        count = sum(len(_PARAGRAPH.findall(archive.read(part))) for part in parts)
    if count > _MAX_PARAGRAPHS:
        raise OversizedDocument(f"{name} has {count:,} paragraphs; at most {_MAX_PARAGRAPHS:,} are read: split it")


def _as_mammoth_knows(content: bytes) -> bytes:
    """mammoth knows what was inserted and what was deleted, but not what was moved; one way to break a line; and no free columns
    at the beginning of a row."""
    with zipfile.ZipFile(BytesIO(content)) as old:
        texts = (old.read(part) for part in old.namelist() if _PARTS.fullmatch(part))
        if not any(b"moveTo" in text or b"w:gridBefore" in text or _CR.search(text) for text in texts):
            return content
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for part in old.namelist():
                data = old.read(part)
                for tag, known in _MOVED if _PARTS.fullmatch(part) else ():
                    data = tag.sub(known, data)
                if _PARTS.fullmatch(part):
                    data = _CR.sub(b"<w:br/>", data)
                    data = _BEFORE.sub(lambda match: match[0] + b"<w:tc><w:p/></w:tc>" * int(match[1]), data)
                new.writestr(part, data)
    return out.getvalue()


def _with_lines(prepared: Any) -> Any:
    """Equations that were not converted (they lack what Word always writes) as lines of text: mammoth passes over them."""
    with zipfile.ZipFile(prepared) as old:
        left = [part for part in filter(_PARTS.fullmatch, old.namelist()) if b"oMath>" in old.read(part)]
        if not left:
            return prepared
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for part in old.namelist():
                new.writestr(part, _lines_for_equations(old.read(part)) if part in left else old.read(part))
    return out


def _lines_for_equations(content: bytes) -> bytes:
    from lxml import etree

    root = xml(content)
    for equation in list(root.iter(f"{_M}oMath")):
        words = line(equation)
        for part in list(equation):
            equation.remove(part)
        equation.tag = f"{_W}r"
        etree.SubElement(equation, f"{_W}t").text = f" {words} "
        if (holder := equation.getparent()).tag == f"{_M}oMathPara":
            holder.addprevious(equation)
    return bytes(etree.tostring(root))


def _paragraphs(archive: zipfile.ZipFile) -> Iterator[str]:
    for part in sorted(filter(_PARTS.fullmatch, archive.namelist())):
        for paragraph in xml(archive.read(part)).iter(f"{_W}p"):
            if (
                next(paragraph.iterancestors("{*}Fallback", f"{_W}del"), None) is None
            ):  # a box is there in a newer form, too
                yield "".join(
                    _words(node)
                    for node in paragraph.iter(f"{_W}t", _MATH, f"{_W}ddList", *_BETWEEN)
                    if next(node.iterancestors(f"{_W}p", f"{_W}del")) is paragraph
                )
                yield from filter(
                    None, (node.get(key) for node in paragraph.iter(*_DESCRIBED) for key in _DESCRIBED[node.tag])
                )


def _words(node: Any) -> str:
    if node.tag in (f"{_W}t", _MATH):
        return node.text or ""
    if node.tag != f"{_W}ddList":
        return _BETWEEN[node.tag]
    chosen = next(node.iter(f"{_W}result", f"{_W}default"), None)  # of a form: the choice of a list
    choices = [each.get(f"{_W}val") or "" for each in node.iter(f"{_W}listEntry")]
    at = int(chosen.get(f"{_W}val") or 0) if chosen is not None else 0
    return choices[at] if 0 <= at < len(choices) else ""


def _drawn(archive: zipfile.ZipFile) -> Iterator[str]:
    """Charts with their numbers, and the words of diagrams."""
    for part in sorted(filter(_DRAWN.fullmatch, archive.namelist())):
        root = xml(archive.read(part))
        yield from filter(
            None, ("".join(node.text or "" for node in each.iter("{*}t")).strip() for each in root.iter("{*}p"))
        )
        if table := chart_table(root):
            yield table


def _chunks(archive: zipfile.ZipFile, convert: Convert, depth: int, skipped: list[Skipped]) -> Iterator[str]:
    """Files of other formats that Word shows in the place of a paragraph, without ever having taken them in."""
    names = set(archive.namelist())
    relations = "word/_rels/document.xml.rels"
    for relation in xml(archive.read(relations)) if relations in names else ():
        if not (relation.get("Type") or "").endswith("/aFChunk"):
            continue
        place = posixpath.normpath(posixpath.join("/word", relation.get("Target") or "")).lstrip("/")
        try:
            if place not in names or depth >= _MAX_DEPTH:
                raise DocumentError("it is not there" if place not in names else "it is nested too deep")
            chunk = archive.read(place)
            again = place.lower().endswith((".docx", ".docm"))
            made = docx(place, chunk, convert, depth + 1) if again else convert(posixpath.basename(place), chunk)
        except DocumentError as error:
            skipped.append(Skipped(f"inserted file {place}", str(error)))
            continue
        yield made.text
        skipped += made.skipped
