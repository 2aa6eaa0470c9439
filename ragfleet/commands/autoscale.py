"""`ragfleet autoscale`: as many instances as the traffic will need (docs/production.md)."""

import json
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import typer

from ragfleet import fleet_spec, launch, supervisor
from ragfleet.console import Exit, Json, complain, fail, output
from ragfleet.fleet_spec import MAX_INSTANCES
from ragfleet.launch import NotRunningError, NotStartableError
from ragfleet.loopback import get_json
from ragfleet.paths import Home, home_from_environment

PERIOD_S = 5.0


def autoscale(
    *,
    least: Annotated[
        int,
        typer.Option(
            "--min", min=0, max=MAX_INSTANCES, help="Instances that are always there; 0: none where nobody asks."
        ),
    ] = 1,
    most: Annotated[int, typer.Option("--max", min=1, max=MAX_INSTANCES, help="Instances at the most.")] = 4,
    once: Annotated[bool, typer.Option("--once", help="Say how many there should be now, and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Start and drain instances by the forecast of the gateways, until Ctrl-C."""
    from gateway.fleet.autoscaling import Autoscaler, AutoscalingOptions

    if least > most:
        raise fail("--min must not be above --max.", Exit.USAGE)
    home = home_from_environment()
    scaler = Autoscaler(AutoscalingOptions(), least=least, most=most)
    present, seen = _look(home)
    if not once:
        scaler.begin(time.monotonic(), present)
    while True:
        if not least and not all(each["demand"]["start_wait_s"] for each in seen):
            raise fail(
                "With --min 0 requests must wait until an instance has started: "
                "start the fleet with RAGFLEET_START_WAIT_S=120 or so, or scale from 1.",
                Exit.USAGE,
            )
        if seen:  # else the gateways do not answer: everything stays as it is
            demand = sum(each["demand"]["requests"] for each in seen)
            wanted = scaler.instances(time.monotonic(), demand, _slots(seen))
            if once or wanted != present:
                _tell(present, wanted, demand, as_json=as_json)
            if once:
                return
            if wanted != present:
                _scale(home, wanted)
        elif once:
            raise fail("No gateway answers. See: ragfleet status")
        time.sleep(PERIOD_S)
        present, seen = _look(home)


def _look(home: Home) -> tuple[int, list[Mapping[str, Any]]]:
    """How many instances are wanted by now, and what each gateway says."""
    spec = fleet_spec.read(home.plan_file) if supervisor.running(home) else None
    if spec is None:
        raise fail("The fleet is not running. Start it with: ragfleet up", Exit.NOT_RUNNING)
    answers = (get_json(f"{url}/fleet", spec.api_key) for url in spec.gateway_urls.values())
    said = [fleet for status, fleet in answers if status == HTTPStatus.OK]
    return spec.instances, [fleet for fleet in said if isinstance(fleet, Mapping) and "demand" in fleet]


def _slots(seen: list[Mapping[str, Any]]) -> float:
    slots = [each["slots"] for each in seen[0]["instances"] if each["state"] == "ready"]
    return float(sum(slots) / len(slots) if slots else seen[0]["demand"]["slots"])


def _scale(home: Home, wanted: int) -> None:
    try:
        launch.scale(home, wanted)
    except NotRunningError as error:
        raise fail(str(error), Exit.NOT_RUNNING) from None
    except NotStartableError as error:  # tried again with the next look: a port may be free by then
        complain(str(error))


def _tell(present: int, wanted: int, demand: float, *, as_json: bool) -> None:
    if as_json:
        line = {"at": time.time(), "instances": present, "wanted": wanted, "demand_requests": round(demand, 2)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
    else:
        output().print(f"{present} → {wanted} instances: {demand:.1f} requests at a time are to be expected")
