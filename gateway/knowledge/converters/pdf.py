"""PDF, page by page; a page that cannot be read takes no other along.

pypdf gives the text in the order in which it was drawn, which for prose is the order of reading, and for a table is often cell
by cell. Its layout mode gives lines as they lie on the page, and mixes columns of prose. So both are read, and the second is
taken where it shows a table (page_tables.py) and has all the characters of the first.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import PurePath
from typing import Any

from gateway.knowledge.converters.archives import xml
from gateway.knowledge.converters.markup import of_html
from gateway.knowledge.converters.page_columns import by_column
from gateway.knowledge.converters.page_tables import with_tables
from gateway.knowledge.converters.pdf_fonts import FontFacts, names_of_fonts
from gateway.knowledge.converters.pdf_marked_text import prepare, told_by_structure
from gateway.knowledge.converters.text_recognition import NotRecognized, PictureText, TextRecognition, check_pixels
from gateway.knowledge.documents import (
    CorruptDocument,
    Document,
    DocumentError,
    EncryptedDocument,
    Recognized,
    Skipped,
)
from gateway.knowledge.normalization import clean

_MAX_LAYOUT_PAGES = 500
"""Pages on which tables are looked for: it takes as long again as reading them."""
_MAX_PICTURES = 20
"""Of a page, in which text is looked for."""
_FEW_CHARS, _MANY_PIXELS = 200, 500_000
"""A page of fewer characters, with a picture of so many pixels, is a scan with a stamp or a number of its page on it."""
_MAX_NAMES = 5
"""Of fonts that are told of a page."""
_UNREADABLE = re.compile("[\ufffd\ue000-\uf8ff]")
_MAX_UNREADABLE = 0.2
"""The share of characters that stand for nothing above which a page's text is told to be none."""
_PARTED_CODE = re.compile(r"(?<=[A-Z\d])-\n(?=\d)|(?<=\d)-\n(?=[A-Z])")
"""VK- at the end of a line, and 4417-B in the next one."""
_DRAWN_TWICE = re.compile(r"^(?=[\W\d_]{0,30}[^\W\d_])(\S.{3,198}\S)\1{1,3}$", re.MULTILINE)
"""A line that was drawn again a little beside itself, to be bold."""
_HYPHENATED = re.compile(r"([^\W\d_]{2,})-\n([^\W\d_A-Z][^\W\d_]+)")


def pdf(name: str, content: bytes, recognition: TextRecognition | None = None) -> Document:
    """The text of each page, with notes and filled fields. Of a page that is a picture what `recognition` reads."""
    from pypdf.errors import DependencyError

    try:
        reader = _opened(content)
        if reader.is_encrypted and not reader.decrypt(""):  # an empty password only restricts printing and the like
            raise EncryptedDocument(f"{name} needs a password; save it without one")
        title = clean(str((reader.metadata and reader.metadata.title) or "")).strip()
        count = len(reader.pages)
        attached = [
            Skipped(f"attachment {each.name}", "files within a PDF are not read") for each in reader.attachment_list
        ]
    except (DocumentError, MemoryError):
        raise
    except DependencyError as error:
        raise EncryptedDocument(f"{name} is encrypted; save it without a password") from error
    except Exception as error:  # pypdf raises KeyError, TypeError and others on damaged files
        raise CorruptDocument(f"{name} is not a readable PDF: {error}") from error
    pages, failed, recognized = _read(reader, count, recognition)
    if not any(pages) and any("cannot be read" in each.reason for each in failed):
        raise CorruptDocument(f"{name} is not a readable PDF: {failed[0].part}: {failed[0].reason}")
    words = Counter(re.findall(r"[^\W_]+(?:-[^\W_]+)*", "\n".join(pages)))
    pages = [_HYPHENATED.sub(lambda match: _joined(match, words), page) for page in pages]
    pages = [_DRAWN_TWICE.sub(r"\1", _PARTED_CODE.sub("-", page)) for page in pages]
    pages[-1:] = ["\n\n".join(filter(None, [page, *_of_the_whole(reader, "\n".join(pages))])) for page in pages[-1:]]
    if count > _MAX_LAYOUT_PAGES:
        failed.append(Skipped("rows of tables", f"they are looked for on the first {_MAX_LAYOUT_PAGES} pages"))
    document = Document.of_pages(pages, title or PurePath(name).stem, "plain", [*failed, *attached])
    return replace(document, recognized=tuple(recognized))


def _read(
    reader: Any, count: int, recognition: TextRecognition | None
) -> tuple[list[str], list[Skipped], list[Recognized]]:
    """Of each page its text; what could not be read; what was read in pictures."""
    pages: list[str] = []
    failed: list[Skipped] = []
    recognized: list[Recognized] = []
    fonts = FontFacts()
    told = _told(reader, count)
    for number in range(count):
        try:
            page = reader.pages[number]
            unreadable = _prepared(page, fonts)
            layout = number < _MAX_LAYOUT_PAGES and not unreadable
            pages.append(_page(page, told.get(number, ()), layout=layout))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  # pypdf, as above; the other pages are no worse for it
            pages.append("")
            failed.append(Skipped(f"page {number + 1}", f"it cannot be read: {str(error)[:200]}"))
            continue
        if not unreadable and len(_UNREADABLE.findall(pages[-1])) > _MAX_UNREADABLE * len(pages[-1]):
            unreadable = names_of_fonts(page)
        if unreadable:
            failed.append(Skipped(f"page {number + 1}", _of_fonts(unreadable)))
        few = len("".join(pages[-1].split())) < _FEW_CHARS
        if few and _has_picture(page, _MANY_PIXELS if pages[-1] else 1):
            try:
                found = _read_in_pictures(page, recognition)
                recognized.append(found.on_page(number + 1))
                pages[-1] = "\n\n".join(filter(None, [pages[-1], found.text]))
            except NotRecognized as error:
                where = f"picture on page {number + 1}" if pages[-1] else f"page {number + 1}"
                failed.append(Skipped(where, str(error)))
    return pages, failed, recognized


def _of_fonts(names: Collection[str]) -> str:
    listed = ", ".join(sorted(names)[:_MAX_NAMES])
    return (
        f"its words cannot be read: the font {listed} does not say which characters it draws; save it with fonts that do, or run "
        "text recognition (OCR) on it"
    )


def _prepared(page: Any, fonts: FontFacts) -> set[str]:
    try:
        return prepare(page, fonts)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # pypdf, as above; it may read the page as it is all the same
        return set()


def _told(reader: Any, count: int) -> dict[int, list[str]]:
    try:
        return told_by_structure(reader, count)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # pypdf, as above; what the pages draw is there without it
        return {}


def _opened(content: bytes) -> Any:
    """Also of a file whose end is missing, with the list of its objects: they are looked for."""
    from pypdf import PdfReader
    from pypdf.errors import PdfReadError

    try:
        return PdfReader(BytesIO(content))
    except PdfReadError:
        catalogs = re.findall(rb"(\d{1,9}) 0 obj(?:(?!endobj).){0,200}?/Type ?/Catalog", content, re.DOTALL)
        if not catalogs:
            raise
        end = b"\nendobj\ntrailer\n<< /Root %s 0 R /Size 1 >>\nstartxref\n0\n%%%%EOF\n" % catalogs[-1]
        return PdfReader(BytesIO(content + end))


def _of_the_whole(reader: Any, text: str) -> Iterator[str]:
    """Bookmarks with words that no page has, and what was filled in a form that only some programs show (XFA)."""
    known = " ".join(text.split())
    for found in (_bookmarks, _filled):
        try:
            words = [" ".join(clean(each).split()) for each in found(reader)]
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  # pypdf, as above; lxml on what is no XML: the pages are there
            words = []
        if more := [each for each in dict.fromkeys(words) if each and each not in known]:
            yield "\n".join(more)


def _bookmarks(reader: Any) -> list[str]:
    return [str(each.title) for each in _flat(reader.outline)]


def _filled(reader: Any) -> list[str]:
    form = reader.root_object.get("/AcroForm", {}).get_object().get("/XFA")
    if form is None:
        return []
    form = form.get_object()
    parts = form[1::2] if isinstance(form, list) else [form]
    whole = b"".join(part.get_object().get_data() for part in parts)
    return [words for data in xml(whole, recover=True).iter("{*}datasets") for words in data.itertext()]


def _flat(outline: list[Any]) -> Iterator[Any]:
    for each in outline:
        if isinstance(each, list):
            yield from _flat(each)
        else:
            yield each


def _page(page: Any, told: Collection[str], *, layout: bool) -> str:
    text = clean(page.extract_text()).strip()
    if layout and text:
        try:
            lines = clean(page.extract_text(extraction_mode="layout", layout_mode_strip_rotated=False))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  # the plain text is there, and what could go wrong is pypdf's
            lines = ""
        found = with_tables(lines) or by_column(lines, text)
        if found and _characters(text) <= _characters(found):
            text = found.strip()
    more = [*_new(told, text), *_annotations(page), *_addresses(page, text)]
    return "\n\n".join(filter(None, [text, *more]))


def _new(told: Collection[str], text: str) -> Iterator[str]:
    """What is not in the text already, whatever blanks it has there."""
    known = "".join(text.split())
    for words in dict.fromkeys(clean(each).strip() for each in told):
        if "".join(words.split()) not in known:
            yield words


def _characters(text: str) -> Counter[str]:
    return Counter(char for char in text if char.isalnum())


def _annotations(page: Any) -> Iterator[str]:
    """What somebody wrote onto the page: notes, and fields of a form with their names."""
    for reference in page.get("/Annots") or ():
        note = reference.get_object()
        if note.get("/Subtype") != "/Widget":
            words = clean(str(note.get("/Contents") or "")).strip() or _rich(str(note.get("/RC") or ""))
            if words and note.get("/Subtype") != "/Link":
                yield words
            continue
        field = note.get("/Parent", note).get_object() if "/T" not in note else note
        chosen = field.get("/V") or ""
        value = ", ".join(map(str, chosen)) if isinstance(chosen, list) else str(chosen)
        value = clean(value).strip().removeprefix("/")
        if value and value != "Off" and field.get("/FT") != "/Sig":
            yield f"{clean(str(field.get('/TU') or field.get('/T') or ''))}: {value}"


def _rich(source: str) -> str:
    return of_html(source, "").text.strip() if source else ""


def _addresses(page: Any, text: str) -> Iterator[str]:
    """Where links lead to, unless it is written there."""
    known = text.split()
    for reference in page.get("/Annots") or ():
        action = reference.get_object().get("/A")
        address = clean(str((action and action.get_object().get("/URI")) or "")).strip()
        if address and address not in known:
            known.append(address)
            yield address


def _has_picture(page: Any, pixels: int) -> bool:
    """Whether there is one of at least so many pixels."""
    objects: Any = page
    for key in ("/Resources", "/XObject"):
        objects = objects.get(key, {}).get_object() if key in objects else {}
    pictures = (each.get_object() for each in objects.values())
    return any(
        picture.get("/Subtype") == "/Image" and (pixels <= 1 or _pixels(picture) >= pixels) for picture in pictures
    )


def _pixels(picture: Any) -> int:
    try:
        return int(picture["/Width"]) * int(picture["/Height"])
    except (KeyError, TypeError, ValueError):
        return 0


def _read_in_pictures(page: Any, recognition: TextRecognition | None) -> PictureText:
    """Of all pictures of the page in their order (some scanners make a page of strips), as it is turned. Raises NotRecognized."""
    if recognition is None:
        raise NotRecognized("it is a picture: run text recognition (OCR) on it")
    turned = int(page.get("/Rotate") or 0) % 360
    found: list[PictureText] = []
    reason = NotRecognized("it is a picture in a format that is not read")
    for name in page.images.keys()[:_MAX_PICTURES]:
        try:
            picture = _picture(page, name)
            found.append(recognition.recognize(picture.rotate(-turned, expand=True) if turned else picture))
        except NotRecognized as error:
            reason = error
    if not found:
        raise reason
    return PictureText.joined(found)


def _picture(page: Any, name: str | list[str]) -> Any:
    """Unpacked by pypdf and Pillow. Raises NotRecognized."""
    try:
        holder, reference = page, None
        for part in [name] if isinstance(name, str) else name:
            reference = holder["/Resources"]["/XObject"].get(part)  # one within the page's own code (~0~) is small
            holder = reference
        if reference is not None:
            check_pixels(int(reference["/Width"]) * int(reference["/Height"]))
        return page.images[name].image
    except (NotRecognized, MemoryError):
        raise
    except Exception as error:  # pypdf, as above, and Pillow
        raise NotRecognized("it is a picture in a format that is not read") from error


def _joined(match: re.Match[str], words: Counter[str]) -> str:
    """A word that was parted at the end of a line; with its hyphen where the document writes it so elsewhere."""
    whole, hyphened = match.group(1) + match.group(2), f"{match.group(1)}-{match.group(2)}"
    return hyphened if words[hyphened] > words[whole] else whole
