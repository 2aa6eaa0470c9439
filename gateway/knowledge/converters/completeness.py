"""What a library passed over of an office document: paragraphs whose words did not come out, pictures, files within."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from gateway.knowledge.converters.markup import tidy
from gateway.knowledge.documents import Skipped
from gateway.knowledge.normalization import clean

_WORD = re.compile(r"\w+")


def left_out(paragraphs: Iterable[str], text: str) -> Iterator[str]:
    """The paragraphs that have words which the text has not, or not so often."""
    there = Counter(_words(text))
    told = set[str]()
    for paragraph in paragraphs:
        words = Counter(_words(clean(paragraph)))
        # Not `words <= there` and `there -= words`: these go through all words of the document, for each paragraph.
        if all(there[word] >= count for word, count in words.items()):
            there.subtract(words)
        elif paragraph not in told:
            told.add(paragraph)
            yield " ".join(paragraph.split())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.replace("^", ""))  # which our own HTML puts before powers


def with_more(text: str, more: Iterable[str]) -> str:
    """The text with these paragraphs at its end."""
    return tidy("\n\n".join([text, *more]))


def unread_parts(archive: zipfile.ZipFile, folder: str) -> Iterator[Skipped]:
    """Pictures, sounds and embedded files of an Office Open XML document, whose parts lie in `folder`: nobody looks into them."""
    names = archive.namelist()
    if pictures := sum(name.startswith(f"{folder}/media/") for name in names):
        yield Skipped(f"{pictures} pictures or sounds", "only what is written as their description is read")
    of_charts = b"".join(archive.read(name) for name in names if name.startswith(f"{folder}/charts/_rels/"))
    for name in names:
        file = PurePosixPath(name).name
        if name.startswith(f"{folder}/embeddings/") and file and file.encode() not in of_charts:
            yield Skipped(f"embedded file {file}", "files within a document are not read; upload it by itself")
