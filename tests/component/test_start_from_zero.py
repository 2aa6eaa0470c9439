"""A fleet that rests: requests wait for a first instance, bounded and fair, and are served by it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.replies import Reply
from tests.support.running import EMBEDDING, MODEL, Fleet, ask

Start = Callable[..., Any]
WAIT_S = 100.0

TENANTS = """
tenants:
- {name: busy, keys: [busy]}
- {name: calm, keys: [calm]}
"""


async def _resting(start: Start, **wishes: Any) -> Fleet:
    """Its one instance has been there, and is gone."""
    fleet: Fleet = await start(**({"instances": 1, "start_wait_s": WAIT_S} | wishes))
    await fleet.learn("handbook")
    fleet.gateway.store.set_members([])
    return fleet


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


def _waiting(fleet: Fleet, answers: int, searches: int = 0) -> Callable[[], bool]:
    gateway = fleet.gateway
    return lambda: (gateway.admission.waiting, gateway.retrieval_admission.waiting) == (answers, searches)


async def test_what_can_be_started_is_there_for_clients_and_load_balancers(start: Start) -> None:
    fleet = await _resting(start)
    ready = await fleet.get("/health/ready")
    assert (ready.status, ready.json["serving"]) == (200, [])
    assert f"wait up to {WAIT_S:g} s" in ready.json["reason"]
    names = [each["id"] for each in (await fleet.get("/v1/models")).json["data"]]
    assert {MODEL, EMBEDDING, "rag", "rag:handbook"} <= set(names)
    demand = (await fleet.get("/fleet")).json["demand"]
    assert (demand["slots"], demand["start_wait_s"]) == (4, WAIT_S)
    metrics = (await fleet.get("/metrics")).raw.decode()
    assert "\nragfleet_resting 1.0\n" in metrics


async def test_a_request_that_no_model_could_serve_waits_for_none(start: Start) -> None:
    fleet = await _resting(start)
    assert (await fleet.chat(model="nobody")).status == 404
    assert (await fleet.chat("long " * 2000)).status == 400


async def test_every_kind_of_request_waits_and_is_served(start: Start) -> None:
    fleet = await _resting(start)
    store = fleet.stores["handbook"]
    tasks = [
        asyncio.create_task(each)
        for each in (
            fleet.chat(),
            fleet.chat("How long?", model="rag:handbook"),
            fleet.post({"model": MODEL, "input": "Hello?"}, path="/v1/responses"),
            fleet.post({"model": EMBEDDING, "input": "Thirty days."}, path="/v1/embeddings"),
            fleet.post({"query": "How long?"}, path=f"/v1/vector_stores/{store}/search"),
        )
    ]
    await _until(_waiting(fleet, 3, 2))
    assert fleet.gateway.demand.instances(4) >= 1
    assert not any(task.done() for task in tasks)
    fleet.members()
    replies: list[Reply] = await asyncio.gather(*tasks)
    assert [reply.status for reply in replies] == [200] * 5


async def test_what_waits_is_bounded_and_fair_and_refused_with_a_hint(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet = await _resting(start, start_wait_requests=2, api_key="own", tenants_file=file)

    def asks(key: str) -> "asyncio.Task[Reply]":
        return asyncio.create_task(fleet.chat(headers={"authorization": f"Bearer {key}"}))

    first, second = asks("busy"), asks("busy")
    await _until(_waiting(fleet, 2))
    third = await asks("busy")
    calm = asks("calm")
    evicted = (await asyncio.wait((first, second), return_when=asyncio.FIRST_COMPLETED))[0].pop().result()
    for refused in (third, evicted):
        assert (refused.status, refused.error["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
    await _until(_waiting(fleet, 2))
    fleet.members()
    assert (await calm).status == 200
    await asyncio.gather(first, second)


async def test_what_waits_is_bounded_in_bytes(start: Start) -> None:
    fleet = await _resting(start, start_wait_bytes=20_000, max_context=40_000)
    waiting = [asyncio.create_task(fleet.chat(" " * 9_000 + "a")) for _ in range(2)]
    await _until(_waiting(fleet, 2))
    refused = await fleet.chat(" " * 9_000 + "a")
    assert (refused.status, refused.error["code"]) == (503, "unavailable")
    fleet.members()
    assert [reply.status for reply in await asyncio.gather(*waiting)] == [200, 200]


async def test_a_wait_that_runs_out_is_a_503_with_a_hint(start: Start) -> None:
    fleet = await _resting(start, start_wait_s=0.3)
    refused = await fleet.chat()
    assert (refused.status, refused.error["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) >= 1


async def test_a_client_that_leaves_frees_its_place(start: Start) -> None:
    fleet = await _resting(start, start_wait_requests=1)
    async with aiohttp.ClientSession(fleet.url) as http:
        leaves = asyncio.create_task(http.post("/v1/chat/completions", json=ask()))
        await _until(_waiting(fleet, 1))
        leaves.cancel()
        await asyncio.gather(leaves, return_exceptions=True)
    await _until(_waiting(fleet, 0))
    stays = asyncio.create_task(fleet.chat())
    await _until(_waiting(fleet, 1))
    fleet.members()
    assert (await stays).status == 200


async def test_without_the_setting_nothing_rests(start: Start) -> None:
    fleet = await _resting(start, start_wait_s=0.0)
    assert (await fleet.get("/health/ready")).status == 503
    assert (await fleet.get("/v1/models")).json["data"][0]["id"] != MODEL
    assert (await fleet.chat()).status == 503
    assert "\nragfleet_resting 0.0\n" in (await fleet.get("/metrics")).raw.decode()
