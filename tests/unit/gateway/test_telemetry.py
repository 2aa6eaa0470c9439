"""Which requests are traced: each whole, or not at all."""

from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from gateway.telemetry import Tracing, parent_of, trace_id

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"


def requests(count: int, sample: float, header: str = "") -> dict[int, set[str]]:
    """The names of the spans of each trace, of so many requests with a step in each."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider, sample)
    for _ in range(count):
        with tracing.span("request", parent=parent_of(header)) as request:
            assert tracing.records == request.is_recording() == bool(trace_id())
            with tracing.span("step"):
                tracing.start("call").end()
        assert not tracing.records
    with tracing.span("another", parent=Context()):  # by itself, whatever was before it
        pass
    traces: dict[int, set[str]] = {}
    for span in exporter.get_finished_spans():
        if span.name != "another":
            traces.setdefault(span.context.trace_id, set()).add(span.name)
    return traces


def test_each_is_traced_whole_or_not_at_all() -> None:
    traces = requests(1000, 0.5)
    assert 300 < len(traces) < 700
    assert all(names == {"request", "step", "call"} for names in traces.values())
    assert requests(50, 0.0) == {}
    assert len(requests(50, 1.0)) == 50


def test_the_client_decides_where_it_says_so() -> None:
    assert requests(50, 1.0, f"{PARENT}-00") == {}
    assert list(requests(50, 0.0, f"{PARENT}-01")) == [int(PARENT.split("-")[1], 16)]
