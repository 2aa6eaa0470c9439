"""How passages are looked for: what a request says, over what its stores say, over what the deployment has. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from gateway.errors import BadRequest
from gateway.knowledge.catalog.types import Store

RANKERS = ("minmax", "rrf", "dense", "bm25")
"""What `retrieval` knows (docs/retrieval.md)."""
_DEFAULT_RANKERS = ("auto", "default-2024-11-15")
_WITHOUT_RERANK = "none"
"""OpenAI's name for an order that no model has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalOptions:
    """What was said; None: nothing was."""

    ranker: str | None = None
    """How dense and BM25 search become one ranking; "": as the deployment has it."""
    dense_weight: float | None = None
    """0…1, of the ranker `minmax`. The two are one wish: who says either has said both."""
    score_threshold: float | None = None
    """The least score of a passage."""
    max_num_results: int | None = None
    neighbours: int | None = None
    """Chunks before and behind a hit that are joined to it; 0: only hits that are neighbours are joined."""
    rerank: bool | None = None
    """Whether a cross-encoder orders what was found, where the deployment has one."""

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Self:
        """From OpenAI's `ranking_options` with our extensions, or from a store's settings. Raises BadRequest."""
        ranker = options.get("ranker")
        if ranker is not None and ranker not in ("", _WITHOUT_RERANK, *_DEFAULT_RANKERS, *RANKERS):
            known = ", ".join((_WITHOUT_RERANK, *_DEFAULT_RANKERS, *RANKERS))
            raise _wrong("ranker", f"{ranker!r} is not one of {known}")
        rerank = options.get("rerank")
        if rerank is None and ranker == _WITHOUT_RERANK:
            rerank = False
        return cls(
            ranker=ranker if ranker is None or ranker in RANKERS else "",
            dense_weight=_weight(options.get("hybrid_search")),
            score_threshold=options.get("score_threshold"),
            max_num_results=options.get("max_num_results"),
            neighbours=options.get("neighbours"),
            rerank=rerank,
        )

    @classmethod
    def of_stores(cls, stores: Sequence[Store]) -> Self:
        """What all of them say alike: one search has one way, and the stores that differ leave it to the deployment."""
        said = [cls.read(store.settings) for store in stores]
        if not said:
            return cls()
        first = said[0]
        alike = {
            each.name: getattr(first, each.name)
            for each in fields(cls)
            if all(getattr(other, each.name) == getattr(first, each.name) for other in said)
        }
        if not {"ranker", "dense_weight"} <= alike.keys():
            alike |= {"ranker": None, "dense_weight": None}
        return cls(**alike)

    def over(self, below: Self) -> Self:
        """This, and where nothing was said what `below` says."""
        chosen = {
            each.name: getattr(below if getattr(self, each.name) is None else self, each.name) for each in fields(self)
        }
        if self.ranker is not None or self.dense_weight is not None:
            chosen |= {"ranker": self.ranker, "dense_weight": self.dense_weight}
        return type(self)(**chosen)


def _weight(hybrid: Any) -> float | None:
    """OpenAI's `hybrid_search`, {embedding_weight, text_weight}, as the share of the dense score."""
    if hybrid is None:
        return None
    try:
        dense, words = float(hybrid["embedding_weight"]), float(hybrid["text_weight"])
    except (KeyError, TypeError, ValueError):
        raise _wrong("hybrid_search", "it has two numbers, embedding_weight and text_weight") from None
    if not (dense >= 0 and words >= 0 and 0 < dense + words < float("inf")):
        raise _wrong("hybrid_search", "its weights are not negative, and one is over 0")
    return dense / (dense + words)


def _wrong(name: str, why: str) -> BadRequest:
    param = f"ranking_options.{name}"
    return BadRequest(f"Invalid '{param}': {why}.", param=param, code="invalid_value")
