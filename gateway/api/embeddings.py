"""`POST /v1/embeddings`: vectors of texts or of token arrays, as numbers or as base64."""

import base64
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from gateway.api.bookkeeping import NamedUser
from gateway.api.dependencies import (
    ContainerDep,
    JsonBody,
    RequestIdDep,
    RequiredScope,
    TenantDep,
    while_connected,
)
from gateway.api.json_body import json_object
from gateway.api.openapi import documented
from gateway.api.replies import JsonReply
from gateway.api.validation import (
    MANY,
    ONE,
    TEXT_OR_TOKENS,
    TOKEN_LISTS,
    TOKENS,
    WHOLE,
    TokenId,
    items,
    read,
    texts_or_ids,
    without_nulls,
)
from gateway.errors import BadRequest
from gateway.retrieval.embedding import EmbeddingService, Vector
from gateway.tenants.key import Scope
from gateway.tenants.tenant import Tenant

MAX_INPUTS = 2048
"""OpenAI's."""

Text = Annotated[str, Field(min_length=1)]
Tokens = Annotated[list[TokenId], items(1, 100_000)]


class EmbeddingRequest(NamedUser):
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
    dimensions: Annotated[int, Field(ge=1, lt=2**31), WHOLE] | None = None
    """The model's own; others cannot be had."""

    @property
    def inputs(self) -> list[str | list[int]]:
        """Each input by itself."""
        return texts_or_ids(self.input)


class EmbeddingObject(TypedDict):
    """A vector: numbers, or their float32 bytes, little endian, in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(TypedDict):
    """Tokens of all inputs together."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsBody(TypedDict):
    """One vector for each input, in their order."""

    object: Literal["list"]
    data: list[EmbeddingObject]
    model: str
    usage: EmbeddingUsage


router = APIRouter(tags=["OpenAI"], dependencies=[Depends(RequiredScope(Scope.EMBEDDINGS))])


@router.post(
    "/v1/embeddings",
    summary="Vectors of texts",
    **documented(EmbeddingsBody, 404, 502, 504, body=EmbeddingRequest),
)
async def embed(
    wanted: Annotated[EmbeddingRequest, Depends(JsonBody(EmbeddingRequest))],
    *,
    request: Request,
    tenant: TenantDep,
    parts: ContainerDep,
    request_id: RequestIdDep,
) -> Response:
    """One vector for each input, in their order."""
    work = embeddings_body(parts.embeddings, tenant, wanted, request_id)
    return JsonReply(await while_connected(request, work))


def parse_embeddings(body: bytes) -> EmbeddingRequest:
    """The request in a body. Raises BadRequest whose `param` names the field."""
    return read(EmbeddingRequest, without_nulls(json_object(body)))


async def embeddings_body(
    service: EmbeddingService, tenant: Tenant, wanted: EmbeddingRequest, request_id: str
) -> EmbeddingsBody:
    """The answer to a request. Raises RagfleetError."""
    made = await service.embed(tenant, wanted.model, wanted.inputs, request_id=request_id)
    dimensions = made.vectors.shape[1]
    if wanted.dimensions not in (None, dimensions):
        raise BadRequest(
            f"The vectors of '{wanted.model}' have {dimensions} dimensions; leave 'dimensions' out.",
            param="dimensions",
            code="unsupported_value",
        )
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, wanted.encoding_format)}
            for index, vector in enumerate(made.vectors)
        ],
        "model": wanted.model,
        "usage": {"prompt_tokens": made.tokens, "total_tokens": made.tokens},
    }


def _encoded(vector: Vector, encoding: str) -> list[float] | str:
    """Numbers, or their float32 bytes, little endian."""
    if encoding == "float":
        return [float(value) for value in vector]
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
