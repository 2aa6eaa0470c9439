"""Source code in sections: a definition is one, or where it is too long and has others in it, each of these."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from gateway.knowledge.code.outline import Definition, DefinitionKind, Outline
from gateway.knowledge.document_structure import Section, code_blocks
from gateway.knowledge.documents import Document

Fits = Callable[[int, int], bool]
"""Whether a span of the text can be one chunk."""


@dataclass(slots=True)
class _Piece:
    """A span, and the names that it stands under; the last `own` of them are in it."""

    start: int
    end: int
    path: tuple[str, ...]
    own: int


@dataclass(slots=True)
class _Node:
    definition: Definition
    inner: list["_Node"] = field(default_factory=list)


def code_sections(document: Document, outline: Outline, fits: Fits) -> Iterator[Section]:
    """All of the document, in order: definitions with their comments above them, and what is between them."""
    text = document.text
    whole = _Piece(0, len(text), (document.title,), 0)
    for piece in _with_words(text, list(_pieces(text, whole, _tree(outline.definitions), fits))):
        section = Section(piece.path, piece.own)
        for block in code_blocks(text, piece.start, piece.end):
            block.lead, block.nested = "", False  # the path says what it belongs to
            section.blocks.append(block)
        if section.blocks:
            yield section


def _tree(definitions: Sequence[Definition]) -> list[_Node]:
    """Of what can be a section: types and functions. What overlaps with the one before it is a part of that."""
    top: list[_Node] = []
    around: list[_Node] = []
    for each in definitions:
        if each.kind not in (DefinitionKind.CLASS, DefinitionKind.FUNCTION):
            continue
        while around and around[-1].definition.end <= each.start:
            around.pop()
        if around and around[-1].definition.end < each.end:
            continue
        node = _Node(each)
        (around[-1].inner if around else top).append(node)
        around.append(node)
    return top


def _pieces(text: str, whole: _Piece, inner: Sequence[_Node], fits: Fits) -> Iterator[_Piece]:
    """A piece as it is, or what it is made of."""
    if not inner or fits(whole.start, whole.end):
        yield whole
        return
    at = whole.start
    for node in inner:
        found = node.definition
        if found.start < at:
            continue
        if text[at : found.start].strip():
            yield _Piece(at, found.start, whole.path, whole.own if at == whole.start else 0)
        yield from _pieces(text, _Piece(found.start, found.end, (*whole.path, found.name), 1), node.inner, fits)
        at = found.end
    if text[at : whole.end].strip():
        yield _Piece(at, whole.end, whole.path, whole.own if at == whole.start else 0)


def _with_words(text: str, pieces: Sequence[_Piece]) -> list[_Piece]:
    """What has no word (a closing brace) belongs to the piece before it, or behind it."""
    kept: list[_Piece] = []
    begin: int | None = None
    for piece in pieces:
        if not any(char.isalnum() for char in text[piece.start : piece.end]):
            if kept:
                kept[-1].end = piece.end
            elif begin is None:
                begin = piece.start
            continue
        if begin is not None:
            piece.start, begin = begin, None
        kept.append(piece)
    return kept or list(pieces[:1])
