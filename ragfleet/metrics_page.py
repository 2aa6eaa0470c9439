"""`python -m ragfleet.metrics_page` prints docs/metrics.md: every metric of the gateway and its ingestion, as declared."""

from collections.abc import Iterator

from prometheus_client.metrics import MetricWrapperBase

from gateway.capped_metrics import OPEN, OTHER, SERIES
from gateway.ingestion.metrics import IngestionMetrics
from gateway.metrics import Metrics

UNITS = {"_seconds": "seconds", "_tokens": "tokens", "_token_usage": "tokens", "_bytes": "bytes"}
"""By the end of a metric's name; the others are counts, or told by their meaning."""
HEAD = f"""\
# Metrics

What a gateway tells at `/metrics`, its ingestion process's included: as Prometheus's text, or as OpenMetrics, with trace ids as
exemplars, where the scraper asks for that (`Accept`). This page is made by `python -m ragfleet.metrics_page > docs/metrics.md`.
Triton's own metrics (`nv_…`) are at each instance's metrics port; [contracts](contracts.md) has those that are read.

No metric of the gateway has more than {SERIES} series: past it, new values of
{", ".join(f"`{label}`" for label in sorted(OPEN))} are told as `{OTHER}`.
A model that nobody serves is `unknown`. Names in `gen_ai_` are those of OpenTelemetry's GenAI conventions (in development).
Where a gateway has several processes (`RAGFLEET_GATEWAY_PROCESSES`), whichever is asked tells the metrics of all, each with the
label `process`, and `ragfleet_gateway_process_up` is 0 for one that did not answer.
"""


def rows(metrics: object) -> Iterator[str]:
    """A line of a table for each."""
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            name = f"{metric._name}_total" if metric._type == "counter" else metric._name
            unit = next((unit for end, unit in UNITS.items() if metric._name.endswith(end)), "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            yield f"| `{name}` | {metric._type} | {unit} | {labels} | {metric._documentation} |"


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, metrics in (("The gateway", Metrics()), ("Its ingestion process", IngestionMetrics())):
        parts += [f"## {title}", "", "| metric | kind | unit | labels | meaning |", "|---|---|---|---|---|"]
        parts += [*rows(metrics), ""]
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
