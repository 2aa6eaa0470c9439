"""Spans of what this model asks of Milvus, under Triton's own span of the model; none where no receiver is named."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

log = logging.getLogger("retrieval")

MakeSpan = Callable[[str], AbstractContextManager[Any]]
"""A collection's name → a span around a search in it."""


def no_span(collection: str) -> AbstractContextManager[None]:
    """Where nothing is traced."""
    return nullcontext()


class SearchTracing:
    """Of one model process. Its exporter is the extra `telemetry`: its queue is bounded, and no search waits for it."""

    def __init__(self, endpoint: str, instance: str) -> None:
        """endpoint: base URL of an OTLP/HTTP receiver. Raises ImportError without the extra."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

        resource = Resource.create({"service.name": "ragfleet-triton", "service.instance.id": instance})
        # The gateway has sampled: what comes without its word is not traced.
        self._provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=1024, schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer("ragfleet-retrieval")

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> SearchTracing | None:
        """As the environment wants it. Without the exporter's packages searches are not traced; Triton's own spans are."""
        endpoint = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        if not endpoint:
            return None
        try:
            return cls(endpoint, environment.get("RAGFLEET_INSTANCE", ""))
        except ImportError as error:
            log.warning("searches in Milvus are not traced: %s", error)
            return None

    @contextmanager
    def request(self, carrier: str) -> Iterator[None]:
        """The spans of the block belong to a request of Triton's. carrier: its trace context, as the Python backend gives it: a
        JSON object of headers; "" without one."""
        from opentelemetry import context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        token = context.attach(TraceContextTextMapPropagator().extract(json.loads(carrier or "{}"), context.Context()))
        try:
            yield
        finally:
            context.detach(token)

    def span(self, collection: str) -> AbstractContextManager[Any]:
        """See MakeSpan. OpenTelemetry's names of what databases are asked."""
        from opentelemetry.trace import SpanKind

        return self._tracer.start_as_current_span(
            f"search {collection}",
            kind=SpanKind.CLIENT,
            attributes={
                "db.system.name": "milvus",
                "db.operation.name": "search",
                "db.collection.name": collection,
            },
            record_exception=False,
        )

    def close(self) -> None:
        """Export what waits, within the exporter's deadline."""
        self._provider.shutdown()
