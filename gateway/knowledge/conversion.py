"""A file becomes a document: which converter is right for it, and what no converter gets to see.

To be called in a process of its own where the file comes from outside (gateway/ingestion/converter_process.py): parsers take what
memory and time they like.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath
from types import MappingProxyType

from gateway.knowledge.code.languages import GRAMMARS
from gateway.knowledge.converters import (
    cards,
    delimited,
    escapes,
    feeds,
    latex,
    legacy_office,
    mail,
    markup,
    office,
    opendocument,
    opendocument_text,
    outlook,
    pdf,
    pictures,
    richtext,
    spreadsheet_xml,
    spreadsheets,
    text,
    tnef,
    word,
    word_xml,
)
from gateway.knowledge.converters.archives import OLE
from gateway.knowledge.converters.encodings import is_text
from gateway.knowledge.converters.text_recognition import TextRecognition
from gateway.knowledge.documents import CorruptDocument, Document, EmptyDocument, OversizedDocument, UnsupportedDocument
from gateway.knowledge.normalization import clean

VERSION = 9
"""Raise it when the same bytes give another text, so that kept documents are made anew."""

MAX_BYTES = 64 * 1024 * 1024
"""Files above this are refused; a text of this size is some 50,000 pages."""

MAX_CHARS = 32 * 1024 * 1024
"""Texts above this are refused: a small file can be a long text."""

Converter = Callable[[str, bytes], Document]

# fmt: off
_CODE = (
    ".bash", ".bat", ".c", ".cc", ".cfg", ".clj", ".conf", ".cpp", ".cs", ".css", ".cu", ".cxx", ".dart", ".diff",
    ".erl", ".ex", ".exs", ".f90", ".fs", ".go", ".gradle", ".groovy", ".h", ".hcl", ".hpp", ".hs", ".ini", ".java",
    ".jl", ".js", ".jsx", ".kt", ".less", ".lisp", ".lua", ".m", ".mk", ".ml", ".nix", ".patch",
    ".pbtxt", ".php", ".pl", ".pm", ".proto", ".ps1", ".py", ".pyi", ".r", ".rb", ".rs", ".sass", ".scala", ".scss",
    ".sh", ".sql", ".swift", ".tcl", ".tf", ".ts", ".tsx", ".vb", ".vue",
    ".zig", ".zsh",
)
# fmt: on

CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    {
        **dict.fromkeys((".md", ".markdown", ".mdx"), text.markdown),
        **dict.fromkeys((".txt", ".text", ".log", ".rst", ".org", ".adoc", ".srt", ".vtt"), text.plain),
        **dict.fromkeys((".csv", ".tsv", ".tab", ".psv"), delimited.table),
        **dict.fromkeys((*_CODE, *GRAMMARS), text.code),
        **dict.fromkeys((".tex", ".bib", ".sty", ".cls", ".ltx"), latex.latex),
        **dict.fromkeys((".json", ".geojson", ".webmanifest", ".jsonc", ".json5"), escapes.json),
        **dict.fromkeys((".jsonl", ".ndjson"), escapes.json_lines),
        **dict.fromkeys(
            (".xml", ".xsd", ".xsl", ".opml", ".gpx", ".kml", ".resx", ".xlf", ".tmx", ".plist", ".wsdl"), escapes.xml
        ),
        **dict.fromkeys((".htm", ".html", ".xhtml"), markup.html),
        **dict.fromkeys((".rss", ".atom", ".rdf"), feeds.feed),
        **dict.fromkeys((".ics", ".vcs", ".vcf"), cards.card),
        **dict.fromkeys((".eml", ".mht", ".mhtml"), lambda name, content: mail.eml(name, content, convert_bytes)),
        **dict.fromkeys((".xlsx", ".xlsm", ".xltx", ".xltm"), spreadsheets.xlsx),
        ".xlsb": spreadsheets.calamine,
        **dict.fromkeys((".ods", ".ots", ".fods"), opendocument.ods),
        **dict.fromkeys((".odt", ".ott", ".fodt"), opendocument_text.odt),
        **dict.fromkeys((".odp", ".otp", ".fodp", ".odg", ".otg", ".fodg"), opendocument_text.odp),
        **dict.fromkeys((".doc", ".dot"), legacy_office.doc),
        **dict.fromkeys((".ppt", ".pps", ".pot"), legacy_office.ppt),
        **dict.fromkeys((".msg", ".oft"), lambda name, content: outlook.msg(name, content, convert_bytes)),
        ".tnef": lambda name, content: tnef.winmail(name, content, convert_bytes),
        ".mbox": lambda name, content: mail.mbox(name, content, convert_bytes),
        **dict.fromkeys((".toml", ".yaml", ".yml"), escapes.unicode_escapes),
        ".properties": escapes.properties,
        ".rtf": richtext.rtf,
        ".pdf": pdf.pdf,
        **dict.fromkeys(
            (".docx", ".docm", ".dotx", ".dotm"), lambda name, content: word.docx(name, content, convert_bytes)
        ),
        **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".ppsm", ".potx"), office.pptx),
        ".xls": spreadsheets.xls,
        ".epub": office.epub,
        ".ipynb": office.ipynb,
    }
)
"""By the ending of the name, in lower case."""

_MARKS: Mapping[bytes, Converter] = MappingProxyType(
    {
        b"%pdf-": pdf.pdf,
        b"{\\rtf": richtext.rtf,
        b"<!doctype html": markup.html,
        b"<html": markup.html,
        tnef.SIGNATURE: CONVERTERS[".tnef"],
    }
)
"""How contents begin that are surely of a kind, whatever their names end with."""

_BEFORE_MARKS = re.compile(
    rb"\A(?:[\xef\xbb\xbf\s]|<\?xml[^>]{0,200}\?>(?=\s*(?:<!--|<!doctype html|<html))|<!--.{0,1500}?-->)+",
    re.DOTALL | re.IGNORECASE,
)
"""What may stand before the mark of HTML."""
_SAVED_PAGE = re.compile(
    rb"(?:[\w-]{1,40}:[^\n]{0,400}\n|[ \t][^\n]{0,400}\n){0,20}content-type: *multipart/(?:related|mixed)"
)

_MEMBERS: Mapping[bytes, Converter] = MappingProxyType(
    {
        b"word/document.xml": CONVERTERS[".docx"],
        b"xl/workbook.xml": spreadsheets.xlsx,
        b"ppt/presentation.xml": office.pptx,
        b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet": opendocument.ods,
        b"mimetypeapplication/vnd.oasis.opendocument.text": opendocument_text.odt,
        b"mimetypeapplication/vnd.oasis.opendocument.presentation": opendocument_text.odp,
        b"mimetypeapplication/vnd.oasis.opendocument.graphics": opendocument_text.odp,
        b"mimetypeapplication/epub+zip": office.epub,
    }
)
"""What archives hold that are surely of a kind."""

_STREAMS: Mapping[bytes, Converter] = MappingProxyType(
    {
        "Workbook".encode("utf-16-le"): spreadsheets.xls,
        "WordDocument".encode("utf-16-le"): legacy_office.doc,
        "PowerPoint Document".encode("utf-16-le"): legacy_office.ppt,
        "__properties_version1.0".encode("utf-16-le"): CONVERTERS[".msg"],
    }
)
"""The same of compound files, as programs before 2007 wrote them. One may be within another: the name counts where it fits."""

_ADVICE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys((".pages", ".numbers", ".key"), "export it from Apple's program as docx, xlsx, pptx or pdf"),
        **dict.fromkeys(
            (".wpd", ".wps", ".sxw", ".sxi", ".sxc", ".hwp", ".pub", ".one", ".vsd"), "save it as pdf or docx"
        ),
        **dict.fromkeys(
            (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz"), "unpack it and upload what is in it"
        ),
        **dict.fromkeys((".azw", ".azw3", ".mobi", ".fb2"), "convert it to epub"),
        **dict.fromkeys((".mp3", ".wav", ".m4a", ".mp4", ".mov", ".avi"), "upload a transcript"),
        **dict.fromkeys((".pst", ".ost"), "export its messages as eml or msg"),
        **dict.fromkeys((".mdb", ".accdb", ".sqlite", ".db", ".parquet"), "export its tables as csv"),
    }
)
"""What to do with files of kinds that are not read."""

_OF_TEXT: Mapping[Converter, Converter] = MappingProxyType(
    {
        spreadsheets.xls: delimited.table,
        spreadsheets.xlsx: delimited.table,
        legacy_office.doc: text.plain,
        legacy_office.ppt: text.plain,
    }
)
"""What programs write under the endings of office formats."""

_BINARY: Mapping[bytes, str] = MappingProxyType(
    {
        b"\x1f\x8b": ".gz",
        b"SQLite format 3\0": ".sqlite",
        b"7z\xbc\xaf\x27\x1c": ".7z",
        b"Rar!\x1a\x07": ".rar",
        b"BZh9": ".bz2",
        b"\xfd7zXZ\0": ".xz",
        b"PAR1": ".parquet",
    }
)
"""How contents begin that are no text, whatever their names say; by the ending that they should have."""

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
"""Read where there is text recognition; refused by name where there is none."""

_KINDS = (
    "pdf, docx, doc, pptx, ppt, xlsx, xls, odt, odp, ods, html, eml, msg, rtf, epub, md, csv, json, ipynb, source code and plain "
    "text"
)


def convert(path: Path, recognition: TextRecognition | None = None) -> Document:
    """Convert the file at `path`. Raises a DocumentError, or OSError when the file cannot be read. `recognition` reads pictures;
    None: they are not read."""
    check_size(path.name, path.stat().st_size)
    return convert_bytes(path.name, path.read_bytes(), recognition)


def check_size(name: str, size: int) -> None:
    """Raises OversizedDocument for more than MAX_BYTES bytes."""
    if size > MAX_BYTES:
        raise OversizedDocument(
            f"{name} has {size >> 20} MiB; files of more than {MAX_BYTES >> 20} MiB are not taken: split it"
        )


def convert_bytes(name: str, content: bytes, recognition: TextRecognition | None = None) -> Document:
    """Convert `content`; the ending of `name` says what it is. `recognition`: see `convert`. Raises a DocumentError."""
    check_size(name, len(content))
    if not content.strip():
        raise EmptyDocument(f"{name} is empty")
    document = _converter(name, content, recognition)(name, content)
    document = replace(document, title=" ".join(clean(document.title).split()))
    if not document.text.strip():
        if unread := [each for each in document.skipped if "cannot be read" in each.reason]:
            raise CorruptDocument(f"nothing of {name} can be read: {unread[0].part}: {unread[0].reason}")
        raise EmptyDocument(f"{name} has no text; if it is a scan, run text recognition (OCR) on it first")
    if len(document.text) > MAX_CHARS:
        raise OversizedDocument(f"{name} has {len(document.text):,} characters of text; split it")
    return document


def _converter(name: str, content: bytes, recognition: TextRecognition | None) -> Converter:
    """By the ending, unless the content is surely something else: programs write HTML as .xls, and RTF as .doc."""
    if recognition is None:
        return _by_content(name, content)
    if PurePath(name).suffix.lower() in _PICTURES:
        return partial(pictures.picture, recognition=recognition)
    known = _by_content(name, content)
    return partial(pdf.pdf, recognition=recognition) if known is pdf.pdf else known


_TABLE_ALONE = re.compile(rb"<(?:table|meta|style|head|body|div|center)[\s>]")
"""How pages begin that programs write as workbooks."""


_NEVER_OFFICE = (text.code, text.plain, text.markdown)
"""Texts that may have such a file in them."""


def _of_one_xml(known: Converter | None, content: bytes) -> Converter | None:
    """For an Office document in a single XML file."""
    start = content[:2048].lower()
    if known in _NEVER_OFFICE or not start.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return None
    if word_xml.FLAT in start:
        return lambda name, content: word_xml.flat(name, content, convert_bytes)
    if word_xml.OF_2003 in start and b"<w:worddocument" in start:
        return lambda name, content: word_xml.of_2003(name, content, convert_bytes)
    return None


def _by_start(known: Converter | None, content: bytes) -> Converter | None:
    """What a text surely is by how it begins."""
    start = _BEFORE_MARKS.sub(b"", content[:2048]).lower()
    for mark, converter in _MARKS.items():
        if start.startswith(mark) and known is not text.code:
            if converter is pdf.pdf and known is text.plain and b" obj" not in content:  # a text about such files
                continue
            return converter
    if known is None and (start.startswith(b"<?xml") or (b"<?xml" in content[:100] and start.startswith(b"<"))):
        return escapes.xml
    of_office = known is None or known in _OF_TEXT
    if known in (spreadsheets.xls, spreadsheets.xlsx, legacy_office.doc) and _TABLE_ALONE.match(start):
        return markup.html
    if (
        (of_office or known is escapes.xml)
        and b"<workbook" in start
        and b"schemas-microsoft-com:office:spreadsheet" in start
    ):
        return spreadsheet_xml.workbook
    if of_office and _SAVED_PAGE.match(start):  # as Confluence writes .doc, and Excel its web pages
        return CONVERTERS[".mht"]
    is_feed = b"<rss" in start or b"<feed" in start or (b"<rdf:rdf" in start and b"purl.org/rss" in start)
    return feeds.feed if known is escapes.xml and is_feed else None


def _by_content(name: str, content: bytes) -> Converter:
    known = CONVERTERS.get(PurePath(name).suffix.lower())
    for mark, ending in _BINARY.items():
        if content.startswith(mark):
            return _known(name, None, ending)
    if (marked := _of_one_xml(known, content) or _by_start(known, content)) is not None:
        return marked
    if content.startswith(b"PK\x03\x04") and known is not spreadsheets.calamine:
        # Marks are also those of documents within; a name that one of them confirms is right.
        held = [converter for mark, converter in _MEMBERS.items() if mark in content]
        known = known if known in held or not held else held[0]
    if content.startswith(OLE):
        found = [converter for mark, converter in _STREAMS.items() if mark in content]
        known = known if known in found or not found else found[0]
    elif known is not None and known in _OF_TEXT and is_text(content):
        known = _OF_TEXT[known]
    if known is None and is_text(content):  # an ending that nobody knows, or none: what is surely text is read as such
        return text.plain
    return _known(name, known)


def _known(name: str, known: Converter | None, ending: str | None = None) -> Converter:
    """ending: of what it really is, where that is known."""
    if known is None:
        advice = _ADVICE.get(ending or PurePath(name).suffix.lower())
        todo = f"{advice}; " if advice else ""
        raise UnsupportedDocument(f"{name}: this kind of file cannot be read; {todo}supported are {_KINDS}")
    return known
