"""What to search for a question: as it stands, with what was asked before, or as the fleet's own model words it."""

import asyncio
from collections.abc import Mapping, Sequence

import orjson

from gateway.config import Rewrite, Settings
from gateway.errors import RagfleetError
from gateway.metrics import Metrics
from gateway.retrieval.context import ContextBuilder
from gateway.retrieval.follow_up import standalone, with_history
from gateway.routing.types import PlacementRequest
from gateway.serving.engines import Engines
from gateway.serving.generation import Generation
from gateway.serving.output_processor import OutputProcessor
from gateway.serving.request_plan import RequestPlan
from gateway.tenants.tenant import Tenant
from gateway.triton.llm import TokenStreams
from tokens.table import TokenTable

TASK = (
    "You make questions that can be understood alone. Write the user's last question again, with the names and things "
    "that it refers to in place of words like it, they or this. Write the question only."
)

CUE = "The last question, to be understood alone:"


class QueryRewriter:
    """One for the life of the application."""

    MAX_TOKENS = 64
    """Of a question."""
    TURNS = 6
    """Messages that the model reads, the question included."""
    TURN_CHARACTERS = 600
    """Of each; what is behind is cut off."""

    def __init__(
        self,
        *,
        settings: Settings,
        engines: Engines,
        context: ContextBuilder,
        streams: TokenStreams,
        table: TokenTable,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._engines = engines
        self._context = context
        self._streams = streams
        self._table = table
        self._metrics = metrics

    async def query(
        self,
        conversation: Sequence[Mapping[str, str]],
        question: str,
        plan: RequestPlan,
        tenant: Tenant,
        request_id: str,
    ) -> str:
        """What to search for `question`, the last one of a conversation (OpenAI's messages). Never raises for the model's sake.

        A model that is late, fails, or answers with something else than the question does not count: then the history does.
        """
        asked = [message["content"] for message in conversation if message["role"] == "user"]
        how, query = Rewrite.OFF, question
        if len(asked) > 1 and self._settings.rag_rewrite is not Rewrite.OFF:
            how, query = Rewrite.HISTORY, with_history(asked)
            if self._settings.rag_rewrite is Rewrite.MODEL:
                worded = await self._worded(conversation, question, plan, tenant, request_id)
                if worded is not None:
                    how, query = Rewrite.MODEL, worded
        if len(asked) > 1:
            self._metrics.rewrites.labels(str(how)).inc()
        return query

    async def _worded(
        self,
        conversation: Sequence[Mapping[str, str]],
        question: str,
        plan: RequestPlan,
        tenant: Tenant,
        request_id: str,
    ) -> str | None:
        turns = [message for message in conversation if message["role"] in ("user", "assistant")][-self.TURNS :]
        said = "\n".join(f"{turn['role'].capitalize()}: {turn['content'][: self.TURN_CHARACTERS]}" for turn in turns)
        task = [{"role": "system", "content": TASK}, {"role": "user", "content": f"{said}\n\n{CUE}"}]
        try:
            async with asyncio.timeout(self._settings.rag_rewrite_deadline_s):
                words = await self._generate(orjson.dumps(task), plan, tenant, f"{request_id}/query")
        except (RagfleetError, TimeoutError):
            return None
        return standalone(words, said, question)

    async def _generate(self, messages: bytes, plan: RequestPlan, tenant: Tenant, request_id: str) -> str:
        room = plan.max_context - self.MAX_TOKENS
        prompt = await self._context.build(
            request_id=request_id, messages=messages, question="", retrieval=None, max_prompt_tokens=room
        )
        answer = OutputProcessor(self._table, stops=("\n",), max_tokens=self.MAX_TOKENS)
        job = PlacementRequest(
            request_id=request_id,
            model=plan.model,
            prompt_ids=prompt.input_ids,
            max_tokens=self.MAX_TOKENS,
            tenant_class=tenant.tenant_class,
            priority=tenant.priority,
        )
        end = {} if self._table.end_id is None else {"end_id": self._table.end_id}
        generation = Generation(
            job,
            input_ids=prompt.input_ids,
            max_tokens=self.MAX_TOKENS,
            sampling={"runtime_top_k": 1, **end},
            engines=self._engines,
            streams=self._streams,
            settings=self._settings,
            metrics=self._metrics,
        )
        pieces = []
        try:
            while not answer.ended():
                ids = await generation.next()
                pieces.append(answer.push(ids) if ids else answer.finish())
        finally:
            generation.close()
        return "" if answer.finish_reason == "length" else "".join(pieces)  # cut off: it was never about to end
