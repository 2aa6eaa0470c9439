"""A chat completion from request to usage: plan, context, generation, text.

`ChatService.open` takes a `Permit`: nothing reaches an engine that admission has not let in.
"""

import asyncio
import random
import re
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from gateway.admission import Admission, Permit
from gateway.config import Settings
from gateway.errors import BadRequest, DeadlineExceeded, NotFound, Overloaded, Unavailable
from gateway.metrics import Metrics
from gateway.routing.types import Job
from gateway.serving.answer import Answer, FinishReason
from gateway.serving.context import Context, ContextBuilder, Retrieval
from gateway.serving.engines import Engines
from gateway.serving.generation import Generation
from gateway.tenants.tenant import Tenant
from gateway.triton.llm import Streams
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
    def question(self) -> str: ...
    @property
    def conversation(self) -> list[dict[str, str]]: ...
    @property
    def knowledge(self) -> tuple[Sequence[str], int | None] | None: ...


class Stores(Protocol):
    """The knowledge stores, as far as serving needs them."""

    def names(self, tenant: str) -> Sequence[str]: ...
    def filter(self, tenant: str, stores: Sequence[str]) -> str: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """Which model answers, from which knowledge, within which limits."""

    model: str
    retrieval: Retrieval | None
    max_context: int
    """Tokens of prompt and answer together."""
    max_prompt: int


RAG = "rag"


class ChatService:
    """Opens chats. One for the life of the application."""

    def __init__(
        self,
        *,
        settings: Settings,
        admission: Admission,
        engines: Engines,
        context: ContextBuilder,
        streams: Streams,
        table: TokenTable,
        stores: Stores,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._engines = engines
        self._context = context
        self._streams = streams
        self._table = table
        self._stores = stores
        self._metrics = metrics

    def models(self, tenant: Tenant) -> list[str]:
        """The model ids that a client may name: the engines' own, `rag`, and one for each store."""
        stores = self._stores.names(tenant.name)
        return [*self._engines.models(), *([RAG] if stores else []), *(f"{RAG}:{name}" for name in stores)]

    @asynccontextmanager
    async def open(self, ask: ChatAsk, tenant: Tenant, request_id: str, permit: Permit) -> AsyncIterator["Chat"]:
        """A chat that is ready to give its first piece. Raises RagfleetError; frees everything when left.

        From here to there it may take `request_deadline_s`, whatever it waits for: an engine, or a client that does not read.
        """
        assert not permit.released, "a request needs a permit that is still held"
        deadline_s = self._settings.request_deadline_s
        try:
            async with asyncio.timeout(deadline_s), self._opened(ask, tenant, request_id) as chat:
                yield chat
        except TimeoutError as error:
            raise DeadlineExceeded(f"The request took longer than {deadline_s:g} s.") from error

    @asynccontextmanager
    async def _opened(self, ask: ChatAsk, tenant: Tenant, request_id: str) -> AsyncIterator["Chat"]:
        started = time.monotonic()
        plan = self.plan(ask, tenant)
        context = await self._context.build(
            request_id=request_id,
            messages=orjson.dumps(ask.conversation),
            question=ask.question,
            retrieval=plan.retrieval,
            max_prompt_tokens=plan.max_prompt,
        )
        limit = min(
            ask.answer_limit or self._settings.default_max_tokens,
            plan.max_context - len(context.input_ids),
        )
        chat = Chat(
            ask=ask,
            plan=plan,
            context=context,
            answer=Answer(self._table, stops=ask.stops, max_tokens=limit),
            generation=self._generation(ask, plan, context, tenant=tenant, request_id=request_id, limit=limit),
            not_found=self._settings.rag_not_found,
            started=started,
            metrics=self._metrics,
        )
        try:
            yield chat
        finally:
            chat.close()
            usage = chat.usage()
            self._metrics.tokens.labels(tenant.name, "prompt").inc(usage["prompt_tokens"])
            self._metrics.tokens.labels(tenant.name, "completion").inc(usage["completion_tokens"])

    def check(self, ask: ChatAsk, tenant: Tenant) -> None:
        """Refuse what no instance could serve. While there is no instance nothing is known, and the request may wait."""
        if self._engines.models():
            self.plan(ask, tenant)

    async def admit(self, tenant: Tenant) -> Permit:
        """A place for one request, after a fair wait. Raises Overloaded; the permit is to be released on every path."""
        started = time.monotonic()
        try:
            permit = await self._admission.acquire(
                tenant.name,
                weight=tenant.weight,
                priority=tenant.priority,
                deadline_s=self._settings.admission_deadline_s,
            )
        except Overloaded:
            self._metrics.refused.labels(tenant.name).inc()
            raise
        self._metrics.admission_wait.observe(time.monotonic() - started)
        return permit

    def observe(self, ask: ChatAsk, tenant: Tenant, *, status: int, seconds: float) -> None:
        """Count a request that has ended, whichever way."""
        rag = ask.knowledge is not None or ask.model.partition(":")[0] == RAG
        # The client's word for the model is unbounded; only known ones become labels.
        model = ask.model if ask.model in self._engines.models() else RAG if rag else "unknown"
        self._metrics.requests.labels("chat", model, tenant.name, str(status)).inc()
        self._metrics.duration.labels("1" if rag else "0").observe(seconds)

    def plan(self, ask: ChatAsk, tenant: Tenant) -> Plan:
        """Read the model's name and the tools. Raises NotFound, BadRequest, Unavailable."""
        name, _, store = ask.model.partition(":")
        stores: Sequence[str] | None = None
        top_k = self._settings.rag_top_k
        models = self._engines.models()
        if name == RAG:
            if not models:
                raise Unavailable("No instance is ready.", retry_after_s=2)
            known = self._stores.names(tenant.name)
            stores = [store] if store else known
            model = models[0]
        elif ask.model in models:
            model = ask.model
        elif not models:
            raise Unavailable("No instance is ready.", retry_after_s=2)
        else:
            raise NotFound(
                f"The model '{ask.model}' does not exist. There are: {', '.join(self.models(tenant))}.",
                param="model",
                code="model_not_found",
            )
        if ask.knowledge is not None:
            stores, wanted = ask.knowledge
            top_k = wanted or top_k
        if stores is not None and (unknown := set(stores) - set(self._stores.names(tenant.name))):
            raise NotFound(
                f"There is no knowledge store '{min(unknown)}'. Make one with `ragfleet ingest --store NAME PATH`.",
                param="tools" if ask.knowledge else "model",
                code="store_not_found" if ask.knowledge else "model_not_found",
            )
        if stores is not None and not stores:
            raise NotFound(
                "There is no knowledge store yet. Make one with `ragfleet ingest PATH`.",
                param="model",
                code="model_not_found",
            )
        max_context = self._engines.max_context(model)
        limit = ask.answer_limit
        if limit is not None and limit >= max_context:
            raise BadRequest(
                f"{ask.limit_param}={limit} leaves no room for a prompt: the model's context is {max_context} tokens.",
                param=ask.limit_param,
                code="context_length_exceeded",
            )
        if (ask.min_tokens or 0) > (limit or self._settings.default_max_tokens):
            raise BadRequest("min_tokens is larger than max_tokens.", param="min_tokens", code="invalid_value")
        room = limit if limit is not None else min(self._settings.default_max_tokens, max_context // 4)
        retrieval = None
        if stores is not None:
            retrieval = Retrieval(store=", ".join(stores), filter=self._stores.filter(tenant.name, stores), top_k=top_k)
        return Plan(model=model, retrieval=retrieval, max_context=max_context, max_prompt=max_context - room)

    def _generation(
        self, ask: ChatAsk, plan: Plan, context: Context, *, tenant: Tenant, request_id: str, limit: int
    ) -> Generation | None:
        if plan.retrieval is not None and not context.sources:
            return None  # nothing relevant: we say so ourselves, no engine can invent
        job = Job(
            request_id=request_id,
            model=plan.model,
            prompt_ids=context.input_ids,
            max_tokens=limit,
            tenant_class=tenant.name,
            priority=tenant.priority,
        )
        return Generation(
            job,
            input_ids=context.input_ids,
            max_tokens=limit,
            sampling=self._sampling(ask, rag=plan.retrieval is not None),
            engines=self._engines,
            streams=self._streams,
            settings=self._settings,
            metrics=self._metrics,
        )

    def _sampling(self, ask: ChatAsk, *, rag: bool) -> dict[str, Any]:
        """OpenAI's parameters as TensorRT-LLM's inputs."""
        temperature = ask.temperature
        if temperature is None:
            temperature = self._settings.rag_temperature if rag else self._settings.default_temperature
        sampling: dict[str, Any] = {}
        if self._table.end_id is not None:
            sampling["end_id"] = self._table.end_id
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


class Chat:
    """One answer in the making."""

    def __init__(
        self,
        *,
        ask: ChatAsk,
        plan: Plan,
        context: Context,
        answer: Answer,
        generation: Generation | None,
        not_found: str,
        started: float,
        metrics: Metrics,
    ) -> None:
        self.id = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self._plan = plan
        self._context = context
        self._answer = answer
        self._generation = generation
        self._not_found: str | None = not_found if generation is None else None
        self._started = started
        self._first_token = False
        self._metrics = metrics
        self._text: list[str] = []
        self.rag: dict[str, Any] | None = None
        if plan.retrieval is not None:
            self.rag = {
                "grounded": bool(context.sources),
                "store": plan.retrieval.store,
                "sources": list(context.sources),
            }

    async def next(self) -> str | None:
        """The next piece of text (may be ''), or None when the answer is complete."""
        if self._answer.ended():
            return None
        if self._generation is None:
            self._answer.say_nothing()
            piece = self._not_found or ""
        else:
            ids = await self._generation.next()
            if not self._first_token:
                self._first_token = True
                self._metrics.ttft.labels("1" if self.rag else "0").observe(time.monotonic() - self._started)
            if ids:
                piece = self._answer.push(ids)
                if self._answer.ended():
                    self._generation.close()  # a stop string: the engine need not go on
            else:
                piece = self._answer.finish()
        if self.rag is not None:
            self._text.append(piece)
        return piece

    def close(self) -> None:
        """Free the engine. Idempotent."""
        if self._generation is not None:
            self._generation.close()

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None while it has not."""
        return self._answer.finish_reason

    def usage(self) -> dict[str, Any]:
        """Real tokens: what the engine read and wrote, once, whatever instances it took."""
        prompt = len(self._context.input_ids) if self._generation is not None else 0
        done = self._answer.tokens
        return {"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done}

    def annotations(self) -> list[dict[str, Any]]:
        """One url_citation for each source: the place of its mark `[n]` in the answer, else the whole answer."""
        if self.rag is None or not self.rag["grounded"]:
            return []
        text = "".join(self._text)
        marked = {int(m[1]): m.span() for m in re.finditer(r"\[(\d{1,3})\]", text)}
        return [_citation(source, marked.get(source["n"], (0, len(text)))) for source in self.rag["sources"]]

    def extra(self) -> dict[str, Any]:
        """The extension field `ragfleet`: which instances worked on the answer, and why each part ended."""
        trail = self._generation.trail if self._generation is not None else []
        return {
            "ragfleet": {"attempts": [{"instance": a.instance, "tokens": a.tokens, "cause": a.cause} for a in trail]}
        }


def _citation(source: Mapping[str, Any], span: tuple[int, int]) -> dict[str, Any]:
    page = f"#page={source['page']}" if source.get("page") else ""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": span[0],
            "end_index": span[1],
            "title": source["filename"],
            "url": f"ragfleet:{source['file_id']}/{source['filename']}{page}",
        },
    }
