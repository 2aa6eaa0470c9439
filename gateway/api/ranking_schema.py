"""The wire schemas of how passages are looked for: OpenAI's `ranking_options`, and what a vector store says of itself."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.api.validation import WHOLE

MAX_NEIGHBOURS = 3
"""On each side. More would be no passage but a chapter."""


class HybridWeights(BaseModel):
    """What the meaning and the words of a question count, relative to each other."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "anyOf": [{"properties": {name: {"exclusiveMinimum": 0}}} for name in ("embedding_weight", "text_weight")]
        },
    )
    embedding_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    text_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _one(self) -> "HybridWeights":
        if not self.embedding_weight + self.text_weight:
            raise ValueError("at least one of the weights must be above 0")
        return self


class RankingOptions(BaseModel):
    """How results are ordered (docs/retrieval.md) and from which score on they count."""

    model_config = ConfigDict(extra="forbid", strict=True)
    ranker: Literal["none", "auto", "default-2024-11-15", "minmax", "rrf", "dense", "bm25"] | None = None
    """OpenAI's names stand for the deployment's, `none` for it without a reranking; the others are an extension."""
    hybrid_search: HybridWeights | None = None
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    neighbours: Annotated[int, Field(ge=0, le=MAX_NEIGHBOURS), WHOLE] | None = None
    """Extension: chunks before and behind each hit that are joined to it."""
    rerank: bool | None = None
    """Extension: whether a cross-encoder orders what was found, where the deployment has one."""

    @property
    def given(self) -> dict[str, Any]:
        """What is set, as JSON: for RetrievalOptions, and for the catalog."""
        return self.model_dump(exclude_none=True)


class StoreRetrieval(RankingOptions):
    """Extension: the field `retrieval` of a vector store, for requests that say nothing else."""

    max_num_results: Annotated[int, Field(ge=1, le=50), WHOLE] | None = None
