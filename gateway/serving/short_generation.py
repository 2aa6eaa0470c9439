"""A short greedy answer for the gateway's own use: of the query rewriter."""

from collections.abc import Mapping, Sequence

import orjson

from gateway.dispatch.generation import Generator
from gateway.retrieval.context import ContextBuilder
from gateway.routing.types import PlacementRequest
from gateway.serving.output_processor import OutputProcessor
from gateway.serving.request_plan import RequestPlan
from gateway.tenants.tenant import Tenant
from tokens.table import TokenTable


class ShortGenerator:
    """One for the life of the application."""

    MAX_TOKENS = 64

    def __init__(self, context: ContextBuilder, generator: Generator, table: TokenTable) -> None:
        self._context = context
        self._generator = generator
        self._table = table

    async def generate(
        self, messages: Sequence[Mapping[str, str]], plan: RequestPlan, tenant: Tenant, request_id: str
    ) -> str:
        """One line, or "" where it came to no end. Raises RagfleetError."""
        room = plan.max_context - self.MAX_TOKENS
        prompt = await self._context.build(
            request_id=request_id,
            messages=orjson.dumps(messages),
            question="",
            retrieval=None,
            max_prompt_tokens=room,
        )
        answer = OutputProcessor(self._table, stops=("\n",), max_tokens=self.MAX_TOKENS)
        job = PlacementRequest(
            request_id=request_id,
            model=plan.model,
            prompt_ids=prompt.input_ids,
            max_tokens=self.MAX_TOKENS,
            tenant_class=tenant.tenant_class,
        )
        end = {} if self._table.end_id is None else {"end_id": self._table.end_id}
        generation = self._generator.begin(job, {"runtime_top_k": 1, **end})
        pieces = []
        try:
            while not answer.ended():
                ids = await generation.next()
                pieces.append(answer.push(ids) if ids else answer.finish())
        finally:
            generation.close()
        return "" if answer.finish_reason == "length" else "".join(pieces)  # cut off: it was never about to end
