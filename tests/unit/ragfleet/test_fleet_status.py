"""What `status` says, from what the worker wrote, what lives, and what the gateway sees."""

import json
import os
from pathlib import Path

import pytest

from ragfleet import fleet_spec, supervisor
from ragfleet.fleet_spec import FleetSpec
from ragfleet.launch import ServiceProgress, first_cause, steps_of
from ragfleet.paths import Home
from ragfleet.status import UNKNOWN, FleetStatus, InstanceStatus, gather, merge
from worker.state import InstanceState, WorkerPhase

READY = {"state": "ready", "reason": ""}


def file(phase: WorkerPhase, reason: str = "") -> InstanceState:
    return InstanceState("triton-0", phase, 10, 11, 8101, 8102, 8103, reason=reason)


@pytest.mark.parametrize(
    ("phase", "worker_alive", "triton_alive", "seen", "expected"),
    [
        (WorkerPhase.READY, True, True, READY, "ready"),
        (WorkerPhase.READY, True, True, None, "ready"),
        (WorkerPhase.READY, True, True, UNKNOWN, "isolated"),
        (WorkerPhase.READY, True, True, {"state": "ejected", "reason": "3 failures in a row"}, "isolated"),
        (WorkerPhase.READY, True, False, READY, "restarting"),
        (WorkerPhase.HUNG, True, True, READY, "hung"),
        (WorkerPhase.STARTING, True, True, UNKNOWN, "starting"),
        (WorkerPhase.READY, False, True, READY, "unwatched"),
        (WorkerPhase.READY, False, False, READY, "lost"),
        (WorkerPhase.DRAINING, True, True, READY, "draining"),
        (WorkerPhase.STOPPED, False, False, None, "stopped"),
    ],
)
def test_the_least_trusting_source_wins(
    phase: WorkerPhase, *, worker_alive: bool, triton_alive: bool, seen: dict[str, str] | None, expected: str
) -> None:
    state, _ = merge(file(phase), worker_alive=worker_alive, triton_alive=triton_alive, seen=seen)
    assert state == expected


def test_reasons_are_told() -> None:
    ejected = {"state": "ejected", "reason": "3 failures in a row"}
    assert (
        merge(file(WorkerPhase.READY), worker_alive=True, triton_alive=True, seen=ejected)[1] == "3 failures in a row"
    )
    hung = file(WorkerPhase.HUNG, "Triton does not answer since 3 s")
    assert merge(hung, worker_alive=True, triton_alive=True, seen=None)[1] == "Triton does not answer since 3 s"


def test_a_display_shows_instances_in_their_workers_words() -> None:
    instance = InstanceStatus("triton-0", "restarting", "Triton exited with status 1", 0, 10, 1, 2, 3)
    part = {"pid": 1, "restarts": 0, "failures": 0, "reason": ""}
    seen = FleetStatus(
        True, False, "", "", "", "", "", "", [instance],
        [{"name": "consul", "state": "ready", **part}, {"name": "triton-0", "state": "starting", **part}],
    )  # fmt: skip
    assert [(step.name, step.state, step.reason) for step in steps_of(seen)] == [
        ("consul", "ready", ""),
        ("triton-0", "restarting", "Triton exited with status 1"),
    ]


def test_the_gateway_is_blamed_last() -> None:
    steps = [
        ServiceProgress("consul", "ready"),
        ServiceProgress("gateway", "starting"),
        ServiceProgress("triton-0", "starting", "no GPU"),
    ]
    assert first_cause(steps).name == "triton-0"
    assert first_cause(steps[:2]).name == "gateway"
    assert first_cause([ServiceProgress("gateway-1", "starting"), steps[2]]).name == "triton-0"


def test_gateways_are_told_with_their_processes(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.make()
    fleet_spec.write(home.plan_file, FleetSpec(gateways=2, port_base=21000))
    parts = [{"name": "gateway", "pid": os.getpid()}, {"name": "gateway-1", "pid": 0}]
    home.parts_file.write_text(json.dumps(parts))
    with supervisor.lock(home):
        seen = gather(home)
    assert seen.as_json()["gateways"] == [
        {"name": "gateway", "url": "http://127.0.0.1:21000", "pid": os.getpid()},
        {"name": "gateway-1", "url": "http://127.0.0.1:21014", "pid": 0},
    ]
    assert not seen.ready
    assert "gateway-1: does not answer" in seen.reasons
