"""From a conversation to token ids: the `prompt` model, or the whole `context` ensemble where retrieval is on.

Both are idempotent, so they are called as gateway/serving/hedging.py does it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from gateway.config import Settings, WithoutKnowledge
from gateway.errors import BadRequest, ContextLengthExceeded, KnowledgeUnavailable, NotFound, RagfleetError
from gateway.metrics import Metrics
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.search import knowledge_away
from gateway.serving.engines import Engines
from gateway.serving.hedging import HedgedCalls
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError, RequestRefused
from gateway.triton.infer import Tensor, boolean, fp32, int32, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Where and how to look for passages."""

    store: str
    """What the client called it; for messages."""
    filter: str
    """A Milvus expression made by gateway/knowledge, never by a client."""
    top_k: int
    collection: str
    """In Milvus: the active one."""
    embedding_model: str
    """Whose vectors the collection holds: only instances that serve it are asked."""
    min_score: float
    """The least cosine of question and passage."""
    options: RetrievalOptions = field(default_factory=RetrievalOptions)
    """What else was said about the search; its `score_threshold` and `max_num_results` are in the fields above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A prompt that is ready for an engine, with the passages that are in it."""

    input_ids: Sequence[int]
    sources: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    without_knowledge: bool = False
    """Passages were wanted, Milvus is away, and the settings let the model answer alone."""


class ContextBuilder:
    """Builds prompts on the fleet."""

    def __init__(self, engines: Engines, pool: Pool, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._calls = HedgedCalls(engines, pool, settings, metrics)

    async def build(
        self, *, request_id: str, messages: bytes, question: str, retrieval: Retrieval | None, max_prompt_tokens: int
    ) -> Context:
        """Token ids for `messages` (OpenAI's list as JSON). Raises BadRequest, KnowledgeUnavailable, Unavailable."""
        inputs: dict[str, Tensor] = {
            "messages": text(messages.decode()),
            "max_prompt_tokens": int32(max_prompt_tokens),
            "grounded": boolean(retrieval is not None),
        }
        if retrieval is None:
            inputs["passages"] = text("[]")
        else:
            inputs |= {
                "query": text(question),
                "collection": text(retrieval.collection),
                "filter": text(retrieval.filter),
                "top_k": int32(retrieval.top_k),
                "min_score": fp32(retrieval.min_score),
                **retrieval.options.inputs,
            }
        name = "prompt" if retrieval is None else "context"
        started = time.monotonic()
        try:
            context = await self._calls.call(
                name,
                inputs,
                request_id=request_id,
                read=_read,
                embedding_model="" if retrieval is None else retrieval.embedding_model,
            )
        except RequestRefused as refused:
            error = _translate(refused, retrieval)
            alone = self._settings.rag_unavailable is WithoutKnowledge.ANSWER
            if not (alone and isinstance(error, KnowledgeUnavailable)):
                raise error from refused
            bare = await self.build(
                request_id=request_id,
                messages=messages,
                question=question,
                retrieval=None,
                max_prompt_tokens=max_prompt_tokens,
            )
            return replace(bare, without_knowledge=True)
        self._metrics.context_duration.labels("1" if retrieval else "0").observe(time.monotonic() - started)
        return context


def _read(name: str, outputs: Mapping[str, list[Any]]) -> Context:
    try:
        return Context(input_ids=outputs["input_ids"], sources=orjson.loads(outputs["used"][0]))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InstanceError(Cause.ENGINE, f"unreadable answer of {name}: {error!r}") from error


def _translate(refused: RequestRefused, retrieval: Retrieval | None) -> RagfleetError:
    if refused.kind == "too long":
        return ContextLengthExceeded(
            f"The messages do not fit into the model's context: {refused.reason}.", param="messages"
        )
    if refused.kind == "bad messages":
        return BadRequest(f"Invalid 'messages': {refused.reason}.", param="messages", code="invalid_value")
    if refused.kind == "retrieval unavailable":
        return knowledge_away(refused)
    if refused.kind == "not found":
        name = retrieval.store if retrieval else "?"
        return NotFound(
            f"There is no knowledge yet for the store '{name}'. Add some with `ragfleet ingest`.", param="model"
        )
    return BadRequest(refused.reason, code="invalid_value")
