"""Characters as they are stored and searched: what looks the same is the same, and nothing invisible parts a word.

A citation points into the stored text, so it is changed here, once, before anything counts characters. What carries meaning
stays: joiners in Arabic and Indic scripts and in emoji, break marks between letters of scripts without spaces, superscripts.
"""

import re
import unicodedata

_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_])|[^\n]\x08")
"""Colours and titles of terminals, and what was struck over (`man` prints bold as X, backspace, X)."""
_LINE_END = re.compile(r"\r\n|[\r\f\v\x85\x1c-\x1e]")
"""Also what parts files, groups and records for machines; fields are parted by \\x1f (`_SPACE`)."""
_HYPHENATED = re.compile(r"\xad[ \t]*\n[ \t]*")
_HYPHEN = re.compile("[\u2010\u2011]")
_SPACE = re.compile(r"[\x01\x1f\xa0\u1680\u2000-\u200a\u202f\u205f]")
# NUL and other controls, surrogates, soft hyphens, bidi and shaping controls, byte order marks, annotation marks.
_NEVER = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\xad\u034f\u061c\u180e\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffc]"
)
# Lao, Thai, Burmese and Khmer are written without spaces; there a zero width space is the end of a word.
_UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_BREAK = re.compile(rf"(?<![{_UNSPACED}])\u200b|\u200b(?![{_UNSPACED}])")
# Latin, Greek, Cyrillic, digits, punctuation, blanks: nothing there is joined.
_JOINER = re.compile(r"(?<=[\x00-\u052f\u1e00-\u200a])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\u052f\u1e00-\u200a]|$)")
_TAGS = re.compile("(\U0001f3f4[\U000e0061-\U000e007f]+)|[\U000e0000-\U000e007f]")  # a region's flag, or hidden text
# Ligatures, presentation forms, radicals that stand for characters, wide letters and digits, letters of mathematics.
_COMPATIBLE = re.compile(
    "[\ufb00-\ufb06\ufb13-\ufb4f\ufb50-\ufdff\ufe70-\ufefc\u2e9f\u2ef3\u2f00-\u2fd5\uff10-\uff19\uff21-\uff3a\uff41-\uff5a"
    "\uff66-\uff9f\U0001d400-\U0001d7ff]+"
)


def clean(text: str) -> str:
    """All line and page ends become LF, all blanks but tabs and wide ones the common one, what moves a terminal goes; then
    `normalized`."""
    return normalized(_SPACE.sub(" ", _LINE_END.sub("\n", _TERMINAL.sub("", text))))


def normalized(text: str) -> str:
    """One spelling of each word, in Unicode's form C; a search's question is spelled so, too."""
    if text.isascii():
        return _NEVER.sub("", text)
    text = _NEVER.sub("", _HYPHENATED.sub("", text))
    text = _JOINER.sub("", _BREAK.sub("", text))
    text = _HYPHEN.sub("-", text)
    text = _TAGS.sub(r"\1", text)
    text = _COMPATIBLE.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    return unicodedata.normalize("NFC", text)
