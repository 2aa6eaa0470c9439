"""A chat from request to usage: plan, query, context, generation, citations.

`ChatService.open` takes a `Permit`: nothing reaches an engine that admission has not let in.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import orjson

from gateway.admission import Admission, Permit
from gateway.config import Settings
from gateway.dispatch.generation import Generation, Generator
from gateway.errors import DeadlineExceeded
from gateway.fleet.models import ServedModels
from gateway.metrics import Metrics
from gateway.retrieval.admission import place_for
from gateway.retrieval.context import Context, ContextBuilder
from gateway.retrieval.rewriting import QueryRewriter
from gateway.retrieval.store_resolver import RAG, StoreResolver, is_rag
from gateway.routing.types import PlacementRequest
from gateway.serving.chat import Chat
from gateway.serving.citation_check import CitationCheck
from gateway.serving.citation_finder import CitationFinder
from gateway.serving.output_processor import OutputProcessor
from gateway.serving.request_plan import ChatAsk, Planner, RequestPlan
from gateway.serving.short_generation import ShortGenerator
from gateway.tenants.tenant import Tenant
from tokens.table import TokenTable


class ChatService:
    """Opens chats. One for the life of the application."""

    def __init__(
        self,
        *,
        settings: Settings,
        admission: Admission,
        models: ServedModels,
        context: ContextBuilder,
        generator: Generator,
        table: TokenTable,
        knowledge: StoreResolver,
        passages: CitationCheck,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._admission = admission
        self._models = models
        self._context = context
        self._generator = generator
        self._table = table
        self._knowledge = knowledge
        self._passages = passages
        self.planner = Planner(settings, models, table)
        self._metrics = metrics
        self._rewriter = QueryRewriter(settings, metrics)
        self._short = ShortGenerator(context, generator, table)

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
        plan = self.planner.plan(ask, await self._knowledge.resolve(tenant, ask.file_search, ask.model))
        query = ask.question
        if plan.retrieval is not None:
            generate = partial(self._short.generate, plan=plan, tenant=tenant, request_id=f"{request_id}/query")
            query = await self._rewriter.query(ask.conversation, query, generate)
        context = await self._context.build(
            request_id=request_id,
            messages=orjson.dumps(ask.conversation),
            question=query,
            retrieval=plan.retrieval,
            max_prompt_tokens=plan.max_prompt,
        )
        limit = min(
            ask.answer_limit or self._settings.default_max_tokens,
            plan.max_context - len(context.input_ids),
        )
        passages = () if context.grounding is None else context.grounding.passages
        async with CitationFinder.start(passages, self._passages, self._settings.rag_attribution) as citations:
            chat = Chat(
                context=context,
                answer=OutputProcessor(self._table, stops=ask.stops, max_tokens=limit),
                generation=self._generation(ask, plan, context, tenant=tenant, request_id=request_id, limit=limit),
                not_found=self._settings.rag_not_found,
                started=started,
                metrics=self._metrics,
                citations=citations,
            )
            try:
                yield chat
            finally:
                chat.close()
                usage = chat.usage()
                self._metrics.tokens.labels(tenant.name, "prompt").inc(usage["prompt_tokens"])
                self._metrics.tokens.labels(tenant.name, "completion").inc(usage["completion_tokens"])

    def check(self, ask: ChatAsk) -> None:
        """Refuse what no instance could serve. While there is no instance nothing is known, and the request may wait."""
        if self._models.generating:
            self.planner.check(ask)

    async def admit(self, tenant: Tenant) -> Permit:
        """A place for one request, after a fair wait. Raises Overloaded; the permit is to be released on every path."""
        started = time.monotonic()
        permit = await place_for(tenant, self._admission, self._settings.admission_deadline_s, self._metrics)
        self._metrics.admission_wait.observe(time.monotonic() - started)
        return permit

    def observe(self, ask: ChatAsk, tenant: Tenant, *, status: int, seconds: float) -> None:
        """Count a request that has ended, whichever way."""
        rag = ask.file_search is not None or is_rag(ask.model)
        # The client's word for the model is unbounded; only known ones become labels.
        model = ask.model if ask.model in self._models.generating else RAG if rag else "unknown"
        self._metrics.requests.labels("chat", model, tenant.name, str(status)).inc()
        self._metrics.duration.labels("1" if rag else "0").observe(seconds)

    def _generation(
        self, ask: ChatAsk, plan: RequestPlan, context: Context, *, tenant: Tenant, request_id: str, limit: int
    ) -> Generation | None:
        grounding = context.grounding
        if grounding is not None and not grounding.passages and not grounding.unavailable:
            return None  # nothing relevant: we say so ourselves, no engine can invent
        job = PlacementRequest(
            request_id=request_id,
            model=plan.model,
            prompt_ids=context.input_ids,
            max_tokens=limit,
            tenant_class=tenant.tenant_class,
        )
        sampling = self.planner.sampling(ask, rag=plan.retrieval is not None, end_id=self._table.end_id)
        return self._generator.begin(job, sampling)
