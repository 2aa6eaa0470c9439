"""Opens answers: those of assistants by their profile's rules, all others as they are asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

from assistants.profile import AssistantKind, Profile
from gateway import errors
from gateway.assistants.directory import PREFIX, AssistantDirectory
from gateway.assistants.job import AssistantJob
from gateway.serving.answer_journal import AnswerJournal
from gateway.serving.choices import Choices
from gateway.serving.generation_request import GenerationRequest
from gateway.serving.generation_service import GenerationService
from gateway.tenants.tenant import Tenant

Open = Callable[[AssistantJob], AbstractAsyncContextManager[Choices]]
"""A kind's rules."""


class AssistantService(GenerationService):
    """A GenerationService that knows assistants. One for the life of the application."""

    def __init__(self, *, directory: AssistantDirectory, kinds: Mapping[AssistantKind, Open], **parts: Any) -> None:
        """parts: of GenerationService."""
        super().__init__(**parts)
        self.directory = directory
        self._kinds = {AssistantKind.CHAT: _chat, **kinds}

    def open_choices(
        self, request: GenerationRequest, tenant: Tenant, journal: AnswerJournal | None = None
    ) -> AbstractAsyncContextManager[Choices]:
        """See GenerationService."""
        if request.model.startswith(PREFIX):
            return self._open_assistant(request, tenant)
        return super().open_choices(request, tenant, journal)

    @asynccontextmanager
    async def _open_assistant(self, request: GenerationRequest, tenant: Tenant) -> AsyncIterator[Choices]:
        try:
            profile = self._profile(request, tenant)
            model = profile.model or next(iter(self._models.generating), "")
            opened: AbstractAsyncContextManager[Choices]
            if request.prompt is not None:  # there is nothing of a profile in a prompt as it stands
                opened = self.open_choices(replace(request, model=model), tenant)
            else:
                job = AssistantJob(
                    request=request,
                    profile=profile,
                    tenant=tenant,
                    model=model,
                    generate=self.open_choices,
                    table=self._table,
                )
                job.check()
                if request.files and profile.kind is not AssistantKind.CONTENT:
                    raise errors.BadRequest(
                        f"'{request.model}' reads text alone, no file.", param=request.text_param, code="invalid_value"
                    )
                opened = self._kinds.get(profile.kind, _chat)(job)
        except errors.RagfleetError as error:
            self.refused(request.route, tenant, error)
            raise
        try:
            async with asyncio.timeout(self._settings.request_deadline_s), opened as choices:
                yield choices
        except TimeoutError as error:
            message = f"The request took longer than {self._settings.request_deadline_s:g} s."
            raise errors.DeadlineExceeded(message) from error

    def keeps_journals(self, model: str) -> bool:
        """See GenerationService: an assistant's answer has none."""
        return not model.startswith(PREFIX)

    def check(self, request: GenerationRequest, tenant: Tenant) -> None:
        """See GenerationService."""
        if not self.keeps_journals(request.model):
            raise errors.BadRequest(
                "'background' is not supported by assistants.", param="background", code="unsupported_parameter"
            )
        super().check(request, tenant)

    async def count_tokens(self, request: GenerationRequest, tenant: Tenant) -> int:
        """See GenerationService. Of an assistant: of the conversation as its model would read it without knowledge."""
        if request.model.startswith(PREFIX):
            profile = self._profile(request, tenant)
            request = replace(request, model=profile.model or next(iter(self._models.generating), ""))
        return await super().count_tokens(request, tenant)

    def _profile(self, request: GenerationRequest, tenant: Tenant) -> Profile:
        profile = self.directory.find(tenant, request.model)
        if profile is None:
            known = ", ".join(f"{PREFIX}{name}" for name in self.directory.of(tenant))
            raise errors.NotFound(
                f"There is no assistant '{request.model[:128]}'. There are: {known}.",
                param="model",
                code="model_not_found",
            )
        return profile


@asynccontextmanager
async def _chat(job: AssistantJob) -> AsyncIterator[Choices]:
    """The profile's prompt, knowledge and limits; the model does the rest."""
    async with job.generate(job.profiled(), job.tenant) as choices:
        yield choices
