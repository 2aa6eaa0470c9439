"""One request to an assistant, and what its rules can do with it: have it answered, say something, have a step written."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from assistants.profile import Profile
from gateway.assistants.answer import ScriptedAnswer, StepAccount
from gateway.errors import BadRequest, ContextLengthExceeded, Overloaded
from gateway.retrieval.options import RetrievalOptions
from gateway.retrieval.request import FileSearchParameters
from gateway.serving.choices import Choices
from gateway.serving.citations import MadeFile
from gateway.serving.decoding_guide import Guide
from gateway.serving.generation_request import GenerationRequest, SamplingParameters
from gateway.serving.tools import ToolUse
from gateway.tenants.tenant import Tenant
from tokens.vocabulary import TokenTable

AGAIN_S = 5.0
"""At the most, between two tries of a step to get a place."""
MAX_STEPS = 4096
"""Of one answer."""

Generate = Callable[[GenerationRequest, Tenant], AbstractAsyncContextManager[Choices]]
"""GenerationService.open_choices, of a model of the fleet."""


@dataclass(slots=True, kw_only=True)
class AssistantJob:
    """Of one request."""

    request: GenerationRequest
    profile: Profile
    tenant: Tenant
    model: str
    """Of the fleet."""
    generate: Generate
    table: TokenTable
    account: StepAccount = field(default_factory=StepAccount)
    made: list[MadeFile] = field(default_factory=list)
    """Files that stand in the answer that the gateway writes itself."""

    def check(self) -> None:
        """Raises ContextLengthExceeded for a conversation over the profile's bound."""
        self.check_size(sum(len(str(message["content"])) for message in self.request.messages))

    def check_size(self, size: int) -> None:
        """Of a conversation, or of what is read for it. Raises ContextLengthExceeded."""
        if size > (most := self.profile.max_input_chars):
            raise ContextLengthExceeded(
                f"The conversation has {size} characters; {self.request.model} reads at most {most}.",
                param=self.request.text_param,
            )

    def refuse_options(self) -> None:
        """Raises BadRequest for what has no sense where the gateway writes the answer itself."""
        request = self.request
        wrong = (
            ("tools", request.tools is not None),
            ("n", request.choices > 1),
            ("logprobs", request.sampling.log_probs is not None),
            ("stop", bool(request.sampling.stop)),
            (request.guide_param, request.sampling.guide is not None),
        )
        for param, given in wrong:
            if given:
                raise BadRequest(
                    f"'{param}' is not supported by '{request.model}'.", param=param, code="unsupported_parameter"
                )

    @property
    def question(self) -> str:
        """The last message of the user."""
        return self.request.question

    def profiled(self) -> GenerationRequest:
        """The request as the profile has it, for a model of the fleet."""
        request, profile = self.request, self.profile
        limit = min(request.max_tokens or profile.max_tokens, profile.max_tokens)
        sampling = request.sampling
        if sampling.temperature is None:
            sampling = replace(sampling, temperature=profile.temperature)
        made = replace(request, model=self.model, messages=self._messages(), sampling=sampling, max_tokens=limit)
        if not profile.knowledge or request.file_search is not None:
            return made
        options = RetrievalOptions(max_num_results=profile.top_k, score_threshold=profile.min_score)
        asked = FileSearchParameters(stores=profile.stores, without=profile.without, options=options)
        return replace(made, file_search=asked)

    def _messages(self) -> Sequence[Mapping[str, Any]]:
        """One message of the system: the profile's words, and behind them the client's."""
        said = [str(each["content"]) for each in self.request.messages if each["role"] in ("system", "developer")]
        others = [each for each in self.request.messages if each["role"] not in ("system", "developer")]
        system = "\n\n".join(text for text in (self.profile.system.strip(), *said) if text)
        return [*([{"role": "system", "content": system}] if system else []), *others]

    async def write(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        guide: Guide | None = None,
        max_tokens: int | None = None,
        behind_others: bool = False,
    ) -> str:
        """A step: what the model writes to these messages, on a place of its own. behind_others: with a priority under the
        tenant's; where there is no place it waits for one as long as the request may take. Raises RagfleetError."""
        self.account.steps += 1
        if self.account.steps > MAX_STEPS:
            raise BadRequest(f"The answer would take more than {MAX_STEPS} steps; send less at a time.")
        profile, request = self.profile, self.request
        step = GenerationRequest(
            id=f"{request.id}/{self.account.steps}",
            route=request.route,
            model=self.model,
            messages=messages,
            text_param=request.text_param,
            sampling=SamplingParameters(temperature=profile.temperature, seed=request.sampling.seed, guide=guide),
            max_tokens=max_tokens or profile.max_tokens,
            max_tokens_param=request.max_tokens_param,
        )
        tenant = replace(self.tenant, priority=self.tenant.priority - 1) if behind_others else self.tenant
        while True:
            try:
                async with self.generate(step, tenant) as choices:
                    (answer,) = choices.answers
                    text = await answer.whole()
                    self.account.add(answer)
                return text
            except Overloaded as error:  # a long text is not lost because one of its pieces found no place at once
                if not behind_others or error.retry_after_s is None:
                    raise
                await asyncio.sleep(min(error.retry_after_s, AGAIN_S))

    @asynccontextmanager
    async def say(self, pieces: AsyncGenerator[str, None], tools: ToolUse | None = None) -> AsyncIterator[Choices]:
        """The pieces as the one answer. What runs for it ends with it."""

        async def no_further() -> None:
            return None

        try:
            yield Choices([ScriptedAnswer(pieces, self.account, self.table, tools, self.made)], no_further)
        finally:
            await pieces.aclose()


async def as_pieces(text: str) -> AsyncGenerator[str, None]:
    """A text that is there already."""
    yield text
