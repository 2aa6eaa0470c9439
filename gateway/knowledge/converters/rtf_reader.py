"""RTF, word by word: what is in braces is a group, which ends with what was set within it; some groups are *destinations*, which
are no part of the text, or stand apart from it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from gateway.knowledge.converters import rtf_characters
from gateway.knowledge.converters.rtf_flow import Flow

_TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?\d{1,10})?\d*[ ]?|\\'([0-9A-Fa-f]{2})|\\([^A-Za-z])|([{}])|([^\\{}\r\n\0]+)|[\\\r\n\0]",
    re.DOTALL,
)
_SIGNS: Mapping[str, str] = MappingProxyType(
    {
        "tab": "\t", "emdash": "—", "endash": "–", "emspace": " ", "enspace": " ", "qmspace": " ", "bullet": "•",
        "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "zwj": "\u200d", "zwnj": "\u200c", "~": " ",
        "_": "‑", "-": "\u00ad", "{": "{", "}": "}", "\\": "\\", ":": ":", "|": "|", "column": "\n", "softline": "\n",
        "softcol": "\n", "line": "\n", "lbr": "\n",
    }
)  # fmt: skip
_ENDS = frozenset({"par", "sect", "page", "softpage", "\n", "\r"})
"""Of a paragraph."""

# Destinations that are no part of the text, without a `\*` that says so.
_LEFT_OUT = frozenset(
    """
    colortbl filetbl fonttbl stylesheet info pict objdata bin themedata colorschememapping datastore nonshppict nonesttables
    revtbl rsidtbl listtable listoverridetable latentstyles xe tc rxe txe fldinst mmathPict objclass objname nesttableprops
    ftnsep ftnsepc ftncn aftnsep aftnsepc aftncn template private background upr sp pn
    """.split()  # noqa: SIM905 - a list literal of them would be three times as long
)
_SHOWN = frozenset(
    """
    ud result shppict shpinst shp moMath moMathPara shptxt dptxbxtext annotation footnote do shpgrp picprop sv
    """.split()  # noqa: SIM905 - as above
)
"""Read though `\\*` stands before them, or though they are within what is left out."""
_APART = frozenset(
    {
        "header",
        "headerl",
        "headerr",
        "headerf",
        "footer",
        "footerl",
        "footerr",
        "footerf",
        "shptxt",
        "dptxbxtext",
        "annotation",
    }
)
_TITLES = frozenset({"title"})
_TOLD = frozenset({"wzDescription", "gtextUNICODE", "pihlShape"})
"""Properties of shapes that are words for a reader."""
_FORMULA = MappingProxyType({"mden": "/", "msup": "^", "msub": "_", "mdeg": "√"})
_ADDRESS = re.compile(r'HYPERLINK\s+(?:\\\\?[lomnt]\s+)*"?([a-z][a-z0-9+.-]{1,20}:[^"\s]+)', re.IGNORECASE)
_EQUATION = re.compile(r"^\s*EQ\s(.*)", re.DOTALL)
_SWITCH = re.compile(r"\\+[a-z]{1,3}(?:\([^()]{0,20}\))?(?=[\\( ])", re.IGNORECASE)
_MAX_GROUPS = 100_000
_MAX_SKIPPED = 100
_MAX_AROUND_FONTS = 10
"""Groups that the list of fonts may be within."""


@dataclass(slots=True)
class _Group:
    """What holds until the group ends."""

    flow: Flow | None
    """Where text goes; None: nowhere."""
    around: Flow
    """The same, or that of the nearest group around it which has one."""
    codec: str = ""
    skip: int = 1
    """Characters behind a `\\u` that stand for it (`\\uc`)."""
    deleted: bool = False
    destination: str = ""
    starred: bool = False
    raised: bool = False
    opened: str = ""
    """The destination that begins with this group."""


class Reader:
    """Reads a document; what it found is in `text`, `apart` and `title` then."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._default = rtf_characters.of_document(content)
        self._raw = None if content.isascii() or not _is_utf8(content) else "utf-8"
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._default_font: int | None = None
        self._characters = rtf_characters.Characters()
        self._left = 0
        self.text = Flow()
        self.apart: list[Flow] = []
        self.title = Flow()
        self.pictures = 0
        self._instructions = Flow()
        self._field = self.text
        """Where the field is whose instructions are read."""
        self._property = Flow()
        self._name = Flow()
        self._group = _Group(self.text, self.text, self._default)
        self._groups: list[_Group] = []
        self._too_deep = 0
        self._read()

    def _read(self) -> None:
        content, at, size = self._content, 0, len(self._content)
        while at < size:
            match = _TOKEN.match(content, at)
            if match is None:
                break
            at = match.end()
            kind = match.lastindex
            if kind == 6:
                at = self._run(match[6], at)
            elif kind == 3:
                self._bytes(bytes([int(match[3], 16)]))
            elif kind == 5:
                self._brace(match[5])
            elif kind == 4:
                self._sign(match[4])
            elif kind is not None:
                word, number = match[1].decode("ascii"), int(match[2]) if match[2] else None
                if word == "bin":
                    at += max(number or 0, 0)
                else:
                    self._word(word, number)
        self._end_of_bytes()
        for flow in (self.text, *self.apart):
            flow.end()

    def _run(self, data: bytes, at: int) -> int:
        """Characters as they are. Gives where reading goes on: a byte behind the first one of two is the second, whatever it
        means otherwise."""
        if self._left:
            taken = min(self._left, len(data))
            self._left -= taken
            data = data[taken:]
        if self._raw and not data.isascii():
            self._end_of_bytes()
            self._say(data.decode(self._raw, "replace"))
            return at
        self._bytes(data)
        if data and data[-1] >= 0x80 and self._characters.waits and self._content[at : at + 1] in (b"\\", b"{", b"}"):
            self._bytes(self._content[at : at + 1])
            return at + 1
        return at

    def _bytes(self, data: bytes) -> None:
        if self._left and data:
            self._left -= 1
        elif data and self._group.flow is not None and not self._group.deleted:
            self._say(self._characters.read(data, self._group.codec))

    def _say(self, text: str) -> None:
        group = self._group
        if text and group.flow is not None and not group.deleted:
            if group.raised and text[0].isdigit() and group.flow.last.isdigit():
                group.flow.say("^")  # 10⁶ is not 106
            group.flow.say(text)

    def _end_of_bytes(self) -> None:
        if left := self._characters.end():
            self._say(left)

    def _sign(self, sign: bytes) -> None:
        if sign in b"\\{}" and not self._left:  # it may be the second byte of a character
            self._bytes(sign)
        elif self._left:
            self._left -= 1
        elif sign == b"*":
            self._group.starred = True
        elif sign in (b"\n", b"\r"):
            self._paragraph()
        else:
            self._end_of_bytes()
            self._say(_SIGNS.get(sign.decode("latin-1"), ""))

    def _brace(self, brace: bytes) -> None:
        self._left = 0
        if brace == b"{":
            if len(self._groups) >= _MAX_GROUPS:
                self._too_deep += 1
            else:
                self._groups.append(self._group)
                self._group = replace(self._group, starred=False, opened="")
        elif self._too_deep:
            self._too_deep -= 1
        elif self._groups:
            self._closed(self._group)
            self._group = self._groups.pop()

    def _word(self, word: str, number: int | None) -> None:
        if self._left:  # a word counts as a character
            self._left -= 1
            return
        group = self._group
        if word in _SIGNS:
            self._end_of_bytes()
            self._say(_SIGNS[word])
        elif word == "u":
            self._unicode(number or 0)
        elif word in _ENDS:
            self._paragraph()
        elif word == "uc":
            group.skip = min(max(number or 0, 0), _MAX_SKIPPED)
        elif word == "deleted":
            group.deleted = number != 0
        elif word in ("super", "up", "nosupersub"):
            group.raised = word != "nosupersub" and number != 0
        elif self._font_word(word, number) or self._destination(word):
            pass
        elif group.flow is not None:
            group.flow.control(word, number)
        elif word == "nestrow":
            group.around.control(word, number)

    def _unicode(self, number: int) -> None:
        self._end_of_bytes()
        code = number + 0x10000 if number < 0 else number
        if 0 < code < 0x110000:
            self._say(chr(code))
        self._left = self._group.skip

    def _paragraph(self) -> None:
        self._end_of_bytes()
        if self._group.flow is not None and not self._group.deleted:
            self._group.flow.paragraph()

    def _font_word(self, word: str, number: int | None) -> bool:
        """Words that say what bytes mean. In the list of fonts they tell of a font."""
        group = self._group
        listed = group.destination == "fonttbl"
        if word == "f" and listed:
            self._font = number or 0
        elif word in ("fcharset", "cpg") and listed:
            codec = (rtf_characters.of_code_page if word == "cpg" else rtf_characters.of_character_set)(number or 0)
            if codec is not None:
                self._fonts[self._font] = codec
                if self._font == self._default_font:
                    self._settle(codec)
        elif word == "f":
            group.codec = self._fonts.get(number or 0, self._default)
        elif word == "deff":
            self._default_font = number or 0
        elif word == "plain":
            group.codec = (
                self._fonts.get(self._default_font or 0, self._default)
                if self._default_font is not None
                else self._default
            )
            group.deleted = group.raised = False
        else:
            return False
        return True

    def _settle(self, codec: str) -> None:
        """The default font is known: what was opened before it is in it."""
        for group in [*self._groups[:_MAX_AROUND_FONTS], self._group]:
            group.codec = codec

    def _destination(self, word: str) -> bool:
        group = self._group
        if word in _SHOWN or word in _APART:
            self._shown(word)
        elif word in _TITLES and group.destination == "info":
            self._opened(word, self.title)
        elif word == "fldinst":
            self._instructions, self._field = Flow(), group.around
            self._opened(word, self._instructions)
        elif word == "ffl":
            self._opened(word, self._field)
        elif word == "sn":
            self._name = Flow()
            self._opened(word, self._name)
        elif word in _LEFT_OUT or word.endswith("Pr") or group.starred:
            self.pictures += word == "pict" and group.destination not in ("nonshppict", "mmathPict")
            self._opened(word, None)
        else:
            if word in _FORMULA:
                self._say(_FORMULA[word])
            return False
        return True

    def _shown(self, word: str) -> None:
        if self._group.destination in ("nonshppict", "mmathPict", "objdata"):
            self._opened(self._group.destination, None)
        elif word == "sv":
            self._property = Flow()
            self._opened(word, self._property)
        elif word in _APART:
            self.apart.append(Flow())
            self._opened(word, self.apart[-1])
        elif word in ("shp", "shpinst", "shpgrp", "do", "picprop", "shppict"):
            self._opened(word, None)
        else:
            flow = self._group.around
            self._opened(word, flow)
            if word == "footnote":
                flow.say(" ")

    def _opened(self, word: str, flow: Flow | None) -> None:
        self._end_of_bytes()
        self._group.flow = flow
        self._group.around = flow or self._group.around
        self._group.destination = word
        self._group.opened = word
        self._group.starred = False

    def _closed(self, group: _Group) -> None:
        if not group.opened:
            return
        self._end_of_bytes()
        outer = self._groups[-1].flow
        if group.opened == "fldinst":
            said = self._instructions.text()
            if outer is not None:
                outer.say(_of_field(said))
        elif group.opened in ("footnote", "ffl") and group.flow is not None:
            group.flow.say(" ")
        elif group.opened == "sv" and self._name.text().strip() in _TOLD:
            self.apart.append(self._property)


def _of_field(said: str) -> str:
    """What the instructions of a field say that is not in its result."""
    if address := _ADDRESS.search(said):
        return f"{address[1]} "
    if equation := _EQUATION.search(said):
        return _SWITCH.sub(" ", equation[1]).replace("(", " ").replace(")", " ") + " "
    return ""


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
