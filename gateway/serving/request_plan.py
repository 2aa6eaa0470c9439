"""What a request asks for: which model, from which knowledge, within which limits, sampled how. No I/O."""

import random
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.config import Settings
from gateway.errors import BadRequest, ContextLengthExceeded, NotFound, Unavailable
from gateway.fleet.models import ServedModels
from gateway.retrieval.request import FileSearchParameters, RetrievalRequest
from gateway.retrieval.store_resolver import RAG, is_rag
from tokens.table import TokenTable


class ChatAsk(Protocol):
    """What this module reads of a request (gateway/api/schemas.py has the wire form)."""

    model: str
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_tokens: int | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None

    @property
    def stops(self) -> tuple[str, ...]: ...
    @property
    def answer_limit(self) -> int | None: ...
    @property
    def limit_param(self) -> str: ...
    @property
    def text_param(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def conversation(self) -> list[dict[str, str]]: ...
    @property
    def file_search(self) -> FileSearchParameters | None: ...


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """Which model answers, from which knowledge, within which limits."""

    model: str
    retrieval: RetrievalRequest | None
    max_context: int
    """Tokens of prompt and answer together."""
    max_prompt: int


class Planner:
    """Reads requests against what the fleet has."""

    def __init__(self, settings: Settings, models: ServedModels, table: TokenTable) -> None:
        self._settings = settings
        self._models = models
        self._table = table

    def check(self, ask: ChatAsk) -> None:
        """The model's name and the limits, which need no look into the catalog, and what is too long by its bytes alone.

        Raises NotFound, BadRequest, ContextLengthExceeded, Unavailable.
        """
        max_context = self._models.generating.get(self._model(ask), 0)
        limit = max_context - self._room(ask, max_context)
        # Many templates drop the white space around a message.
        least = self._table.least_tokens(*(message["content"].strip() for message in ask.conversation))
        if least > limit:
            raise ContextLengthExceeded.of(least, limit, param=ask.text_param)

    def plan(self, ask: ChatAsk, retrieval: RetrievalRequest | None) -> RequestPlan:
        """Read the model's name and the limits. Raises NotFound, BadRequest, Unavailable."""
        model = self._model(ask)
        max_context = self._models.generating.get(model, 0)
        return RequestPlan(
            model=model,
            retrieval=retrieval,
            max_context=max_context,
            max_prompt=max_context - self._room(ask, max_context),
        )

    def _model(self, ask: ChatAsk) -> str:
        models = self._models.generating
        if not models:
            raise Unavailable("No instance is ready.", retry_after_s=2)
        if is_rag(ask.model):
            return next(iter(models))
        if ask.model in models:
            return ask.model
        raise NotFound(
            f"The model '{ask.model}' does not exist. There are: {', '.join(models)}, {RAG}, {RAG}:<store>.",
            param="model",
            code="model_not_found",
        )

    def _room(self, ask: ChatAsk, max_context: int) -> int:
        """Tokens of the context to keep free for the answer."""
        limit = ask.answer_limit
        if limit is not None and limit >= max_context:
            raise BadRequest(
                f"{ask.limit_param}={limit} leaves no room for a prompt: the model's context is {max_context} tokens.",
                param=ask.limit_param,
                code="context_length_exceeded",
            )
        if (ask.min_tokens or 0) > (limit or self._settings.default_max_tokens):
            raise BadRequest("min_tokens is larger than max_tokens.", param="min_tokens", code="invalid_value")
        return limit if limit is not None else min(self._settings.default_max_tokens, max_context // 4)

    def sampling(self, ask: ChatAsk, *, rag: bool, end_id: int | None) -> dict[str, Any]:
        """OpenAI's parameters as TensorRT-LLM's inputs."""
        temperature = ask.temperature
        if temperature is None:
            temperature = self._settings.rag_temperature if rag else self._settings.default_temperature
        sampling: dict[str, Any] = {}
        if end_id is not None:
            sampling["end_id"] = end_id
        if temperature == 0:
            sampling["runtime_top_k"] = 1
        else:
            sampling["temperature"] = temperature
            sampling["runtime_top_k"] = ask.top_k or 0
            sampling["runtime_top_p"] = 1.0 if ask.top_p is None else ask.top_p
            # The engine's default seed is fixed; without one of ours every client would get the same "random" answer.
            seed = ask.seed if ask.seed is not None else random.getrandbits(63)
            sampling["seed"] = seed % 2**64
        if ask.min_tokens:
            sampling["min_tokens"] = ask.min_tokens
        for name in ("repetition_penalty", "presence_penalty", "frequency_penalty"):
            if (value := getattr(ask, name)) is not None:
                sampling[name] = value
        return sampling
