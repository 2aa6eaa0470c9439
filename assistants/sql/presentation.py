"""How a result is told: a table in Markdown, a chart in Vega-Lite, a sentence. Nothing in a cell becomes markup. No I/O."""

import json
import re
from collections.abc import Sequence
from typing import Any

from assistants.sql.results import Cell, Result

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
MAX_BARS = 40
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#!~&])")
_SPAN = re.compile(r"\d{4}(-\d{2}){0,2}")


def markdown_table(result: Result) -> str:
    """With a line below it where rows are missing."""
    if not result.rows:
        return "No row fits the question.\n"
    head = [_told(name) for name in _labels(result)]
    lines = [head, ["---"] * len(head), *([_told(cell) for cell in row] for row in result.rows)]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return table + (f"\nOnly the first {len(result.rows)} rows are shown.\n" if result.cut else "")


def chart(result: Result) -> dict[str, Any] | None:
    """A Vega-Lite specification with the rows in it; None where a chart would show nothing."""
    if len(result.rows) < 2 or len(result.columns) < 2:
        return None
    numbers, words = _numbers_and_words(result.rows)
    if not numbers or not words:
        return None
    shown = [row for row in result.rows if row[numbers[-1]] is not None][:MAX_BARS]
    if len({row[words[0]] for row in shown}) < 2:
        return None
    labels = _labels(result)
    x, y = words[0], numbers[-1]
    in_time = all(_SPAN.fullmatch(str(row[x])) for row in shown)
    encoding: dict[str, Any] = {
        "x": {"field": "x", "type": "ordinal" if in_time else "nominal", "title": labels[x], "sort": None},
        "y": {"field": "y", "type": "quantitative", "title": labels[y]},
    }
    values = [{"x": _named(row[x]), "y": row[y]} for row in shown]
    if len(words) > 1:
        encoding["color"] = {"field": "series", "type": "nominal", "title": labels[words[1]]}
        values = [{**value, "series": _named(row[words[1]])} for value, row in zip(values, shown, strict=True)]
    return {
        "$schema": SCHEMA,
        "mark": {"type": "line", "point": True} if in_time else "bar",
        "data": {"values": values},
        "encoding": encoding,
    }


def sentence(result: Result) -> str:
    """What is there, in words."""
    rows, labels = result.rows, _labels(result)
    if not rows:
        return "There is no such row."
    if len(rows) == 1 and len(labels) == 1:
        return "There is no value." if rows[0][0] is None else f"The answer is {_told(rows[0][0])}."
    numbers, words = _numbers_and_words(rows)
    count = f"There {'is 1 row' if len(rows) == 1 else f'are {len(rows)} rows'}"
    if not numbers or not words or len(rows) == 1:
        return f"{count}."
    y, x = numbers[-1], words[0]
    known = [row for row in rows if row[y] is not None]
    most, least = (choose(known, key=lambda row: float(row[y] or 0)) for choose in (max, min))
    return (
        f"{count}. The highest {_told(labels[y])} is {_number(most[y])} ({_told(_named(most[x]))}), "
        f"the lowest {_number(least[y])} ({_told(_named(least[x]))})."
    )


def fenced(kind: str, text: str) -> str:
    """A block of code in Markdown, which nothing in the text can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{kind}\n{text}\n{fence}\n"


def chart_block(specification: dict[str, Any]) -> str:
    """As Markdown has it."""
    return fenced("vega-lite", json.dumps(specification, ensure_ascii=False))


def _numbers_and_words(rows: Sequence[Sequence[Cell]]) -> tuple[list[int], list[int]]:
    """Which columns have numbers alone, but for cells without a value, and which do not."""
    width = len(rows[0])
    there = [[row[i] for row in rows if row[i] is not None] for i in range(width)]
    numbers = [i for i in range(width) if there[i] and all(isinstance(cell, int | float) for cell in there[i])]
    return numbers, [i for i in range(width) if i not in numbers]


def _named(cell: Cell) -> Cell:
    """What a number belongs to, where that has no value, too."""
    return "–" if cell is None else cell


def _labels(result: Result) -> list[str]:
    """What people call the columns."""
    return [_label(name) for name in result.columns]


_SPANS = {"%Y": "year", "%Y-%m": "month"}


def _label(name: str) -> str:
    if (span := re.fullmatch(r"strftime\('([^']*)', .*\)", name, re.IGNORECASE)) is not None:
        return _SPANS.get(span[1], "time")
    name = re.sub(r"\b\w+\.", "", name)
    if name.casefold() == "count(*)":
        return "count"
    if (call := re.fullmatch(r"(\w+)\((?:DISTINCT )?(.*)\)", name, re.IGNORECASE)) is not None:
        return f"{call[1].casefold()} of {call[2]}"
    return name


def _told(cell: Cell) -> str:
    if isinstance(cell, int | float):
        return _number(cell)
    text = "" if cell is None else " ".join(str(cell).split())
    return _MARKUP.sub(r"\\\1", text).replace("://", ":\u200b//")


def _number(cell: Cell) -> str:
    if isinstance(cell, float):
        if cell and not 0.01 <= abs(cell) < 1e15:
            return f"{cell:.4g}"
        return f"{cell + 0.0:,.2f}".rstrip("0").rstrip(".")  # -0.0 + 0.0 is 0.0
    return f"{cell:,}" if isinstance(cell, int) and abs(cell) > 9999 else str(cell)
