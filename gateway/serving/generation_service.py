"""The life of an answer, on any path: check → reserve → admit → deadline → prompt → stream → settle → observe."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import orjson

from gateway import errors
from gateway.admission import Permit
from gateway.admission.tenant_admission import TenantAdmission
from gateway.config import Settings
from gateway.dispatch.generation import Generator
from gateway.dispatch.journaled_generation import JournaledGeneration
from gateway.fleet.models import ServedModels
from gateway.metrics import Metrics
from gateway.retrieval.context import Context, ContextBuilder
from gateway.retrieval.rewriting import QueryRewriter
from gateway.retrieval.store_resolver import RAG, StoreResolver, is_rag
from gateway.routing.types import PlacementRequest
from gateway.serving.accounting import Accounting
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.choices import Choices, choice_seed
from gateway.serving.citation_check import CitationCheck
from gateway.serving.citation_finder import CitationFinder
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.serving.generation_request import GenerationRequest, SamplingParameters
from gateway.serving.guide_bounds import bounded
from gateway.serving.log_probs import AnswerLogProbs
from gateway.serving.output_processor import OutputProcessor
from gateway.serving.reasoning import Reasoning, Thinking, ThinkingTokens
from gateway.serving.request_plan import RequestPlan, RequestPlanner
from gateway.serving.tool_calling import ToolCalling
from gateway.serving.tool_parsers import ToolCallParser
from gateway.serving.truncation import truncations
from gateway.tenants.budgets import Resource
from gateway.tenants.cache_salt import CacheSalts
from gateway.tenants.ledger import Ledger, LedgerEntry
from gateway.tenants.quotas import Quotas, Reservation
from gateway.tenants.tenant import Tenant
from tokens.table import TokenTable, TooManyTokens

CLIENT_LEFT = 499
"""nginx's status of a request whose client left; only for metrics."""


class GenerationService:
    """Opens answers. One for the life of the application."""

    REWRITE = SamplingParameters(temperature=0, stop=("\n",))
    REWRITE_TOKENS = 64
    """Of a question that the model words anew."""

    def __init__(
        self,
        *,
        settings: Settings,
        quotas: Quotas,
        ledger: Ledger,
        admission: TenantAdmission,
        models: ServedModels,
        context: ContextBuilder,
        generator: Generator,
        table: TokenTable,
        threads: Executor,
        stores: StoreResolver,
        citation_check: CitationCheck,
        metrics: Metrics,
    ) -> None:
        """threads: to tokenize prompts in."""
        self._settings = settings
        self._quotas = quotas
        self._ledger = ledger
        self._admission = admission
        self._models = models
        self._context = context
        self._generator = generator
        self._table = table
        self._threads = threads
        self._stores = stores
        self._citation_check = citation_check
        self._metrics = metrics
        self._planner = RequestPlanner(settings, models, table)
        self._tool_calling = ToolCalling.of(settings)
        self._thinking = ThinkingTokens.of(table, settings.reasoning_start, settings.reasoning_end)
        self._rewriter = QueryRewriter(settings, metrics)
        self._salts = CacheSalts(shared=settings.share_caches)

    @asynccontextmanager
    async def open(
        self, request: GenerationRequest, tenant: Tenant, journal: AnswerJournal | None = None
    ) -> AsyncIterator[GeneratedAnswer]:
        """The one answer to a request; see `open_choices`."""
        async with self.open_choices(request, tenant, journal) as choices:
            (answer,) = choices.answers
            yield answer

    @asynccontextmanager
    async def open_choices(
        self, request: GenerationRequest, tenant: Tenant, journal: AnswerJournal | None = None
    ) -> AsyncIterator[Choices]:
        """Answers that are ready to give their first piece. Raises RagfleetError; frees everything when left.

        journal: of an answer that is to outlive this gateway, or has outlived another one, and goes on as it has it.

        From its admission to its end it may take `request_deadline_s`, whatever it waits for: an engine, or a client that does
        not read.
        """
        started, status = time.monotonic(), 200
        deadline_s = self._settings.request_deadline_s
        try:
            request = self._tool_calling.decided(request)
            self._check(request)  # a bad request need not wait to hear so
            tokens = self._planner.estimate(request)
            with (
                await self._reserve(tenant, tokens) as reserved,
                await self._admit(tenant, tokens / request.choices),
                self._account(request, tenant, tokens, reserved, journal) as accounting,
            ):
                try:
                    opened = self._choices(request, tenant, accounting, started, journal)
                    async with asyncio.timeout(deadline_s), opened as choices:
                        yield choices
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
            status = CLIENT_LEFT
            raise
        except BaseException:
            status = 500
            raise
        finally:
            self._observe(request, tenant, status, time.monotonic() - started)

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
            self._observe(request, tenant, errors.face(error).status, 0.0)
            raise

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

    async def _admit(self, tenant: Tenant, tokens: float) -> Permit:
        permit = await self._admission.admit(tenant, cost=tokens)
        self._metrics.admission_wait.observe(permit.waited_s)
        return permit

    @asynccontextmanager
    async def _choices(
        self,
        request: GenerationRequest,
        tenant: Tenant,
        accounting: Accounting,
        started: float,
        journal: AnswerJournal | None,
    ) -> AsyncIterator[Choices]:
        known = None if journal is None else journal.prompt
        plan, context = known or await self._longest_prompt(request, tenant)
        if journal is not None:
            journal.begin(plan, context)
            if request.sampling.seed is None:
                request = replace(request, sampling=replace(request.sampling, seed=journal.seed))
        limit = _answer_limit(plan, context)
        await accounting.resize(len(context.input_ids) + limit * request.choices)
        passages = () if context.grounding is None else context.grounding.passages
        async with CitationFinder.start(passages, self._citation_check, self._settings.rag_attribution) as citations:
            rag = "0" if context.grounding is None else "1"
            guided = request.sampling.guide is not None or (request.tools is not None and request.tools.required)
            choices = Choices(
                [
                    self._start(
                        f"{request.id}/{index}" if index else request.id,
                        tenant,
                        plan,
                        context,
                        self._sampling(request, index),
                        journal=journal,
                        tool_parser=self._tool_parser(request),
                        as_it_stands=request.prompt is not None,
                        guided=guided,
                        citations=citations,
                        on_first_token=lambda: self._metrics.ttft.labels(rag).observe(time.monotonic() - started),
                    )
                    for index in range(request.choices)
                ],
                lambda: self._admission.admit_further(tenant, cost=len(context.input_ids) + limit),
            )
            accounting.begin(choices)
            try:
                yield choices
            finally:
                choices.close()

    def _tool_parser(self, request: GenerationRequest) -> ToolCallParser | None:
        return None if request.tools is None else self._tool_calling.parser(request.tools, request.sampling.guide)

    def _sampling(self, request: GenerationRequest, index: int) -> SamplingParameters:
        """Of one choice."""
        sampling = request.sampling
        if request.tools is not None:
            sampling = replace(sampling, guide=self._tool_calling.guide(request.tools, sampling.guide))
        sampling = replace(sampling, guide=bounded(sampling.guide, self._settings.guide_max_string))
        if index and sampling.seed is not None:
            sampling = replace(sampling, seed=choice_seed(sampling.seed, index))
        return sampling

    async def count_tokens(self, request: GenerationRequest, tenant: Tenant) -> int:
        """Tokens of the prompt that a request would be. Raises RagfleetError as `open` does."""
        self._check(request)
        with await self._admit(tenant, self._planner.estimate(request)):
            _, context = await self._longest_prompt(request, tenant)
        return len(context.input_ids)

    async def _longest_prompt(self, request: GenerationRequest, tenant: Tenant) -> tuple[RequestPlan, Context]:
        """The prompt with as many turns as fit, where some may be left out; found by halving, for fewer are never longer."""
        try:
            return await self._prompt(request, tenant)
        except errors.ContextLengthExceeded:
            if not request.truncates:
                raise
        shorter = truncations(request)
        low, high, found = 1, len(shorter) - 1, None
        while low < high:
            middle = (low + high) // 2
            try:
                found = await self._prompt(shorter[middle], tenant)
                high = middle
            except errors.ContextLengthExceeded:
                low = middle + 1
        return found or await self._prompt(shorter[high], tenant)

    async def _prompt(self, request: GenerationRequest, tenant: Tenant) -> tuple[RequestPlan, Context]:
        """What the engine is to read: the prompt as it stands, or one with what was found for the conversation."""
        plan = self._planner.plan(request)
        if request.prompt is not None:
            ids = await self._encode(request.prompt, plan.max_prompt, param=request.text_param)
            if request.suffix and self._table.infill is not None:
                begin, hole, end = self._table.infill
                behind = await self._encode(request.suffix, max(0, plan.max_prompt - len(ids) - 3), param="suffix")
                ids = [begin, *ids, hole, *behind, end]
            return plan, Context(input_ids=ids)
        retrieval = await self._stores.resolve(tenant, request.file_search, request.model)
        query = request.question
        if retrieval is not None:
            reword = partial(self._reword, plan=plan, tenant=tenant, request_id=f"{request.id}/query")
            query = await self._rewriter.query(request.messages, query, reword)
        context = await self._context.build(
            request_id=request.id,
            messages=orjson.dumps(request.messages),
            question=query,
            retrieval=retrieval,
            max_prompt_tokens=plan.max_prompt,
            tools="" if request.tools is None else request.tools.wire(),
            reasoning_effort=request.reasoning_effort,
        )
        return plan, context

    def text_of(self, prompt: str | Sequence[int]) -> str:
        """A prompt as text."""
        return prompt if isinstance(prompt, str) else self._table.decode(prompt)

    async def _encode(self, prompt: str | Sequence[int], limit: int, *, param: str) -> Sequence[int]:
        """A prompt as token ids; of a text that is too long only so much is read. Raises ContextLengthExceeded."""
        if not isinstance(prompt, str):
            return prompt
        encode = partial(self._table.encode, prompt, limit=limit)
        try:
            ids = await asyncio.get_running_loop().run_in_executor(self._threads, encode)
        except TooManyTokens as error:
            raise errors.ContextLengthExceeded.of(error.at_least, limit, param=param) from error
        if len(ids) > limit:
            raise errors.ContextLengthExceeded.of(len(ids), limit, param=param)
        return ids

    def _start(
        self,
        request_id: str,
        tenant: Tenant,
        plan: RequestPlan,
        context: Context,
        sampling: SamplingParameters,
        *,
        journal: AnswerJournal | None = None,
        citations: CitationFinder | None = None,
        on_first_token: Callable[[], None] = lambda: None,
        tool_parser: ToolCallParser | None = None,
        as_it_stands: bool = False,
        guided: bool = False,
    ) -> GeneratedAnswer:
        """Nothing is sent to an engine before the answer's first `next()`. as_it_stands: thoughts are not told from the text.

        guided: the guide begins with the first token, so that even a template that begins to think is not followed by a thought.
        """
        limit = _answer_limit(plan, context)
        grounding = context.grounding
        generation = None
        # Nothing relevant was found: we say so ourselves, no engine can invent. With functions it may know more by calling one.
        if grounding is None or grounding.passages or grounding.unavailable or tool_parser is not None:
            job = PlacementRequest(
                request_id=request_id,
                model=plan.model,
                prompt_ids=context.input_ids,
                max_tokens=limit,
                lora=plan.lora,
                tenant_class=tenant.tenant_class,
                cache_salt=self._salts.of(tenant),
            )
            end_id = self._table.end_id
            inputs = self._planner.engine_inputs(
                sampling, grounded=grounding is not None, end_id=end_id, lora=plan.lora
            )
            generation = (
                self._generator.begin(job, inputs)
                if journal is None
                else JournaledGeneration(self._generator, job, inputs, journal)
            )
        reasoning = log_probs = thinking = None
        if self._thinking is not None and not as_it_stands:
            before = () if guided else context.input_ids
            reasoning = Reasoning(self._table, self._thinking, before)
            thinking = Thinking(self._thinking, before)
        if sampling.log_probs is not None:
            log_probs = AnswerLogProbs(self._table, thinking)
        return GeneratedAnswer(
            generation,
            OutputProcessor(
                self._table,
                stops=sampling.stop,
                max_tokens=limit,
                shown={} if tool_parser is None else self._shown(tool_parser),
                reasoning=reasoning,
            ),
            prompt_tokens=len(context.input_ids),
            grounding=grounding,
            citations=citations,
            log_probs=log_probs,
            reasoning=reasoning,
            not_found=self._settings.rag_not_found,
            on_first_token=on_first_token,
            tool_parser=tool_parser,
        )

    def _shown(self, parser: ToolCallParser) -> Mapping[int, str]:
        controls = self._table.controls
        return {controls[name].id: name for name in parser.MARKERS if name in controls}

    async def _reword(
        self, messages: Sequence[Mapping[str, str]], *, plan: RequestPlan, tenant: Tenant, request_id: str
    ) -> str:
        """One line of the model that will answer, on the request's permit; "" where it came to no end."""
        limit = self.REWRITE_TOKENS
        context = await self._context.build(
            request_id=request_id,
            messages=orjson.dumps(messages),
            question="",
            retrieval=None,
            max_prompt_tokens=plan.max_context - limit,
            reasoning_effort="none",
        )
        within = replace(plan, max_prompt=plan.max_context - limit, max_tokens=limit)
        answer = self._start(request_id, tenant, within, context, self.REWRITE)
        try:
            text = await answer.whole()
        finally:
            answer.close()
        return "" if answer.finish_reason == "length" else text  # cut off: it was never about to end

    def _observe(self, request: GenerationRequest, tenant: Tenant, status: int, seconds: float) -> None:
        """Count a request that has ended, whichever way."""
        model = self._known_model(request)
        self._metrics.requests.labels(request.route, model, tenant.name, str(status)).inc()
        self._metrics.duration.labels("1" if request.grounded else "0").observe(seconds)

    def _known_model(self, request: GenerationRequest) -> str:
        """The client's word for the model is unbounded; only known ones become labels."""
        if self._models.adapter(request.model)[0] in self._models.generating:
            return request.model
        return RAG if is_rag(request.model) else "unknown"


def _answer_limit(plan: RequestPlan, context: Context) -> int:
    return min(plan.max_tokens, plan.max_context - len(context.input_ids))
