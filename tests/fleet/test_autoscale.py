"""A real fleet grows under load and shrinks after it, and no request fails."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.chat_client import Client, Seen
from tests.support.embedded_fleet import EmbeddedFleet, embedded
from tests.support.observed_fleet import Victim

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ENGINE = {"decode_step_ms": 20, "decode_step_ms_per_sequence": 0, "slots": 4}
WITHIN_S = 240.0


@pytest.fixture
def victim(consul_program: object, ports: int) -> Iterator[Victim]:
    """One instance of four slots."""
    env = {"RAGFLEET_LLM_PARAMS": json.dumps(ENGINE)}
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


async def test_from_one_to_two_and_back(victim: Victim) -> None:
    fleet = victim.fleet
    scaler = subprocess.Popen(
        [sys.executable, "-m", "ragfleet", "autoscale", "--min", "1", "--max", "2", "--json"],
        env={**os.environ, "RAGFLEET_HOME": str(fleet.home)},
        stdout=subprocess.DEVNULL,
    )
    try:
        load = Load(fleet, 5)
        until = time.monotonic() + WITHIN_S
        await victim.until(lambda seen: len(seen) == 2, seconds=WITHIN_S, what="two instances are there")
        await victim.ready(2)
        seen = await load.end()
        assert time.monotonic() < until + WITHIN_S
        await victim.until(lambda seen: len(seen) == 1, seconds=WITHIN_S, what="one instance is left")
        assert [each.error for each in seen if each.error] == []
        assert len(seen) > 5
    finally:
        scaler.terminate()
        scaler.wait(30)
