"""A worker of another version joins a real fleet, answers with other tokens than the rest, and is rolled back by itself."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ragfleet import processes
from ragfleet.paths import PROJECT
from tests.fleet.real_parts import eventually, get
from tests.support.chat_client import Client
from tests.support.embedded_fleet import EmbeddedFleet, embedded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CANDIDATE, VERSION = "candidate-0", "2.0-test"
ENGINE = {"decode_step_ms": 5, "decode_step_ms_per_sequence": 0, "slots": 8}
WITHIN_S = 300.0


@pytest.fixture
def fleet(consul_program: Path, ports: int) -> Iterator[EmbeddedFleet]:
    """One instance and a gateway; beside them a worker of another version, whose engine has another vocabulary."""
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(ENGINE)}
    with embedded(instances=1, flavour="simulated", port_base=ports, env=env, models=("llm", "prompt")) as running:
        with (running.home / "log" / f"{CANDIDATE}.log").open("ab") as output:
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "worker", f"--name={CANDIDATE}", f"--http-port={ports + 41}"),
                    *running.worker_arguments,
                ],
                env={
                    **os.environ,
                    **running.environment,
                    processes.HOME_MARK: str(running.home),
                    processes.PART_MARK: CANDIDATE,
                    "RAGFLEET_CONSUL_URL": running.consul_url,
                    "RAGFLEET_VERSION": VERSION,
                    "RAGFLEET_LLM_PARAMS": json.dumps({**ENGINE, "vocab_size": 49_000}),
                },
                cwd=PROJECT,
                stdout=output,
                stderr=output,
            )
        try:
            yield running
        finally:
            processes.sweep(running.home, part=CANDIDATE)
            worker.wait(30)


def rollout(fleet: EmbeddedFleet, *words: str) -> dict[str, Any]:
    """`ragfleet rollout … --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "ragfleet", "rollout", *words, "--json"],
        env={**os.environ, "RAGFLEET_HOME": str(fleet.home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


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
