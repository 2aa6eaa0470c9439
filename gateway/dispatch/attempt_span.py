"""The traces of an answer's attempts: a span for each, linked with that of the one before."""

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, Status, StatusCode

from gateway.dispatch.dispatcher import Dispatch
from gateway.telemetry import Tracing, traceparent
from gateway.triton.errors import InstanceError


class AttemptSpan:
    """The span of the present attempt; between two that of the last one."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing
        self._span: Span = INVALID_SPAN

    def begin(self, dispatch: Dispatch, number: int) -> str:
        """Of the attempt with this number, from 1. Gives the header that tells the instance of it; "" where nothing is traced."""
        if not self._tracing.records:
            return ""
        self._span = self._tracing.start(
            "dispatch llm",
            kind=SpanKind.CLIENT,
            attributes={**dispatch.attributes, "ragfleet.attempt": number},
            links=[self._span.get_span_context()],
        )
        return traceparent(self._span)

    def end(self, tokens: int, error: InstanceError | None = None) -> None:
        """tokens: that the attempt has given."""
        if not self._span.is_recording():
            return
        self._span.set_attribute("gen_ai.usage.output_tokens", tokens)
        if error is not None:
            self._span.set_attribute("error.type", str(error.cause))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
