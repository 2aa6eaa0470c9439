"""LaTeX and BibTeX as they are, but for letters: an accent that is written as a command is on its letter, so words are words."""

import re
import unicodedata

from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.text import document_of, lined
from gateway.knowledge.documents import Document
from gateway.knowledge.normalization import clean

_COMBINING = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307", '"': "\u0308",
    "r": "\u030a", "H": "\u030b", "v": "\u030c", "d": "\u0323", "c": "\u0327", "k": "\u0328",
}  # fmt: skip
_LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł", "i": "i",
    "j": "j",
}  # fmt: skip
_ACCENT = re.compile(
    r"""\\(?:([`'^"~=.])[ ]?(?:\{\\?([A-Za-z])\}|\\([ij])(?![A-Za-z])(?:\{\})?|([A-Za-z]))"""
    r"""|([uvHcdkr])(?:\{\\?([A-Za-z])\}|[ ]([A-Za-z])))"""
)
_LETTER = re.compile(r"\\(ss|ae|AE|oe|OE|aa|AA|[oOlL])(?:\{\}|(?![A-Za-z])[ ]?)")
_ALONE = re.compile(r"\{([^\x00-\x7f])\}")


def latex(name: str, content: bytes) -> Document:
    """As source code, with its letters. Formulas and commands stay as they are written."""
    decoded = decode(name, content)
    text = _ALONE.sub(r"\1", _LETTER.sub(lambda match: _LETTERS[match[1]], _ACCENT.sub(_with_accent, decoded.text)))
    return lined(document_of(decoded, clean(text), name, "code"), decoded)


def _with_accent(match: re.Match[str]) -> str:
    """The letter with its accent, if there is one; else the command as it was: `\\.x` may be anything."""
    accent = match[1] or match[5]
    letter = next(filter(None, (match[2], match[3], match[4], match[6], match[7])))
    made = unicodedata.normalize("NFC", letter + _COMBINING[accent])
    return made if len(made) == 1 else match.group()
