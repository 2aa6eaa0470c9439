"""What an engine is to read: a prompt as it stands, or a conversation with what was found for it, cut to what fits."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial

import orjson

from gateway import errors
from gateway.config import Settings
from gateway.metrics import Metrics
from gateway.retrieval.context import Context, ContextBuilder
from gateway.retrieval.rewriting import QueryRewriter
from gateway.retrieval.store_resolver import StoreResolver
from gateway.serving.answer_factory import AnswerFactory
from gateway.serving.generation_request import GenerationRequest, SamplingParameters
from gateway.serving.request_plan import RequestPlan, RequestPlanner
from gateway.serving.truncation import truncations
from gateway.tenants.tenant import Tenant
from tokens.vocabulary import TokenTable, TooManyTokens


class PromptAssembler:
    """Builds prompts; a follow-up question may be worded anew by the model that will answer."""

    REWRITE = SamplingParameters(temperature=0, stop=("\n",))
    REWRITE_TOKENS = 64
    """Of a question that the model words anew."""

    def __init__(
        self,
        *,
        settings: Settings,
        planner: RequestPlanner,
        context: ContextBuilder,
        answers: AnswerFactory,
        table: TokenTable,
        threads: Executor,
        stores: StoreResolver,
        metrics: Metrics,
    ) -> None:
        """threads: to tokenize prompts in."""
        self._planner = planner
        self._context = context
        self._answers = answers
        self._table = table
        self._threads = threads
        self._stores = stores
        self._rewriter = QueryRewriter(settings, metrics)

    async def build(self, request: GenerationRequest, tenant: Tenant) -> tuple[RequestPlan, Context]:
        """The prompt, with as many turns as fit where some may be left out; found by halving, for fewer are never longer.

        Raises ContextLengthExceeded, and what retrieval and the ensemble raise.
        """
        try:
            return await self._whole(request, tenant)
        except errors.ContextLengthExceeded:
            if not request.truncates:
                raise
        shorter = truncations(request)
        low, high, found = 1, len(shorter) - 1, None
        while low < high:
            middle = (low + high) // 2
            try:
                found = await self._whole(shorter[middle], tenant)
                high = middle
            except errors.ContextLengthExceeded:
                low = middle + 1
        return found or await self._whole(shorter[high], tenant)

    async def _whole(self, request: GenerationRequest, tenant: Tenant) -> tuple[RequestPlan, Context]:
        """What the engine is to read: the prompt as it stands, or one with what was found for the conversation."""
        plan = self._planner.plan(request)
        if request.prompt is not None:
            ids = await self._encode(request.prompt, plan.max_prompt, param=request.text_param)
            if request.suffix and self._table.infill is not None:
                begin, hole, end = self._table.infill
                behind = await self._encode(request.suffix, max(0, plan.max_prompt - len(ids) - 3), param="suffix")
                ids = [begin, *ids, hole, *behind, end]
            return plan, Context(input_ids=ids)
        known = request.known
        retrieval = None
        if known is None:
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
            known=None if known is None else (tenant, known),
            max_prompt_tokens=plan.max_prompt,
            tools="" if request.tools is None else request.tools.wire(),
            reasoning_effort=request.reasoning_effort,
        )
        return plan, context

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
        answer = self._answers.answer(request_id, tenant, within, context, self.REWRITE)
        try:
            text = await answer.whole()
        finally:
            answer.close()
        return "" if answer.finish_reason == "length" else text  # cut off: it was never about to end
