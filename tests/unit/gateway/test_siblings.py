"""One exposition of all processes of a gateway."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from gateway.metrics import Metrics
from gateway.process_group import Membership
from gateway.siblings import ProcessReport, merged_metrics, summed_demand


def _process(requests: int, accept: str = "") -> ProcessReport:
    metrics = Metrics()
    metrics.requests.labels("chat", 'a "model"', "acme\n{x}", "200").inc(requests)
    metrics.ttft.labels("off").observe(0.1, {"trace_id": "ab"})
    metrics.consul_alive.set(1)
    return ProcessReport(metrics.render(accept)[0].decode(), {"requests": 1.5, "instances": requests})


@pytest.mark.parametrize(
    ("accept", "parse"), [("", prometheus), ("application/openmetrics-text; version=1.0.0", openmetrics)]
)
def test_every_sample_is_there_once_for_each_process(accept: str, parse: object) -> None:
    single = list(parse(_process(3, accept).metrics))
    families = list(parse(merged_metrics({0: _process(3, accept), 1: _process(5, accept), 2: None})))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert {family.name for family in single} | {"ragfleet_gateway_process_up"} == set(names)
    found = {family.name: family for family in families}
    for family in single:
        samples = found[family.name].samples
        assert found[family.name].type == family.type
        assert found[family.name].documentation == family.documentation
        of_first = [
            (s.name, {k: v for k, v in s.labels.items() if k != "process"})
            for s in samples
            if s.labels["process"] == "0"
        ]
        assert of_first == [(s.name, s.labels) for s in family.samples]
    requests = [s for s in found["ragfleet_requests"].samples if s.name.endswith("_total")]
    assert [(s.labels["process"], s.labels["tenant"], s.value) for s in requests] == [
        ("0", "acme\n{x}", 3.0),
        ("1", "acme\n{x}", 5.0),
    ]
    up = found["ragfleet_gateway_process_up"].samples
    assert [(s.labels["process"], s.value) for s in up] == [("0", 1.0), ("1", 1.0), ("2", 0.0)]


def test_the_demand_of_processes_adds_up() -> None:
    assert summed_demand({0: _process(3), 1: None, 2: _process(5)}) == {"requests": 3.0, "instances": 8.0}


def test_a_process_knows_which_of_the_group_it_is() -> None:
    membership = Membership("abc", 1, 4, 77)
    assert Membership.of(membership.arguments()) == membership
    assert Membership.of([]) is None


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["serve"], ["--group=a", "--process=1"], ["--group=a", "--process=x/2", "--parent=1"]],
)
def test_other_arguments_are_refused(arguments: list[str]) -> None:
    with pytest.raises(ValueError):
        Membership.of(arguments)
