"""What `make test-compose` decides without an engine."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.compose.__main__ import gigabytes
from benchmarks.compose.engine import Engine, forward_policy, without_engine
from benchmarks.compose.faults import FAULTS
from benchmarks.compose.images import STANDINS, image_of, services
from benchmarks.compose.load import KINDS, OUTCOMES, Load, outcome
from benchmarks.compose.stack import Stack, override, prometheus_without_consul
from benchmarks.compose.steps import StepError, Steps
from ragfleet.paths import PROJECT
from tests.support.chat_client import Seen
from tests.support.ports import NOBODY

SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -o br-0123456789ab -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i br-0123456789ab ! -o br-0123456789ab -j ACCEPT
-A FORWARD -i br-office -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 10.213.0.0/24 ! -o br-0123456789ab -j MASQUERADE
-A POSTROUTING -s 192.168.1.0/24 -o eth0 -j MASQUERADE
COMMIT
"""


def test_only_the_engines_lines_leave_the_kernels_tables() -> None:
    assert without_engine(SAVED).splitlines() == [
        "*filter",
        ":INPUT ACCEPT [0:0]",
        ":FORWARD DROP [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT",
        "-A FORWARD -i br-office -j ACCEPT",
        "COMMIT",
        "*nat",
        ":POSTROUTING ACCEPT [0:0]",
        "-A POSTROUTING -s 192.168.1.0/24 -o eth0 -j MASQUERADE",
        "COMMIT",
    ]


def test_the_policy_of_forwarding_is_read() -> None:
    assert forward_policy(SAVED) == "DROP"
    assert forward_policy("") == "ACCEPT"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("postgres:15.18-bookworm", "postgres:15.18-bookworm"),
        ("haproxy:2.6.34@sha256:82c0", "haproxy:2.6.34"),
        ("${RAGFLEET_OBJECTS_IMAGE:-minio/minio:RELEASE.2024-05-28T17-19-04Z}", "minio/minio:RELEASE.2024-05-28T17-19-04Z"),
    ],
)  # fmt: skip
def test_an_image_is_named_as_the_engine_knows_it(written: str, name: str) -> None:
    assert image_of({"image": written}) == name


def test_every_image_that_is_not_ours_has_a_stand_in() -> None:
    found = services()
    others = {image_of(told) for told in found.values() if "ragfleet-" not in told["image"]}
    assert others == {image_of(found[service]) for service in STANDINS.values()}
    for name in STANDINS:
        assert (PROJECT / "docker" / "standins" / name / "Dockerfile").is_file()


def test_no_limit_is_over_the_machines_cores() -> None:
    told = override(services(), "/p.yml", cores=1)["services"]
    assert told["gateway-1"]["deploy"]["resources"]["limits"] == {"cpus": "1", "memory": "3g"}
    assert "deploy" not in override(services(), "/p.yml", cores=8)["services"].get("gateway-1", {})
    # A variable is compose.yaml's own way.
    assert "triton-0" not in told


def test_prometheus_finds_the_tritons_without_consul() -> None:
    text = (PROJECT / "docker" / "prometheus" / "prometheus.yml").read_text("utf-8")
    jobs = {
        job["job_name"]: job
        for job in yaml.safe_load(prometheus_without_consul(text, ["triton-0:8103"]))["scrape_configs"]
    }
    assert jobs["triton"]["static_configs"] == [{"targets": ["triton-0:8103"]}]
    assert jobs.keys() == set(re.findall(r"job_name: (\w+)", text))
    assert "consul_sd" not in str(jobs)


@pytest.mark.parametrize(
    ("seen", "how"),
    [
        (Seen(status=200, finish="stop"), "ok"),
        (Seen(status=503, error="busy"), "refused"),
        (Seen(status=429, error="slow down"), "refused"),
        (Seen(status=0, error="ClientConnectorError", cut=True), "unreached"),
        (Seen(status=200, error="ClientPayloadError", cut=True, at=[1.0]), "cut"),
        (Seen(status=200, error="the instance is gone", at=[1.0]), "failed"),
        (Seen(status=200, at=[1.0]), "failed"),
        (Seen(status=500, error="oops"), "failed"),
    ],
)
def test_an_accepted_chat_that_ends_badly_is_never_called_refused(seen: Seen, how: str) -> None:
    assert outcome(seen) == how


@given(
    counts=st.dictionaries(st.sampled_from(OUTCOMES), st.integers(1, 9)),
    allowed=st.frozensets(st.sampled_from(OUTCOMES)),
)
def test_whatever_a_fault_may_not_do_is_told(counts: dict[str, int], allowed: frozenset[str]) -> None:
    load = Load(1, "key", "store")
    load.counts["chats"].update(counts)
    told = load.unforeseen({"chats": allowed})
    assert len(told) == len(counts.keys() - allowed - {"ok"})


def test_no_fault_may_fail_what_was_accepted_but_by_cutting_a_connection_without_a_journal() -> None:
    for fault in FAULTS:
        for kind, may in fault.may.items():
            assert kind in KINDS
            assert "failed" not in may, fault.name
            assert kind != "journaled" or "cut" not in may, fault.name


def test_memory_is_added_up_in_gigabytes() -> None:
    assert gigabytes("512MiB") == pytest.approx(0.536870912)
    assert gigabytes("1.5GiB") == pytest.approx(1.610612736)
    assert gigabytes("0B") == 0.0
    assert gigabytes("--") == 0.0


def test_a_step_that_fails_is_kept_with_its_reason_and_goes_on_to_the_caller() -> None:
    steps = Steps(quiet=True)
    with pytest.raises(StepError), steps.step("build", 1):
        raise StepError("no space")
    assert [(row.name, row.ok, row.note) for row in steps.rows] == [("build", False, "StepError: no space")]


def test_whoever_waits_in_a_thread_is_let_go_when_the_program_is_stopped(tmp_path: Path) -> None:
    stack = Stack(Engine(tmp_path), port=1)
    stack.stopping.set()
    with pytest.raises(StepError, match="stopped"):
        stack.wait(lambda: ["never"], "it comes", 3600)


async def test_clients_are_let_go_when_the_program_is_stopped() -> None:
    """The port is nobody's: they ask again and again, until what runs beside them is cancelled."""
    load = Load(NOBODY, "key", "store")

    async def runs() -> None:
        async with load.running():
            await asyncio.Event().wait()

    task = asyncio.create_task(runs())
    while not all(load.counts.values()):  # noqa: ASYNC110 - the test's own deadline ends it
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert {kind: list(counted) for kind, counted in load.counts.items()} == {kind: ["unreached"] for kind in KINDS}
    assert load.begun() == list(KINDS)
