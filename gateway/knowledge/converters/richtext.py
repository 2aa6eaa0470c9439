"""RTF, by striprtf. What it takes for no part of the text follows at the end: text boxes, page headers and footers."""

import codecs
import re
from collections.abc import Iterator
from pathlib import PurePath

from gateway.knowledge.converters.archives import fault
from gateway.knowledge.converters.tables import markdown_table
from gateway.knowledge.documents import Document
from gateway.knowledge.normalization import clean

_APART = re.compile(r"\{\\(?:\*\\)?(?:(?:header|footer)[lrf]?|shptxt|annotation)\b")
_FONTS = re.compile(r"\{\\fonttbl\b")
_FOOTNOTE = re.compile(r"\{\\footnote\b")
_DELETED = re.compile(r"\{((?:\\[a-z]+-?\d* ?){0,20})\\deleted\b")
_SHOWN = re.compile(r"\{\\(?:\*\\ud(?![a-z])|result\b|object\b(?=[^{}]*\{)|mmath\b|upr\b|\*\\moMath(?:Para)?\b)")
"""What is shown by programs that know newer words (`\\ud`), in place of an object, in a formula: striprtf passes over it."""
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_CODE_PAGE = re.compile(rb"\\ansicpg(\d{1,5})")
_CHARACTER_SET = re.compile(rb"\s*\{\\rtf\d*[^{}]{0,40}?\\(mac|pca?)\b")
_FONT = re.compile(r"\{\\f\d{1,5}(?![^{};]*\\fcharset)(?=[^{};]*;\})")
_BINARY = re.compile(rb"\\bin(\d{1,9})[ ]?")
_ROWS = re.compile(r"(?:^[^\n]*\|\n?)+", re.MULTILINE)


def rtf(name: str, content: bytes) -> Document:
    """Text with the rows of its tables; footnotes stand where they are referred to. What was deleted with changes tracked is
    left out."""
    from striprtf.striprtf import rtf_to_text

    content = _without_binary(content)
    code_page = _CODE_PAGE.search(content)
    encoding = _encoding(content, code_page[1].decode() if code_page else "")
    source = _DELETED.sub(r"{\\*\1", _characters(content, code_page[1].decode() if code_page else "1252"))
    source = _SHOWN.sub("{ ", source)
    source = _FONT.sub(_with_charset, source)
    begin = (code_page[0].decode() if code_page else "") + "".join(_groups(source, _FONTS))
    try:
        text = rtf_to_text(_FOOTNOTE.sub(r"{ ", source), encoding, "replace")
        # The headers of left and right pages are mostly one; all in one go, for the fonts are read each time.
        apart = dict.fromkeys(_APART.sub("{ ", group, count=1) for group in _groups(source, _APART))
        if apart:
            more = rtf_to_text(r"{\rtf1\ansi" + begin + r"{\par}".join(apart) + "}", encoding, "replace")
            text = "\n\n".join(filter(str.strip, (text, more)))
    except MemoryError:
        raise
    except Exception as error:  # whatever it raises on damaged files
        raise fault(name, error) from error
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs become one character
    text, rows = _with_tables(text)
    return Document(clean(text), PurePath(name).stem, "markdown", rows=rows or None)


def _encoding(content: bytes, code_page: str) -> str:
    """That of fonts that say none."""
    if not code_page and (old := _CHARACTER_SET.match(content)):
        return {b"mac": "mac-roman", b"pc": "cp437", b"pca": "cp850"}[old[1]]
    try:
        return codecs.lookup(f"cp{code_page}").name
    except LookupError:
        return "cp1252"


def _with_charset(font: re.Match[str]) -> str:
    """striprtf takes the next font's set of characters for one that says none."""
    return f"{font.group()}\\fcharset1 "


def _without_binary(content: bytes) -> bytes:
    """Without pictures in bytes as they are, braces and all: `\\bin` says how many there are."""
    kept, at = [], 0
    for match in _BINARY.finditer(content):
        if match.start() >= at:
            kept.append(content[at : match.start()])
            at = match.end() + int(match[1])
    return b"".join([*kept, content[at:]])


def _characters(content: bytes, code_page: str) -> str:
    """RTF is ASCII, and says of each other character what it is; programs write others all the same."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        try:
            return content.decode(codecs.lookup(f"cp{code_page}").name, "replace")
        except LookupError:
            return content.decode("cp1252", "replace")


def _groups(source: str, begin: re.Pattern[str]) -> Iterator[str]:
    """What stands in braces from a match on; groups within one are a part of it."""
    at = 0
    while match := begin.search(source, at):
        depth, at = 0, len(source)
        for brace in _BRACE.finditer(source, match.start()):
            depth += {"{": 1, "}": -1}.get(brace[0], 0)
            if depth == 0 and brace[0] == "}":
                at = brace.end()
                break
        yield source[match.start() : at]


def _with_tables(text: str) -> tuple[str, int]:
    total = 0

    def table(match: re.Match[str]) -> str:
        nonlocal total
        made, rows = markdown_table(line.rstrip("|").split("|") for line in match.group().splitlines())
        total += rows
        return f"\n{made}\n"

    return _ROWS.sub(table, text), total
