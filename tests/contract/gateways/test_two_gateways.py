"""Two gateways on one PostgreSQL agree: what one did, the other knows with the next request."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from gateway.api import deletion
from tests.support.gateway_client import Client
from tests.support.ingesting import bring_in, clear_away

STORES, FILES = "/v1/vector_stores", "/v1/files"
Gateways = tuple[Client, Client]


async def test_what_is_made_on_one_is_there_on_the_other(gateways: Gateways) -> None:
    one, two = gateways
    file = await one.upload()
    assert await two.ask("GET", f"{FILES}/{file['id']}") == file
    assert (await two.call("GET", f"{FILES}/{file['id']}/content")).raw == b"Thirty days."
    store = await one.ask("POST", STORES, {"name": "handbook"})
    assert await two.ask("GET", f"{STORES}/{store['id']}") == store
    path = f"{STORES}/{store['id']}"
    member = await two.ask("POST", f"{path}/files", {"file_id": file["id"]})
    assert await one.ask("GET", f"{path}/files/{file['id']}") == member
    batch = await one.ask("POST", f"{path}/file_batches", {"file_ids": [file["id"]]})
    assert (await two.ask("POST", f"{path}/file_batches/{batch['id']}/cancel"))["status"] == "cancelled"
    assert (await one.ask("GET", f"{path}/files/{file['id']}"))["status"] == "cancelled"
    await two.ask("POST", path, {"name": "manual"})
    assert (await one.ask("GET", path))["name"] == "manual"


async def test_what_is_deleted_on_one_is_gone_on_the_other(gateways: Gateways, tmp_path: Path) -> None:
    one, two = gateways
    file = (await one.upload())["id"]
    store = (await one.ask("POST", STORES, {"file_ids": [file]}))["id"]
    deleting = asyncio.ensure_future(two.ask("DELETE", f"{FILES}/{file}"))
    while (await one.call("GET", f"{FILES}/{file}")).status == 200:  # gone before the other's answer
        pass
    assert await one.ids(f"{STORES}/{store}/files") == []
    await clear_away(one.fleet.gateway)
    await deleting
    assert not list((tmp_path / "objects").rglob("content"))
    deleting = asyncio.ensure_future(one.ask("DELETE", f"{STORES}/{store}"))
    while (await two.call("GET", f"{STORES}/{store}")).status == 200:
        pass
    await clear_away(two.fleet.gateway)
    await deleting
    assert await two.ids(STORES) == []


async def test_model_of_a_store_is_there_on_both(gateways: Gateways) -> None:
    one, two = gateways
    file = (await one.upload())["id"]
    store = (await one.ask("POST", STORES, {"name": "handbook", "file_ids": [file]}))["id"]
    await bring_in(two.fleet.gateway)
    for client in gateways:
        assert "rag:handbook" in await client.ids("/v1/models")
        found = await client.ask("POST", f"{STORES}/{store}/search", {"query": "How long?"})
        assert found["object"] == "vector_store.search_results.page"


async def test_each_file_is_brought_in_by_one_of_them(gateways: Gateways) -> None:
    one, two = gateways
    files = [(await gateways[number % 2].upload(b"%d" % number))["id"] for number in range(20)]
    store = (await one.ask("POST", STORES, {"file_ids": files}))["id"]
    done = await asyncio.gather(*(bring_in(each.fleet.gateway) for each in (one, two, one, two)))
    assert sum(done) == 20, "each once"
    counts = (await two.ask("GET", f"{STORES}/{store}"))["file_counts"]
    assert (counts["completed"], counts["total"]) == (20, 20)


async def test_request_repeated_at_the_other_gateway_is_done_once(gateways: Gateways, tmp_path: Path) -> None:
    one, two = gateways
    first = await one.upload(key="k")
    again = await two.upload(key="k")
    assert again == first
    assert await one.ids(FILES) == [first["id"]]
    assert len(list((tmp_path / "objects").rglob("content"))) == 1
    reply = await two.call("POST", STORES, {}, key="k")
    assert (reply.status, reply.error["code"]) == (409, "idempotency_key_reused")


async def test_request_sent_to_both_at_once_is_done_once(gateways: Gateways) -> None:
    for number in range(5):
        body = {"name": f"store {number}"}
        replies = await asyncio.gather(
            *(client.call("POST", STORES, body, key=f"k{number}") for client in (*gateways, *gateways))
        )
        assert {reply.status for reply in replies} == {200}
        assert len({reply.json["id"] for reply in replies}) == 1
        assert sum("idempotent-replayed" not in reply.headers for reply in replies) == 1
    assert len(await gateways[1].ids(STORES)) == 5


async def test_changes_at_both_at_once_lose_nothing(gateways: Gateways) -> None:
    one, two = gateways
    files = [(await one.upload(b"%d" % number))["id"] for number in range(12)]
    store = (await one.ask("POST", STORES, {}))["id"]
    path = f"{STORES}/{store}/files"
    replies = await asyncio.gather(
        *(
            gateways[number % 2].call("POST", path, {"file_id": file, "attributes": {"n": number}})
            for number, file in enumerate(files)
        ),
        *(client.call("POST", f"{STORES}/{store}/file_batches", {"file_ids": files}) for client in gateways),
    )
    assert Counter(reply.status for reply in replies) == {200: 14}
    assert sorted(await two.ids(path)) == sorted(files)


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_both_are_told_at_once_has_an_answer(
    gateways: Gateways, seed: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random changes of the same few things, many at a time: no deadlock, no fault, and at the end both say the same.

    On a machine without a free core who waits for a store's turn may wait too long: that is a 503 with a hint."""
    monkeypatch.setattr(deletion, "PATIENCE_S", 0.0)  # nobody clears away here
    rng = random.Random(seed)
    files = [(await gateways[0].upload(b"%d" % number))["id"] for number in range(8)]
    stores = [(await gateways[0].ask("POST", STORES, {"file_ids": files}))["id"] for _ in range(3)]
    batches = {
        store: (await gateways[1].ask("POST", f"{STORES}/{store}/file_batches", {"file_ids": files}))["id"]
        for store in stores
    }

    def change() -> tuple[str, str, object]:
        store, some = rng.choice(stores), rng.sample(files, rng.randint(1, 6))
        path = f"{STORES}/{store}"
        return rng.choice(
            [
                ("POST", f"{path}/files", {"file_id": some[0], "attributes": {"n": rng.randint(0, 3)}}),
                ("POST", f"{path}/file_batches", {"file_ids": some, "attributes": {"n": rng.randint(0, 3)}}),
                ("POST", f"{path}/file_batches/{batches[store]}/cancel", {}),
                ("POST", f"{path}/files/{some[0]}", {"attributes": {"n": rng.randint(0, 3)}}),
                ("POST", path, {"name": f"name {rng.randint(0, 3)}"}),
                ("POST", STORES, {"file_ids": some}),
                ("GET", f"{path}/files?limit=3&after={some[0]}", None),
                ("GET", path, None),
                *([("DELETE", f"{path}/files/{some[0]}", None)] * 2),
                *([("DELETE", rng.choice([f"/v1/files/{some[0]}", path]), None)] if rng.random() < 0.1 else []),
            ]
        )

    async def client(number: int) -> Counter[int]:
        statuses: Counter[int] = Counter()
        for step in range(10):
            method, path, body = change()
            key = f"{rng.randint(0, 20)}" if rng.random() < 0.3 else None
            reply = await gateways[number % 2].call(method, path, body, key=key)
            assert reply.status in (200, 404, 409, 503), (number, step, method, path, reply.raw)
            statuses[reply.status] += 1
        return statuses

    statuses = sum(await asyncio.gather(*(client(number) for number in range(6))), Counter())
    assert "deadlock" not in caplog.text
    assert statuses[200] > 20, statuses
    for path in (FILES, STORES):
        assert await gateways[0].ids(path) == await gateways[1].ids(path)
