"""The panels of the dashboard as its file has them, and what their queries give."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.prometheus import Prometheus, Series
from ragfleet.paths import PROJECT

FILE = PROJECT / "docker" / "grafana" / "dashboards" / "ragfleet.json"


@dataclass(frozen=True, slots=True)
class Query:
    """One of a panel's."""

    expression: str
    legend: str

    def name(self, series: Series) -> str:
        """What the legend calls one of its lines."""
        return re.sub(r"\{\{(\w+)\}\}", lambda found: series.labels.get(found[1], ""), self.legend).strip()

    @property
    def wants_a_gpu(self) -> bool:
        """Triton tells it of GPUs alone."""
        return "nv_gpu_" in self.expression


@dataclass(frozen=True, slots=True)
class Panel:
    """Its place is in columns (24) and rows of the dashboard's grid."""

    title: str
    unit: str
    x: int
    y: int
    width: int
    height: int
    queries: Sequence[Query]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one query gave."""

    panel: Panel
    query: Query
    series: Sequence[Series]

    @property
    def points(self) -> int:
        """Of all its lines."""
        return sum(len(each.points) for each in self.series)


def panels() -> list[Panel]:
    """All of the file, in its order."""
    found = []
    for each in json.loads(FILE.read_text("utf-8"))["panels"]:
        place = each["gridPos"]
        queries = [Query(target["expr"], target["legendFormat"]) for target in each["targets"]]
        unit = each["fieldConfig"]["defaults"].get("unit", "short")
        found.append(Panel(each["title"], unit, place["x"], place["y"], place["w"], place["h"], queries))
    return found


def answers(prometheus: Prometheus, begin: float, end: float) -> Iterator[Answer]:
    """Of every query, over a time in unix seconds, at about 120 moments."""
    step_s = max(1.0, (end - begin) / 120)
    for panel in panels():
        for query in panel.queries:
            yield Answer(panel, query, prometheus.over(query.expression, begin, end, step_s))
