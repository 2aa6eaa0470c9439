"""`POST /v1/embeddings`: vectors of texts or of token arrays, as numbers or as base64."""

import base64
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.api.json_routes import Call, Endpoints, Reply
from gateway.api.validation import (
    MANY,
    ONE,
    TEXT_OR_TOKENS,
    TOKEN_LISTS,
    TOKENS,
    items,
    read,
    refuse_unsupported,
    without_nulls,
)
from gateway.retrieval.embedding import EmbeddingService, Vector

HARMLESS: dict[str, tuple[Any, ...]] = {"dimensions": (None,)}
IGNORED = frozenset({"user"})

MAX_INPUTS = 2048
"""OpenAI's."""

Text = Annotated[str, Field(min_length=1)]
Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], items(1, 100_000)]


class EmbeddingRequest(BaseModel):
    """The wire schema."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, Field(min_length=1, max_length=256)]
    input: Annotated[
        Annotated[Text, ONE]
        | Annotated[list[Text], items(1, MAX_INPUTS), MANY]
        | Annotated[Tokens, TOKENS]
        | Annotated[list[Tokens], items(1, MAX_INPUTS), TOKEN_LISTS],
        TEXT_OR_TOKENS,
    ]
    encoding_format: Literal["float", "base64"] = "float"

    @property
    def inputs(self) -> list[str | list[int]]:
        """Each input by itself."""
        if isinstance(self.input, str):
            return [self.input]
        ids = [each for each in self.input if isinstance(each, int)]
        return [ids] if ids else [each for each in self.input if not isinstance(each, int)]


class Embeddings:
    """The path of embeddings."""

    def __init__(self, service: EmbeddingService) -> None:
        self._service = service

    def install(self, endpoints: Endpoints) -> None:
        """Add the path."""
        endpoints.add(
            "POST", "/v1/embeddings", self.embed, tag="OpenAI", summary="Vectors of texts", schema=EmbeddingRequest
        )

    async def embed(self, call: Call) -> Reply:
        """One vector for each input, in their order."""
        raw = without_nulls(await call.json())
        refuse_unsupported(raw, HARMLESS, IGNORED)
        request = read(EmbeddingRequest, raw)
        made = await call.while_there(
            self._service.embed(call.tenant, request.model, request.inputs, request_id=call.request_id)
        )
        return Reply(
            {
                "object": "list",
                "data": [
                    {"object": "embedding", "index": index, "embedding": _encoded(vector, request.encoding_format)}
                    for index, vector in enumerate(made.vectors)
                ],
                "model": request.model,
                "usage": {"prompt_tokens": made.tokens, "total_tokens": made.tokens},
            }
        )


def _encoded(vector: Vector, encoding: str) -> list[float] | str:
    """Numbers, or their float32 bytes, little endian."""
    if encoding == "float":
        return [float(value) for value in vector]
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
