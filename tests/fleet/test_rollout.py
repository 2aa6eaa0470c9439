"""A worker of another version joins a real fleet, answers with other tokens than the rest, and is rolled back by itself."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.real_parts import eventually, get
from tests.support.candidate_worker import CANDIDATE, MODELS, VERSION, candidate_worker, rollout
from tests.support.chat_client import Client
from tests.support.embedded_fleet import EmbeddedFleet, embedded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ENGINE = {"decode_step_ms": 5, "decode_step_ms_per_sequence": 0, "slots": 8}
WITHIN_S = 300.0


@pytest.fixture
def fleet(consul_program: Path, ports: int) -> Iterator[EmbeddedFleet]:
    """One instance and a gateway; beside them a worker of another version, whose engine has another vocabulary."""
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(ENGINE)}
    with (
        embedded(instances=1, flavour="simulated", port_base=ports, env=env, models=MODELS) as running,
        candidate_worker(running, http_port=ports + 41, engine={**ENGINE, "vocab_size": 49_000}),
    ):
        yield running


async def test_other_tokens_are_rolled_back_without_a_failed_request(fleet: EmbeddedFleet) -> None:
    url = f"http://127.0.0.1:{fleet.port}"

    def ready() -> set[str]:
        told = get(f"{url}/fleet") or {}
        return {each["name"] for each in told.get("instances", ()) if each["state"] == "ready"}

    eventually(lambda: ready() == {"triton-0", CANDIDATE}, "the candidate serves")
    begun = rollout(fleet, "start", VERSION, "--share", "50%")
    assert (begun["state"], begun["share"]) == ("running", 0.5)
    eventually(lambda: ((get(f"{url}/fleet") or {}).get("rollout") or {}).get("id") == begun["id"], "it is known")

    async with Client(fleet.port, fleet.key) as client:
        until, asked = time.monotonic() + WITHIN_S, 0
        while (told := (get(f"{url}/fleet") or {}).get("rollout") or begun)["state"] == "running":
            assert time.monotonic() < until, told
            for _ in range(10):
                seen = await client.ask(fleet.model, f"Question number {asked}?", max_tokens=16)
                asked += 1
                assert seen.error is None
        told = rollout(fleet, "status")
        assert told["state"] == "rolled_back", told
        evidence = told["evidence"]
        assert evidence["differs"] == evidence["mirrored"] > 0, told
        assert evidence["candidate_requests"] <= 200, told
        assert (evidence["candidate_errors"], evidence["baseline_errors"]) == (0, 0)
        for number in range(10):
            seen = await client.ask(fleet.model, f"Afterwards {number}?", max_tokens=16)
            assert [each["instance"] for each in seen.attempts] == ["triton-0"]
