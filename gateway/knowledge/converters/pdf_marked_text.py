"""What a PDF says of its drawing: the text that marked glyphs stand for (`/ActualText`), and of pictures what they show.

Glyphs of ligatures, formulas and scripts whose letters join are drawn as they look; programs write beside them what they mean.
pypdf passes over it. So the operators of such a page are changed, in memory, before it reads them: the first glyphs of a mark
draw its text, the others nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.knowledge.converters.pdf_fonts import FontFacts

_SHOWS = {b"Tj": 0, b"TJ": 0, b"'": 0, b'"': 2}
"""Operators that draw text, and which of their operands is the text."""
_MAX_ELEMENTS = 200_000
_MAX_FORMS = 1_000
"""Of a page, forms within forms among them."""
_HYPHENS = frozenset("-\u00ad\u2010\u2011 ")


def prepare(page: Any, fonts: FontFacts) -> set[str]:
    """The page and the forms that it draws, as pypdf shall read them. Gives the names of fonts that it draws with and that do not
    say which characters these are; what they draw is left out."""
    from pypdf.generic import NameObject

    changed, left_out = _prepared(page, page.get("/Contents"), page.pdf, fonts, set())
    if changed is not None:
        page[NameObject("/Contents")] = changed
    return left_out


def _prepared(holder: Any, content: Any, reader: Any, fonts: FontFacts, seen: set[int]) -> tuple[Any, set[str]]:
    """The content of a page or form if it is another one now, and the fonts that were left out of it and what it draws."""
    from pypdf.generic import ArrayObject, ContentStream, NameObject, StreamObject

    left_out: set[str] = set()
    objects = _named(holder, "/XObject")
    for name, reference in list(objects.items()):
        form = reference.get_object()
        if id(form) in seen or len(seen) >= _MAX_FORMS or form.get("/Subtype") != "/Form":
            continue
        seen.add(id(form))
        changed, more = _prepared(form, form, reader, fonts, seen)
        left_out |= more
        if changed is not None:
            changed.update({key: form[key] for key in ("/Subtype", "/Resources", "/BBox", "/Matrix") if key in form})
            objects[NameObject(name)] = changed
    unreadable = fonts.unreadable(holder)
    properties = _properties(holder)
    content = content.get_object() if content is not None else None
    if not isinstance(content, StreamObject | ArrayObject):
        return None, left_out
    stream = ContentStream(content, reader, "bytes")
    if not unreadable and not properties and b"ActualText" not in stream.get_data():
        return None, left_out
    changes = _Changes(properties, unreadable)
    operations = [changes.operation(operands, operator) for operands, operator in stream.operations]
    if not changes.any:
        return None, left_out
    stream.operations = operations
    return stream, left_out | changes.left_out


class _Changes:
    """Reads operators in their order."""

    def __init__(self, properties: Mapping[str, Any], unreadable: Mapping[str, str]) -> None:
        self.any = False
        self.left_out: set[str] = set()
        self._properties = properties
        self._unreadable = unreadable
        self._font = ""
        self._fonts: list[str] = []
        self._marks: list[str | None] = []
        self._said = True

    def operation(self, operands: Any, operator: bytes) -> tuple[Any, bytes]:
        if operator in (b"BDC", b"BMC"):
            meant = _meant(operands, self._properties) if operator == b"BDC" else None
            if meant is not None and not any(each is not None for each in self._marks):
                self._said = False
            self._marks.append(meant)
        elif operator == b"EMC" and self._marks:
            self._marks.pop()
        elif operator == b"Tf" and operands:
            self._font = str(operands[0])
        elif operator == b"q":
            self._fonts.append(self._font)
        elif operator == b"Q" and self._fonts:
            self._font = self._fonts.pop()
        elif operator in _SHOWS and len(operands) > _SHOWS[operator]:
            return self._shown(operands, operator)
        return operands, operator

    def _shown(self, operands: Any, operator: bytes) -> tuple[Any, bytes]:
        from pypdf.generic import ArrayObject, TextStringObject

        meant = next((each for each in self._marks if each is not None), None)
        if meant is None:
            if self._font not in self._unreadable:
                return operands, operator
            self.left_out.add(self._unreadable[self._font])
            meant, self._said = "", True
        self.any = True
        words = TextStringObject("" if self._said else meant)
        self._said = True
        place = _SHOWS[operator]
        return [*operands[:place], ArrayObject([words]) if operator == b"TJ" else words], operator


def _named(holder: Any, kind: str) -> Any:
    """What the resources of a page or form have of a kind, by name."""
    resources = holder.get("/Resources")
    named = resources.get_object().get(kind) if resources is not None else None
    return named.get_object() if named is not None else {}


def _properties(holder: Any) -> dict[str, Any]:
    """Those with a text, by the names that marks give."""
    found = {}
    for name, each in _named(holder, "/Properties").items():
        properties = each.get_object()
        if hasattr(properties, "get") and "/ActualText" in properties:
            found[name] = properties
    return found


def _meant(operands: Any, properties: Mapping[str, Any]) -> str | None:
    """The text of a mark. One that is empty, or a mere hyphen, is none: what is drawn stays, and lines are joined elsewhere."""
    said = operands[1] if len(operands) > 1 else None
    said = properties.get(said) if isinstance(said, str) else said
    text = said.get("/ActualText") if said is not None and hasattr(said, "get") else None
    text = _words(text.get_object()) if text is not None else ""
    return text if set(text) - _HYPHENS else None


def _words(value: Any) -> str:
    """A text string; read in bytes mode it is what PDF says of such: UTF-16 or UTF-8 with a mark, or Latin-1."""
    if isinstance(value, bytes):
        for mark, encoding in ((b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"), (b"\xef\xbb\xbf", "utf-8")):
            if value.startswith(mark):
                return value[len(mark) :].decode(encoding, "replace")
        return value.decode("latin-1")
    return str(value)


def told_by_structure(reader: Any, count: int) -> dict[int, list[str]]:
    """By the number of the page (from 0) what the document's structure says of its parts: of pictures what they show, of marked
    text what is meant, of abbreviations what they stand for. At most _MAX_ELEMENTS elements are looked at."""
    root = reader.root_object.get("/StructTreeRoot")
    if root is None:
        return {}
    numbers = {page.indirect_reference.idnum: number for number, page in enumerate(reader.pages[:count])}
    told: dict[int, list[str]] = {}
    for element, page in _elements(root.get_object(), numbers):
        for key in ("/ActualText", "/Alt", "/E"):
            if (value := element.get(key)) is not None and (words := _words(value.get_object()).strip()):
                told.setdefault(page, []).append(words)
    return told


def _elements(root: Any, numbers: Mapping[int, int]) -> Iterator[tuple[Any, int]]:
    """In the order of reading, each with its page: its own, or else that of what it is in."""
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(root, 0)]
    while waiting and len(seen) < _MAX_ELEMENTS:
        reference, page = waiting.pop()
        element = reference.get_object()
        if id(element) in seen or not hasattr(element, "get"):
            continue
        seen.add(id(element))
        own = element.raw_get("/Pg") if "/Pg" in element else None
        page = numbers.get(getattr(own, "idnum", -1), page)
        yield element, page
        parts = element.get("/K")
        parts = parts.get_object() if parts is not None else []
        waiting.extend((part, page) for part in reversed(parts if isinstance(parts, list) else [parts]))
