"""RTF. Text boxes, comments, page headers and footers, and what pictures show, follow at the end."""

from pathlib import PurePath

from gateway.knowledge.converters.rtf_reader import Reader
from gateway.knowledge.documents import Document, Skipped
from gateway.knowledge.normalization import clean


def rtf(name: str, content: bytes) -> Document:
    """Text with the rows of its tables; footnotes stand where they are referred to. What was deleted with changes tracked is
    left out."""
    reader = Reader(content)
    # The headers of left and right pages are mostly one, and a text box is there for programs of two times.
    apart = dict.fromkeys(text for each in reader.apart if (text := each.text().strip()))
    text = "\n\n".join(filter(None, [reader.text.text().strip("\n"), *apart]))
    rows = reader.text.rows + sum(each.rows for each in reader.apart)
    pictures = (
        (Skipped(f"{reader.pictures} pictures", "only what is written as their description is read"),)
        if reader.pictures
        else ()
    )
    title = " ".join(clean(_paired(reader.title.text())).split())
    return Document(clean(_paired(text)), title or PurePath(name).stem, "markdown", rows=rows or None, skipped=pictures)


def _paired(text: str) -> str:
    """Halves of characters, which RTF writes one after the other, become one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
