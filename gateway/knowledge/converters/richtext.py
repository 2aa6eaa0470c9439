"""RTF, by striprtf."""

import re
from pathlib import PurePath

from gateway.knowledge.converters.archives import fault
from gateway.knowledge.converters.tables import markdown_table
from gateway.knowledge.documents import Document, Skipped
from gateway.knowledge.normalization import clean

_AROUND = re.compile(r"\{\\(?:header|footer)[lrf]?\b")
_FOOTNOTE = re.compile(r"\{\\footnote\b")
_ROWS = re.compile(r"(?:^[^\n]*\|\n?)+", re.MULTILINE)


def rtf(name: str, content: bytes) -> Document:
    """Text with the rows of its tables; footnotes stand where they are referred to."""
    from striprtf.striprtf import rtf_to_text

    source = content.decode("latin-1")  # it is ASCII, and says of each other character what it is
    try:
        text = rtf_to_text(_FOOTNOTE.sub(r"{ ", source), errors="replace")
    except MemoryError:
        raise
    except Exception as error:  # whatever it raises on damaged files
        raise fault(name, error) from error
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # pairs become one character
    text, rows = _with_tables(text)
    around = _AROUND.search(source)
    skipped = (Skipped("page headers and footers", "of RTF only the text between them is read"),) if around else ()
    return Document(clean(text), PurePath(name).stem, "markdown", rows=rows or None, skipped=skipped)


def _with_tables(text: str) -> tuple[str, int]:
    total = 0

    def table(match: re.Match[str]) -> str:
        nonlocal total
        made, rows = markdown_table(line.rstrip("|").split("|") for line in match.group().splitlines())
        total += rows
        return f"\n{made}\n"

    return _ROWS.sub(table, text), total
