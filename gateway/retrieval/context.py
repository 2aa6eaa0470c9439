"""From a conversation to token ids: the `prompt` model, or the whole `context` ensemble where retrieval is on.

Both are idempotent, so they are called as gateway/dispatch/hedging.py does it.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import orjson

from gateway.admission.tenant_permits import TenantPermits
from gateway.config import Settings
from gateway.dispatch.dispatcher import Dispatcher
from gateway.dispatch.hedging import HedgedCalls
from gateway.errors import BadRequest, ContextLengthExceeded, KnowledgeUnavailable, NotFound, RagfleetError
from gateway.metrics import Metrics
from gateway.retrieval.access import DocumentAccess
from gateway.retrieval.filter_signature import FilterSigner
from gateway.retrieval.passage import KnownPassages, Passage
from gateway.retrieval.request import RetrievalRequest
from gateway.retrieval.search import knowledge_away
from gateway.setting_values import WithoutKnowledge
from gateway.telemetry import OFF, Tracing
from gateway.tenants.cache_salt import CacheSalts
from gateway.tenants.tenant import Tenant
from gateway.triton.connection import Pool
from gateway.triton.errors import Cause, InstanceError, Refusal, RequestRefused
from gateway.triton.infer import Tensor, boolean, int32, text


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounding:
    """What was looked for, where, and what of it is in the prompt."""

    store: str
    """What the client called it."""
    query: str
    passages: Sequence[Passage] = field(default_factory=tuple)
    """Best first, numbered from 1."""
    unavailable: bool = False
    """Milvus is away, and the settings let the model answer alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A prompt that is ready for an engine."""

    input_ids: Sequence[int]
    grounding: Grounding | None = None
    """None for a prompt without retrieval."""


class ContextBuilder:
    """Builds prompts on the fleet."""

    LOOKS = 3
    """At what was found, where some of it was hidden or deleted since the search began."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        pool: Pool,
        settings: Settings,
        metrics: Metrics,
        *,
        access: DocumentAccess,
        places: TenantPermits,
        tracing: Tracing = OFF,
    ) -> None:
        """places: of one tenant it lets so many search at a time."""
        self._places = places
        self._settings = settings
        self._metrics = metrics
        self._access = access
        self._signer = FilterSigner(settings.filter_secret)
        self._salts = CacheSalts(shared=settings.share_caches)
        self._calls = HedgedCalls(dispatcher, pool, settings, metrics, tracing=tracing)

    async def build(
        self,
        *,
        request_id: str,
        messages: bytes,
        question: str,
        retrieval: RetrievalRequest | None,
        max_prompt_tokens: int,
        tools: str = "",
        reasoning_effort: str = "",
        known: tuple[Tenant, KnownPassages] | None = None,
    ) -> Context:
        """Token ids for `messages` (OpenAI's list as JSON), with nothing in them that the key of the retrieval does not see now.

        known: what a tenant's key has found already, in place of a retrieval.
        tools: OpenAI's list of functions as JSON; with them passages may help, and the answer need not come from them alone.
        reasoning_effort: OpenAI's, for chat templates that know of one; "" as the model likes.
        Raises BadRequest, KnowledgeUnavailable, CatalogUnavailable, Unavailable.
        """
        build = partial(
            self._build,
            request_id=request_id,
            messages=messages,
            question=question,
            max_prompt_tokens=max_prompt_tokens,
            tools=tools,
            reasoning_effort=reasoning_effort,
        )
        for _ in range(self.LOOKS):
            context = await build(retrieval=retrieval, known=None if known is None else known[1])
            if context.grounding is None or (retrieval is None and known is None):
                return context
            tenant = known[0] if retrieval is None and known is not None else retrieval.tenant  # type: ignore[union-attr]
            hidden = await self._access.hidden(tenant, context.grounding.passages)
            if not hidden:
                return context
            if retrieval is not None:
                retrieval = retrieval.without(hidden)
            elif known is not None:
                known = known[0], known[1].without(hidden)
        raise KnowledgeUnavailable("The documents change while they are searched; ask again.", retry_after_s=1)

    async def _build(
        self,
        *,
        request_id: str,
        messages: bytes,
        question: str,
        retrieval: RetrievalRequest | None,
        known: KnownPassages | None,
        max_prompt_tokens: int,
        tools: str,
        reasoning_effort: str,
    ) -> Context:
        inputs: dict[str, Tensor] = {
            "messages": text(messages.decode()),
            "max_prompt_tokens": int32(max_prompt_tokens),
            "grounded": boolean((retrieval is not None or known is not None) and not tools),
            **({"tools": text(tools)} if tools else {}),
            **({"reasoning_effort": text(reasoning_effort)} if reasoning_effort else {}),
            **(_given(known) if retrieval is None else self._searched(retrieval, question)),
        }
        started = time.monotonic()
        try:
            prompt = await self._call(inputs, retrieval, request_id)
        except RequestRefused as refused:
            error = _translate(refused, retrieval, max_prompt_tokens)
            alone = self._settings.rag_unavailable is WithoutKnowledge.ANSWER
            if retrieval is None or not (alone and isinstance(error, KnowledgeUnavailable)):
                raise error from refused
            bare = await self._build(
                request_id=request_id,
                messages=messages,
                question=question,
                retrieval=None,
                known=None,
                max_prompt_tokens=max_prompt_tokens,
                tools=tools,
                reasoning_effort=reasoning_effort,
            )
            return replace(bare, grounding=Grounding(store=retrieval.label, query=question, unavailable=True))
        self._metrics.context_duration.labels("1" if retrieval else "0").observe(time.monotonic() - started)
        if known is not None:
            found = Grounding(store=known.store, query=known.query, passages=prompt.passages)
            return Context(input_ids=prompt.input_ids, grounding=found)
        if retrieval is None:
            return Context(input_ids=prompt.input_ids)
        grounding = Grounding(store=retrieval.label, query=question, passages=prompt.passages)
        return Context(input_ids=prompt.input_ids, grounding=grounding)

    async def _call(
        self, inputs: Mapping[str, Tensor], retrieval: RetrievalRequest | None, request_id: str
    ) -> "_Prompt":
        if retrieval is None:
            return await self._calls.call("prompt", inputs, request_id=request_id, read=_read)
        with await self._places.admit(retrieval.tenant):
            return await self._calls.call(
                "context",
                inputs,
                request_id=request_id,
                read=_read,
                embedding_model=retrieval.embedding_model,
            )

    def _searched(self, retrieval: RetrievalRequest, question: str) -> dict[str, Tensor]:
        return retrieval.inputs(question, self._signer, salt=self._salts.of(retrieval.tenant))


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What the models answer."""

    input_ids: Sequence[int]
    passages: Sequence[Passage]


def _given(known: KnownPassages | None) -> dict[str, Tensor]:
    passages = () if known is None else known.passages
    return {"passages": text(orjson.dumps([each.wire() for each in passages]).decode())}


def _read(name: str, outputs: Mapping[str, list[Any]]) -> _Prompt:
    try:
        passages = tuple(Passage.read(fields) for fields in orjson.loads(outputs["used"][0]))
        return _Prompt(outputs["input_ids"], passages)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InstanceError(Cause.ENGINE, f"unreadable answer of {name}: {error!r}") from error


def _translate(refused: RequestRefused, retrieval: RetrievalRequest | None, limit: int) -> RagfleetError:
    if refused.kind is Refusal.TOO_LONG:
        found = re.match(r"\d+", refused.reason)
        return ContextLengthExceeded.of(int(found[0]) if found else limit + 1, limit, param="messages")
    if refused.kind is Refusal.BAD_MESSAGES:
        return BadRequest(
            f"The chat template cannot take these messages: {refused.reason}.", param="messages", code="invalid_value"
        )
    if refused.kind is Refusal.BAD_EFFORT:
        return BadRequest(
            f"An effort of reasoning is not supported: {refused.reason}.",
            param="reasoning_effort",
            code="unsupported_parameter",
        )
    if refused.kind is Refusal.RETRIEVAL_UNAVAILABLE:
        return knowledge_away(refused)
    if refused.kind is Refusal.NOT_FOUND:
        name = retrieval.label if retrieval else "?"
        return NotFound(
            f"There is no knowledge yet for the store '{name}'. Add some with `ragfleet ingest`.", param="model"
        )
    return BadRequest(refused.reason, code="invalid_value")
