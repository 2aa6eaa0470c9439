"""Searches and embeddings under overload: bounded, fair, refused with a hint, and out of the way of chats."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.lifespan import drain
from gateway.triton.fake_answers import Script
from tests.support.replies import Reply
from tests.support.running import COLLECTION, EMBEDDING, Fleet

Start = Callable[..., Any]

TENANTS = """
tenants:
- {name: busy, keys: [busy]}
- {name: calm, keys: [calm]}
"""
STALL = Script(stall_after=0)


async def _searchable(fleet: Fleet, key: str = "") -> str:
    """The path of a search."""
    await fleet.gateway.catalog.collections.add(COLLECTION, embedding_model=EMBEDDING, dimension=8)
    made = await fleet.post({"name": "handbook"}, path="/v1/vector_stores", headers=_as(key))
    return f"/v1/vector_stores/{made.json['id']}/search"


def _as(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


async def _search(fleet: Fleet, path: str, query: Any = "How long?", key: str = "") -> Reply:
    return await fleet.post({"query": query}, path=path, headers=_as(key))


async def _embed(fleet: Fleet, given: Any = "Thirty days.", key: str = "") -> Reply:
    return await fleet.post({"model": EMBEDDING, "input": given}, path="/v1/embeddings", headers=_as(key))


def _refused(reply: Reply) -> None:
    assert reply.status == 429, reply.raw
    assert (reply.error["type"], reply.error["code"]) == ("rate_limit_error", "overloaded")
    assert int(reply.headers["retry-after"]) >= 1
    assert int(reply.headers["retry-after-ms"]) >= 1000


async def _overloaded(start: Start, **wishes: Any) -> Fleet:
    """One instance that answers neither searches nor embeddings, with a place for two calls and a queue for two."""
    usual = {"instances": 1, "retrieval_places": 2, "retrieval_queue": 2}
    usual |= {"admission_deadline_s": 100.0, "context_deadline_s": 100.0}  # a slow machine is no overload
    fleet: Fleet = await start(**(usual | wishes))
    for model in ("search", "embedding"):
        fleet.tritons[0].always[model] = STALL
    return fleet


@pytest.mark.parametrize("kind", ["search", "embedding"])
async def test_beyond_places_and_queue_the_rest_is_refused_and_a_chat_gets_in(start: Start, kind: str) -> None:
    fleet = await _overloaded(start)
    path = await _searchable(fleet)
    requests = [
        asyncio.ensure_future(_search(fleet, path) if kind == "search" else _embed(fleet, f"text {number}"))
        for number in range(7)
    ]
    replies = asyncio.as_completed(requests)
    for _ in range(3):
        _refused(await next(replies))
    await fleet.until(lambda: len(fleet.calls(kind)) == 2)
    assert (await fleet.chat()).status == 200
    page = (await fleet.get("/fleet")).json
    assert (page["retrieval_admission"]["held"], page["retrieval_admission"]["waiting"]) == (2, 2)
    assert len(fleet.calls(kind)) == 2, "no more than the places"
    assert page["admission"]["held"] == 0
    assert "ragfleet_retrieval_in_flight 2.0" in (await fleet.get("/metrics")).raw.decode()
    fleet.tritons[0].always.clear()
    fleet.tritons[0].resume()
    assert [reply.status for reply in await asyncio.gather(*requests)].count(200) == 4


async def test_who_waits_too_long_is_told_so(start: Start) -> None:
    fleet = await _overloaded(start, admission_deadline_s=0.1)
    path = await _searchable(fleet)
    running = [asyncio.ensure_future(_search(fleet, path)) for _ in range(2)]
    await fleet.until(lambda: len(fleet.calls("search")) == 2)
    _refused(await _embed(fleet))
    _refused(await _search(fleet, path))
    fleet.tritons[0].always.clear()
    fleet.tritons[0].resume()
    assert [reply.status for reply in await asyncio.gather(*running)] == [200, 200]


async def test_without_an_instance_it_is_a_503(start: Start) -> None:
    fleet = await start()
    path = await _searchable(fleet)
    fleet.members(healthy=False)
    for reply in (await _search(fleet, path), await _embed(fleet)):
        assert reply.status == 503
        assert int(reply.headers["retry-after"]) >= 1


async def test_one_large_request_does_not_keep_the_others_out(start: Start, tmp_path: Path) -> None:
    """With all places taken by a tenant's thousand texts, another's text has its turn after a batch or two, not after all."""
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet = await _overloaded(start, tenants_file=file, retrieval_queue=64)
    large = asyncio.ensure_future(_embed(fleet, [f"text {number}" for number in range(1500)], "busy"))
    await fleet.until(lambda: len(fleet.calls("embedding")) == 1)
    fleet.tritons[0].resume()
    fleet.tritons[0].hold()
    await fleet.until(lambda: len(fleet.calls("embedding")) == 3)
    small = asyncio.ensure_future(_embed(fleet, "mine", "calm"))
    while not fleet.gateway.retrieval_admission.stats().waiting_by_tenant.get("calm"):
        await asyncio.sleep(0)
    # Batch by batch, for the small one is written to the ledger between its place and its call, which may take its time.
    for _ in range(3):
        begun = len(fleet.calls("embedding"))
        fleet.tritons[0].resume()
        fleet.tritons[0].hold()
        await fleet.until(lambda begun=begun: len(fleet.calls("embedding")) > begun)
        if not fleet.gateway.retrieval_admission.stats().waiting_by_tenant.get("calm"):
            break
    await fleet.until(lambda: ["mine"] in _embedded(fleet))
    assert (
        _embedded(fleet).index(["mine"]) <= 8
    )  # at most four were under way, and as many may have been chosen before it came
    fleet.tritons[0].always.clear()
    fleet.tritons[0].resume()
    assert (await small).status == 200
    assert (await large).status == 200
    assert len(_embedded(fleet)) == 25


def _embedded(fleet: Fleet) -> list[list[str]]:
    return [call.body["inputs"][0]["data"] for call in fleet.calls("embedding")]


async def test_flood_of_one_tenant_costs_the_other_no_refusal(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet = await _overloaded(start, tenants_file=file, retrieval_queue=8)
    busy, calm = await _searchable(fleet, "busy"), await _searchable(fleet, "calm")
    flood = [asyncio.ensure_future(_search(fleet, busy, key="busy")) for _ in range(20)]
    await fleet.until(lambda: len(fleet.calls("search")) == 2)
    others = [asyncio.ensure_future(_search(fleet, calm, key="calm")) for _ in range(3)]
    while fleet.gateway.retrieval_admission.stats().waiting_by_tenant.get("calm") != 3:
        await asyncio.sleep(0)
    fleet.tritons[0].always.clear()
    fleet.tritons[0].resume()
    assert [reply.status for reply in await asyncio.gather(*others)] == [200, 200, 200]
    assert {reply.status for reply in await asyncio.gather(*flood)} == {200, 429}


@pytest.mark.parametrize("kind", ["search", "embedding"])
async def test_client_that_leaves_frees_its_place_and_its_turn(start: Start, kind: str) -> None:
    fleet = await _overloaded(start, retrieval_places=1)
    path = await _searchable(fleet)
    admission = fleet.gateway.retrieval_admission

    def ask() -> "asyncio.Task[Reply]":
        return asyncio.ensure_future(_search(fleet, path) if kind == "search" else _embed(fleet))

    running = ask()
    await fleet.until(lambda: len(fleet.calls(kind)) == 1)
    waiting = ask()
    while admission.waiting != 1:
        await asyncio.sleep(0)
    for request in (waiting, running):
        request.cancel()
    async with asyncio.timeout(60):
        while admission.held or admission.waiting:
            await asyncio.sleep(0)
    await fleet.until(lambda: fleet.calls(kind)[0].end == "gone")
    fleet.tritons[0].always.clear()
    assert (await ask()).status == 200


async def test_gateway_that_shuts_down_refuses_new_ones(start: Start) -> None:
    fleet = await _overloaded(start)
    path = await _searchable(fleet)
    running = asyncio.ensure_future(_search(fleet, path))
    await fleet.until(lambda: len(fleet.calls("search")) == 1)
    drained = asyncio.ensure_future(drain(fleet.gateway))
    await asyncio.sleep(0)
    reply = await _search(fleet, path)
    assert (reply.status, reply.error["code"]) == (503, "draining")
    assert not drained.done()
    fleet.tritons[0].resume()
    assert (await running).status == 200
    await drained


async def _ask(fleet: Fleet, kind: str, key: str) -> "asyncio.Task[Reply]":
    """A request of a tenant that comes to one call of a model."""
    if kind == "embedding":
        return asyncio.ensure_future(_embed(fleet, key=key))
    made = await fleet.post({"name": "handbook"}, path="/v1/vector_stores", headers=_as(key))
    store = made.json["id"]
    if kind == "search":
        return asyncio.ensure_future(_search(fleet, f"/v1/vector_stores/{store}/search", key=key))
    tool = {"type": "file_search", "vector_store_ids": [store]}
    if kind == "chat":
        return asyncio.ensure_future(fleet.chat(max_tokens=1, tools=[tool], headers=_as(key)))
    body = {"model": "tiny", "input": "How long?", "tools": [tool], "max_output_tokens": 16}
    return asyncio.ensure_future(fleet.post(body, path="/v1/responses", headers=_as(key)))


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0)


CALLS = {"search": "search", "embedding": "embedding", "chat": "context", "response": "context"}
"""Of which model: each of these keeps the processors of an instance busy for as long as it takes."""


@pytest.mark.parametrize("kind", CALLS)
async def test_beside_another_tenant_one_searches_in_a_part_of_the_places(
    start: Start, tmp_path: Path, kind: str
) -> None:
    model = CALLS[kind]
    file = tmp_path / "tenants.yaml"
    file.write_text(TENANTS)
    fleet = await _overloaded(start, tenants_file=file, slots=16, retrieval_places=8, retrieval_queue=64)
    fleet.tritons[0].always[model] = STALL
    await fleet.gateway.catalog.collections.add(COLLECTION, embedding_model=EMBEDDING, dimension=8)
    # The last one counts answers: whoever has one waits for its context in another.
    gates = [gate for gate in fleet.gateway.shares.presence.gates if gate is not fleet.gateway.admission]

    alone = [await _ask(fleet, kind, "busy") for _ in range(5)]
    await _until(lambda: len(fleet.calls(model)) == 5)  # nobody else is there
    assert (await fleet.chat(max_tokens=1, headers=_as("calm"))).status == 200
    more = [await _ask(fleet, kind, "busy") for _ in range(5)]
    await _until(lambda: sum(gate.waiting for gate in gates) == 5)
    other = await _ask(fleet, kind, "calm")
    await _until(lambda: len(fleet.calls(model)) == 6)
    assert [gate.stats().held_by_tenant for gate in gates if gate.held] == [{"busy": 5, "calm": 1}]
    fleet.tritons[0].always.clear()
    fleet.tritons[0].resume()
    assert {reply.status for reply in await asyncio.gather(other, *alone, *more)} == {200}
    assert not any(gate.held or gate.waiting for gate in gates)
