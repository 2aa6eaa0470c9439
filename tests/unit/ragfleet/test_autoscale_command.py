"""`ragfleet autoscale` asks every gateway, adds up what they expect, and starts or drains instances."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from ragfleet.cli import application
from ragfleet.commands import autoscale


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Two gateways, each of which expects 20 requests at a time; one instance of 16 slots."""
    answer = {
        "demand": {"requests": 20.0, "slots": 16, "start_wait_s": 0},
        "instances": [{"slots": 16, "state": "ready"}],
    }
    found = SimpleNamespace(
        answers={"http://a/fleet": (200, answer), "http://b/fleet": (200, answer)}, scaled=[], looks=0
    )
    spec = SimpleNamespace(instances=1, api_key="", gateway_urls={"one": "http://a", "two": "http://b"})

    def sleep(_: float) -> None:
        found.looks += 1
        if found.looks == 3:
            raise KeyboardInterrupt

    def scale(_: Any, instances: int) -> int:
        found.scaled.append(instances)
        spec.instances = instances
        return 1

    monkeypatch.setattr(autoscale.supervisor, "running", lambda _home: 1)
    monkeypatch.setattr(autoscale.fleet_spec, "read", lambda _file: spec)
    monkeypatch.setattr(autoscale, "get_json", lambda url, _key: found.answers[url])
    monkeypatch.setattr(autoscale.launch, "scale", scale)
    monkeypatch.setattr(autoscale.time, "sleep", sleep)
    return found


def run(*words: str) -> Any:
    return CliRunner().invoke(application(), ["autoscale", *words])


def test_it_says_how_many_there_should_be(fleet: SimpleNamespace) -> None:
    told = run("--once", "--json", "--max", "8")
    line = json.loads(told.stdout)
    assert (line["instances"], line["wanted"], line["demand_requests"]) == (1, 3, 40.0)
    assert fleet.scaled == []


def test_it_scales_once_and_within_the_bounds(fleet: SimpleNamespace) -> None:
    run("--max", "2")
    assert fleet.scaled == [2]


def test_where_no_gateway_answers_all_stays_as_it_is(fleet: SimpleNamespace) -> None:
    fleet.answers = dict.fromkeys(fleet.answers, (0, None))
    run()
    assert fleet.scaled == []
    assert run("--once").exit_code == 1


def test_bounds_that_make_no_sense_are_refused(fleet: SimpleNamespace) -> None:
    assert run("--min", "3", "--max", "2").exit_code == 2
    assert fleet.scaled == []
