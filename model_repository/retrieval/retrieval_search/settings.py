"""What the model is set up with, and what it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retrieval_search.filter_signature import read_secret
from retrieval_search.fusion import RANKERS


@dataclass(frozen=True)
class RetrievalSettings:
    """`deadline_s` bounds one search with everything in it, connecting too. `candidates` is how many passages each of the
    two searches brings to the fusion: enough that `min_score` can drop some and `top_k` are left. `ranker` and
    `dense_weight` (see fusion.py) are for queries that name none, `dense_weight_german` for those of them that are in German, of
    which an English embedding model understands less; and so is `rerank`: the best `rerank_candidates` are read
    anew, within `rerank_deadline_s`, and `rerank_weight` is that model's share of the order. `joined_chars` bounds a passage with
    its neighbours, for which `join_deadline_s` is given. `embedding_deadline_s` is for the vectors of a long question's windows.
    `filter_secret`: see filter_signature.py. `ca_file`: PEM of the authority that an `https://` Milvus is known by.
    """

    uri: str
    token: str = ""
    ca_file: str = ""
    deadline_s: float = 5.0
    candidates: int = 30
    ranker: str = "minmax"
    dense_weight: float = 0.5
    dense_weight_german: float = 0.4
    rerank: bool = False
    rerank_candidates: int = 30
    rerank_deadline_s: float = 2.0
    rerank_weight: float = 1.0
    joined_chars: int = 6000
    join_deadline_s: float = 1.0
    embedding_deadline_s: float = 2.0
    filter_secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        check_ranking(self.ranker, self.dense_weight)
        check_ranking(self.ranker, self.dense_weight_german)
        if not 0 <= self.rerank_weight <= 1:
            raise ValueError(f"RAGFLEET_RERANK_WEIGHT is {self.rerank_weight:g}, which is not between 0 and 1")

    @classmethod
    def read(cls, parameters: Mapping[str, str], environment: Mapping[str, str]) -> RetrievalSettings:
        """From config.pbtxt's parameters, then the environment. Raises ValueError for a number that is none, and OSError for a
        secret's file that cannot be read."""
        return cls(
            uri=parameters.get("uri") or environment.get("MILVUS_URI") or "http://127.0.0.1:19530",
            token=environment.get("MILVUS_TOKEN", ""),
            ca_file=environment.get("RAGFLEET_CA_FILE", ""),
            deadline_s=int(parameters.get("deadline_ms") or 5000) / 1000,
            candidates=int(parameters.get("candidates") or cls.candidates),
            ranker=parameters.get("ranker") or cls.ranker,
            dense_weight=float(parameters.get("dense_weight") or cls.dense_weight),
            dense_weight_german=float(parameters.get("dense_weight_german") or cls.dense_weight_german),
            rerank=bool(environment.get("RAGFLEET_RERANK_DIR")),  # who has named a model wants it used
            rerank_candidates=int(parameters.get("rerank_candidates") or cls.rerank_candidates),
            rerank_deadline_s=int(parameters.get("rerank_deadline_ms") or 2000) / 1000,
            rerank_weight=float(
                parameters.get("rerank_weight") or environment.get("RAGFLEET_RERANK_WEIGHT") or cls.rerank_weight
            ),
            joined_chars=int(parameters.get("joined_chars") or cls.joined_chars),
            filter_secret=read_secret(environment),
        )


EVERY_SCORE = -1.0
"""A `min_score` that no cosine is below: without a threshold."""


@dataclass(frozen=True, slots=True)
class Query:
    """`vector` is FP32 [dimensions], of any length; `filter` a Milvus expression, "" for none. `ranker` and `dense_weight`:
    see fusion.py; empty and None stand for the settings, also of `rerank`. `neighbours`: see joining.py; None: no joining.
    """

    text: str
    vector: NDArray[np.float32]
    collection: str
    filter: str
    top_k: int
    min_score: float
    ranker: str = ""
    dense_weight: float | None = None
    neighbours: int | None = None
    rerank: bool | None = None
    filter_signature: str = ""
    cache_salt: int = 0


def check_ranking(ranker: str, dense_weight: float) -> None:
    """Raises ValueError for a ranking that there is not."""
    if ranker not in RANKERS:
        raise ValueError(f"ranker {ranker!r} is none of {', '.join(RANKERS)}")
    if not 0 <= dense_weight <= 1:
        raise ValueError(f"dense_weight {dense_weight:g} is not between 0 and 1")
