"""Word documents (docx): their words are replaced, everything else stays as it is. No I/O.

A docx is an archive of XML. Of the parts that hold text (body, notes, comments, page headers and footers) only the content of
`w:t` changes; every other member is copied byte for byte. Word cuts a sentence into runs as it was typed; neighbours that look
alike are one stretch here, whose words go to the first of them.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from lxml import etree

from assistants.writing import Span, worded

MAX_MEMBERS = 5000
MAX_UNPACKED = 128 * 1024 * 1024
"""Bytes of all members together."""
MAX_TEXT = 16 * 1024 * 1024
"""Bytes of all parts that hold text, unpacked: they are read in the gateway's own memory, which takes ten times as much."""

_MAIN = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_W = f"{{{_MAIN}}}"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
_TYPES = "[Content_Types].xml"
_TEXT_TYPE = re.compile(
    r"application/vnd\.openxmlformats-officedocument\.wordprocessingml\."
    r"(document\.main|footnotes|endnotes|comments|header|footer)\+xml"
)
_ENDS_LINE = frozenset(f"{_W}{name}" for name in ("tab", "ptab", "br", "cr"))
"""What no term of a glossary reaches across."""
_PASSED_OVER = frozenset(f"{_W}{name}" for name in ("rPr", "proofErr", "lastRenderedPageBreak"))
"""What a stretch reaches across."""
_UNSEEN = frozenset(f"{_W}{name}" for name in ("lang", "noProof"))
"""Of a run's properties: what does not show."""
_GONE = (f"{_W}del", f"{_W}moveFrom")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class WordError(ValueError):
    """A file that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Text that looks alike, in one or more nodes."""

    nodes: list[Any]

    @property
    def text(self) -> str:
        return "".join(node.text or "" for node in self.nodes)


class WordFile:
    """One document, read. Not thread-safe."""

    def __init__(self, content: bytes) -> None:
        """Raises WordError."""
        try:
            with zipfile.ZipFile(BytesIO(content)) as archive:
                self._check_size(archive)
                names = _text_parts(archive)
                if sum(archive.getinfo(name).file_size for name in names) > MAX_TEXT:
                    raise WordError(f"it has more than {MAX_TEXT >> 20} MiB of text; split it")
                self._roots = {name: _parsed(archive.read(name)) for name in names}
        except (zipfile.BadZipFile, zlib.error, etree.XMLSyntaxError, KeyError, NotImplementedError, EOFError) as error:
            raise WordError(f"it is damaged, or no docx: {error}") from error
        self._content = content
        self._lines = [line for root in self._roots.values() for line in _lines(root)]

    @staticmethod
    def _check_size(archive: zipfile.ZipFile) -> None:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS or sum(each.file_size for each in members) > MAX_UNPACKED:
            raise WordError(f"it unpacks to more than {MAX_UNPACKED >> 20} MiB or {MAX_MEMBERS} members; split it")
        if len({each.filename for each in members}) < len(members):
            raise WordError("it is damaged: a member is there twice")

    @property
    def text(self) -> str:
        """All paragraphs, those of notes and page headers behind the body's."""
        return "\n\n".join(text for line in self._lines if (text := "".join(each.text for each in line)).strip())

    def stretches(self, glossary: Mapping[str, str]) -> Iterator[list[Span]]:
        """Of each stretch its words and form, in their order. A term of the glossary is form, whatever runs it is cut into."""
        for line in self._lines:
            yield from worded([each.text for each in line], glossary)

    def replaced(self, texts: Sequence[str]) -> bytes:
        """The document with these texts in place of its stretches."""
        stretches = [each for line in self._lines for each in line]
        for stretch, text in zip(stretches, texts, strict=True):
            if text == stretch.text:
                continue
            first, *others = stretch.nodes
            _set(first, text)
            for node in others:
                _set(node, "")
        return self._packed()

    def with_body(self, paragraphs: Sequence[str]) -> bytes:
        """A document with the styles, page form, headers and footers of this one, and these paragraphs."""
        root = next(root for root in self._roots.values() if root.tag == f"{_W}document")
        body = root.find(f"{_W}body")
        if body is None:
            raise WordError("it is damaged: it has no body")
        for child in list(body):
            if child.tag != f"{_W}sectPr":
                body.remove(child)
        for at, paragraph in enumerate(paragraphs):
            made = etree.Element(f"{_W}p")
            _set(etree.SubElement(etree.SubElement(made, f"{_W}r"), f"{_W}t"), paragraph)
            body.insert(at, made)
        return self._packed()

    def _packed(self) -> bytes:
        out = BytesIO()
        with zipfile.ZipFile(BytesIO(self._content)) as old, zipfile.ZipFile(out, "w") as new:
            for member in old.infolist():
                root = self._roots.get(member.filename)
                data = (
                    old.read(member)
                    if root is None
                    else etree.tostring(root.getroottree(), encoding="UTF-8", xml_declaration=True, standalone=True)
                )
                new.writestr(member, data, compress_type=member.compress_type)
        return out.getvalue()


def _parsed(data: bytes) -> Any:
    """With the parser's own bounds of depth and length; no entity is unfolded, nothing is loaded."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    root = etree.fromstring(data, parser)
    if root.getroottree().docinfo.doctype:
        raise WordError("it declares a document type, which no docx does")
    return root


def _text_parts(archive: zipfile.ZipFile) -> list[str]:
    """The body first."""
    if archive.getinfo(_TYPES).file_size > MAX_TEXT:
        raise WordError("it is damaged: its list of parts is too long")
    types = {
        each.get("PartName", "").lstrip("/"): kind[1]
        for each in _parsed(archive.read(_TYPES)).iter("{*}Override")
        if (kind := _TEXT_TYPE.fullmatch(each.get("ContentType", "")))
    }
    there = set(archive.namelist())
    names = sorted((name for name in types if name in there), key=lambda name: (types[name] != "document.main", name))
    if not names or types[names[0]] != "document.main":
        raise WordError("it is no docx: it has no body")
    return names


def _lines(root: Any) -> Iterator[list[_Stretch]]:
    for paragraph in root.iter(f"{_W}p"):
        line: list[_Stretch] = []
        last: tuple[Any, ...] | None = None
        run, look = None, ()  # one may have very much text, and very many properties
        for node in _own(paragraph):
            if node.tag == f"{_W}t":
                if run is not (run := node.getparent()):
                    look = _look(run)
                if last == look:
                    line[-1].nodes.append(node)
                else:
                    line.append(_Stretch([node]))
                last = look
            elif node.tag in _ENDS_LINE:
                if line:
                    yield line
                line, last = [], None
            elif node.tag not in _PASSED_OVER and node.tag != f"{_W}r":
                last = None  # a mark, a link, a reference: it stays between the words that it stands between
        if line:
            yield line


def _own(node: Any) -> Iterator[Any]:
    """What is in a paragraph, in its order, without paragraphs in it (of text boxes), deleted words and properties."""
    for child in node.iterchildren(tag=etree.Element):
        if child.tag == f"{_W}p" or child.tag in _GONE:
            continue
        yield child
        if child.tag not in (f"{_W}rPr", f"{_W}pPr", f"{_W}t"):
            yield from _own(child)


def _look(run: Any) -> tuple[Any, ...]:
    """What two runs have in common whose text looks alike: where they stand, and their properties."""
    properties = run.find(f"{_W}rPr")
    return run.getparent(), *(() if properties is None else map(_key, (p for p in properties if p.tag not in _UNSEEN)))


def _key(element: Any) -> tuple[Any, ...]:
    return element.tag, tuple(sorted(element.attrib.items())), tuple(map(_key, element))


def _set(node: Any, text: str) -> None:
    node.text = _NOT_XML.sub("", text)
    if text != text.strip():
        node.set(_SPACE, "preserve")
