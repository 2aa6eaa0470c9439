"""What a tenant's weight and priority in the tenants file are worth, from the key in the header to the engine."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.triton.fake_answers import Script
from tests.support.running import Fleet

Start = Callable[..., Any]

TENANTS = """
tenants:
- {name: heavy, keys: [heavy], weight: 3}
- {name: light, keys: [light]}
- {name: first, keys: [first], priority: 1}
"""


async def _served(start: Start, tmp_path: Path, waiting: list[str]) -> list[str]:
    """The tenants in the order in which they get the fleet's only place, when `waiting` of them wait for it."""
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet: Fleet = await start(
        instances=1, slots=1, admission_headroom=1.0, admission_deadline_s=10.0, api_key="own", tenants_file=file
    )
    fleet.answers.script("llm", Script(stall_after=3))
    running = asyncio.ensure_future(fleet.chat(headers={"Authorization": "Bearer own"}))
    await fleet.until(lambda: any(call.sent == 3 for call in fleet.calls()))
    served = []

    async def ask(tenant: str) -> None:
        reply = await fleet.chat(max_tokens=1, headers={"Authorization": f"Bearer {tenant}"})
        assert reply.status == 200
        served.append(tenant)

    requests = [asyncio.ensure_future(ask(tenant)) for tenant in waiting]
    while fleet.gateway.admission.waiting < len(waiting):
        await asyncio.sleep(0)
    fleet.tritons[0].resume()
    await asyncio.gather(running, *requests)
    return served


async def test_places_are_shared_by_weight(start: Start, tmp_path: Path) -> None:
    served = await _served(start, tmp_path, ["light"] * 6 + ["heavy"] * 6)
    assert 5 <= served[:8].count("heavy") <= 6, served


async def test_higher_priority_goes_first_and_lets_the_others_have_some(start: Start, tmp_path: Path) -> None:
    served = await _served(start, tmp_path, ["light"] * 4 + ["first"] * 8)
    assert served[:6].count("first") >= 5, served
    assert served[-1] == "light", served


async def test_a_newcomer_is_served_beside_any_number_of_anothers_long_answers(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet: Fleet = await start(instances=2, slots=4, api_key="own", tenants_file=file)
    fleet.answers.script("llm", *[Script(stall_after=3)] * 6)
    flood = [asyncio.ensure_future(fleet.chat(headers={"Authorization": "Bearer own"})) for _ in range(60)]
    try:
        await fleet.until(lambda: sum(call.sent == 3 for call in fleet.calls()) == 6)
        assert fleet.gateway.admission.held == 6, "two of eight slots are kept for others"
        reply = await fleet.chat(max_tokens=1, headers={"Authorization": "Bearer light"})
        assert reply.status == 200
    finally:
        for each in flood:
            each.cancel()
        await asyncio.gather(*flood, return_exceptions=True)


async def test_a_newcomers_prompt_waits_for_one_of_anothers_and_not_for_all_of_them(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet: Fleet = await start(instances=1, slots=8, api_key="own", tenants_file=file)
    fleet.answers.script("llm", *[Script(stall_after=0)] * 2)  # the engine reads these prompts for long
    flood = [asyncio.ensure_future(fleet.chat(headers={"Authorization": "Bearer own"})) for _ in range(6)]
    await fleet.until(lambda: fleet.gateway.admission.held == 6 and fleet.gateway.generator.prefills.waiting == 5)
    assert len(fleet.calls()) == 1, "one prompt is read, the others have their places and wait"
    newcomer = asyncio.ensure_future(fleet.chat(headers={"Authorization": "Bearer light"}))
    await fleet.until(lambda: len(fleet.calls()) == 2)
    left = flood.pop()
    left.cancel()  # whoever leaves while it waits holds up nobody
    fleet.tritons[0].resume()
    assert [reply.status for reply in await asyncio.gather(newcomer, *flood)] == [200] * 6
    await asyncio.gather(left, return_exceptions=True)
    assert not fleet.gateway.generator.prefills.held
    assert not fleet.gateway.generator.prefills.waiting


async def test_a_lonely_tenants_prompts_are_read_together(start: Start) -> None:
    fleet: Fleet = await start(instances=1, slots=8)
    fleet.answers.script("llm", *[Script(stall_after=0)] * 6)
    flood = [asyncio.ensure_future(fleet.chat()) for _ in range(6)]
    await fleet.until(lambda: len(fleet.calls()) == 6)
    fleet.tritons[0].resume()
    assert [reply.status for reply in await asyncio.gather(*flood)] == [200] * 6


async def test_a_third_tenants_question_waits_behind_no_engines_queue_that_two_others_would_fill(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet: Fleet = await start(instances=2, slots=4, api_key="own", tenants_file=file)
    fleet.answers.script("llm", *[Script(stall_after=3)] * 7)
    flood = []
    for key in ("own", "heavy"):
        flood += [asyncio.ensure_future(fleet.chat(headers={"Authorization": f"Bearer {key}"})) for _ in range(20)]
        await fleet.until(lambda: fleet.gateway.admission.waiting > 0)
    slots = fleet.gateway.generator.slots
    try:
        # Six of the first flood and one of the other: both together leave a slot, and what waits for one waits in the gateway.
        await fleet.until(lambda: sum(call.sent == 3 for call in fleet.calls()) == 7 and bool(slots.waiting))
        assert slots.held == 7
        streams = fleet.gateway.registry.counts()
        assert max(streams.values()) <= 4, streams
        reply = await fleet.chat(max_tokens=1, headers={"Authorization": "Bearer light"})
        assert reply.status == 200
    finally:
        for each in flood:
            each.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
    await fleet.until(lambda: not slots.held and not slots.waiting)
