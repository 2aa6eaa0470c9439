"""What a search found: passages, merged over several questions, each text once."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from gateway.knowledge.catalog.types import Attributes

RANK_OFFSET = 60
"""Of reciprocal ranks, as the retrieval model takes it: the larger, the less the first places count."""
SAME_SHARE = 0.9
"""Of the word triples of two passages together that both must have to be one text. Higher: only true copies go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One passage. Its `text` is the span `start`…`end` (characters) of the file's converted text, but for white space
    between chunks that were joined."""

    store_id: str
    file_id: str
    filename: str
    index: int
    text: str
    context: str
    """What stands above the text and was searched with it: the path of headings, a table's head. May be empty."""
    score: float
    """Cosine of question and passage, 0…1 (what is under 0 is 0)."""
    attributes: Attributes = field(default_factory=dict)
    page: int = 0
    """From 1; 0: none."""
    start: int = 0
    end: int = 0
    last_page: int = 0
    """Where the text ends, if it was joined to its neighbours, else 0."""
    rerank_score: float | None = None
    """Of the cross-encoder that has ordered the passages, 0…1; None: none has."""

    @classmethod
    def read(cls, passage: Mapping[str, Any]) -> Self:
        """As `retrieval` gives it (docs/contracts.md). Raises KeyError, TypeError."""
        whole, body = passage["text"], passage["end"] - passage["start"]
        at = max(0, len(whole) - body)
        return cls(
            store_id=passage["store"],
            file_id=passage["file_id"],
            filename=passage["filename"],
            index=passage["index"],
            text=whole[at:],
            context=whole[:at].strip(),
            score=max(0.0, passage["score"]),
            attributes=passage["attributes"],
            page=passage["page"],
            start=passage["start"],
            end=passage["end"],
            last_page=passage.get("last_page", 0),
            rerank_score=passage.get("rerank_score"),
        )


def merged(rankings: Sequence[Sequence[Hit]]) -> list[Hit]:
    """One ranking of several questions' by reciprocal ranks; a passage has its best score. One ranking stays as it is."""
    if len(rankings) == 1:
        return list(rankings[0])
    best: dict[tuple[str, str, int], Hit] = {}
    total: dict[tuple[str, str, int], float] = {}
    for ranking in rankings:
        for rank, hit in enumerate(ranking, 1):
            key = hit.store_id, hit.file_id, hit.index
            known = best.setdefault(key, hit)
            best[key] = replace(known, score=max(known.score, hit.score))
            total[key] = total.get(key, 0.0) + 1 / (RANK_OFFSET + rank)
    return [best[key] for key in sorted(best, key=lambda key: -total[key])]


def distinct(hits: Sequence[Hit]) -> list[Hit]:
    """Without near-duplicates: of passages that share almost all their word triples the first stays."""
    kept: list[Hit] = []
    sizes: list[int] = []
    # Places in `kept`, by triple: a passage is compared with those alone that share something with it. All pairs of
    # 100 passages took 30 ms, in which the event loop wrote no token.
    holders: dict[tuple[str, ...], list[int]] = {}
    for hit in hits:
        triples = _triples(hit.text)
        shared = Counter(place for triple in triples for place in holders.get(triple, ()))
        if any(both >= SAME_SHARE * (len(triples) + sizes[place] - both) for place, both in shared.items()):
            continue
        for triple in triples:
            holders.setdefault(triple, []).append(len(kept))
        kept.append(hit)
        sizes.append(len(triples))
    return kept


def _triples(text: str) -> frozenset[tuple[str, ...]]:
    """Three words in a row, for every place; of a shorter text all its words."""
    words = re.findall(r"\w+", text.casefold()) or [text]
    return frozenset(tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2)))
