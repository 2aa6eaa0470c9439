"""A line of a batch, answered as the request to its endpoint would be."""

from collections.abc import Callable, MutableMapping
from functools import partial
from typing import Any

import orjson

from gateway.api.chat import ChatCall
from gateway.api.completions import CompletionCall
from gateway.api.embeddings import embeddings_body, parse_embeddings
from gateway.api.responses import ResponsesCall, ResponseServices
from gateway.api.streaming import ResponseWriter, StreamingRequest
from gateway.errors import BadRequest
from gateway.retrieval.embedding import EmbeddingService
from gateway.tenants.tenant import Tenant

Json = dict[str, Any]


class BatchRequests:
    """Answers them (gateway/batches/worker.py)."""

    def __init__(self, services: ResponseServices, embeddings: EmbeddingService) -> None:
        self._embeddings = embeddings
        self._openers: dict[str, Callable[[bytes, Tenant, str], StreamingRequest]] = {
            "/v1/chat/completions": partial(ChatCall, services.generation, services.stored),
            "/v1/completions": partial(CompletionCall, services.generation),
            "/v1/responses": partial(ResponsesCall, services),
        }

    async def answer(self, endpoint: str, body: bytes, tenant: Tenant, request_id: str) -> Json:
        """See worker.Answer."""
        if endpoint == "/v1/embeddings":
            made = await embeddings_body(self._embeddings, tenant, parse_embeddings(body), request_id)
            return dict(made)
        for name in ("stream", "background"):
            if orjson.loads(body).get(name):
                raise BadRequest(
                    f"'{name}' cannot be used in a batch; leave it out.", param=name, code="unsupported_parameter"
                )
        parts: list[bytes] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            parts.append(message.get("body", b""))

        await self._openers[endpoint](body, tenant, request_id).serve(ResponseWriter({"type": "http"}, send))
        answer: Json = orjson.loads(b"".join(parts))
        return answer
