"""Bytes of a text file become characters, in whatever encoding they are; what was in none is counted."""

import codecs
import re
from dataclasses import dataclass

from gateway.knowledge.documents import CorruptDocument

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DECLARED = re.compile(
    rb"""<\?xml[^>]{1,200}?encoding\s*=\s*["']([\w.:-]{2,40})"""
    rb"""|<meta[^>]{1,400}?charset\s*=\s*["']?\s*([\w.:-]{2,40})"""
    rb"""|^#[^\n]{0,60}coding[:=]\s*([\w.-]{2,40})""",
    re.IGNORECASE | re.MULTILINE,
)
_SUPERSETS = {
    # What is called so in the wild is the larger one (the WHATWG's Encoding Standard says so, too).
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_ext",
}
# fmt: off
_GUESSED = (
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "iso-8859-1", "iso-8859-2",
    "iso-8859-5", "iso-8859-6", "iso-8859-7", "iso-8859-8", "iso-8859-9", "iso-8859-15", "koi8-r", "koi8-u", "cp866", "cp437",
    "cp737", "cp850", "cp852", "cp855", "cp857", "cp862", "cp869", "mac-roman", "cp932", "euc-jp", "gb18030", "big5hkscs",
    "cp949", "euc-kr", "cp874",
)
# fmt: on
"""What is guessed: encodings that files of today and of the last decades are in, of the 80 that chardet knows."""
_EBCDIC_LETTER = re.compile(rb"[\x81-\x89\x91-\x99\xa2-\xa9\xc1-\xc9\xd1-\xd9\xe2-\xe9\xf0-\xf9]")
_ONE_BYTE = re.compile("cp(?:125|437|737|8)|iso8859|koi8|mac")
_OF_OLD = re.compile("cp(?:437|737|8[56])|mac")
"""Encodings of DOS and of old Macs: their letters with accents lie where Windows has quotes and dashes."""
_IN_WORDS = re.compile(rb"(?<=[a-zA-Z])[\x80-\x91\x93-\xff](?=[a-zA-Z])")
_MIXED = re.compile(r"[a-zA-Z][\u0370-\u06ff]|[\u0370-\u06ff][a-zA-Z]|[\u2500-\u259f]")
"""Words of two scripts, and frames: an encoding that makes these is the wrong one."""
_INNER_CAPITAL = re.compile("[а-яё][А-ЯЁ]")
_ODD_CAPITALS = 2
"""Capitals in the middle of words from which on Cyrillic is taken for an old Mac's, which has я where Windows has Я."""
_OF_1250 = re.compile(rb"[\x80-\x9f]")
"""Š, š, Ť, ť, Ž, ž, Ś, ś, Ź, ź of Windows; ISO 8859-2 has nothing there."""
_OF_CZECH = re.compile(rb"[\xcc\xd8\xd9\xe8\xec\xf8\xf9\xfd]")
"""Letters of Czech and Slovak in both, none of which is Polish."""
_CONTEXT = 20
_TELLING = re.compile(rb"[\x80-\xff]+(?:[\x00-\x7f]{1,%d}[\x80-\xff]+)*[\x00-\x7f]{0,%d}" % (_CONTEXT, _CONTEXT))
"""What is not ASCII, with a little around it: ASCII alone says nothing, and much of it drowns the rest."""
_STRETCHES, _STRETCH_BYTES = 16, 4096
"""How many places of a file, evenly spread, are looked at where the encoding must be guessed, and bytes taken at each."""
_FEW = 2
"""Letters with accents that say little: they are western Europe's unless something else is much likelier."""
_MANY_ZEROS = 0.2
"""Share of zero bytes above which a file may be UTF-16; a log that was cut off by a crash has some, too."""
_LEAST_PAIRS, _FEW_VALUES = 16, 3
"""Bytes from which on, and values up to which, every second byte is looked at."""
_COMMON = re.compile(
    r"[\t\n\r\x20-\x7e\xa0-\u024f\u0370-\u06ff\u0900-\u0eff\u3001\u3002\u3040-\u30ff"
    r"\uff0c\u4e00-\u4eff\u5927-\u5929\uac00-\ud7a3]"
)
_MIN_COMMON = 0.05
_MIXED_LINES = 3
"""Lines of each kind from which on a file counts as one in two encodings."""
_CONTROLS = re.compile(r"[\x02-\x07\x0e-\x1a\x7f-\x84\x86-\x9f]")
"""What is in no text. In some is what parts fields of records (Hive's \\x01, \\x1c to \\x1f), and what strikes over."""
# fmt: off
_NEVER_SAID = frozenset({
    "idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7", "mbcs", "oem",
    "cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140",
})
# fmt: on
"""Codecs of Python's that are no encodings of files; and EBCDIC, in which nobody could read what a file says of itself."""
_JAVA_PAIR = re.compile(rb"\xed([\xa0-\xaf])([\x80-\xbf])\xed([\xb0-\xbf])([\x80-\xbf])")
"""A character beyond 16 bits as Java, Oracle and MySQL may write it: each half of the pair in UTF-8 (CESU-8)."""
_HZ = re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e])+~\}")
_MAX_ODD_UNICODE, _MAX_ODD = 0.1, 0.01
"""The share of controls and unreadable places above which a file is no text; almost any bytes are some one-byte encoding."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text and its encoding. `replaced`: places that could not be read: U+FFFD in the text, or NULs, which are dropped."""

    text: str
    encoding: str
    replaced: int = 0

    @property
    def is_text(self) -> bool:
        """Whether it looks like anything that somebody wrote."""
        limit = _MAX_ODD_UNICODE if self.encoding.startswith("utf") else _MAX_ODD
        odd = len(_CONTROLS.findall(self.text)) + self.text.count("\ufffd")
        return odd <= limit * len(self.text)


def decode(name: str, content: bytes, label: str | None = None) -> Decoded:
    """A byte order mark decides; then whatever is UTF-8 but for a few bad bytes; then what the file says of itself; then what
    its bytes look like. Raises CorruptDocument for what is no text.

    label: what is said of the content elsewhere. Of one that has several bytes for a character it is believed first."""
    if content[-1:] == b"\x1a":  # where DOS ends a text
        content = content.rstrip(b"\x1a")
    decoded = _as_said(content, label) or _decode(content)
    if not decoded.encoding.startswith("utf") and _is_ebcdic(content):
        raise CorruptDocument(f"{name} is in EBCDIC, as mainframes write; convert it first (iconv -f IBM037 -t UTF-8)")
    if not decoded.is_text:
        raise CorruptDocument(f"{name} is not text; save it as UTF-8")
    return decoded


def _is_ebcdic(content: bytes) -> bool:
    """Its blanks are `@` in ASCII, and its letters lie where ASCII has nothing."""
    part = content[:65536]
    blanks, letters = part.count(b"@"), len(_EBCDIC_LETTER.findall(part))
    return letters + blanks > 0.7 * len(part) and blanks > 0.03 * len(part) and part.count(b" ") < 0.01 * len(part)


def is_text(content: bytes) -> bool:
    """Whether these bytes are surely text: some form of Unicode."""
    decoded = _decode(content)
    return decoded.encoding.startswith("utf") and decoded.is_text and b"\0" not in content[:1] + decoded.text.encode()


def _decode(content: bytes) -> Decoded:
    if marked := _marked(content):
        return marked
    content = _JAVA_PAIR.sub(_one_character, content)
    utf8 = _read(content, "utf-8")
    bad = utf8.text.count("\ufffd") - content.count("\ufffd".encode())
    good = len(utf8.text) - len(utf8.text.encode("ascii", "ignore")) - utf8.text.count("\ufffd")
    plain = bad <= good or not bad
    if bad and good and b"\0" not in content and (mixed := _by_lines(content)):
        return mixed
    if plain and utf8.is_text and content.count(0) < _MANY_ZEROS * len(content) and not _is_of_two(content):
        return utf8
    wide = _without_mark(content) if b"\0" in content else None
    return wide or (utf8 if plain else _guessed(content) or utf8)


def _is_of_two(content: bytes) -> bool:
    """Whether every second byte is nearly always the same one, as in UTF-16 of one script: in Hindi it is a tab."""
    if b"\0" not in content or not content.isascii() or len(content) < _LEAST_PAIRS:
        return False
    return any(len(set(content[start:65536:2])) <= _FEW_VALUES for start in (0, 1))


def _marked(content: bytes) -> Decoded | None:
    """What says by its bytes in which encoding it is."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _read(content[len(mark) :], encoding)
    if content.isascii() and b"\x1b$" in content and b"\x1b(" in content:
        return _read(content, "iso2022_jp_ext")
    if content.isascii() and b"\x1b$)C" in content:
        return _read(content, "iso2022_kr")
    return _in_hz(content) if b"~{" in content and content.isascii() else None


def _in_hz(content: bytes) -> Decoded | None:
    """Chinese in mails and newsgroups of seven bits: `~{` two letters for each character `~}`. None where it is not surely so."""
    if not _HZ.search(content):
        return None
    try:
        text = content.decode("hz")
    except UnicodeDecodeError:
        return None
    return Decoded(text, "hz")


def _guessed(content: bytes) -> Decoded | None:
    """By what the file says of itself, or by what its bytes look like."""
    found = [_read(content, encoding) for encoding in (_declared(content), _likely(content)) if encoding]
    best = min(found, key=lambda decoded: (not decoded.is_text, decoded.replaced), default=None)
    return best if best and best.is_text else _without_mark(content) or best


def _by_lines(content: bytes) -> Decoded | None:
    """Lines in UTF-8 beside lines in an encoding with a byte for each character, as logs of two programs in one file are. None
    where it is not surely so: several lines of each kind, and none that is good UTF-8 but for a byte or two."""
    lines = content.splitlines(keepends=True)
    other: list[int] = []
    good = 0
    for number, line in enumerate(lines):
        if line.isascii():
            continue
        try:
            line.decode()
            good += 1
        except UnicodeDecodeError:
            if not line.decode("utf-8", "ignore").isascii():
                return None
            other.append(number)
    if good < _MIXED_LINES or len(other) < _MIXED_LINES:
        return None
    encoding = _likely(b"".join(lines[number] for number in other))
    if not _ONE_BYTE.match(encoding):
        return None
    for number in other:
        lines[number] = lines[number].decode(encoding, "replace").encode()
    text = b"".join(lines).decode()
    made = Decoded(text, "utf-8", text.count("\ufffd") - content.count("\ufffd".encode()))
    return made if made.is_text else None


def _one_character(pair: re.Match[bytes]) -> bytes:
    high, low = (pair[1][0] & 0x0F) << 6 | pair[2][0] & 0x3F, (pair[3][0] & 0x0F) << 6 | pair[4][0] & 0x3F
    return chr(0x10000 + (high << 10) + low).encode()


def _as_said(content: bytes, label: str | None) -> Decoded | None:
    """In the encoding of this name, if it can be so. A one-byte encoding can always be, and is often said of what is UTF-8."""
    encoding = _known(label or "")
    if encoding is None or encoding in ("utf-8", "utf-16", "utf-32"):  # these show
        return None
    if _ONE_BYTE.match(encoding):
        try:
            return Decoded(content.decode(), "utf-8") if not content.isascii() and b"\0" not in content else None
        except UnicodeDecodeError:
            pass
    try:
        return Decoded(content.decode(encoding).replace("\0", ""), encoding)
    except UnicodeDecodeError:
        return None


def _known(label: str) -> str | None:
    """Python's name of an encoding of text, of the larger one where two are called so."""
    try:
        found = codecs.lookup(label).name
        "".encode(found)  # some codecs are of bytes to bytes
    except (LookupError, ValueError):
        return _known(label[2:]) if label[:2].lower() == "x-" else None  # x-sjis, x-mac-roman
    return None if found.replace("_", "-") in _NEVER_SAID else _SUPERSETS.get(found, found)


def _read(content: bytes, encoding: str) -> Decoded:
    genuine = content.count("\ufffd".encode(encoding)) if encoding.startswith("utf") else 0
    text = content.decode(encoding, "replace")
    nuls = text.count("\0")
    return Decoded(text.replace("\0", ""), encoding, max(0, text.count("\ufffd") - genuine) + nuls)


def _without_mark(content: bytes) -> Decoded | None:
    """UTF-32 or UTF-16 that does not say so: it can be read without an error, and then has what is common in writing."""
    found: list[Decoded] = []
    for encoding, unit in (("utf-32-le", 4), ("utf-32-be", 4), ("utf-16-le", 2), ("utf-16-be", 2)):
        whole = content[: len(content) // unit * unit]
        try:
            text = whole.decode(encoding)
        except UnicodeDecodeError:
            continue
        common = len(_COMMON.findall(text))
        if text.count("\0") <= _MAX_ODD * len(text) and common >= 2 and common > _MIN_COMMON * len(text):
            found.append(_read(content, encoding))
            if unit == 4:
                return found[0]
    return max(found, key=lambda decoded: len(_COMMON.findall(decoded.text)), default=None)


def _declared(content: bytes) -> str | None:
    """The encoding that an XML declaration, a `<meta>` or a `coding:` comment names."""
    match = _DECLARED.search(content, 0, 2048)
    label = next(filter(None, match.groups()), b"").decode("ascii", "ignore") if match else ""
    found = _known(label)
    return None if found is None or found.startswith("utf") else found


def _likely(content: bytes) -> str:
    """The encoding that makes the most sense of what is not ASCII, in the whole file; of next to nothing western Europe's."""
    import chardet

    step = max(len(content) // _STRETCHES, _STRETCH_BYTES)
    sample = bytearray()
    for start in range(0, len(content), step):
        taken, end = len(sample), start
        for match in _TELLING.finditer(content, start, start + step):
            sample += content[max(end, match.start() - _CONTEXT) : match.end()][: _STRETCH_BYTES - len(sample) + taken]
            end = match.end()
            if len(sample) - taken >= _STRETCH_BYTES:
                break
    within = set(b"".join(_IN_WORDS.findall(sample)))
    # All letters with accents are where Windows has them; ß of DOS alone is there, too.
    modern = bool(within) and min(within) >= 0xC0 and within != {0xE1}
    telling = len(sample.translate(None, bytes(range(0x80))))
    guesses = chardet.detect_all(bytes(sample), ignore_threshold=True, include_encodings=_GUESSED)
    if modern:
        guesses = [
            each for each in guesses if not (each["encoding"] and _OF_OLD.match(codecs.lookup(each["encoding"]).name))
        ]
    if len(_IN_WORDS.findall(sample)) <= _FEW and modern:
        likely = {guess["encoding"]: guess["confidence"] for guess in guesses}
        if likely.get("Windows-1252", 0) > 0.7 * max(likely.values()):
            return "cp1252"
    for guess in guesses:
        if not guess["encoding"] or (telling <= 2 and guess["confidence"] < 0.03):
            break
        text = sample.decode(guess["encoding"], "replace")
        if len(_MIXED.findall(text)) <= 0.1 * telling:
            found = codecs.lookup(guess["encoding"]).name
            return _sibling(_SUPERSETS.get(found, found), bytes(sample))
    return "cp1252"


def _sibling(encoding: str, sample: bytes) -> str:
    """Of two encodings that are nearly the same, the one whose words look like words."""
    if encoding == "cp1251":
        mac = sample.decode("mac-cyrillic")
        odd = len(_INNER_CAPITAL.findall(sample.decode("cp1251", "replace")))
        return "mac-cyrillic" if odd >= _ODD_CAPITALS and odd > 2 * len(_INNER_CAPITAL.findall(mac)) else encoding
    if encoding == "cp1250" and not _OF_1250.search(sample):
        within = b"".join(re.findall(rb"[a-zA-Z\xc0-\xff]([\xa9\xab\xae\xb9\xbb])(?=[a-zA-Z\xc0-\xff]|\b)", sample))
        return "iso8859-2" if within and _OF_CZECH.search(sample) else encoding
    return encoding
