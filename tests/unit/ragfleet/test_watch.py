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
ragfleet_requests_total{model="m",route="/v1/chat/completions",status="200",tenant="default"} 42.0
"""


def shown(*instances: InstanceStatus, before: Counters) -> str:
    parts = [{"name": "consul", "state": "ready"}, {"name": "triton-0", "state": "ready"}]
    seen = FleetStatus(True, True, "", "", "", "", "", "", list(instances), parts)
    text = StringIO()
    Console(file=text, width=160).print(picture(seen, before, read_counters(METRICS, 10.0)))
    return text.getvalue()


def test_reads_the_gateways_counters() -> None:
    now = read_counters(METRICS, 10.0)
    assert now.placements == {"triton-0": 30.0, "triton-1": 12.0}
    assert now.ejections == {"triton-1": 2.0}
    assert (now.migrations, now.completion_tokens, now.requests) == (4.0, 500.0, 42.0)


def test_shows_load_share_and_speed() -> None:
    load = {"waiting": 1, "active": 3, "kv_used_blocks": 24, "kv_max_blocks": 200}
    first = InstanceStatus("triton-0", "ready", "", 1, 2, 3, 4, 5, streams=4, slots=8, load=load)
    second = InstanceStatus("triton-1", "isolated", "3 failures in a row", 1, 2, 3, 4, 5)
    before = Counters(8.0, {"triton-0": 24.0, "triton-1": 10.0}, {}, 4.0, 300.0, 40.0)
    text = shown(first, second, before=before)
    for expected in ("3/8", "12%", "75%", "25%", "3 failures in a row", "100 tokens/s", "4 migrations", "consul ready"):
        assert expected in text


def test_says_when_nothing_runs() -> None:
    assert "ragfleet up" in str(picture(FleetStatus(False, False, "", "", "", "", "", ""), Counters(), Counters()))
