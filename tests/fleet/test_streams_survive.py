"""Answers outlive their instance, and the instance comes back by itself: a Triton killed, one hung, a host cut off.

Real Consul, workers, Tritons and gateway; the engine is the simulated one, whose answers can be compared token by token.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator

from tests.support.chat_client import Client, Seen
from tests.support.embedded_fleet import embedded
from tests.support.far_host import FarHost, unavailable
from tests.support.observed_fleet import Victim

pytestmark = pytest.mark.timeout(300)  # the first test waits for a whole fleet

REQUESTS, STREAMS, TOKENS = 8, 10, 200
FAR = "far-0"
STORY = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["glad", "trüb"]},
        "scenes": {
            "type": "array",
            "items": {"type": "string", "minLength": 15, "maxLength": 40},
            "minItems": 50,
            "maxItems": 50,
        },
    },
    "required": ["mood", "scenes"],
    "additionalProperties": False,
}
"""Some hundred tokens."""


@pytest.fixture(scope="module")
def victim(consul_program: Path, ports: int) -> Iterator[Victim]:
    """Two instances and a gateway."""
    env = {"RAGFLEET_LLM_PARAMS": json.dumps({"decode_step_ms": 25, "decode_step_ms_per_sequence": 0})}
    models = ("llm", "prompt")
    with embedded(instances=2, flavour="simulated", port_base=ports, env=env, models=models) as fleet:
        yield Victim(fleet)


class Asked:
    """Answers that come; the last two requests ask for two choices each."""

    def __init__(self, client: Client, model: str, **parameters: Any) -> None:
        asked = {"max_tokens": TOKENS, **parameters}
        self._seen = [Seen() for _ in range(REQUESTS)]
        self._tasks = [
            asyncio.create_task(
                client.ask(model, f"Story number {n}.", seen=seen, **asked, n=2 if n >= REQUESTS - 2 else 1)
            )
            for n, seen in enumerate(self._seen)
        ]

    async def on(self, victim: Victim, name: str) -> bool:
        """Every answer has begun, most still run, and one here: one without a token begins anew elsewhere, and has not moved.

        Where a slow machine's instance looks slower than the others, placement may give it none of so few.
        """
        here = False

        def begun(seen: dict[str, dict[str, int]]) -> bool:
            nonlocal here
            if not all(each.at or each.ended for each in self._seen):
                return False
            here = sum(entry["streams"] for entry in seen.values()) > STREAMS // 2 and seen[name]["streams"] > 0
            return True

        await victim.until(begun, seconds=60, what="every answer has begun")
        return here

    async def ended(self) -> list[Seen]:
        """All of them."""
        return list(await asyncio.gather(*self._tasks))


async def _nothing_held(victim: Victim) -> None:
    """Neither the gateway nor an engine has anything left of the requests."""
    await victim.until(
        lambda seen: not any(e["streams"] or e["in_flight"] or (e["load"] or {}).get("active") for e in seen.values()),
        seconds=20,
        what="nothing is held",
    )


def _whole(moved: list[Seen], alone: list[Seen]) -> None:
    assert [seen.error for seen in moved] == [None] * REQUESTS
    assert [seen.texts for seen in moved] == [seen.texts for seen in alone]
    assert sum(len(seen.texts) for seen in moved) == STREAMS
    assert [seen.completion_tokens for seen in moved] == [seen.completion_tokens for seen in alone]


@asynccontextmanager
async def _killed(victim: Victim, name: str) -> AsyncIterator[None]:
    victim.signal(name, signal.SIGKILL)
    yield
    await victim.ready(2)


@asynccontextmanager
async def _hung(victim: Victim, name: str) -> AsyncIterator[None]:
    """It goes on once its streams are elsewhere; what it still sends must reach nobody."""
    pid = victim.signal(name, signal.SIGSTOP)
    try:
        await victim.until(lambda seen: seen[name]["state"] != "ready", seconds=60, what="it is isolated")
        await victim.until(lambda seen: not seen[name]["streams"], seconds=60, what="its streams are moved")
    finally:
        victim.revive(name, pid)
    yield
    await victim.ready(2)
    assert victim.pid(name) == pid, "it was not restarted"


async def _outlive(
    victim: Victim, name: str, fault: Callable[[Victim, str], AbstractAsyncContextManager[None]], **parameters: Any
) -> list[Seen]:
    """The answers of which some lost their instance to a fault, and are as without it.

    It is the premise that is tried again: that an answer runs there when the fault comes.
    """
    async with Client(victim.fleet.port, victim.fleet.key) as client:
        alone = await Asked(client, victim.fleet.model, **parameters).ended()
        assert [seen.error for seen in alone] == [None] * REQUESTS
        for _ in range(10):
            streams = Asked(client, victim.fleet.model, **parameters)
            if not await streams.on(victim, name):
                await streams.ended()
                continue
            async with fault(victim, name):
                moved = await streams.ended()
            _whole(moved, alone)
            await _nothing_held(victim)
            if any(seen.moved and seen.attempts[0]["instance"] == name for seen in moved):
                return moved
    pytest.fail(f"no fault of {name} met a running answer")


async def test_a_killed_triton(victim: Victim) -> None:
    await _outlive(victim, "triton-0", _killed, logit_bias={str(token): -100 for token in range(5000, 5300)})


async def test_guided_answers_of_a_killed_triton(victim: Victim) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "story", "strict": True, "schema": STORY}}
    moved = await _outlive(victim, "triton-0", _killed, response_format=wanted, max_tokens=2000)
    for text in [text for seen in moved for text in seen.texts.values()]:
        Draft202012Validator(STORY).validate(json.loads(text))


async def test_a_hung_triton_whose_late_tokens_disturb_nobody(victim: Victim) -> None:
    await _outlive(victim, "triton-1", _hung)


async def test_a_host_that_is_cut_off(victim: Victim) -> None:
    if why := unavailable():
        pytest.skip(why)
    fleet = victim.fleet
    with FarHost(fleet.home, consul_port=urlsplit(fleet.consul_url).port or 8500) as host:

        @asynccontextmanager
        async def cut(victim: Victim, name: str) -> AsyncIterator[None]:
            host.cut()
            await victim.until(lambda seen: seen[name]["state"] != "ready", seconds=60, what="it is isolated")
            yield
            host.mend()
            await victim.ready(3)

        host.run(FAR, fleet.port + 40, fleet.worker_arguments, fleet.environment)
        await victim.ready(3)
        await _outlive(victim, FAR, cut)
        async with Client(fleet.port, fleet.key) as client:
            for _ in range(10):
                again = await Asked(client, fleet.model).ended()
                if FAR in {seen.attempts[0]["instance"] for seen in again}:
                    break
            else:
                pytest.fail("it is given no work again")
        await asyncio.to_thread(host.stop)
        await victim.ready(2)
