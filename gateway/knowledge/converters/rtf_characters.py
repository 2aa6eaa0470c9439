"""Characters of RTF: bytes in the code page of the font that they are in, of which some have two for a character."""

import codecs
import re
from collections.abc import Mapping
from types import MappingProxyType

_CHARSETS: Mapping[int, str] = MappingProxyType(
    {
        0: "cp1252",
        77: "mac-roman",
        78: "cp932",
        79: "cp949",
        80: "cp936",
        81: "cp950",
        83: "cp1255",
        84: "cp1256",
        85: "mac-greek",
        86: "mac-turkish",
        87: "cp874",
        88: "mac-latin2",
        89: "mac-cyrillic",
        128: "cp932",
        129: "cp949",
        130: "johab",
        134: "gb18030",
        136: "cp950",
        161: "cp1253",
        162: "cp1254",
        163: "cp1258",
        177: "cp1255",
        178: "cp1256",
        186: "cp1257",
        204: "cp1251",
        222: "cp874",
        238: "cp1250",
        254: "cp437",
        255: "cp850",
    }
)
"""By the number that a font says (`\\fcharset`); those that are not here have the document's own."""
_CODE_PAGES: Mapping[int, str] = MappingProxyType(
    {
        936: "gb18030",
        1361: "johab",
        10000: "mac-roman",
        10001: "cp932",
        10002: "cp950",
        10003: "cp949",
        10006: "mac-greek",
        10007: "mac-cyrillic",
        10008: "cp936",
        10029: "mac-latin2",
        10081: "mac-turkish",
        20866: "koi8-r",
        21866: "koi8-u",
        65001: "utf-8",
    }
)
_OLD_SETS: Mapping[str, str] = MappingProxyType({"mac": "mac-roman", "pc": "cp437", "pca": "cp850"})
_NO_TEXT = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})


def of_code_page(number: int) -> str | None:
    """The codec of a code page; None where there is none."""
    if (known := _CODE_PAGES.get(number)) is not None:
        return known
    try:
        name = codecs.lookup(f"cp{number}").name
    except LookupError:
        return None
    return None if name in _NO_TEXT else name


def of_character_set(number: int) -> str | None:
    """The codec of a font's set of characters; None: the document's."""
    return _CHARSETS.get(number)


def of_document(content: bytes) -> str:
    """The codec of a document, by its first words."""
    page = re.search(rb"\\ansicpg(\d{1,5})", content[:4096])
    if page is not None and int(page[1]) and (known := of_code_page(int(page[1]))) is not None:
        return known
    old = re.match(rb"\s*\{\\rtf\d*[^{}]{0,40}?\\(mac|pca?)\b", content)
    return _OLD_SETS[old[1].decode()] if old else "cp1252"


class Characters:
    """Bytes as they come, made characters: a character's two bytes may come apart."""

    def __init__(self) -> None:
        self._codec = ""
        self._decoder: codecs.IncrementalDecoder | None = None

    def read(self, data: bytes, codec: str) -> str:
        begun = ""
        if codec != self._codec or self._decoder is None:
            begun = self.end()
            self._decoder = codecs.getincrementaldecoder(codec)("replace")
            self._codec = codec
        return begun + self._decoder.decode(data)

    @property
    def waits(self) -> bool:
        """Whether a character has begun whose other bytes have not come."""
        return self._decoder is not None and bool(self._decoder.getstate()[0])

    def end(self) -> str:
        """What is left when something else than bytes comes."""
        return self._decoder.decode(b"", True) if self._decoder is not None and self.waits else ""
