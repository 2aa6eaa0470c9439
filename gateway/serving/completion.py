"""A completion of a prompt as it is given: no chat template, no retrieval."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial

from gateway.admission import Permit
from gateway.config import Settings
from gateway.dispatch.generation import Generator
from gateway.errors import BadRequest, ContextLengthExceeded, DeadlineExceeded, NotFound, Unavailable
from gateway.fleet.models import ServedModels
from gateway.metrics import Metrics
from gateway.retrieval.context import Context
from gateway.routing.types import PlacementRequest
from gateway.serving.chat import Chat
from gateway.serving.chats import ChatService
from gateway.serving.output_processor import OutputProcessor
from gateway.serving.request_plan import ChatAsk
from gateway.tenants.tenant import Tenant
from tokens.table import TokenTable, TooManyTokens

Prompt = str | Sequence[int]
"""As the client gave it: text, or token ids."""


class CompletionService:
    """Opens completions. One for the life of the application."""

    DEFAULT_TOKENS = 16
    """OpenAI's default of `max_tokens` for this path."""

    def __init__(
        self,
        *,
        settings: Settings,
        chat: ChatService,
        models: ServedModels,
        generator: Generator,
        table: TokenTable,
        threads: Executor,
        metrics: Metrics,
    ) -> None:
        """threads: to tokenize in."""
        self._settings = settings
        self._chat = chat
        self._models = models
        self._generator = generator
        self._table = table
        self._threads = threads
        self._metrics = metrics

    def check(self, ask: ChatAsk, prompts: Sequence[Prompt]) -> None:
        """Refuse what no instance could serve, before anything is tokenized. While there is no instance nothing is known, and the
        request may wait. Raises NotFound, ContextLengthExceeded, BadRequest also for ids that the model does not have."""
        if models := self._models.generating:
            if ask.model not in models:
                raise NotFound(
                    f"The model '{ask.model}' does not exist here. There are: {', '.join(models)}.",
                    param="model",
                    code="model_not_found",
                )
            for prompt in prompts:
                self._limit(ask, self._table.least_tokens(prompt) if isinstance(prompt, str) else len(prompt))
        size = self._table.vocab_size
        for prompt in prompts:
            if not isinstance(prompt, str) and (wrong := max(prompt)) >= size:
                raise BadRequest(
                    f"Invalid value for 'prompt': there is no token {wrong}; the model has {size} tokens.",
                    param="prompt",
                    code="invalid_value",
                )

    async def admit(self, tenant: Tenant) -> Permit:
        """A place for one prompt; see ChatService.admit."""
        return await self._chat.admit(tenant)

    @asynccontextmanager
    async def open(
        self, ask: ChatAsk, prompt: Prompt, tenant: Tenant, request_id: str, permit: Permit
    ) -> AsyncIterator[Chat]:
        """A completion that is ready to give its first piece. Raises RagfleetError; frees everything when left."""
        assert not permit.released, "a request needs a permit that is still held"
        deadline_s = self._settings.request_deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                if not self._models.generating:
                    raise Unavailable("No instance is ready.", retry_after_s=2)
                self.check(ask, [prompt])
                completion = self._completion(ask, await self._ids(ask, prompt), tenant, request_id)
                try:
                    yield completion
                finally:
                    completion.close()
                    usage = completion.usage()
                    self._metrics.tokens.labels(tenant.name, "prompt").inc(usage["prompt_tokens"])
                    self._metrics.tokens.labels(tenant.name, "completion").inc(usage["completion_tokens"])
        except TimeoutError as error:
            raise DeadlineExceeded(f"The request took longer than {deadline_s:g} s.") from error

    async def _ids(self, ask: ChatAsk, prompt: Prompt) -> Sequence[int]:
        """A prompt as token ids; of a text that is too long only so much is read. Raises ContextLengthExceeded."""
        if not isinstance(prompt, str):
            return prompt
        room = self._models.generating.get(ask.model, 0)
        encode = partial(self._table.encode, prompt, limit=room)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, encode)
        except TooManyTokens as error:
            raise ContextLengthExceeded.of(error.at_least, room, param="prompt") from error

    def _completion(self, ask: ChatAsk, prompt: Sequence[int], tenant: Tenant, request_id: str) -> Chat:
        limit = self._limit(ask, len(prompt))
        job = PlacementRequest(
            request_id=request_id,
            model=ask.model,
            prompt_ids=prompt,
            max_tokens=limit,
            tenant_class=tenant.tenant_class,
        )
        generation = self._generator.begin(job, self._chat.planner.sampling(ask, rag=False, end_id=self._table.end_id))
        return Chat(
            context=Context(input_ids=prompt),
            answer=OutputProcessor(self._table, stops=ask.stops, max_tokens=limit),
            generation=generation,
            not_found="",
            started=time.monotonic(),
            metrics=self._metrics,
        )

    def _limit(self, ask: ChatAsk, tokens: int) -> int:
        limit = self.DEFAULT_TOKENS if ask.answer_limit is None else ask.answer_limit
        room = self._models.generating.get(ask.model, 0)
        if tokens + limit > room:
            why = f"the model's context of {room} tokens, less max_tokens={limit}"
            raise ContextLengthExceeded.of(tokens, max(0, room - limit), param="prompt", why=why)
        if (ask.min_tokens or 0) > limit:
            raise BadRequest("min_tokens is larger than max_tokens.", param="min_tokens", code="invalid_value")
        return limit
