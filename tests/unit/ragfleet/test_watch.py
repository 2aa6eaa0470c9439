"""The live picture of the fleet."""

from io import StringIO

from rich.console import Console

from ragfleet.status import FleetStatus, InstanceStatus
from ragfleet.watch import Counters, picture, read_counters

METRICS = """\
# TYPE ragfleet_placements_total counter
ragfleet_placements_total{instance="triton-0"} 30.0
ragfleet_placements_total{instance="triton-1"} 12.0
ragfleet_placements_created{instance="triton-1"} 1.7e+09
ragfleet_ejections_total{instance="triton-1"} 2.0
ragfleet_migrations_total{cause="died"} 3.0
ragfleet_migrations_total{cause="stalled"} 1.0
ragfleet_tokens_total{kind="prompt",tenant="default"} 900.0
ragfleet_tokens_total{kind="completion",tenant="default"} 500.0
ragfleet_requests_total{model="m",route="/v1/chat/completions",status="200",tenant="default"} 40.0
ragfleet_requests_total{model="m",route="/v1/chat/completions",status="503",tenant="default"} 2.0
ragfleet_in_flight 5.0
ragfleet_admission_waiting 7.0
"""
TOKENS = {"triton-0": 480.0, "triton-1": 20.0}


def shown(*instances: InstanceStatus, before: Counters) -> str:
    parts = [{"name": "consul", "state": "ready"}, {"name": "triton-0", "state": "ready"}]
    seen = FleetStatus(True, True, "", "", "", "", "", "", list(instances), parts)
    text = StringIO()
    Console(file=text, width=160).print(picture(seen, before, read_counters(METRICS, 10.0, TOKENS)))
    return text.getvalue()


def test_reads_the_gateways_counters() -> None:
    now = read_counters(METRICS, 10.0, TOKENS)
    assert now.placements == {"triton-0": 30.0, "triton-1": 12.0}
    assert now.ejections == {"triton-1": 2.0}
    assert now.migrations == {"died": 3.0, "stalled": 1.0}
    assert (now.requests, now.in_flight, now.waiting) == (42.0, 5.0, 7.0)


def test_shows_load_share_and_speed() -> None:
    load = {"waiting": 1, "active": 3, "kv_used_blocks": 24, "kv_max_blocks": 200}
    first = InstanceStatus("triton-0", "ready", "", 1, 2, 3, 4, 5, streams=4, slots=8, load=load)
    second = InstanceStatus("triton-1", "isolated", "3 failures in a row", 1, 2, 3, 4, 5)
    before = Counters(
        8.0, {"triton-0": 24.0, "triton-1": 10.0}, tokens={"triton-0": 300.0, "triton-1": 0.0}, requests=38.0
    )
    text = shown(first, second, before=before)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("triton")}
    assert rows["triton-0"] == ["triton-0", "ready", "1", "3/8", "12%", "4", "90", "75%", "0", "0"]
    assert rows["triton-1"][:6] == ["triton-1", "isolated", "0", "10", "25%", "2"]
    for expected in ("3 failures in a row", "2.0 requests/s, 100 tokens/s", "5 in flight, 7 waiting", "consul ready"):
        assert expected in text
    assert "4 migrations in all (3 died, 1 stalled)" in text


def test_a_share_and_a_speed_are_never_below_zero() -> None:
    """The gateway was restarted between two frames: its counters began anew."""
    first = InstanceStatus("triton-0", "ready", "", 1, 2, 3, 4, 5)
    text = shown(first, before=Counters(8.0, {"triton-0": 900.0}, tokens={"triton-0": 9000.0}, requests=900.0))
    assert "-" not in text.replace("triton-0", "")


def test_says_when_nothing_runs() -> None:
    assert "ragfleet up" in str(picture(FleetStatus(False, False, "", "", "", "", "", ""), Counters(), Counters()))
