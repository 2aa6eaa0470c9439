"""Chunks next to a hit become one passage with it, and hits that are neighbours become one passage. No I/O.

A passage is what docs/contracts.md says; its body is the last `end - start` characters of its text. Chunks of a file overlap,
or leave white space of the converted text between them. Where they are joined, what overlaps is there once, and for the white
space stand as many characters: line feeds, or one and blanks, for it is in no row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Chunk = Mapping[str, Any]
"""A row: id, index, text, page, start, end, generation and more."""


@dataclass(frozen=True, slots=True)
class Joining:
    """`neighbours`: chunks before and behind each hit. `max_chars`: of a joined passage's body; a chunk that would go over it
    stays out, the nearest come first.
    """

    neighbours: int
    max_chars: int = 6000


@dataclass(slots=True)
class _Run:
    """Chunks in a row, `first`…`last`, around the hits that are among them, the best first."""

    document: str
    first: int
    last: int
    hits: list[dict[str, Any]] = field(default_factory=list)


def missing(hits: Sequence[Chunk], known: Mapping[str, Chunk], neighbours: int) -> list[str]:
    """The ids of the neighbours that are not known. Some of them may not exist: a file has an end."""
    wanted: dict[str, None] = {}
    for hit in hits:
        document, index = _place(hit)
        for near in range(max(0, index - neighbours), index + neighbours + 1):
            wanted.setdefault(_id(document, near))
    return [key for key in wanted if key not in known]


def joined(hits: Sequence[dict[str, Any]], known: Mapping[str, Chunk], joining: Joining) -> list[dict[str, Any]]:
    """One passage for each run of chunks, at the place of its best hit, which gives it id and index.

    hits: best first. known: rows by id, those of the hits, too. A passage of more than one chunk has `last_page`; one that has
    more than its hits (and what is between them) also has them alone, in `hit`: {text, page, last_page, start, end}. Its
    scores are the best of its hits.
    """
    runs: list[_Run] = []
    owners: dict[tuple[str, int], _Run] = {}
    for hit in hits:
        document, index = _place(hit)
        run = owners.get((document, index))
        if run is None:
            run = owners[document, index] = _Run(document, index, index)
            runs.append(run)
        run.hits.append(hit)
        _grow(run, hit, owners, known, joining)
    rank = {hit["id"]: at for at, hit in enumerate(hits)}
    return [_passage(run, known) for run in _touching_merged(runs, rank, known, joining)]


def _grow(
    run: _Run, hit: Chunk, owners: dict[tuple[str, int], _Run], known: Mapping[str, Chunk], joining: Joining
) -> None:
    """Take the hit's neighbours, by turns before and behind it, as far as they are there, free, and not too long."""
    generation = known[hit["id"]]["generation"]
    for distance in range(1, joining.neighbours + 1):
        for near in (hit["index"] - distance, hit["index"] + distance):
            first, last = min(run.first, near), max(run.last, near)
            chunk = known.get(_id(run.document, near))
            if chunk is None or chunk["generation"] != generation or (run.document, near) in owners:
                continue
            # Only what touches the run: beyond a chunk that stayed out nothing is taken.
            if (
                last - first == run.last - run.first + 1
                and _chars(run.document, first, last, known) <= joining.max_chars
            ):
                run.first, run.last = first, last
                owners[run.document, near] = run


def _touching_merged(
    runs: Sequence[_Run], rank: Mapping[str, int], known: Mapping[str, Chunk], joining: Joining
) -> list[_Run]:
    """Runs that touch are one, at the place of the better one, unless that would be too long. Best first."""
    kept: list[_Run] = []
    for run in runs:
        while other := next((each for each in kept if _touch(each, run, known, joining)), None):
            other.first, other.last = min(other.first, run.first), max(other.last, run.last)
            other.hits += run.hits
            kept.remove(other)  # it may touch a further one now
            run = other  # noqa: PLW2901
        kept.append(run)
    for run in kept:
        run.hits.sort(key=lambda hit: rank[hit["id"]])
    return sorted(kept, key=lambda run: rank[run.hits[0]["id"]])


def _touch(a: _Run, b: _Run, known: Mapping[str, Chunk], joining: Joining) -> bool:
    if a.document != b.document or not (a.last + 1 == b.first or b.last + 1 == a.first):
        return False
    first, last = min(a.first, b.first), max(a.last, b.last)
    same = known[_id(a.document, a.last)]["generation"] == known[_id(b.document, b.last)]["generation"]
    return same and _chars(a.document, first, last, known) <= joining.max_chars


def _passage(run: _Run, known: Mapping[str, Chunk]) -> dict[str, Any]:
    best = run.hits[0]
    if run.first == run.last:
        return best
    passage = {**best, **_span(run.document, run.first, run.last, known)}
    for score in ("score", "rerank_score"):
        if score in best:
            passage[score] = max(hit[score] for hit in run.hits)
    indices = [hit["index"] for hit in run.hits]
    if (min(indices), max(indices)) != (run.first, run.last):
        passage["hit"] = _span(run.document, min(indices), max(indices), known)
    return passage


def _span(document: str, first: int, last: int, known: Mapping[str, Chunk]) -> dict[str, Any]:
    """Text and place of these chunks together; the headings above the first one are the text's."""
    chunks = [known[_id(document, index)] for index in range(first, last + 1)]
    parts, end = [chunks[0]["text"]], chunks[0]["end"]
    for chunk in chunks[1:]:
        if chunk["end"] <= end:
            continue
        body = chunk["text"][len(chunk["text"]) - (chunk["end"] - chunk["start"]) :]
        parts.append(_white(chunk["start"] - end) + body if chunk["start"] > end else body[end - chunk["start"] :])
        end = chunk["end"]
    place = {"page": chunks[0]["page"], "start": chunks[0]["start"], "end": end}
    return {"text": "".join(parts), **place, "last_page": chunks[-1]["page"]}


def _white(length: int) -> str:
    """Two line feeds are a paragraph's end; what is more is likely an indent behind one."""
    return "\n" * length if length <= 2 else "\n" + " " * (length - 1)


def _chars(document: str, first: int, last: int, known: Mapping[str, Chunk]) -> int:
    length: int = known[_id(document, last)]["end"] - known[_id(document, first)]["start"]
    return length


def _place(hit: Chunk) -> tuple[str, int]:
    return str(hit["id"]).rpartition("/")[0], int(hit["index"])


def _id(document: str, index: int) -> str:
    return f"{document}/{index}"
