"""What is told of one request for answers to whoever watches: its span and its metrics, by OpenTelemetry's GenAI conventions
beside our own names, and whether it kept what was promised (service level objectives)."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind

from gateway.config import Settings
from gateway.metrics import DEFAULT_CLASS, Metrics
from gateway.serving.choices import Choices
from gateway.serving.generation_request import GenerationRequest
from gateway.serving.recent_answers import RecentAnswers
from gateway.telemetry import OFF, Attributes, Tracing, parent_of, span_context, trace_id, traceparent
from gateway.tenants.tenant import Tenant

PROVIDER = "ragfleet"
OPERATIONS = {"completions": "text_completion"}
"""GenAI's names of what routes do; the others chat."""


class AnswerTelemetry:
    """Of one request, from its begin to its end. `choices` is set once there are some."""

    def __init__(
        self,
        request: GenerationRequest,
        tenant: Tenant,
        model: str,
        *,
        settings: Settings,
        metrics: Metrics,
        recent: RecentAnswers,
        tracing: Tracing = OFF,
    ) -> None:
        """model: a word that may be a label. recent: where the request is seen while it runs, and for a while thereafter."""
        self._request = request
        self._tenant = tenant
        self._settings = settings
        self._recent = recent
        self._tracing = tracing
        self.record = recent.begin(request, tenant)
        self._metrics = metrics
        self._operation = OPERATIONS.get(request.route, "chat")
        self._model = model
        self._labels = (self._operation, PROVIDER, model)
        self._started = time.monotonic()
        self._first: float | None = None
        self.choices: Choices | None = None
        self.traceparent = ""
        """Of the request's span, for whoever goes on with it."""

    def span(self, before: str = "") -> AbstractContextManager[None]:
        """The request's span around the block. before: `traceparent` of the one that another gateway has begun for it."""
        return self._span(before) if self._tracing.is_on else nullcontext()

    @contextmanager
    def _span(self, before: str) -> Iterator[None]:
        parent: Context | None = parent_of(before) if before else None
        with self._tracing.span(
            f"{self._operation} {self._model}",
            kind=SpanKind.CLIENT,
            parent=parent,
            links=() if parent is None else [span_context(parent)],
        ) as span:
            if not span.is_recording():
                yield
                return
            span.set_attributes(self._attributes())
            self.traceparent = traceparent(span)
            self.record.trace_id = trace_id()
            try:
                yield
            finally:
                if self.choices is not None:
                    usage = self.choices.usage
                    reasons = [each.finish_reason or "error" for each in self.choices.answers]
                    span.set_attributes(
                        {
                            "gen_ai.usage.input_tokens": usage.prompt,
                            "gen_ai.usage.output_tokens": usage.completion,
                            "gen_ai.response.finish_reasons": reasons,
                        }
                    )
                if self._first is not None:
                    span.set_attribute("gen_ai.response.time_to_first_chunk", self._first - self._started)

    def first_token(self) -> None:
        """It came, of one of the answers."""
        now = time.monotonic()
        if self._first is not None:
            return
        self._first = self.record.first_token = now
        took = now - self._started
        mark = self._exemplar()
        self._metrics.ttft.labels("1" if self._request.grounded else "0").observe(took, mark)
        self._metrics.genai_ttft.labels(*self._labels).observe(took, mark)
        self._keep("ttft", took <= self._settings.slo_ttft_s)

    def end(self, status: int) -> None:
        """It has ended, whichever way; `status` as HTTP has it."""
        took = time.monotonic() - self._started
        self._recent.end(self.record, status)
        metrics, mark = self._metrics, self._exemplar()
        metrics.requests.labels(self._request.route, self._model, self._tenant.name, str(status)).inc()
        metrics.duration.labels("1" if self._request.grounded else "0").observe(took, mark)
        metrics.genai_duration.labels(*self._labels, "" if status < 400 else str(status)).observe(took, mark)
        if status < 400 or status >= 500:  # what is the client's fault breaks no promise
            self._keep("availability", status < 500)
        if self._first is None and took > self._settings.slo_ttft_s:  # a client that did not wait for ever, too
            self._keep("ttft", False)
        if self.choices is None:
            return
        usage = self.record.usage
        metrics.genai_tokens.labels(*self._labels, "input").observe(usage.prompt)
        metrics.genai_tokens.labels(*self._labels, "output").observe(usage.completion)
        if self._first is not None and len(self.choices.answers) == 1 and usage.completion > 1:
            each = (self._started + took - self._first) / (usage.completion - 1)
            metrics.genai_tpot.labels(*self._labels).observe(each, mark)
            self._keep("inter_token_latency", each <= self._settings.slo_inter_token_s)

    def _keep(self, slo: str, kept: bool) -> None:
        self._metrics.slo_event(slo, self._tenant.placement or DEFAULT_CLASS, kept)

    def _attributes(self) -> Attributes:
        sampling, request = self._request.sampling, self._request
        found = {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": self._model,
            "gen_ai.request.choice.count": request.choices if request.choices > 1 else None,
            "gen_ai.request.max_tokens": request.max_tokens,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.top_k": sampling.top_k,
            "gen_ai.request.seed": sampling.seed,
            "ragfleet.request_id": request.id,
            "ragfleet.tenant": self._tenant.name,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _exemplar(self) -> dict[str, str] | None:
        """The trace that an observation belongs to; None without one."""
        found = trace_id() if self._tracing.is_on else ""
        return {"trace_id": found} if found else None
