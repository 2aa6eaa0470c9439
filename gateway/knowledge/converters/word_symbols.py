"""Characters of symbol fonts in Word: as numbers of a font, or as letters that the font draws as something else.

mammoth knows the first way, for five fonts; what it does not know it leaves out without a word.
"""

import re
import zipfile
from io import BytesIO

from gateway.knowledge.converters.archives import xml
from gateway.knowledge.documents import Skipped

_PARTS = re.compile(r"word/(document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml")
_HINT = re.compile(rb'<w:sym\b|="(?:Symbol|Webdings|Wingdings(?: [23])?)"')
_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FONTS = (f"{_W}ascii", f"{_W}hAnsi", f"{_W}cs")
_PRIVATE = range(0xF000, 0xF100)
"""Where Word keeps the 256 characters of a symbol font."""


def with_symbols(content: bytes) -> tuple[bytes, list[Skipped]]:
    """A document whose symbols are characters, and the fonts of which nothing is known."""
    unknown: dict[str, int] = {}
    with zipfile.ZipFile(BytesIO(content)) as old:
        parts = {part: old.read(part) for part in old.namelist() if _PARTS.fullmatch(part)}
        changed = {part: _replaced(data, unknown) for part, data in parts.items() if _HINT.search(data)}
        if not changed:
            return content, []
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for part in old.namelist():
                new.writestr(part, changed.get(part) or old.read(part))
    reason = "nothing says which characters this font draws"
    skipped = [Skipped(f"{count} symbols of the font {font}", reason) for font, count in unknown.items()]
    return out.getvalue(), skipped


def _replaced(data: bytes, unknown: dict[str, int]) -> bytes:
    from lxml import etree

    root = xml(data)
    for symbol in list(root.iter(f"{_W}sym")):
        font, number = symbol.get(f"{_W}font") or "", symbol.get(f"{_W}char") or ""
        code = int(number, 16) if re.fullmatch(r"[\da-fA-F]{1,4}", number) else 0
        symbol.tag = f"{_W}t"
        symbol.attrib.clear()
        symbol.text = _character(font, code, unknown)
    for run in root.iter(f"{_W}r"):
        fonts = run.find(f"{_W}rPr/{_W}rFonts")
        named = [fonts.get(key) or "" for key in _FONTS] if fonts is not None else []
        font = next(filter(_is_symbolic, named), "")
        for text in run.iterchildren(f"{_W}t") if font else ():
            text.text = "".join(_character(font, ord(char), unknown) for char in text.text or "")
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True))


def _is_symbolic(font: str) -> bool:
    return (font, ord("a")) in _dingbats()


def _character(font: str, code: int, unknown: dict[str, int]) -> str:
    private = code in _PRIVATE
    known = _dingbats().get((font, code - _PRIVATE.start if private else code))
    if known is not None:
        return chr(known)
    if private or not code or not chr(code).isprintable():
        unknown[font] = unknown.get(font, 0) + 1
        return ""
    return chr(code)


def _dingbats() -> dict[tuple[str, int], int]:
    from mammoth.docx.dingbats import dingbats

    found: dict[tuple[str, int], int] = dingbats
    return found
