"""A real fleet rests while nobody asks, starts for a request that waits, grows under load and rests again; no request fails."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.chat_client import Client, Seen
from tests.support.embedded_fleet import EmbeddedFleet, embedded
from tests.support.observed_fleet import Victim

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

ENGINE = {"decode_step_ms": 20, "decode_step_ms_per_sequence": 0, "slots": 4}
WITHIN_S = 240.0
IDLE_S = 5.0
"""Short, so that the fleet rests soon: what it was for the autoscaler's memory is a minute more."""


@pytest.fixture
def victim(consul_program: object, ports: int) -> Iterator[Victim]:
    """One instance of four slots."""
    env = {
        "RAGFLEET_LLM_PARAMS": json.dumps(ENGINE),
        "RAGFLEET_START_WAIT_S": str(WITHIN_S),
        "RAGFLEET_IDLE_S": str(IDLE_S),
    }
    with embedded(instances=1, flavour="simulated", port_base=ports, env=env, models=("llm", "prompt")) as fleet:
        yield Victim(fleet)


class Load:
    """Clients that ask one question after the other."""

    def __init__(self, fleet: EmbeddedFleet, clients: int) -> None:
        self.seen: list[Seen] = []
        self._fleet = fleet
        self._over = asyncio.Event()
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(clients)]

    async def _run(self, number: int) -> None:
        async with Client(self._fleet.port, self._fleet.key) as client:
            while not self._over.is_set():
                self.seen.append(await client.ask(self._fleet.model, f"Question of {number}?", max_tokens=80))

    async def end(self) -> list[Seen]:
        """Let each come to its end."""
        self._over.set()
        await asyncio.gather(*self._tasks)
        return self.seen


async def test_from_none_to_two_and_back_to_none(victim: Victim) -> None:
    fleet = victim.fleet
    scaler = subprocess.Popen(
        [sys.executable, "-m", "ragfleet", "autoscale", "--min", "0", "--max", "2", "--json"],
        env={**os.environ, "RAGFLEET_HOME": str(fleet.home)},
        stdout=subprocess.DEVNULL,
    )

    async def rests(why: str) -> None:
        await victim.until(lambda seen: not seen, seconds=WITHIN_S, what=f"the fleet rests {why}")

    try:
        await rests("while nobody asks")
        async with Client(fleet.port, fleet.key, deadline_s=2 * WITHIN_S) as client:
            first = await client.ask(fleet.model, "Is anybody there?", max_tokens=80)
        assert first.error is None
        load = Load(fleet, 5)
        await victim.until(lambda seen: len(seen) == 2, seconds=WITHIN_S, what="two instances are there")
        await victim.ready(2)
        seen = await load.end()
        await rests("after the load")
        assert [each.error for each in seen if each.error] == []
        assert len(seen) > 5
    finally:
        scaler.terminate()
        scaler.wait(30)
