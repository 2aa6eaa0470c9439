"""The life of an answer, on any path: check → reserve → admit → deadline → prompt → stream → settle → observe."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from gateway import errors
from gateway.admission import Permit
from gateway.admission.tenant_permits import TenantPermits
from gateway.config import Settings
from gateway.dispatch.migrating_generation import Generator
from gateway.fleet.models import ServedModels
from gateway.metrics import Metrics
from gateway.retrieval.context import ContextBuilder
from gateway.retrieval.passage import Passage
from gateway.retrieval.store_resolver import RAG, StoreResolver, is_rag
from gateway.serving.accounting import Accounting
from gateway.serving.answer_factory import AnswerFactory, answer_limit
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.answer_telemetry import AnswerTelemetry
from gateway.serving.choices import Choices
from gateway.serving.citation_check import CitationCheck
from gateway.serving.citation_finder import CitationFinder
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.serving.generation_request import GenerationRequest
from gateway.serving.prompt_assembly import PromptAssembler
from gateway.serving.recent_answers import RecentAnswers
from gateway.serving.request_plan import RequestPlanner
from gateway.serving.tool_calling import ToolCalling
from gateway.serving.truncation import truncations
from gateway.telemetry import OFF, Tracing
from gateway.tenants.budgets import Resource
from gateway.tenants.ledger import Ledger, LedgerEntry
from gateway.tenants.quotas import Quotas, Reservation
from gateway.tenants.tenant import Tenant
from tokens.vocabulary import TokenTable

CLIENT_CLOSED_REQUEST = 499
"""nginx's status of a request whose client left; only for metrics."""


class GenerationService:
    """Opens answers. One for the life of the application."""

    def __init__(
        self,
        *,
        settings: Settings,
        quotas: Quotas,
        ledger: Ledger,
        admission: TenantPermits,
        models: ServedModels,
        context: ContextBuilder,
        generator: Generator,
        table: TokenTable,
        threads: Executor,
        stores: StoreResolver,
        citation_check: CitationCheck,
        metrics: Metrics,
        tracing: Tracing = OFF,
    ) -> None:
        """threads: to tokenize prompts in."""
        self._settings = settings
        self._quotas = quotas
        self._ledger = ledger
        self._admission = admission
        self._models = models
        self._table = table
        self._citation_check = citation_check
        self._metrics = metrics
        self._tracing = tracing
        self.recent = RecentAnswers()
        self._planner = RequestPlanner(settings, models, table)
        self._tool_calling = ToolCalling.of(settings)
        self._answers = AnswerFactory(
            settings=settings,
            planner=self._planner,
            tool_calling=self._tool_calling,
            generator=generator,
            table=table,
        )
        self._prompts = PromptAssembler(
            settings=settings,
            planner=self._planner,
            context=context,
            answers=self._answers,
            table=table,
            threads=threads,
            stores=stores,
            metrics=metrics,
        )

    @asynccontextmanager
    async def open(
        self, request: GenerationRequest, tenant: Tenant, journal: AnswerJournal | None = None
    ) -> AsyncIterator[GeneratedAnswer]:
        """The one answer to a request; see `open_choices`."""
        async with self.open_choices(request, tenant, journal) as choices:
            (answer,) = choices.answers
            yield answer

    def open_choices(
        self, request: GenerationRequest, tenant: Tenant, journal: AnswerJournal | None = None
    ) -> AbstractAsyncContextManager[Choices]:
        """Answers that are ready to give their first piece. Raises RagfleetError; frees everything when left.

        journal: of an answer that is to outlive this gateway, or has outlived another one, and goes on as it has it.

        From its admission to its end it may take `request_deadline_s`, whatever it waits for: an engine, or a client that does
        not read.
        """
        return self._open_choices(request, tenant, journal)

    @asynccontextmanager
    async def _open_choices(
        self, request: GenerationRequest, tenant: Tenant, journal: AnswerJournal | None
    ) -> AsyncIterator[Choices]:
        status, deadline_s = 200, self._settings.request_deadline_s
        telemetry = self._telemetry(request, tenant)
        with telemetry.span("" if journal is None else journal.traceparent):
            try:
                request = self._tool_calling.decided(request)
                self._check(request)  # a bad request need not wait to hear so
                tokens = self._planner.estimate(request)
                with (
                    await self._reserve(tenant, tokens) as reserved,
                    await self._admit(request, tenant, tokens / request.choices),
                    self._account(request, tenant, tokens, reserved, journal) as accounting,
                ):
                    telemetry.record.admit()
                    try:
                        async with asyncio.timeout(deadline_s):
                            begin, passages = await self._prompt(request, tenant, accounting, telemetry, journal)
                            async with self._citations(passages) as citations:
                                choices = begin(citations)
                                try:
                                    yield choices
                                finally:
                                    choices.close()
                    except TimeoutError as error:
                        raise errors.DeadlineExceeded(f"The request took longer than {deadline_s:g} s.") from error
            except errors.RagfleetError as error:
                status = errors.face(error).status
                if error.param == "guided_decoding_guide":
                    error.param = request.guide_param
                elif error.param is not None:
                    error.param = request.own_names.get(error.param, error.param)
                raise
            except asyncio.CancelledError:
                status = CLIENT_CLOSED_REQUEST
                raise
            except BaseException:
                status = 500
                raise
            finally:
                telemetry.end(status)

    def _check(self, request: GenerationRequest) -> None:
        self._planner.check(truncations(request)[-1] if request.truncates else request)

    def refused(self, route: str, tenant: Tenant | None, error: errors.RagfleetError) -> None:
        """Count what was refused before it was a request that could be opened."""
        name = "" if tenant is None else tenant.name
        self._metrics.requests.labels(route, "", name, str(errors.face(error).status)).inc()

    def check(self, request: GenerationRequest, tenant: Tenant) -> None:
        """Refuse (and count) what no instance could serve, where others are to be opened before it. See RequestPlanner."""
        try:
            self._check(request)
        except errors.RagfleetError as error:
            self._telemetry(request, tenant).end(errors.face(error).status)
            raise

    def keeps_journals(self, model: str) -> bool:
        """Whether an answer of this model may have a journal, by which another gateway goes on with it."""
        return True

    async def _reserve(self, tenant: Tenant, tokens: int) -> Reservation:
        return await self._quotas.reserve(tenant, {Resource.REQUESTS: 1, Resource.ANSWERS: 1, Resource.TOKENS: tokens})

    def _account(
        self,
        request: GenerationRequest,
        tenant: Tenant,
        tokens: int,
        reserved: Reservation,
        journal: AnswerJournal | None,
    ) -> Accounting:
        entry = LedgerEntry.of(
            tenant, request_id=request.id, route=request.route, model=self._known_model(request), reserved=tokens
        )
        if journal is not None:
            entry.id = journal.id  # whichever gateways make it, it is one answer
        return Accounting(self._ledger, entry, reserved, self._metrics)

    async def _admit(self, request: GenerationRequest, tenant: Tenant, tokens: float) -> Permit:
        permit = await self._admission.admit(tenant, cost=tokens, size=request.held_bytes)
        self._metrics.admission_wait.observe(permit.waited_s)
        return permit

    async def _prompt(
        self,
        request: GenerationRequest,
        tenant: Tenant,
        accounting: Accounting,
        telemetry: AnswerTelemetry,
        journal: AnswerJournal | None,
    ) -> tuple[Callable[[CitationFinder], Choices], Sequence[Passage]]:
        """What begins the answers, now that their prompt is known, and the passages that are in it."""
        known = None if journal is None else journal.prompt
        plan, context = known or await self._prompts.build(request, tenant)
        if journal is not None:
            journal.begin(plan, context, telemetry.traceparent)
            if request.sampling.seed is None:
                request = replace(request, sampling=replace(request.sampling, seed=journal.seed))
        limit = answer_limit(plan, context)
        await accounting.resize(len(context.input_ids) + limit * request.choices)
        passages = () if context.grounding is None else context.grounding.passages

        def begin(citations: CitationFinder) -> Choices:
            answers = self._answers.choices(
                request,
                tenant,
                plan,
                context,
                journal=journal,
                citations=citations,
                on_first_token=telemetry.first_token,
            )
            cost = len(context.input_ids) + limit
            choices = telemetry.choices = Choices(answers, lambda: self._admission.admit_further(tenant, cost=cost))
            accounting.begin(choices)
            telemetry.record.begin(choices)
            return choices

        return begin, passages

    def _citations(self, passages: Sequence[Passage]) -> AbstractAsyncContextManager[CitationFinder]:
        return CitationFinder.start(passages, self._citation_check, self._settings.rag_attribution)

    async def count_tokens(self, request: GenerationRequest, tenant: Tenant) -> int:
        """Tokens of the prompt that a request would be. Raises RagfleetError as `open` does."""
        self._check(request)
        with await self._admit(request, tenant, self._planner.estimate(request)):
            _, context = await self._prompts.build(request, tenant)
        return len(context.input_ids)

    def text_of(self, prompt: str | Sequence[int]) -> str:
        """A prompt as text."""
        return prompt if isinstance(prompt, str) else self._table.decode(prompt)

    def _telemetry(self, request: GenerationRequest, tenant: Tenant) -> AnswerTelemetry:
        model = self._known_model(request)
        return AnswerTelemetry(
            request,
            tenant,
            model,
            settings=self._settings,
            metrics=self._metrics,
            recent=self.recent,
            tracing=self._tracing,
        )

    def _known_model(self, request: GenerationRequest) -> str:
        """The client's word for the model is unbounded; only known ones become labels."""
        if self._models.adapter(request.model)[0] in self._models.generating:
            return request.model
        return RAG if is_rag(request.model) else "unknown"
