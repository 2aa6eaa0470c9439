"""Numbers that Word only shows: of headings, clauses and lists. A document says which list a paragraph is in, not its number.

mammoth numbers each run of list items from 1, and headings not at all. Where that is what Word shows nothing is changed; else
the paragraphs of such a list get their numbers as text ("§ 5.2 ", "(a) "), and are no list any more.
"""

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from gateway.knowledge.converters.archives import xml

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VAL = f"{_W}val"
_DOCUMENT, _NUMBERING, _STYLES = "word/document.xml", "word/numbering.xml", "word/styles.xml"
_LONGEST = 100
"""Characters of a number: it is written before each paragraph."""
_MAX_BASES = 20
"""Styles that one may be based on, one after the other."""
_PLACE = re.compile(r"%([1-9])")
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


@dataclass(slots=True)
class _Level:
    form: str
    text: str
    start: int
    legal: bool


@dataclass(slots=True)
class _Numbered:
    """A paragraph, the list (abstractNum) that it is in, what Word shows before it, and the number that mammoth gives it."""

    paragraph: Any
    kind: str
    label: str
    given: str


@dataclass(slots=True)
class _Definitions:
    """What numbering.xml and styles.xml say."""

    levels: dict[str, dict[int, _Level]] = field(default_factory=dict)
    """Of each abstractNum."""
    lists: dict[str, str] = field(default_factory=dict)
    """The abstractNum of each num."""
    starts: dict[tuple[str, int], int] = field(default_factory=dict)
    """Where a num begins anew."""
    of_styles: dict[str, tuple[str, int]] = field(default_factory=dict)


def with_numbers(content: bytes) -> bytes:
    """The document with the numbers that it lacks as text; as it is where what it says of its lists cannot be read."""
    try:
        return _with_numbers(content)
    except (ValueError, KeyError, TypeError, AttributeError, SyntaxError):
        return content


def _with_numbers(content: bytes) -> bytes:
    from lxml import etree

    with zipfile.ZipFile(BytesIO(content)) as archive:
        names = archive.namelist()
        if _NUMBERING not in names or _DOCUMENT not in names:
            return content
        numbering = xml(archive.read(_NUMBERING))
        styles = xml(archive.read(_STYLES)) if _STYLES in names else None
        document = xml(archive.read(_DOCUMENT))
        numbered = list(_numbered(document, _definitions(numbering, styles)))
        wrong = {each.kind for each in numbered if each.label and each.label != each.given}
        if not wrong:
            return content
        for each in numbered:
            if each.kind in wrong:
                _write(each)
        for kind in numbering.iter(f"{_W}abstractNum"):
            for style in list(kind.iter(f"{_W}pStyle")) if kind.get(f"{_W}abstractNumId") in wrong else ():
                style.getparent().remove(style)
        changed = {_DOCUMENT: etree.tostring(document), _NUMBERING: etree.tostring(numbering)}
        out = BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
            for name in names:
                new.writestr(name, changed.get(name) or archive.read(name))
    return out.getvalue()


def _number(holder: Any, name: str, otherwise: int) -> int:
    said = holder.find(f"{_W}{name}") if holder is not None else None
    value = (said.get(_VAL) or "") if said is not None else ""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 7 else otherwise


def _said(holder: Any, name: str) -> str | None:
    found = holder.find(f"{_W}{name}") if holder is not None else None
    return None if found is None else found.get(_VAL)


def _definitions(numbering: Any, styles: Any) -> _Definitions:
    made = _Definitions()
    links: dict[str, str] = {}
    linked_levels: dict[str, tuple[str, int]] = {}
    for kind in numbering.iter(f"{_W}abstractNum"):
        key = kind.get(f"{_W}abstractNumId") or ""
        made.levels[key] = {}
        for level in kind.iterchildren(f"{_W}lvl"):
            at = int(level.get(f"{_W}ilvl") or 0)
            legal = level.find(f"{_W}isLgl") is not None
            form, text = _said(level, "numFmt") or "decimal", (_said(level, "lvlText") or "")[:_LONGEST]
            made.levels[key][at] = _Level(form, text, _number(level, "start", 0), legal)
            if (style := _said(level, "pStyle")) is not None:
                linked_levels[style] = (key, at)
        if (link := _said(kind, "numStyleLink")) is not None:
            links[key] = link
    for each in numbering.iter(f"{_W}num"):
        number = each.get(f"{_W}numId") or ""
        made.lists[number] = _said(each, "abstractNumId") or ""
        for override in each.iterchildren(f"{_W}lvlOverride"):
            if override.find(f"{_W}startOverride") is not None:
                made.starts[number, int(override.get(f"{_W}ilvl") or 0)] = _number(override, "startOverride", 1)
    _read_styles(styles, made, linked_levels)
    for key, link in links.items():
        if link in made.of_styles:
            made.levels[key] = made.levels.get(made.lists.get(made.of_styles[link][0], ""), {})
    return made


def _read_styles(styles: Any, made: _Definitions, levels: dict[str, tuple[str, int]]) -> None:
    known = (
        {style.get(f"{_W}styleId") or "": style for style in styles.iter(f"{_W}style")} if styles is not None else {}
    )
    for name in known:
        at: str | None = name
        for _ in range(_MAX_BASES):
            style = known.get(at or "")
            if style is None:
                break
            properties = style.find(f"{_W}pPr/{_W}numPr")
            if properties is not None and (number := _said(properties, "numId")) is not None:
                level = levels.get(name, levels.get(at or "", ("", _number(properties, "ilvl", 0))))[1]
                made.of_styles[name] = (number, level)
                break
            at = _said(style, "basedOn")


def _numbered(document: Any, known: _Definitions) -> Iterator[_Numbered]:
    counts: dict[str, dict[int, int]] = {}
    begun = set[tuple[str, int]]()
    run: dict[int, int] = {}
    """How mammoth counts: anew in each run of paragraphs that are in lists."""
    holder = None
    for paragraph in document.iter(f"{_W}p"):
        if next(paragraph.iterancestors("{*}Fallback", f"{_W}del", f"{_W}moveFrom"), None) is not None:
            continue
        place = _place(paragraph, known)
        if place is None or paragraph.getparent() is not holder:
            run, holder = {}, paragraph.getparent()
        if place is None:
            continue
        number, level = place
        kind = known.lists[number]
        count = counts.setdefault(kind, {})
        start = known.starts.get((number, level))
        if start is not None and (number, level) not in begun:
            count[level] = start
        else:
            count[level] = count[level] + 1 if level in count else known.levels[kind][level].start
        begun.add((number, level))
        for deeper in [each for each in count if each > level]:
            del count[deeper]
        run = {each: value for each, value in run.items() if each <= level}
        run[level] = run.get(level, 0) + 1
        yield _Numbered(paragraph, kind, _label(known.levels[kind], level, count), _given(paragraph, run[level]))


def _given(paragraph: Any, number: int) -> str:
    style = (_said(paragraph.find(f"{_W}pPr"), "pStyle") or "").casefold()
    return "" if "head" in style or "berschrift" in style or "titre" in style else f"{number}."


def _place(paragraph: Any, known: _Definitions) -> tuple[str, int] | None:
    """The num and the level of a paragraph that has a number; a bullet is none."""
    properties = paragraph.find(f"{_W}pPr")
    if properties is None:
        return None
    own = properties.find(f"{_W}numPr")
    number, level = known.of_styles.get(_said(properties, "pStyle") or "", (None, 0))
    if own is not None:
        number, level = _said(own, "numId") or number, _number(own, "ilvl", level)
    found = known.levels.get(known.lists.get(number or "", ""), {}).get(level)
    return None if number is None or found is None or found.form in ("bullet", "none") else (number, level)


def _label(levels: dict[int, _Level], level: int, count: dict[int, int]) -> str:
    def shown(match: re.Match[str]) -> str:
        at = int(match[1]) - 1
        of = levels.get(at)
        if of is None:
            return ""
        return _FORMS["decimal" if levels[level].legal else of.form if of.form in _FORMS else "decimal"](
            count.get(at, of.start)
        )

    return _PLACE.sub(shown, levels[level].text).strip()


def _letters(number: int) -> str:
    """a … z, aa, bb …"""
    return chr(ord("a") + (number - 1) % 26) * (1 + (number - 1) // 26) if 0 < number <= 26 * 20 else str(number)


def _roman(number: int) -> str:
    made = ""
    for value, letters in _ROMAN if 0 < number < 4000 else ():
        made += letters * (number // value)
        number %= value
    return made or str(number)


_FORMS: dict[str, Callable[[int], str]] = {
    "decimal": str, "decimalZero": lambda number: f"{number:02}", "lowerLetter": _letters,
    "upperLetter": lambda number: _letters(number).upper(), "lowerRoman": _roman,
    "upperRoman": lambda number: _roman(number).upper(),
}  # fmt: skip


def _write(numbered: _Numbered) -> None:
    from lxml import etree

    properties = numbered.paragraph.find(f"{_W}pPr")
    for own in properties.findall(f"{_W}numPr"):
        properties.remove(own)
    if numbered.label:
        run = etree.Element(f"{_W}r")
        text = etree.SubElement(run, f"{_W}t")
        text.text = f"{numbered.label} "
        text.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
        properties.addnext(run)
