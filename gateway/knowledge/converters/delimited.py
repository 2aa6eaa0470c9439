"""CSV and its kin: rows in are rows out, whatever parts their cells."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from gateway.knowledge.converters.encodings import decode
from gateway.knowledge.converters.tables import markdown_table
from gateway.knowledge.documents import Document
from gateway.knowledge.normalization import clean

_SAMPLE = 1000
"""Lines that are read to see which dialect a file is in."""
_SAMPLE_CHARS = 256 * 1024
"""Characters that are looked at for which separators and line ends there are."""
_MAX_UNCLOSED = 100
"""Quotes without an end that are looked for, each to the end of the file; after so many, quotes mean nothing any more."""
_IN_APOSTROPHES = re.compile(r"\s*'.*'\s*", re.DOTALL)
"""A line of fields in apostrophes, as databases write texts."""
_ANY_END = re.compile(r"\r\n|\r|\n")
_ALONE = "\x1f"
"""Parts the fields of a file in which nothing parts them: each line is a cell."""
_MIN_ROWS, _MIN_ALIKE = 2, 0.6
"""Where the first line has one cell: how many records, and which share of those with several cells, have the usual number. Else
the commas are those of a text."""
_SEPARATORS = "\x1f\x01\t;|,"
"""Where two part all rows equally well, the first is meant: commas are in numbers and names, too."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    separator: str
    escape: str | None = None
    quote: str = '"'


def table(name: str, content: bytes) -> Document:
    """A table with a separator of its own choice, as a Markdown table."""
    decoded = decode(name, content)
    csv.field_size_limit(max(csv.field_size_limit(), len(decoded.text)))  # the file was measured already
    lines, dialect = _laid_out(decoded.text)
    text, rows = markdown_table(_records(lines, dialect))
    return Document(
        clean(text), PurePath(name).stem, "markdown", rows=rows, encoding=decoded.encoding, replaced=decoded.replaced
    )


def _laid_out(text: str) -> tuple[Sequence[str], _Dialect]:
    """The lines, and the dialect they are in. Where records end one way, and the text has other line ends, these may be within
    cells that nobody has quoted: what makes the records agree better is right."""
    said = re.match(r"""["\s]*sep=(.)["\s]*?(?:\r\n|\r|\n|\Z)""", text)  # Excel's own way to name the separator
    if said:
        text = text[said.end() :]
    separators = (
        said.group(1) if said else "".join(each for each in _SEPARATORS if each in text[:_SAMPLE_CHARS] or each == ",")
    )
    ways = [_ANY_END.split(text)]
    ends = Counter(each.group() for each in _ANY_END.finditer(text, 0, _SAMPLE_CHARS)).most_common()
    if len(ends) > 1:  # a line's own line ends become another blank: Python's reader ends a record at them
        ways.append([_ANY_END.sub("\u2028", line) for line in text.split(ends[0][0])])
    found = [(lines, *_dialect(lines[:_SAMPLE], separators)) for lines in ways]
    lines, dialect, _ = max(found, key=lambda each: each[2])
    return lines, dialect


def _dialect(sample: Sequence[str], separators: str) -> tuple[_Dialect, float]:
    """The one under which the records agree best on how many cells they have, and how well they do."""
    escapes = [None, "\\"] if any('\\"' in line for line in sample) else [None]
    dialects = [_Dialect(separator, escape) for escape in escapes for separator in separators]
    if all(_IN_APOSTROPHES.fullmatch(line) for line in sample if line.strip()):
        dialects += [_Dialect(separator, None, "'") for separator in separators]
    fits = [_fit(sample, dialect) for dialect in dialects]
    return (dialects[fits.index(max(fits))] if max(fits) > 0 else _Dialect(_ALONE)), max(fits)


def _fit(sample: Sequence[str], dialect: _Dialect) -> float:
    """The share of records with the usual number of cells, if that is more than one; a record with broken quotes is none."""
    widths = Counter[int]()
    broken = first = 0
    for record, whole in _parsed(sample, dialect):
        first = first or len(record)
        widths[len(record)] += bool(record)
        broken += not whole
    (width, count), *_ = widths.most_common(1) or [(0, 0)]
    if first == 1:  # a title, or comments, or a text with commas in it
        wide = Counter({each: times for each, times in widths.items() if each > 1})
        (width, count), *_ = wide.most_common(1) or [(0, 0)]
        if count < _MIN_ROWS or count < _MIN_ALIKE * wide.total():
            return 0.0
    return (count - broken) / widths.total() if width > 1 else 0.0


def _records(lines: Sequence[str], dialect: _Dialect) -> Iterator[list[str]]:
    return (record for record, _ in _parsed(lines, dialect))


def _parsed(lines: Sequence[str], dialect: _Dialect) -> Iterator[tuple[list[str], bool]]:
    """Records, and whether their quotes are right. Where they are not, a line is a record, and quotes are characters in it: a
    stray one must not swallow the rows that follow."""
    at = unclosed = 0

    def feed() -> Iterator[str]:
        nonlocal at
        while at < len(lines):
            at += 1
            yield lines[at - 1] + "\n"

    while at < len(lines):
        begin = at
        reader = csv.reader(
            feed(),
            delimiter=dialect.separator,
            escapechar=dialect.escape,
            quotechar=dialect.quote,
            quoting=csv.QUOTE_MINIMAL if unclosed < _MAX_UNCLOSED else csv.QUOTE_NONE,
            skipinitialspace=True,
            strict=True,
        )
        try:
            for record in reader:
                yield record, True
                begin = at
        except csv.Error:
            unclosed += at == len(lines)
            at = begin + 1
            yield lines[begin].split(dialect.separator), False
