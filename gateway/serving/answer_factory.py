"""Answers that have not begun: what an engine is to be sent for each, and how its tokens become text, calls and thoughts."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.config import Settings
from gateway.dispatch.journaled_generation import JournaledGeneration, TokenJournal
from gateway.dispatch.migrating_generation import Generator
from gateway.retrieval.context import Context
from gateway.routing.types import PlacementRequest
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.choices import choice_seed
from gateway.serving.citation_finder import CitationFinder
from gateway.serving.conversation import UNKNOWN, KnownConversation, conversation_of
from gateway.serving.generated_answer import GeneratedAnswer
from gateway.serving.generation_request import GenerationRequest, SamplingParameters
from gateway.serving.guide_bounds import bounded
from gateway.serving.log_probs import AnswerLogProbs
from gateway.serving.output_processor import OutputProcessor
from gateway.serving.reasoning import Reasoning, Thinking, ThinkingTokens
from gateway.serving.request_plan import RequestPlan, RequestPlanner
from gateway.serving.tool_calling import ToolCalling
from gateway.serving.tool_parsers import ToolCallParser
from gateway.tenants.cache_salt import CacheSalts
from gateway.tenants.tenant import Tenant
from tokens.vocabulary import TokenTable


def answer_limit(plan: RequestPlan, context: Context) -> int:
    """Tokens that an answer to this prompt may have."""
    return min(plan.max_tokens, plan.max_context - len(context.input_ids))


class AnswerFactory:
    """Makes answers. Nothing is sent to an engine before an answer's first `next()`."""

    def __init__(
        self,
        *,
        settings: Settings,
        planner: RequestPlanner,
        tool_calling: ToolCalling,
        generator: Generator,
        table: TokenTable,
    ) -> None:
        self._planner = planner
        self._tool_calling = tool_calling
        self._generator = generator
        self._table = table
        self._guide_max_string = settings.guide_max_string
        self._not_found = settings.rag_not_found
        self._thinking = ThinkingTokens.of(table, settings.reasoning_start, settings.reasoning_end)
        self._salts = CacheSalts(shared=settings.share_caches)

    def choices(
        self,
        request: GenerationRequest,
        tenant: Tenant,
        plan: RequestPlan,
        context: Context,
        *,
        journal: AnswerJournal | None,
        citations: CitationFinder,
        on_first_token: Callable[[], None],
    ) -> list[GeneratedAnswer]:
        """As many answers to one prompt as the request wants."""
        tools, conversation = request.tools, conversation_of(request, tenant)
        return [
            self.answer(
                f"{request.id}/{index}" if index else request.id,
                tenant,
                plan,
                context,
                self._sampling(request, index),
                journal=None if journal is None else journal.choice(index),
                tool_parser=None if tools is None else self._tool_calling.parser(tools, request.sampling.guide),
                as_it_stands=request.prompt is not None,
                guided=request.sampling.guide is not None or (tools is not None and tools.required),
                citations=citations,
                on_first_token=on_first_token,
                conversation=conversation,
            )
            for index in range(request.choices)
        ]

    def answer(
        self,
        request_id: str,
        tenant: Tenant,
        plan: RequestPlan,
        context: Context,
        sampling: SamplingParameters,
        *,
        journal: TokenJournal | None = None,
        citations: CitationFinder | None = None,
        on_first_token: Callable[[], None] = lambda: None,
        tool_parser: ToolCallParser | None = None,
        as_it_stands: bool = False,
        guided: bool = False,
        conversation: KnownConversation = UNKNOWN,
    ) -> GeneratedAnswer:
        """One answer. as_it_stands: thoughts are not told from the text.

        guided: the guide begins with the first token, so that even a template that begins to think is not followed by a thought.
        """
        limit = answer_limit(plan, context)
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
                tenant=tenant.name,
                cache_salt=self._salts.of(tenant),
                conversation=conversation.hash,
                begins=conversation.begins,
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
            not_found=self._not_found,
            on_first_token=on_first_token,
            tool_parser=tool_parser,
        )

    def _shown(self, parser: ToolCallParser) -> Mapping[int, str]:
        controls = self._table.controls
        return {controls[name].id: name for name in parser.MARKERS if name in controls}

    def _sampling(self, request: GenerationRequest, index: int) -> SamplingParameters:
        """Of one choice."""
        sampling = request.sampling
        if request.tools is not None:
            sampling = replace(sampling, guide=self._tool_calling.guide(request.tools, sampling.guide))
        if sampling.guide is not None:
            sampling = replace(sampling, guide=bounded(sampling.guide, self._guide_max_string))
        if index and sampling.seed is not None:
            sampling = replace(sampling, seed=choice_seed(sampling.seed, index))
        return sampling
