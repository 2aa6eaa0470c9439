"""Which passages an answer cites, and whether it may: by marks `[n]`, or by the words of sentences without one. No I/O."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.retrieval.passage import Passage
from tokens.keywords import content_words

_MARK = re.compile(r"\[(\d{1,3}(?:\s?[,;]\s?\d{1,3})*)\]")
_END = re.compile(r"[.!?\u3002\uff01\uff1f]+[\"'\u201d\u2019)]*|\n")
_MARKS_BEHIND = re.compile(r"(?:[ \t]*\[[\d\s,;]+\])*")


class CitedBy(StrEnum):
    """Who says that a passage is cited."""

    MARK = "mark"  # the model, with [n]
    SUPPORT = "support"  # the gateway, by the words of a sentence without a mark


class InvalidReason(StrEnum):
    """Why a mark is no citation."""

    NOT_IN_PROMPT = "not_in_prompt"
    NOT_IN_FILE = "not_in_file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """One place of the answer, and a passage of the prompt."""

    passage: Passage
    start: int
    end: int
    """Characters of the answer: the mark's, or the sentence's."""
    by: CitedBy
    support: float | None
    """Share of the sentence's content words that the passage has, 0…1; None for a sentence without any."""
    verified: bool | None
    """Whether the passage is in its file where it says; None: nobody could look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvalidMark:
    """A mark that is no citation."""

    n: int
    start: int
    end: int
    reason: InvalidReason


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """A file of the tenant that was made with an answer, and where the answer names it."""

    file_id: str
    filename: str
    start: int
    """In characters of the text."""
    end: int


@dataclass(frozen=True, slots=True)
class AnswerCitations:
    """All of an answer, in the order of the text."""

    citations: Sequence[Citation] = field(default_factory=tuple)
    invalid: Sequence[InvalidMark] = field(default_factory=tuple)
    made: Sequence[MadeFile] = ()


def find_citations(
    text: str, passages: Sequence[Passage], *, verified: Mapping[int, bool | None], least_support: float
) -> AnswerCitations:
    """Read a whole answer.

    passages: of the prompt, each with its number there. verified: by number, whether it is in its file; one that
    is not can't be cited. least_support: the share of a sentence's content words from which a sentence without a mark is
    attributed to a passage; over 1 for never.
    """
    by_number = {passage.n: passage for passage in passages}
    vocabularies: dict[int, frozenset[str]] = {}
    citations: list[Citation] = []
    invalid: list[InvalidMark] = []

    def support(sentence: Sequence[str], n: int) -> float | None:
        if n not in vocabularies:
            vocabularies[n] = frozenset(content_words(f"{by_number[n].filename} {by_number[n].text}"))
        return sum(word in vocabularies[n] for word in sentence) / len(sentence) if sentence else None

    def made(n: int, start: int, end: int, by: CitedBy, share: float | None) -> Citation:
        return Citation(
            passage=by_number[n], start=start, end=end, by=by, support=_rounded(share), verified=verified.get(n)
        )

    for begin, sentence in _sentences(text):
        marks = [mark for mark in _MARK.finditer(sentence) if _is_mark(mark, by_number)]
        said = content_words(_MARK.sub(" ", sentence))
        for mark in marks:
            start, end = begin + mark.start(), begin + mark.end()
            for n in _numbers(mark):
                if n not in by_number:
                    invalid.append(InvalidMark(n=n, start=start, end=end, reason=InvalidReason.NOT_IN_PROMPT))
                elif verified.get(n) is False:
                    invalid.append(InvalidMark(n=n, start=start, end=end, reason=InvalidReason.NOT_IN_FILE))
                else:
                    citations.append(made(n, start, end, CitedBy.MARK, support(said, n)))
        if not marks and said:
            good = [n for n in by_number if verified.get(n) is not False]
            best = max(good, key=lambda n: (support(said, n), -n), default=None)
            if best is not None and (share := support(said, best) or 0.0) >= least_support:
                citations.append(made(best, begin, begin + len(sentence), CitedBy.SUPPORT, share))
    return AnswerCitations(citations=citations, invalid=invalid)


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """Where each begins, and it, without the white space around it. Marks behind its full stop are its own."""
    begin = 0
    for end in [*_ends(text), len(text)]:
        sentence = text[begin:end]
        if stripped := sentence.strip():
            yield begin + len(sentence) - len(sentence.lstrip()), stripped
        begin = end


def _ends(text: str) -> Iterator[int]:
    for match in _END.finditer(text):
        if match[0] == "\n":
            yield match.end()
        elif (behind := _MARKS_BEHIND.match(text, match.end())) is not None:
            following = text[behind.end() : behind.end() + 1]
            if behind[0] or not following or following.isspace() or match[0][0] in "\u3002\uff01\uff1f":
                yield behind.end()


def _numbers(mark: re.Match[str]) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", mark[1])]


def _is_mark(mark: re.Match[str], passages: Mapping[int, Passage]) -> bool:
    """A list of numbers is one only where all are the prompt's: otherwise it may be an interval, or code."""
    numbers = _numbers(mark)
    return len(numbers) == 1 or all(n in passages for n in numbers)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 3)
