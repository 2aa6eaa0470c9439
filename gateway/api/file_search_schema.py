"""The tool that searches knowledge stores, as clients send it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.api.ranking_schema import RankingOptions
from gateway.api.validation import WHOLE, items
from gateway.errors import BadRequest
from gateway.knowledge.filters import compile_filter
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.request import FileSearchParameters


class FileSearch(BaseModel):
    """The tool that is ours: answer from knowledge stores."""

    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["file_search"]
    vector_store_ids: Annotated[list[Annotated[str, Field(max_length=128)]], items(1, 8)]
    max_num_results: Annotated[int, Field(ge=1, le=50), WHOLE] | None = None
    filters: Annotated[dict[str, Any], Field(max_length=16)] | None = None
    ranking_options: RankingOptions | None = None

    @field_validator("filters")
    @classmethod
    def _readable(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            if value is not None:
                compile_filter(value)
        except BadRequest as error:
            raise ValueError(error.message) from None
        return value

    @property
    def parameters(self) -> FileSearchParameters:
        """What it says of retrieval."""
        given = {} if self.ranking_options is None else self.ranking_options.given
        return FileSearchParameters(
            stores=self.vector_store_ids,
            filters=self.filters,
            options=RetrievalOptions.read({**given, "max_num_results": self.max_num_results}),
        )
