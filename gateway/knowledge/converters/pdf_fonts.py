"""Fonts of a PDF that do not say themselves which characters they draw (they have no `/ToUnicode`).

A font with codes of several bytes is then read by the name of its encoding, or by the table of characters within its file. For
those of which neither is known pypdf would give the numbers of glyphs for characters: such a font is told by its name.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from io import BytesIO
from types import MappingProxyType
from typing import Any

# Of encodings that pypdf does not know: one that it does know, with the same codes.
_SAME_CODES: Mapping[str, str] = MappingProxyType(
    {
        "90msp-RKSJ": "90ms-RKSJ",
        "90pv-RKSJ": "90ms-RKSJ",
        "83pv-RKSJ": "90ms-RKSJ",
        "Ext-RKSJ": "90ms-RKSJ",
        "Add-RKSJ": "90ms-RKSJ",
        "GBKp-EUC": "GBK-EUC",
        "GBpc-EUC": "GBK-EUC",  # pypdf takes gb2312 for it, which has fewer characters
        "B5pc": "ETen-B5",
        "HKscs-B5": "ETen-B5",
    }
)
_CODECS: Mapping[str, str] = MappingProxyType(
    {
        "EUC": "euc_jp",
        "H": "pdf_jis",
        "V": "pdf_jis",
        "Ext": "pdf_jis",
        "Add": "pdf_jis",
        "NWP": "pdf_jis",
        "KSC-EUC": "euc_kr",
        "KSCms-UHC": "cp949",
        "KSCms-UHC-HW": "cp949",
        "KSCpc-EUC": "cp949",
        "UniGB-UTF8": "utf-8",
        "UniJIS-UTF8": "utf-8",
        "UniCNS-UTF8": "utf-8",
        "UniKS-UTF8": "utf-8",
        "UniGB-UTF32": "utf-32-be",
        "UniJIS-UTF32": "utf-32-be",
        "UniCNS-UTF32": "utf-32-be",
        "UniKS-UTF32": "utf-32-be",
        "UniJIS2004-UTF32": "utf-32-be",
        "UniKS-UTF16": "utf-16-be",
        "UniJIS2004-UTF16": "utf-16-be",
        "UniJISX0213-UTF32": "utf-32-be",
    }
)
"""Encodings (without `-H` and `-V`) with codes that none of pypdf's has, and the codec that reads them."""
_KNOWN_TO_PYPDF = ("GB-EUC", "GBK-EUC", "GBK2K", "ETen-B5", "ETenms-B5", "90ms-RKSJ")
_MAX_GLYPHS = 65_536
# As pdf.js reads them: names that programs make of a character's number.
_NUMBERED = (
    (re.compile(r"G([0-9A-Fa-f]{2})"), 16),
    (re.compile(r"g([0-9A-Fa-f]{4})"), 16),
    (re.compile(r"[Cca](0\d{3}|\d{2,3})"), 10),
)


class FontFacts:
    """What is known of the fonts of one document. Fonts are completed in place, in memory."""

    def __init__(self) -> None:
        self._unreadable: dict[int, str | None] = {}
        self._kept: list[Any] = []  # that no other font gets the id of one we know

    def unreadable(self, holder: Any) -> dict[str, str]:
        """Of a page's or form's fonts those that do not say what they draw: the name in its drawing, the font's own. The others
        are completed."""
        found = {}
        for name, font in _fonts(holder):
            if id(font) not in self._unreadable:
                self._kept.append(font)
                self._unreadable[id(font)] = _completed(font)
            if (title := self._unreadable[id(font)]) is not None:
                found[name] = title
        return found


def names_of_fonts(holder: Any) -> set[str]:
    """Of a page's fonts, without the mark of a subset (`ABCDEF+`)."""
    return {_title(font) for _, font in _fonts(holder)} or {"without a name"}


def _title(font: Any) -> str:
    return str(font.get("/BaseFont", "without a name")).removeprefix("/").rpartition("+")[2]


def _fonts(holder: Any) -> Iterator[tuple[str, Any]]:
    resources = holder.get("/Resources")
    fonts = resources.get_object().get("/Font") if resources is not None else None
    for name, font in (fonts.get_object() if fonts is not None else {}).items():
        found = font.get_object()
        if hasattr(found, "get"):
            yield name, found


def _completed(font: Any) -> str | None:
    """The font's name if nothing says which characters it draws; else what says it is in the font afterwards."""
    if "/ToUnicode" in font:
        return None
    if font.get("/Subtype") == "/Type0":
        return _composite(font)
    characters = _of_differences(font)
    if font.get("/Subtype") == "/TrueType" and "/Encoding" not in font:
        characters = _of_codes(font)
    if characters:
        _set_characters(font, characters, 1)
    return None


def _composite(font: Any) -> str | None:
    from pypdf.generic import NameObject

    encoding = font.get("/Encoding")
    encoding = encoding.get_object() if encoding is not None else None
    if isinstance(encoding, str):
        whole = encoding.removeprefix("/")
        kind = whole[:-2] if whole.endswith(("-H", "-V")) else whole
        if same := _SAME_CODES.get(kind):
            font[NameObject("/Encoding")] = NameObject(f"/{same}-H")
            return None
        if codec := _CODECS.get(kind):
            _teach(encoding, codec)
            return None
        if kind in _KNOWN_TO_PYPDF or kind.endswith(("-UCS2", "-UTF16", "UCS2-HW")):
            return None
        if kind == "Identity" and (characters := _of_glyphs(font)):
            _set_characters(font, characters, 2)
            return None
    return _title(font)


def _teach(encoding: str, codec: str) -> None:
    """pypdf has a table of encodings by name, and no other way to be told of one."""
    from pypdf import _cmap

    _cmap._predefined_cmap.setdefault(encoding, codec)


def _of_glyphs(font: Any) -> dict[int, str]:
    """By the number in the text (CID), from the font's file; none where there is no file, or nothing in it."""
    descendants = font.get("/DescendantFonts")
    inner = descendants.get_object()[0].get_object() if descendants is not None else font
    descriptor = inner.get("/FontDescriptor")
    if descriptor is None:
        return {}
    descriptor = descriptor.get_object()
    if (file := descriptor.get("/FontFile2")) is not None:
        return _by_cid(inner, _of_file(file.get_object().get_data()))
    if (file := descriptor.get("/FontFile3")) is not None:
        data = file.get_object().get_data()
        return _by_cid(inner, _of_file(data) if data[:4] == b"OTTO" else _of_cff(data))
    return {}


def _by_cid(inner: Any, characters: dict[int, str]) -> dict[int, str]:
    """`/CIDToGIDMap`, if it is a table, says which glyph a number means."""
    table = inner.get("/CIDToGIDMap")
    table = table.get_object() if table is not None else None
    if table is None or not hasattr(table, "get_data"):
        return characters
    data = table.get_data()[: 2 * _MAX_GLYPHS]
    glyphs = {cid: int.from_bytes(data[2 * cid : 2 * cid + 2]) for cid in range(len(data) // 2)}
    return {cid: characters[glyph] for cid, glyph in glyphs.items() if glyph in characters}


def _of_file(data: bytes) -> dict[int, str]:
    """Characters by the number of their glyph, of a TrueType or OpenType font: by its table of characters, or by the glyphs'
    names. None of a damaged one."""
    from fontTools.ttLib import TTFont

    try:
        with TTFont(BytesIO(data), lazy=True) as file:
            table = file.getBestCmap() if "cmap" in file else None
            order = file.getGlyphOrder()[:_MAX_GLYPHS]
            named = _of_names(order)
            number = {name: glyph for glyph, name in enumerate(order)}
            return named | {
                number[name]: chr(code)
                for code, name in sorted((table or {}).items(), reverse=True)
                if name in number and not 0xE000 <= code <= 0xF8FF
            }
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # whatever fontTools raises on damaged files: then the font says nothing
        return {}


def _of_cff(data: bytes) -> dict[int, str]:
    """The same of a bare CFF font whose glyphs have names; in one with numbers these are of a list that is not in the file."""
    from fontTools.cffLib import CFFFontSet

    try:
        fonts = CFFFontSet()
        fonts.decompile(BytesIO(data), None)
        first = fonts[0]
        return {} if hasattr(first, "ROS") else _of_names(first.charset[:_MAX_GLYPHS])
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # as above
        return {}


def _of_names(names: list[str]) -> dict[int, str]:
    from fontTools.agl import toUnicode

    # Names like glyph00012 are made up where a file has none, and say nothing.
    found = ((number, toUnicode(name)) for number, name in enumerate(names) if name != ".notdef")
    return {number: characters for number, characters in found if characters}


def _of_differences(font: Any) -> dict[int, str]:
    """Characters by the code in the text, of glyphs with names that pypdf takes for the text itself: ligatures (`f_f_i`),
    variants (`a.sc`) and what programs make up (`G41`, `c65`). One whose name says nothing is U+FFFD."""
    from pypdf._codecs import adobe_glyphs

    encoding = font.get("/Encoding")
    encoding = encoding.get_object() if encoding is not None else None
    differences = encoding.get("/Differences") if encoding is not None and hasattr(encoding, "get") else None
    found: dict[int, str] = {}
    code = 0
    for each in differences.get_object() if differences is not None else ():
        if isinstance(each, int):
            code = each
            continue
        known = adobe_glyphs.get(str(each))
        if (
            known is not None and len(known) == 1 and 0xF721 <= ord(known) <= 0xF7FF
        ):  # Adobe's small capitals and old digits
            found[code] = chr(ord(known) - 0xF700)
        elif known is None and str(each) != "/.notdef":
            found[code] = _of_name(str(each).removeprefix("/"), code, drawn=font.get("/Subtype") == "/Type3")
        code += 1
    return {code: text for code, text in found.items() if 0 <= code <= 0xFF}


def _of_name(name: str, code: int, *, drawn: bool) -> str:
    """drawn: a font of drawings (Type 3), whose glyphs have any names; their codes mostly are the characters'."""
    from fontTools.agl import toUnicode

    if characters := toUnicode(name) or toUnicode(name.removesuffix("small")):
        return str(characters)
    for pattern, base in _NUMBERED:
        if (match := pattern.fullmatch(name)) and _is_printed(number := int(match[1], base)):
            return chr(number)
    return chr(code) if drawn and _is_printed(code) else "\ufffd"


def _is_printed(number: int) -> bool:
    return 0x20 < number < 0x110000 and chr(number).isprintable()


def _of_codes(font: Any) -> dict[int, str]:
    """Characters by the code in the text, of a TrueType font with an alphabet of its own ("symbolic")."""
    from fontTools.ttLib import TTFont

    descriptor = font.get("/FontDescriptor")
    file = descriptor and descriptor.get_object().get("/FontFile2")
    if file is None or not int(descriptor.get_object().get("/Flags") or 0) & 4:
        return {}
    data = file.get_object().get_data()
    characters = _of_file(data)
    try:
        with TTFont(BytesIO(data), lazy=True) as opened:
            tables = {(each.platformID, each.platEncID): each.cmap for each in opened["cmap"].tables}
            own = tables.get((3, 0)) or tables.get((1, 0)) or {}
            number = {name: glyph for glyph, name in enumerate(opened.getGlyphOrder())}
            return {
                code & 0xFF: characters[number[name]]
                for code, name in own.items()
                if number.get(name) in characters and (code <= 0xFF or 0xF000 <= code <= 0xF0FF)
            }
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # as above
        return {}


def _set_characters(font: Any, characters: dict[int, str], size: int) -> None:
    """As the font would have said it itself. size: bytes of a code."""
    from pypdf.generic import DecodedStreamObject, NameObject

    entries = [
        f"<{code:0{2 * size}X}> <{text.encode('utf-16-be', 'surrogatepass').hex().upper()}>"
        for code, text in sorted(characters.items())
    ]
    stream = DecodedStreamObject()
    parts = [entries[at : at + 100] for at in range(0, len(entries), 100)]
    stream.set_data(
        "\n".join(f"{len(part)} beginbfchar\n" + "\n".join(part) + "\nendbfchar" for part in parts).encode("ascii")
    )
    font[NameObject("/ToUnicode")] = stream


def _jis(data: Any, errors: str = "strict") -> tuple[str, int]:
    return bytes(byte | 0x80 for byte in bytes(data)).decode("euc_jp", errors), len(data)


def _find_codec(name: str) -> codecs.CodecInfo | None:
    """`pdf_jis`: rows and cells of JIS X 0208 in 7 bits, as the encodings H and V have them."""
    if name != "pdf_jis":
        return None
    return codecs.CodecInfo(_no_encoding, _jis, name=name)


def _no_encoding(text: str, errors: str = "strict") -> tuple[bytes, int]:
    raise UnicodeError("characters are not written in this codec")


codecs.register(_find_codec)
