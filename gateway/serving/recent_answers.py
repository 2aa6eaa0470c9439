"""Answers that run and the last ones that ended: what an operator sees of single requests. In memory, of this gateway alone."""

import time
from collections import deque
from collections.abc import Sequence

from gateway.dispatch.attempts import Attempt
from gateway.serving.choices import Choices
from gateway.serving.generated_answer import TokenUsage
from gateway.serving.generation_request import GenerationRequest
from gateway.tenants.tenant import Tenant

KEPT = 200
"""Answers that have ended."""
MOVED = 50
"""Of those that changed their instance, beside the others: under load they would soon be gone."""


class AnswerRecord:
    """One request from its begin to its end. No text of it is kept."""

    def __init__(self, request: GenerationRequest, tenant: Tenant, now: float) -> None:
        self.request_id = request.id
        self.tenant = tenant.name
        self.route = request.route
        self.model = request.model[:256]
        self.grounded = request.grounded
        self.began_at = time.time()
        """Unix seconds."""
        self.started = now
        """Monotonic seconds, as the next ones."""
        self.admitted: float | None = None
        self.prompt_built: float | None = None
        self.first_token: float | None = None
        self.ended: float | None = None
        self.trace_id = ""
        """Of its trace, where it is traced."""
        self.status = 0
        """HTTP's; 0 while it runs."""
        self._choices: Choices | None = None
        self._attempts: Sequence[Attempt] = ()
        self._usage = TokenUsage(0, 0)

    def admit(self) -> None:
        """It has its place."""
        self.admitted = time.monotonic()

    def begin(self, choices: Choices) -> None:
        """The prompt is there, and these will be the answers."""
        self.prompt_built = time.monotonic()
        self._choices = choices

    def end(self, status: int) -> None:
        """It is over. The answers are let go."""
        self.ended, self.status = time.monotonic(), status
        self._attempts, self._usage = self.attempts, self.usage
        self._choices = None

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Instances that worked on it, and those that do so now, whose `cause` is empty."""
        return self._attempts if self._choices is None else [*self._choices.attempts, *self._choices.running]

    @property
    def usage(self) -> TokenUsage:
        """The tokens so far."""
        return self._usage if self._choices is None else self._choices.usage

    @property
    def moved(self) -> bool:
        """Whether some instance gave up an answer that another one went on with."""
        return any(attempt.cause not in ("", "end") for attempt in self.attempts)


class RecentAnswers:
    """One for the life of the application."""

    def __init__(self) -> None:
        self._running: dict[AnswerRecord, None] = {}
        self._ended: deque[AnswerRecord] = deque(maxlen=KEPT)
        self._moved: deque[AnswerRecord] = deque(maxlen=MOVED)

    def begin(self, request: GenerationRequest, tenant: Tenant) -> AnswerRecord:
        """A request that is to be answered; `end` it on every path."""
        record = AnswerRecord(request, tenant, time.monotonic())
        self._running[record] = None
        return record

    def end(self, record: AnswerRecord, status: int) -> None:
        """It is over, with this status of HTTP."""
        record.end(status)
        del self._running[record]
        self._ended.append(record)
        if record.moved:
            self._moved.append(record)

    @property
    def running(self) -> int:
        """Answers that run."""
        return len(self._running)

    def newest(self, *, limit: int, moved: bool = False) -> Sequence[AnswerRecord]:
        """The newest first, those that run in front. moved: only those that changed their instance."""
        running = [record for record in reversed(self._running) if record.moved or not moved]
        return [*running, *reversed(self._moved if moved else self._ended)][:limit]
