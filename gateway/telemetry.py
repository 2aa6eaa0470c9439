"""Traces by OpenTelemetry: spans of this process, W3C trace context in and out, and their export over OTLP/HTTP.

Without an endpoint there is no tracer: nothing is made, and a span costs an attribute's look-up. Whether a request is traced is
decided where it begins, by the share or by the client's own word; where it is not, no span of it is made either, and all that is
kept is a mark in its context. The exporter is the extra `telemetry`. What waits for a receiver is bounded, and dropped where none
answers; requests never wait for it.
"""

import asyncio
import random
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from gateway.config import Settings
from gateway.environment import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Attributes = Mapping[str, AttributeValue]

QUEUED_SPANS = 4096
"""That wait for the exporter at the most; further ones are dropped."""
EXPORT_S = 5.0
"""For one export; a receiver that is away delays the end of the program by no more."""
GATHER_S = 5.0
"""Between two exports, of which each costs 1.5 ms of CPU beside what its spans cost. Many spans are exported sooner."""

_W3C = TraceContextTextMapPropagator()
_NO_PARENT = Context()

_untraced: ContextVar[bool] = ContextVar("ragfleet_untraced", default=False)
"""Whether what runs belongs to a request that is not traced."""


class _Untraced:
    """Around a block that belongs to no trace: no span is made within."""

    __slots__ = ("_before",)

    def __enter__(self) -> Span:
        self._before: Token[bool] = _untraced.set(True)
        return INVALID_SPAN

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(ValueError):  # in another task than it began in there is nothing to reset
            _untraced.reset(self._before)


class Tracing:
    """Makes spans. One for each process; without a provider it makes none."""

    def __init__(self, provider: "TracerProvider | None" = None, sample: float = 1.0) -> None:
        """sample: share of what no client has begun that is traced."""
        self._provider = provider
        self._sample = sample
        self._tracer: Tracer | None = None if provider is None else provider.get_tracer("ragfleet")

    @classmethod
    def from_settings(cls, settings: Settings, service: str) -> "Tracing":
        """As the settings want it. Raises ConfigError where the exporter is wanted and not installed."""
        if not settings.trace_endpoint:
            return cls()
        if not 0 <= settings.trace_sample <= 1:
            raise ConfigError(f"RAGFLEET_TRACE_SAMPLE={settings.trace_sample:g} is not between 0 and 1.")
        return cls(_provider(settings.trace_endpoint, service), settings.trace_sample)

    @property
    def is_on(self) -> bool:
        """Whether there is anything to make spans for."""
        return self._tracer is not None

    @property
    def records(self) -> bool:
        """Whether a span would be recorded that is made here, under the current one."""
        return self._tracer is not None and not _untraced.get() and trace.get_current_span().is_recording()

    def span(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Context | None = None,
        links: Sequence[SpanContext] = (),
    ) -> AbstractContextManager[Span]:
        """A span that is the current one in the block; an error that leaves the block is noted in it."""
        if self._tracer is None:
            return nullcontext(INVALID_SPAN)
        if not self._is_traced(parent):
            return _Untraced()
        return self._current(self._start(name, kind, attributes, parent, links))

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        parent: Context | None = None,
        links: Sequence[SpanContext] = (),
    ) -> Span:
        """A span under the current one, or under `parent`, which its caller ends."""
        if not self._is_traced(parent):
            return INVALID_SPAN
        return self._start(name, kind, attributes, parent, links)

    def _is_traced(self, parent: Context | None) -> bool:
        """Decides it where nothing else has."""
        if self._tracer is None or (parent is None and _untraced.get()):
            return False
        above = trace.get_current_span(parent).get_span_context()
        if above.is_valid:
            return above.trace_flags.sampled
        return random.random() < self._sample  # noqa: S311 - guards nothing

    def _start(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes | None,
        parent: Context | None,
        links: Sequence[SpanContext],
    ) -> Span:
        assert self._tracer is not None
        linked = [Link(each) for each in links if each.is_valid]
        return self._tracer.start_span(name, parent, kind, attributes, linked)

    async def close(self) -> None:
        """Export what waits, if that is done soon; the exporter's thread ends."""
        if self._provider is not None:
            await asyncio.to_thread(self._provider.shutdown)

    @contextmanager
    def _current(self, span: Span) -> Iterator[Span]:
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except BaseException as error:
                failed(span, error)
                raise


def failed(span: Span, error: BaseException) -> None:
    """Note an error in a span: its kind, and not its words, which may hold a client's."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def note_failure(kind: str) -> None:
    """Note in the current span, where there is one, that what it stands for went wrong, by a word that holds no client's."""
    span = trace.get_current_span()
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def traceparent(span: Span | None = None) -> str:
    """The W3C header for what is called on behalf of a span, the current one where none is given; "" where it is not recorded."""
    if span is None and _untraced.get():
        return ""
    context = (span or trace.get_current_span()).get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-01"


def trace_id() -> str:
    """Of the current span, as 32 hexadecimal digits; "" where it is not recorded."""
    if _untraced.get():
        return ""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid and context.trace_flags.sampled else ""


def parent_of(header: str, state: str = "") -> Context:
    """What a client's `traceparent` and `tracestate` say; an empty context where they are none."""
    if not header:
        return _NO_PARENT
    return _W3C.extract({"traceparent": header, "tracestate": state}, Context())


def span_context(parent: Context) -> SpanContext:
    """The span that a context points to."""
    return trace.get_current_span(parent).get_span_context()


def current() -> SpanContext:
    """Of the current span; an invalid one where there is none."""
    return trace.get_current_span().get_span_context()


def under(parents: Sequence[SpanContext]) -> tuple[Context, list[SpanContext]]:
    """For work on behalf of several spans at once: the context of its span, under the first that is recorded, and links to the
    other ones."""
    recorded = [each for each in parents if each.is_valid and each.trace_flags.sampled]
    if not recorded:
        return Context(), []
    return trace.set_span_in_context(NonRecordingSpan(recorded[0]), Context()), recorded[1:]


def _provider(endpoint: str, service: str) -> "TracerProvider":
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import SpanLimits, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError as error:
        raise ConfigError("Traces need the extra `telemetry`: pip install 'ragfleet[telemetry]'.") from error
    provider = TracerProvider(
        sampler=ALWAYS_ON,  # what is not traced does not come so far
        resource=Resource.create({"service.name": service, "service.instance.id": socket.gethostname()}),
        shutdown_on_exit=False,  # `close` does it
        span_limits=SpanLimits(max_span_attribute_length=1024, max_events=32, max_links=32),
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_S)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=QUEUED_SPANS,
            schedule_delay_millis=GATHER_S * 1000,
            max_export_batch_size=min(512, QUEUED_SPANS),
        )
    )
    return provider


OFF = Tracing()
"""Makes no spans."""
