"""Formulas (MathML, and what Word and PowerPoint call OMML) as a line of text: 12 over 34 is `12/34`, not `1234`. No I/O."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

_SIMPLE = re.compile(r"[^\W_]*|-?\d+(?:[.,]\d+)*|\S")
"""What needs no brackets."""
_WORD, _WORD_END = re.compile(r"[^\W\d_]{2}"), re.compile(r"[^\W\d_]{2}\Z")
_MAX_DEPTH = 100
"""Elements within each other that are read with their form; of deeper ones the words."""
_PROPERTIES = re.compile(r"\w*Pr")


def line(element: Any, depth: int = 0) -> str:
    """The formula in an element of either kind, whatever its namespace, as a line."""
    if not isinstance(element.tag, str):
        return ""
    if depth > _MAX_DEPTH:
        return " ".join("".join(element.itertext()).split())
    parts = [part for part in element if isinstance(part.tag, str) and not _PROPERTIES.fullmatch(_called(part))]
    written = _WRITTEN.get(_called(element))
    if written is not None:
        return written(element, [(_called(part), line(part, depth + 1)) for part in parts])
    if not parts:
        return (
            (element.text or "")
            if _called(element) == "t"
            else (element.text or "").strip() or element.get("alttext") or ""
        )
    texts = [element.text or "", *(text for part in parts for text in (line(part, depth + 1), part.tail or ""))]
    runs = any(_called(part) == "r" for part in parts)  # of OMML: they have their blanks, and may part a word
    return "".join(texts).strip() if runs else _joined(texts)


_Parts = Sequence[tuple[str, str]]
"""What each part of an element is called, and its line."""


def _called(element: Any) -> str:
    return str(element.tag).rpartition("}")[2].rpartition(":")[2]


def _joined(texts: Iterable[str]) -> str:
    """One behind the other, as they are seen; a blank before and behind a word (sin)."""
    made = last = ""
    for text in (" ".join(each.split()) for each in texts if each.strip()):
        apart = bool(_WORD_END.search(last) and text[0].isalpha()) or bool(last[-1:].isalpha() and _WORD.match(text))
        made += f"{' ' * apart}{text}"
        last = text
    return made


def _grouped(text: str) -> str:
    return text if _SIMPLE.fullmatch(text) else f"({text})"


def _at(parts: _Parts, place: int | str) -> str:
    """The line of the part at a place (MathML), or of this name (OMML)."""
    if isinstance(place, int):
        return parts[place][1] if place < len(parts) else ""
    return _joined(text for name, text in parts if name == place)


def _over(above: int | str, below: int | str) -> "_Way":
    return lambda _, parts: f"{_grouped(_at(parts, above))}/{_grouped(_at(parts, below))}"


def _scripts(base: int | str, below: int | str | None = None, above: int | str | None = None) -> "_Way":
    def way(_: Any, parts: _Parts) -> str:
        marked = ((mark, _at(parts, place)) for mark, place in (("_", below), ("^", above)) if place is not None)
        return _grouped(_at(parts, base)) + "".join(f"{mark}{_grouped(text)}" for mark, text in marked if text)

    return way


def _root(inner: int | str | None, degree: int | str | None) -> "_Way":
    def way(_: Any, parts: _Parts) -> str:
        of = _joined(text for _, text in parts) if inner is None else _at(parts, inner)
        number = "" if degree is None else _at(parts, degree)
        return f"{number and f'{_grouped(number)} '}√({of})"

    return way


def _said(element: Any, name: str, otherwise: str) -> str:
    """A property of an element of OMML."""
    holder = next((each for part in element for each in part.iter() if _called(each) == name), None)
    if holder is None:
        return otherwise
    return next((value for key, value in holder.attrib.items() if key.rpartition("}")[2] == "val"), otherwise)


def _bracketed(element: Any, parts: _Parts) -> str:
    between = f" {_said(element, 'sepChr', ',')} " if len(parts) > 1 else ""
    inner = between.join(text for _, text in parts)
    return f"{_said(element, 'begChr', '(')}{inner}{_said(element, 'endChr', ')')}"


def _fenced(element: Any, parts: _Parts) -> str:
    inner = (element.get("separators") or ",").strip()[:1].join(text for _, text in parts)
    return f"{element.get('open', '(')}{inner}{element.get('close', ')')}"


def _large(element: Any, parts: _Parts) -> str:
    """Sums and integrals, with their bounds."""
    return (
        _scripts("sign", "sub", "sup")(element, [("sign", _said(element, "chr", "∫")), *parts]) + " " + _at(parts, "e")
    )


def _annotated(_: Any, parts: _Parts) -> str:
    """A formula that is there in several notations: the first that shows it."""
    shown = [text for name, text in parts if not name.startswith("annotation") and text]
    return shown[0] if shown else _joined(text for _, text in parts[:2])


def _rows(_: Any, parts: _Parts) -> str:
    return f"[{'; '.join(text for _, text in parts)}]"


def _cells(_: Any, parts: _Parts) -> str:
    return ", ".join(text for _, text in parts)


def _with_limits(element: Any, parts: _Parts) -> str:
    if len(parts) > 1 and not parts[1][1].isalnum():  # a bar, a hat, an arrow
        return f"{parts[0][1]}{parts[1][1]}"
    return (_scripts(0, 1) if _called(element) == "munder" else _scripts(0, None, 1))(element, parts)


_Way = Callable[[Any, _Parts], str]
_WRITTEN: dict[str, _Way] = {
    "mfrac": _over(0, 1), "msup": _scripts(0, None, 1), "msub": _scripts(0, 1), "msubsup": _scripts(0, 1, 2),
    "munder": _with_limits, "mover": _with_limits, "munderover": _scripts(0, 1, 2), "msqrt": _root(None, None),
    "mroot": _root(0, 1), "mfenced": _fenced, "semantics": _annotated, "mtable": _rows, "mtr": _cells, "mlabeledtr": _cells,
    "f": _over("num", "den"), "sSup": _scripts("e", None, "sup"), "sSub": _scripts("e", "sub"),
    "sSubSup": _scripts("e", "sub", "sup"), "sPre": _scripts("e", "sub", "sup"), "rad": _root("e", "deg"), "d": _bracketed,
    "nary": _large, "limLow": _scripts("e", "lim"), "limUpp": _scripts("e", None, "lim"), "m": _rows, "mr": _cells,
    "eqArr": _cells,
}  # fmt: skip
